//! Policies that look for the best arm rather than for reward: they know when they are done.

use super::{Belief, share_among_largest};
use crate::confidence::{Interval, mean_interval};
use crate::numeric::special::coin_divergence;
use libm::log;

/// The arms that may still be the best: whose confidence sequence reaches the best lower end. All intervals hold at all
/// times with probability 1 - `delta`.
pub fn survivors(beliefs: &[Belief], delta: f64) -> Vec<bool> {
    let alpha = delta / beliefs.len() as f64;
    let interval = |belief: &Belief| mean_interval(belief.evidence.count, belief.evidence.sum, alpha);
    let intervals: Vec<Interval> = beliefs.iter().map(interval).collect();
    let best = intervals.iter().map(|interval| interval.low).fold(0.0, f64::max);
    intervals.iter().map(|interval| interval.high >= best).collect()
}

/// Successive elimination: the survivors evenly.
pub fn even_over_survivors(beliefs: &[Belief], delta: f64, result: &mut Vec<f64>) {
    let values = survivors(beliefs, delta).into_iter().map(f64::from);
    share_among_largest(&values.collect::<Vec<_>>(), result);
}

/// Track-and-stop with random tracking: arms that were drawn fewer than √t - K/2 times first, else by the optimal
/// proportions; after the stop the best arm alone.
pub fn track(beliefs: &[Belief], delta: f64, result: &mut Vec<f64>) {
    let total: f64 = beliefs.iter().map(|belief| belief.evidence.count).sum();
    let due = (total.sqrt() - beliefs.len() as f64 / 2.0).max(0.0);
    let behind: Vec<f64> = beliefs.iter().map(|belief| f64::from(belief.evidence.count <= due)).collect();
    if let Some(best) = decided(beliefs, delta) {
        result.clear();
        result.extend((0..beliefs.len()).map(|index| f64::from(index == best)));
    } else if behind.contains(&1.0) {
        share_among_largest(&behind, result);
    } else {
        let means: Vec<f64> = beliefs.iter().map(Belief::mean).collect();
        *result = optimal_proportions(&means);
    }
}

/// The best arm, once the generalised likelihood ratio against every other is above ln(2 t (K - 1) / δ), the threshold
/// that Garivier and Kaufmann prove for coins. One arm alone is the best.
pub fn decided(beliefs: &[Belief], delta: f64) -> Option<usize> {
    let order =
        |left: &usize, right: &usize| beliefs[*left].observed_mean().total_cmp(&beliefs[*right].observed_mean());
    let best = (0..beliefs.len()).max_by(order)?;
    let total: f64 = beliefs.iter().map(|belief| belief.evidence.count).sum();
    let others = beliefs.len() as f64 - 1.0;
    let threshold = log((2.0 * total * others).max(1.0) / delta);
    let beaten = |other: usize| other == best || likelihood_ratio(&beliefs[best], &beliefs[other]) > threshold;
    (0..beliefs.len()).all(beaten).then_some(best)
}

/// The logarithm of the likelihood ratio of "the first is better" against "both are equal".
fn likelihood_ratio(better: &Belief, worse: &Belief) -> f64 {
    let (left, right) = (better.evidence.count, worse.evidence.count);
    if left <= 0.0 || right <= 0.0 {
        return 0.0;
    }
    let (better, worse) = (better.observed_mean(), worse.observed_mean());
    let middle = (left * better + right * worse) / (left + right);
    left * coin_divergence(better, middle) + right * coin_divergence(worse, middle)
}

/// Halvings of each bisection: more than a probability is worth.
const STEPS: usize = 26;

/// The proportions of draws that tell the best of these coins soonest (Garivier and Kaufmann 2016, theorem 5). Ties for
/// the best share it evenly.
pub fn optimal_proportions(means: &[f64]) -> Vec<f64> {
    let largest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ties = means.iter().filter(|mean| **mean == largest).count();
    if ties > 1 || means.len() == 1 {
        return means.iter().map(|mean| if *mean == largest { 1.0 / ties as f64 } else { 0.0 }).collect();
    }
    let others = || means.iter().copied().filter(|mean| *mean != largest);
    // The equation F(y) = 1 has its root below the smallest divergence; F grows from 0 without bound.
    let (mut low, mut high) = (0.0, others().map(|mean| coin_divergence(largest, mean)).fold(f64::INFINITY, f64::min));
    for _ in 0..STEPS {
        let y = 0.5 * (low + high);
        let sum: f64 = others().map(|mean| balance(largest, mean, ratio(largest, mean, y))).sum();
        if sum < 1.0 { low = y } else { high = y }
    }
    let y = 0.5 * (low + high);
    let draws: Vec<f64> =
        means.iter().map(|mean| if *mean == largest { 1.0 } else { ratio(largest, *mean, y) }).collect();
    let total: f64 = draws.iter().sum();
    draws.into_iter().map(|draw| draw / total).collect()
}

/// Draws of the worse arm, for one of the better, at which the pair's evidence is `y`: the inverse of x ↦ g(x).
fn ratio(better: f64, worse: f64, y: f64) -> f64 {
    let evidence = |x: f64| {
        let middle = (better + x * worse) / (1.0 + x);
        coin_divergence(better, middle) + x * coin_divergence(worse, middle)
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        if evidence(high) >= y {
            break;
        }
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if evidence(middle) < y { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn balance(better: f64, worse: f64, x: f64) -> f64 {
    let middle = (better + x * worse) / (1.0 + x);
    let below = coin_divergence(worse, middle);
    if below > 0.0 { coin_divergence(better, middle) / below } else { f64::INFINITY }
}
