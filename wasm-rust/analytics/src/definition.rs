//! What an experiment is asked to do: rewards, rails, policy and bounds. Checked once; the rest trusts it.

use crate::error::AnalyticsError;
use serde::{Deserialize, Serialize};

/// Bytes of a name (of an arm, a namespace, a reward, a parameter).
pub const NAME_BYTES_MAX: usize = 128;
/// Rewards of an experiment.
pub const REWARDS_MAX: usize = 8;
/// Rails of an experiment.
pub const RAILS_MAX: usize = 4;
/// Features of a context.
pub const FEATURES_MAX: usize = 32;
/// A feature's size.
pub const FEATURE_SIZE_MAX: f64 = 16.0;
/// Dimensions of a continuous space.
pub const DIMENSIONS_MAX: usize = 16;
/// The latest time, in milliseconds: the largest whole number that JSON carries exactly.
pub const TIME_MS_MAX: u64 = 1 << 53;

/// An experiment's definition. It does not change while the experiment runs; arms do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Mixed into every random choice, so that two experiments choose independently for the same id.
    pub seed: u32,
    /// What is to be made large or small; at least one.
    pub rewards: Vec<Reward>,
    /// What an arm must not break. Needs a `fallback`.
    #[serde(default)]
    pub rails: Vec<Rail>,
    /// How an arm is chosen.
    pub policy: Policy,
    /// The probability, in 0..=1, that is spread evenly over all arms that may be chosen.
    #[serde(default)]
    pub floor: f64,
    /// Whether the fallback is served always, and the policy's choice is only reported.
    #[serde(default)]
    pub shadow: bool,
    /// The arm that is served in shadow mode and where the rails exclude all others. Rails do not exclude it.
    #[serde(default)]
    pub fallback: Option<String>,
    /// Milliseconds after a decision in which its rewards may come. Then the missing ones take their default.
    pub window_ms: u64,
    /// Milliseconds after the window in which events may still be told in any order, and states merged.
    pub grace_ms: u64,
    /// How old rewards count.
    #[serde(default)]
    pub drift: Drift,
    /// The width in milliseconds of the time buckets in which drift and rails are seen; 32 of them are kept.
    pub bucket_ms: u64,
    /// The pseudo-rewards with which every arm starts.
    #[serde(default)]
    pub prior: Prior,
    /// Up to how many pseudo-rewards an arm takes from the other namespaces' means; 0: namespaces share nothing.
    #[serde(default)]
    pub sharing: f64,
    /// How many features a context has; for the linear policies.
    #[serde(default)]
    pub features: usize,
    /// The parameters of a continuous space; for `Policy::Optimise`.
    #[serde(default)]
    pub space: Vec<Dimension>,
}

/// One reward of an experiment, scaled to 0..=1 by its range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reward {
    /// Its name in feedback.
    pub name: String,
    /// The worst value. Values beyond the range are clamped to it. May be above `best` (for a cost).
    pub worst: f64,
    /// The best value.
    pub best: f64,
    /// Its share of the whole reward, relative to the other rewards'; 0 for one that only a rail looks at.
    pub weight: f64,
    /// The value that counts where none came within the window. Without one the decision is left out.
    #[serde(default)]
    pub default: Option<f64>,
}

impl Reward {
    /// The value on the scale from worst (0) to best (1).
    pub fn scaled(&self, value: f64) -> f64 {
        ((value - self.worst) / (self.best - self.worst)).clamp(0.0, 1.0)
    }
}

/// An arm must keep a quantile of a value below a limit: "never above 2 s p95" is quantile 0.95, limit 2000.
///
/// After `trials` values an arm is out while the upper confidence bound of its quantile is above the limit. It is in
/// again when that bound is below the limit with a margin, or when fewer than `trials` values are left in the time
/// buckets: an arm that is out has no new ones, so it gets another trial after 32 buckets at the latest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rail {
    /// The reward whose values it limits.
    pub reward: String,
    /// Which quantile, in 0..1.
    pub quantile: f64,
    /// The largest allowed value of the quantile, in the reward's own unit.
    pub limit: f64,
    /// The confidence of the quantile's upper bound, in 0.5..1.
    pub confidence: f64,
    /// Values before the rail judges, at least 1. So few that the bound cannot be below the limit are refused.
    pub trials: u32,
    /// To come in again, at most (1 - `margin`) of the allowed share of values may be above the limit, by the bound.
    pub margin: f64,
}

/// Pseudo-rewards: as many successes and failures as if seen before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prior {
    /// At least 1.
    pub successes: f64,
    /// At least 1.
    pub failures: f64,
}

impl Default for Prior {
    fn default() -> Self {
        Self { successes: 1.0, failures: 1.0 }
    }
}

/// How old rewards count.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Drift {
    /// As new ones.
    #[default]
    Stationary,
    /// Only those of the newest buckets count.
    Window {
        /// How many buckets, 1..=32.
        buckets: u32,
    },
    /// Each bucket counts less than the next, down to nothing after 32.
    Discount {
        /// After how many milliseconds a reward counts half.
        half_life_ms: u64,
    },
    /// Those before the last change of an arm do not count: the generalised likelihood ratio of Besson and others 2022
    /// over the buckets' borders.
    Detect {
        /// The probability of a false alarm, in 0..1.
        delta: f64,
    },
}

/// The family of an arm's posterior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Family {
    /// Beta, for rewards of 0 or 1; those between count in part.
    Beta,
    /// Normal, with the variance that all arms' rewards show around their means.
    Gaussian,
}

/// How an arm is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Policy {
    /// Each arm with the probability that it is the best (Thompson 1933).
    Thompson {
        /// The posterior's family.
        family: Family,
    },
    /// The best arm with probability `leader`, else the best of the others (Russo 2016): finds the best arm sooner.
    TopTwo {
        /// The posterior's family.
        family: Family,
        /// In 0..1; one half is robust.
        leader: f64,
    },
    /// The arm of the largest upper bound by divergence (Garivier and Cappé 2011).
    KlUcb {
        /// The factor of ln ln t; 0 works best in practice, 3 has the proof.
        exploration: f64,
    },
    /// Linear Thompson sampling: one ridge regression an arm over the context's features (Agrawal and Goyal 2013).
    LinThompson {
        /// The ridge, above 0.
        ridge: f64,
        /// The posterior's deviation relative to ridge regression's, above 0.
        scale: f64,
    },
    /// The arm of the largest linear upper bound (Li and others 2010).
    LinUcb {
        /// The ridge, above 0.
        ridge: f64,
        /// Deviations above the mean, above 0.
        width: f64,
    },
    /// All arms evenly until an arm's confidence sequence lies below another's (Even-Dar and others 2006).
    Elimination {
        /// The probability of an error, in 0..1.
        delta: f64,
    },
    /// Arms by the optimal proportions until the best is known (Garivier and Kaufmann 2016); then that one.
    TrackAndStop {
        /// The probability of an error, in 0..1.
        delta: f64,
    },
    /// Points of the space by a Gaussian process with Thompson sampling; there are no arms to declare.
    Optimise {
        /// Points chosen evenly over the space before the model is asked.
        initial: u32,
    },
}

/// One parameter of a continuous space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dimension {
    /// The parameter's name.
    pub name: String,
    /// Its values.
    pub kind: DimensionKind,
}

/// The values of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum DimensionKind {
    /// Numbers between two bounds.
    Number {
        /// The least.
        low: f64,
        /// The largest.
        high: f64,
        /// Whether ratios matter rather than differences; `low` is above 0 then.
        #[serde(default)]
        logarithmic: bool,
        /// Whether only whole numbers are allowed.
        #[serde(default)]
        whole: bool,
    },
    /// One of several, by its position.
    Choice {
        /// Their names, 2..=32.
        options: Vec<String>,
    },
}

impl Definition {
    /// Refuses what contradicts itself or leaves its bounds.
    pub fn validate(&self) -> Result<(), AnalyticsError> {
        check(is_name(&self.name), "the name is empty or too long")?;
        check((1..=REWARDS_MAX).contains(&self.rewards.len()), "there must be 1 to 8 rewards")?;
        check(self.rails.len() <= RAILS_MAX, "there are more than 4 rails")?;
        self.rewards.iter().try_for_each(Reward::validate)?;
        let names: std::collections::BTreeSet<&str> = self.rewards.iter().map(|reward| reward.name.as_str()).collect();
        check(names.len() == self.rewards.len(), "two rewards have the same name")?;
        check(self.weight() > 0.0, "no reward has a weight")?;
        self.rails.iter().try_for_each(|rail| self.validate_rail(rail))?;
        check((0.0..=1.0).contains(&self.floor), "the floor is not in 0..=1")?;
        check(self.fallback.as_ref().is_none_or(|name| is_name(name)), "the fallback's name is empty or too long")?;
        let needs_fallback = self.shadow || !self.rails.is_empty();
        check(!needs_fallback || self.fallback.is_some(), "shadow mode and rails need a fallback")?;
        check((1..TIME_MS_MAX / 4).contains(&self.window_ms), "the window is not in range")?;
        check(self.grace_ms < TIME_MS_MAX / 4, "the grace period is not in range")?;
        check((1..TIME_MS_MAX / 4).contains(&self.bucket_ms), "the bucket's width is not in range")?;
        let prior = (1.0..=1e6).contains(&self.prior.successes) && (1.0..=1e6).contains(&self.prior.failures);
        check(prior, "the prior's counts are not in 1..=1e6")?;
        check((0.0..=1e6).contains(&self.sharing), "sharing is not in 0..=1e6")?;
        self.validate_drift()?;
        self.validate_policy()
    }

    /// The weights' sum.
    pub fn weight(&self) -> f64 {
        self.rewards.iter().map(|reward| reward.weight).sum()
    }

    /// Whether the policy chooses points rather than arms.
    pub fn is_continuous(&self) -> bool {
        matches!(self.policy, Policy::Optimise { .. })
    }

    /// Whether the policy looks at features.
    pub fn is_linear(&self) -> bool {
        matches!(self.policy, Policy::LinThompson { .. } | Policy::LinUcb { .. })
    }

    fn validate_rail(&self, rail: &Rail) -> Result<(), AnalyticsError> {
        check(self.rewards.iter().any(|reward| reward.name == rail.reward), "a rail's reward is not declared")?;
        check(inside(rail.quantile) && rail.limit.is_finite(), "a rail's quantile or limit is not in range")?;
        check((0.5..1.0).contains(&rail.confidence), "a rail's confidence is not in 0.5..1")?;
        check((0.0..1.0).contains(&rail.margin), "a rail's margin is not in 0..1")?;
        // Without a single value above the limit the bound is 1 - (1 - confidence)^(1 / trials).
        let least = 1.0 - libm::pow(1.0 - rail.confidence, 1.0 / f64::from(rail.trials.max(1)));
        let allowed = (1.0 - rail.quantile) * (1.0 - rail.margin);
        check(rail.trials >= 1 && least <= allowed, "a rail's trials are too few for its quantile and confidence")
    }

    fn validate_drift(&self) -> Result<(), AnalyticsError> {
        match self.drift {
            Drift::Stationary => Ok(()),
            Drift::Window { buckets } => check((1..=32).contains(&buckets), "the drift's buckets are not in 1..=32"),
            Drift::Discount { half_life_ms } => check(half_life_ms >= 1, "the half-life is 0"),
            Drift::Detect { delta } => check(inside(delta), "the drift's delta is not in 0..1"),
        }
    }

    fn validate_policy(&self) -> Result<(), AnalyticsError> {
        check(self.features <= FEATURES_MAX, "there are more than 32 features")?;
        check(!self.is_linear() || self.features > 0, "a linear policy needs features")?;
        check(
            self.is_continuous() != self.space.is_empty(),
            "a space belongs to the policy `optimise`, and it needs one",
        )?;
        match self.policy {
            Policy::Thompson { .. } => Ok(()),
            Policy::TopTwo { leader, .. } => check(inside(leader), "the leader's probability is not in 0..1"),
            Policy::KlUcb { exploration } => check((0.0..=10.0).contains(&exploration), "exploration is not in 0..=10"),
            Policy::LinThompson { ridge, scale: width } | Policy::LinUcb { ridge, width } => {
                let sound = (1e-6..=1e6).contains(&ridge) && (1e-6..=1e6).contains(&width);
                check(sound, "the ridge or the scale is not in 1e-6..=1e6")
            }
            Policy::Elimination { delta } | Policy::TrackAndStop { delta } => {
                check((1e-12..1.0).contains(&delta), "delta is not in 0..1")
            }
            Policy::Optimise { initial } => {
                check((1..=64).contains(&initial), "the initial points are not in 1..=64")?;
                check(self.space.len() <= DIMENSIONS_MAX, "there are more than 16 dimensions")?;
                check(!self.shadow && self.rails.is_empty(), "a continuous space has no shadow mode and no rails")?;
                self.space.iter().try_for_each(Dimension::validate)
            }
        }
    }
}

impl Reward {
    fn validate(&self) -> Result<(), AnalyticsError> {
        check(is_name(&self.name), "a reward's name is empty or too long")?;
        let range = self.worst.is_finite() && self.best.is_finite() && self.worst != self.best;
        check(range && (self.best - self.worst).is_finite(), "a reward's range is empty or not finite")?;
        check((0.0..=1e6).contains(&self.weight), "a reward's weight is not in 0..=1e6")?;
        check(self.default.is_none_or(f64::is_finite), "a reward's default is not finite")
    }
}

impl Dimension {
    fn validate(&self) -> Result<(), AnalyticsError> {
        check(is_name(&self.name), "a dimension's name is empty or too long")?;
        match &self.kind {
            DimensionKind::Number { low, high, logarithmic, .. } => {
                let range = low.is_finite() && high.is_finite() && low < high && (high - low).is_finite();
                check(range && (!logarithmic || *low > 0.0), "a dimension's range is empty or not finite")
            }
            DimensionKind::Choice { options } => {
                let sound = (2..=32).contains(&options.len()) && options.iter().all(|option| is_name(option));
                check(sound, "a dimension's options are not 2 to 32 names")
            }
        }
    }
}

/// Whether a text may be a name.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
}

fn inside(value: f64) -> bool {
    value > 0.0 && value < 1.0
}

fn check(holds: bool, what: &str) -> Result<(), AnalyticsError> {
    if holds { Ok(()) } else { Err(AnalyticsError::DefinitionInvalid(what.to_owned())) }
}
