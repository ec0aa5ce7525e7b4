//! From what is known of the arms to the probability with which each is to be drawn. The probabilities come first, the
//! arm is drawn from them: so the propensity that is logged is the one that was used.

pub(crate) mod identification;
pub(crate) mod linear;

use crate::definition::{Family, Policy, Prior};
use crate::drift::Evidence;
use crate::numeric::best::{Density, Line, Workspace, probabilities};
use crate::numeric::special::divergence_upper;
use libm::log;

/// What is known of an arm: a prior and rewards in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Pseudo-rewards.
    pub prior: Prior,
    /// Rewards.
    pub evidence: Evidence,
}

impl Belief {
    /// Successes with the prior's.
    pub fn alpha(&self) -> f64 {
        self.prior.successes + self.evidence.sum
    }

    /// Failures with the prior's.
    pub fn beta(&self) -> f64 {
        self.prior.failures + (self.evidence.count - self.evidence.sum).max(0.0)
    }

    /// The posterior mean.
    pub fn mean(&self) -> f64 {
        self.alpha() / (self.alpha() + self.beta())
    }

    /// The mean of the rewards alone, in 0..=1.
    pub(crate) fn observed_mean(&self) -> f64 {
        if self.evidence.count > 0.0 { (self.evidence.sum / self.evidence.count).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// Memory that is reused from choice to choice.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    workspace: Workspace,
    densities: Vec<Density>,
    best: Vec<f64>,
}

/// Fills `result` with the probability of each of the arms, of which there is at least one.
pub fn choose(policy: &Policy, beliefs: &[Belief], scratch: &mut Scratch, result: &mut Vec<f64>) {
    match policy {
        Policy::Thompson { family } => best(*family, beliefs, scratch, result),
        Policy::TopTwo { family, leader } => {
            let mut first = std::mem::take(&mut scratch.best);
            best(*family, beliefs, scratch, &mut first);
            top_two(&first, beliefs, *leader, result);
            scratch.best = first;
        }
        Policy::KlUcb { exploration } => {
            let total: f64 = beliefs.iter().map(|belief| belief.evidence.count).sum();
            let time = (total + 1.0).max(3.0);
            let budget = log(time) + exploration * log(log(time));
            let index = |belief: &Belief| kl_index(belief, budget);
            share_among_largest(&beliefs.iter().map(index).collect::<Vec<_>>(), result);
        }
        Policy::Elimination { delta } => identification::even_over_survivors(beliefs, *delta, result),
        Policy::TrackAndStop { delta } => identification::track(beliefs, *delta, result),
        Policy::LinThompson { .. } | Policy::LinUcb { .. } | Policy::Optimise { .. } => {
            unreachable!("these policies look at more than beliefs")
        }
    }
}

/// The probability of each arm to be the best, by the posterior.
fn best(family: Family, beliefs: &[Belief], scratch: &mut Scratch, result: &mut Vec<f64>) {
    scratch.densities.clear();
    let line = match family {
        Family::Beta => {
            scratch.densities.extend(beliefs.iter().map(|belief| Density::beta(belief.alpha(), belief.beta())));
            Line::Unit
        }
        Family::Gaussian => {
            let variance = pooled_variance(beliefs);
            scratch.densities.extend(beliefs.iter().map(|belief| normal_posterior(belief, variance)));
            Line::Real
        }
    };
    probabilities(line, &scratch.densities, &mut scratch.workspace, result);
}

/// The variance of rewards around their arm's mean, with two pseudo-rewards of an even distribution's.
fn pooled_variance(beliefs: &[Belief]) -> f64 {
    let (mut squares, mut freedom) = (2.0 / 12.0, 2.0);
    for Belief { evidence, .. } in beliefs {
        if evidence.count > 1.0 {
            squares += (evidence.squares - evidence.sum * evidence.sum / evidence.count).max(0.0);
            freedom += evidence.count - 1.0;
        }
    }
    (squares / freedom).max(1e-9)
}

/// The normal posterior under a normal prior with the moments of the beta prior.
fn normal_posterior(belief: &Belief, variance: f64) -> Density {
    let Prior { successes, failures } = belief.prior;
    let strength = successes + failures;
    let prior_mean = successes / strength;
    let prior_precision = strength * strength * (strength + 1.0) / (successes * failures);
    let precision = prior_precision + belief.evidence.count / variance;
    let mean = (prior_precision * prior_mean + belief.evidence.sum / variance) / precision;
    Density::normal(mean, 1.0 / precision.sqrt())
}

/// Top-two sampling in closed form: the leader i with probability pᵢ, then with probability β it, else j ≠ i with
/// probability pⱼ / (1 - pᵢ).
fn top_two(first: &[f64], beliefs: &[Belief], leader: f64, result: &mut Vec<f64>) {
    result.clear();
    if let [_] = first {
        result.push(1.0);
        return;
    }
    let odds = |p: f64| if 1.0 - p > NEVER { p / (1.0 - p) } else { 0.0 };
    let total: f64 = first.iter().map(|p| odds(*p)).sum();
    result.extend(first.iter().map(|p| leader * p + (1.0 - leader) * p * (total - odds(*p))));
    // Where one arm is the best beyond doubt, resampling would not end: the best of the others is the challenger.
    if let Some(certain) = first.iter().position(|p| 1.0 - p <= NEVER) {
        let others = (0..first.len()).filter(|index| *index != certain);
        let order = |left: &usize, right: &usize| beliefs[*left].mean().total_cmp(&beliefs[*right].mean());
        if let Some(challenger) = others.max_by(order) {
            result[challenger] += (1.0 - leader) * first[certain];
        }
    }
    let sum: f64 = result.iter().sum();
    result.iter_mut().for_each(|p| *p /= sum);
}

const NEVER: f64 = 1e-9;

fn kl_index(belief: &Belief, budget: f64) -> f64 {
    if belief.evidence.count <= 0.0 {
        return f64::INFINITY;
    }
    divergence_upper(belief.observed_mean(), budget / belief.evidence.count)
}

/// Shares the probability evenly among the arms of the largest value.
pub(crate) fn share_among_largest(values: &[f64], result: &mut Vec<f64>) {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ties = values.iter().filter(|value| **value == largest).count() as f64;
    result.clear();
    result.extend(values.iter().map(|value| if *value == largest { 1.0 / ties } else { 0.0 }));
}
