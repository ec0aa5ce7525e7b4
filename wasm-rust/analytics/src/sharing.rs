//! What an arm in one namespace learns from the others: a prior at the others' mean, as strong as the namespaces agree.

use crate::definition::Prior;
use crate::drift::Evidence;

/// The prior of an arm in a namespace, from its `own` prior and the evidence of the other namespaces.
///
/// The strength is that of the beta distribution with the variance that the means show beyond chance (the method of
/// moments of the beta-binomial model), at most `strength_max` and at most the rewards that the others have.
pub fn shared_prior(own: Prior, others: &[Evidence], strength_max: f64) -> Prior {
    let seen: Vec<&Evidence> = others.iter().filter(|evidence| evidence.count > 0.0).collect();
    let count: f64 = seen.iter().map(|evidence| evidence.count).sum();
    if count <= 0.0 || strength_max <= 0.0 {
        return own;
    }
    let sum: f64 = seen.iter().map(|evidence| evidence.sum).sum();
    let strength = agreement(&seen, count, sum / count).min(strength_max).min(count);
    // The own prior counts among the others' rewards, so that a mean of exactly 0 or 1 does not become certain.
    let mean = (own.successes + sum) / (own.successes + own.failures + count);
    Prior { successes: own.successes + strength * mean, failures: own.failures + strength * (1.0 - mean) }
}

/// The beta distribution's strength (its two parameters' sum) by moments; infinite where chance explains the spread.
fn agreement(seen: &[&Evidence], count: f64, mean: f64) -> f64 {
    let spread = mean * (1.0 - mean);
    if seen.len() < 2 || spread <= 0.0 {
        return f64::INFINITY;
    }
    let between: f64 = seen
        .iter()
        .map(|evidence| {
            let difference = evidence.sum / evidence.count - mean;
            evidence.count * difference * difference
        })
        .sum();
    let squares: f64 = seen.iter().map(|evidence| evidence.count * evidence.count).sum();
    let namespaces = seen.len() as f64;
    let variance = (between - (namespaces - 1.0) * spread) / (count - squares / count);
    if variance > 0.0 { (spread / variance - 1.0).max(0.0) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(count: f64, mean: f64) -> Evidence {
        Evidence { count, sum: count * mean, squares: count * mean }
    }

    #[test]
    fn namespaces_that_agree_give_a_strong_prior_and_those_that_do_not_a_weak_one() {
        let strength = |others: &[Evidence]| {
            let prior = shared_prior(Prior::default(), others, 100.0);
            prior.successes + prior.failures - 2.0
        };
        let agreeing = strength(&[evidence(500.0, 0.3), evidence(500.0, 0.31), evidence(400.0, 0.29)]);
        let apart = strength(&[evidence(500.0, 0.1), evidence(500.0, 0.5), evidence(400.0, 0.9)]);
        assert_eq!(agreeing, 100.0);
        assert!(apart < 5.0, "{apart}");
        assert_eq!(strength(&[]), 0.0);
        assert_eq!(strength(&[evidence(3.0, 0.5)]), 3.0);
    }
}
