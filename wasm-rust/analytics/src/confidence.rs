//! Intervals for the mean of rewards in 0..=1 that hold at all times at once, so one may look whenever one likes.
//!
//! Robbins' mixture (1970): for independent coins of mean p, M = ∫ ∏ θʳ(1-θ)¹⁻ʳ / pʳ(1-p)¹⁻ʳ dBeta(θ; ½, ½) is a
//! martingale that starts at 1, so it ever reaches 1/α with probability at most α (Ville). For any rewards in 0..=1 of
//! conditional mean p it is a supermartingale, because each factor is convex in r and thus at most its chord. The
//! interval holds all p with M < 1/α; it needs the count and the sum alone, hence no order and no memory.

use crate::numeric::special::{divergence_lower, divergence_upper, ln_beta};
use libm::log;
use serde::{Deserialize, Serialize};

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The interval for the mean of `count` rewards of this `sum`, wrong at any time with probability at most `alpha`.
pub fn mean_interval(count: f64, sum: f64, alpha: f64) -> Interval {
    if count <= 0.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let mean = (sum / count).clamp(0.0, 1.0);
    let budget = (maximal_ln_likelihood(count, mean) - ln_mixture(count, mean * count) - log(alpha)) / count;
    Interval { low: divergence_lower(mean, budget).max(0.0), high: divergence_upper(mean, budget) }
}

/// The smallest count each of two arms needs, at these means, for their intervals at `alpha` each to be apart; nothing
/// above `COUNT_MAX`.
pub fn count_to_separate(better: f64, worse: f64, alpha: f64) -> Option<u64> {
    let apart = |count: u64| {
        let count = count as f64;
        mean_interval(count, better * count, alpha).low > mean_interval(count, worse * count, alpha).high
    };
    let mut high = 1;
    while !apart(high) {
        high *= 2;
        if high > COUNT_MAX {
            return None;
        }
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if apart(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Counts above this are not looked for: the difference is too small to matter.
pub const COUNT_MAX: u64 = 1 << 32;

fn ln_mixture(count: f64, sum: f64) -> f64 {
    ln_beta(0.5 + sum, 0.5 + count - sum) - ln_beta(0.5, 0.5)
}

fn maximal_ln_likelihood(count: f64, mean: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { p * log(p) } else { 0.0 };
    count * (term(mean) + term(1.0 - mean))
}
