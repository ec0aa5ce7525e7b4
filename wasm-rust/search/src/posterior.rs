//! AB-MCTS-A's posteriors: what is believed of a choice after its scores, and draws from that belief.

use crate::options::{Distribution, Options};
use crate::random::Random;
use crate::statistics::Statistics;

/// Keeps a Beta parameter that was given as a mean off zero.
const SHARE_LEAST: f64 = 0.01;

/// A family of posteriors with its prior.
#[derive(Clone, Copy, Debug)]
pub enum Posterior {
    /// Normal–inverse-χ².
    Gaussian {
        /// Prior mean.
        mean: f64,
        /// Its weight in observations.
        weight: f64,
        /// Degrees of freedom.
        freedom: f64,
        /// Prior variance.
        variance: f64,
        /// What a pending trial counts as: see [`Options::pending_share`].
        pending_share: f64,
    },
    /// Beta.
    Beta {
        /// Prior successes.
        successes: f64,
        /// Prior failures.
        failures: f64,
        /// What a pending trial counts as: see [`Options::pending_share`].
        pending_share: f64,
    },
}

/// The belief about a mean: Student's t.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    /// Its middle.
    pub mean: f64,
    /// Its scale.
    pub scale: f64,
    /// Its degrees of freedom.
    pub freedom: f64,
}

/// What a Gaussian believes of mean and variance.
struct Belief {
    mean: f64,
    /// Observations that the mean is worth.
    weight: f64,
    freedom: f64,
    variance: f64,
}

impl Posterior {
    /// The family of the options.
    pub fn of(options: &Options) -> Self {
        let pending_share = options.pending_share;
        match options.distribution {
            Distribution::Gaussian => {
                let prior = options.gaussian;
                Self::Gaussian {
                    mean: prior.mean,
                    weight: prior.weight,
                    freedom: prior.freedom,
                    variance: prior.variance,
                    pending_share,
                }
            }
            Distribution::Beta => {
                Self::Beta { successes: options.beta.successes, failures: options.beta.failures, pending_share }
            }
        }
    }

    /// The same family with another mean in its prior.
    pub fn with_prior_mean(self, prior_mean: Option<f64>) -> Self {
        let Some(prior) = prior_mean else { return self };
        match self {
            Self::Gaussian { weight, freedom, variance, pending_share, .. } => {
                Self::Gaussian { mean: prior, weight, freedom, variance, pending_share }
            }
            Self::Beta { pending_share, .. } => {
                let successes = prior.clamp(SHARE_LEAST, 1.0 - SHARE_LEAST);
                Self::Beta { successes, failures: 1.0 - successes, pending_share }
            }
        }
    }

    /// Draws the mean score that a choice might have.
    #[inline]
    pub fn draw_mean(&self, statistics: &Statistics, random: &mut Random) -> f64 {
        match self {
            Self::Gaussian { .. } => {
                let Spread { mean, scale, freedom } = self.spread(statistics);
                mean + scale * random.student(freedom)
            }
            Self::Beta { .. } => self.draw_beta(statistics, random),
        }
    }

    /// What a Gaussian believes of the mean.
    #[inline]
    pub fn spread(&self, statistics: &Statistics) -> Spread {
        let Belief { mean, weight, freedom, variance } = self.believe(statistics);
        Spread { mean, scale: (variance / weight).sqrt(), freedom }
    }

    /// Draws the next score that a choice might give: with the spread of single scores, where the family knows one.
    pub fn draw_score(&self, statistics: &Statistics, random: &mut Random) -> f64 {
        match self {
            Self::Gaussian { .. } => {
                let Belief { mean, weight, freedom, variance } = self.believe(statistics);
                mean + (variance * (1.0 + 1.0 / weight)).sqrt() * random.student(freedom)
            }
            Self::Beta { .. } => self.draw_beta(statistics, random),
        }
    }

    /// Of a Gaussian. Murphy's update, with the prior's mean in the last term; pending trials add to the weight and
    /// pull the mean, and leave the variance alone, about which they say nothing.
    #[inline]
    fn believe(&self, statistics: &Statistics) -> Belief {
        let Self::Gaussian { mean, weight, freedom, variance, pending_share } = *self else {
            return Belief { mean: 0.0, weight: 1.0, freedom: 1.0, variance: 0.0 };
        };
        let count = f64::from(statistics.count);
        let seen = weight + count;
        let shift = mean - statistics.mean();
        let freedom_after = freedom + count;
        let spread = freedom * variance + statistics.deviations() + count * weight / seen * shift * shift;
        let centre = (weight * mean + statistics.total()) / seen;
        let variance = spread / freedom_after;
        if statistics.pending == 0 {
            return Belief { mean: centre, weight: seen, freedom: freedom_after, variance };
        }
        let pending = f64::from(statistics.pending);
        let expected = seen + pending;
        let mean = centre * (seen + pending_share * pending) / expected;
        Belief { mean, weight: expected, freedom: freedom_after, variance }
    }

    fn draw_beta(&self, statistics: &Statistics, random: &mut Random) -> f64 {
        let Self::Beta { successes, failures, pending_share } = *self else { return 0.0 };
        let count = f64::from(statistics.count);
        let a = successes + statistics.total();
        let b = (failures + count - statistics.total()).max(f64::MIN_POSITIVE);
        let pending = f64::from(statistics.pending);
        let expected = pending * pending_share * a / (a + b);
        random.beta(a + expected, b + pending - expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Algorithm;

    fn of(scores: &[f64]) -> Statistics {
        let mut statistics = Statistics::default();
        scores.iter().for_each(|&score| statistics.add(score));
        statistics
    }

    fn gaussian() -> Posterior {
        Posterior::of(&Options::new(Algorithm::AbmctsA, 1, 1))
    }

    #[test]
    fn the_gaussian_belief_has_the_published_parameters() {
        let cases = [(&[0.8, 0.0, 0.2][..], (0.25, 4.0, 4.0, 0.1325)), (&[0.8][..], (0.4, 2.0, 2.0, 0.21))];
        for (scores, (mean, weight, freedom, variance)) in cases {
            let belief = gaussian().believe(&of(scores));
            assert!((belief.mean - mean).abs() < 1e-9, "{}", belief.mean);
            assert!((belief.variance - variance).abs() < 1e-8, "{}", belief.variance);
            assert_eq!((belief.weight, belief.freedom), (weight, freedom));
        }
    }

    #[test]
    fn a_pending_trial_makes_the_belief_lower_and_surer() {
        let done = of(&[0.9, 0.8]);
        let waiting = done.with_pending(2);
        let (before, after) = (gaussian().believe(&done), gaussian().believe(&waiting));
        assert!(after.mean < before.mean && after.weight > before.weight);
        assert_eq!(after.variance, before.variance);
    }

    #[test]
    fn a_prior_mean_takes_the_place_of_the_familys() {
        let belief = gaussian().with_prior_mean(Some(0.6)).believe(&of(&[]));
        assert_eq!(belief.mean, 0.6);
        assert_eq!(gaussian().with_prior_mean(None).believe(&of(&[])).mean, 0.0);
    }
}
