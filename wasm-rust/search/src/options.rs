//! What a search is set up with. Fixed for its life, and part of its snapshot.

use serde::{Deserialize, Serialize};

use crate::error::SearchError;

/// Arms that a search may have over its life.
pub const ARMS_MAX: usize = 1024;
/// Trials that one call of `ask` may give.
pub const BATCH_MAX: u32 = 1024;
/// Nodes that a tree may have, its root included. Sums of scores are exact up to here.
pub const NODES_MAX: usize = 1 << 22;
/// The greatest time, money, or number of tokens: all greater integers are not exact in JavaScript.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// How the next trial is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// AB-MCTS with node aggregation (arXiv 2503.04412): one posterior a choice, each of all scores behind it.
    AbmctsA,
    /// AB-MCTS with a mixed model: siblings share strength.
    AbmctsM,
    /// Upper confidence bounds for trees, with a fixed number of children a node and arm.
    Mcts,
    /// Tree of thoughts, breadth first: the best few of a level are expanded, level by level.
    TreeOfThoughts,
    /// The best leaf is expanded next.
    BestFirst,
    /// Every answer is made afresh.
    RepeatedSampling,
    /// Every answer refines the one before it. One trial at a time.
    SequentialRefinement,
}

/// How AB-MCTS deals with several arms. The algorithms beside it use the arm rule alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The place first, over all arms together; then the arm by Thompson sampling over all its scores.
    #[default]
    Bandit,
    /// The place first; then the arm by UCB1 over all its scores.
    Ucb,
    /// At each node the arm first; then, among that arm's children alone, whether to widen or to deepen.
    Stack,
    /// At each node each arm names its best move; the moves' draws compete (the paper's Algorithm II).
    AlgorithmTwo,
}

/// The family of AB-MCTS-A's posteriors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Normal with unknown mean and variance.
    #[default]
    Gaussian,
    /// Beta, each score being a fraction of a success.
    Beta,
}

/// The normal–inverse-χ² prior: mean, its weight in observations, degrees of freedom, and variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GaussianPrior {
    /// Mean, 0 to 1.
    pub mean: f64,
    /// Observations that the mean is worth, above 0.
    pub weight: f64,
    /// Degrees of freedom of the variance, above 0.
    pub freedom: f64,
    /// Variance, above 0.
    pub variance: f64,
}

impl Default for GaussianPrior {
    fn default() -> Self {
        Self { mean: 0.0, weight: 1.0, freedom: 1.0, variance: 0.1 }
    }
}

/// The Beta prior: successes and failures that count as seen, both above 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BetaPrior {
    /// Successes.
    pub successes: f64,
    /// Failures.
    pub failures: f64,
}

impl Default for BetaPrior {
    fn default() -> Self {
        Self { successes: 0.5, failures: 0.5 }
    }
}

/// The mixed model's priors (§2.1 of the paper's appendix): all standard deviations, in score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MixedPrior {
    /// Mean of the groups' mean, 0 to 1.
    pub mean: f64,
    /// Its standard deviation.
    pub mean_deviation: f64,
    /// Scale of the half-normal over the deviation between groups.
    pub group_deviation: f64,
    /// Scale of the half-normal over the deviation within a group.
    pub noise_deviation: f64,
    /// The least deviation within a group. Above 0: where all scores of every group are equal, as with tests that pass
    /// or fail, the posterior without a floor is not a distribution.
    pub noise_least: f64,
}

impl Default for MixedPrior {
    fn default() -> Self {
        Self { mean: 0.5, mean_deviation: 0.2, group_deviation: 0.2, noise_deviation: 0.3, noise_least: 0.01 }
    }
}

/// When the mixed model leaves a child's subtree alone: most of its scores are the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pruning {
    /// Whether to do it.
    pub enabled: bool,
    /// Scores that the subtree must have at least.
    pub nodes_least: u32,
    /// The share, above ½, that must be equal when rounded to a hundredth.
    pub same_share: f64,
}

impl Default for Pruning {
    fn default() -> Self {
        Self { enabled: true, nodes_least: 4, same_share: 0.75 }
    }
}

/// What an arm's cost is measured in, where arms are chosen by value for cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostMeasure {
    /// Tokens.
    Tokens,
    /// Money.
    Money,
    /// Time.
    Time,
}

/// When no more trials are given. A field that is not there stops nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StopRules {
    /// Trials that succeed or are open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials_max: Option<u32>,
    /// Tokens spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<u64>,
    /// Money spent, in millionths of its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_micros_max: Option<u64>,
    /// A time, on the clock that all `now` are read from, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// A score that is good enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_reached: Option<f64>,
    /// The least gain of one more trial, in score, that is worth it. See [`crate::Search::expected_gain`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_least: Option<f64>,
    /// Trials that failed or ran out of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_max: Option<u32>,
}

/// Everything that a search is set up with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// How it deals with arms.
    #[serde(default)]
    pub strategy: Strategy,
    /// Arms at the beginning; their numbers are 0, 1, …
    pub arms: u32,
    /// Whatever is drawn follows from it.
    pub seed: u64,
    /// AB-MCTS-A's posteriors.
    #[serde(default)]
    pub distribution: Distribution,
    /// Their prior, where Gaussian.
    #[serde(default)]
    pub gaussian: GaussianPrior,
    /// Their prior, where Beta.
    #[serde(default)]
    pub beta: BetaPrior,
    /// AB-MCTS-M's priors.
    #[serde(default)]
    pub mixed: MixedPrior,
    /// AB-MCTS-M's pruning.
    #[serde(default)]
    pub pruning: Pruning,
    /// A trial on its way counts as an observation of this share of what is expected there: 1 leaves the expectation
    /// alone and only makes it surer; 0 takes it for a failure until the score is there. 0 to 1.
    #[serde(default = "default_pending_share")]
    pub pending_share: f64,
    /// The weight of the bound in UCB, above 0; √2 where not given.
    #[serde(default = "default_exploration")]
    pub exploration: f64,
    /// Children that a node gets from each arm (MCTS and best-first), or from all together (tree of thoughts). 2, and
    /// 5 for tree of thoughts, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children_each: Option<u32>,
    /// Nodes of a level that tree of thoughts expands.
    #[serde(default = "default_breadth")]
    pub breadth: u32,
    /// Chooses arms by gain over the best score so far, for their mean cost in this measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_for: Option<CostMeasure>,
    /// A trial without a score after this time is expired by `expire`, in milliseconds; 0 for never.
    #[serde(default)]
    pub trial_timeout_ms: u64,
    /// When to stop.
    #[serde(default)]
    pub stop: StopRules,
}

fn default_pending_share() -> f64 {
    0.9
}

fn default_exploration() -> f64 {
    std::f64::consts::SQRT_2
}

fn default_breadth() -> u32 {
    3
}

impl Options {
    /// Options of an algorithm with everything else as it is when nothing is said.
    pub fn new(algorithm: Algorithm, arms: u32, seed: u64) -> Self {
        Self {
            algorithm,
            strategy: Strategy::default(),
            arms,
            seed,
            distribution: Distribution::default(),
            gaussian: GaussianPrior::default(),
            beta: BetaPrior::default(),
            mixed: MixedPrior::default(),
            pruning: Pruning::default(),
            pending_share: default_pending_share(),
            exploration: default_exploration(),
            children_each: None,
            breadth: default_breadth(),
            value_for: None,
            trial_timeout_ms: 0,
            stop: StopRules::default(),
        }
    }

    /// Reads options from JSON. Fields that are unknown or out of their range are refused.
    pub fn from_json(text: &str) -> Result<Self, SearchError> {
        let options: Self =
            serde_json::from_str(text).map_err(|error| SearchError::OptionsInvalid(error.to_string()))?;
        options.validate()?;
        Ok(options)
    }

    /// Refuses what is out of its range.
    pub fn validate(&self) -> Result<(), SearchError> {
        let (gaussian, beta, mixed, stop) = (&self.gaussian, &self.beta, &self.mixed, &self.stop);
        let checks = [
            ("arms", (1..=ARMS_MAX).contains(&(self.arms as usize))),
            ("seed", self.seed <= INTEGER_MAX),
            ("gaussian.mean", share(gaussian.mean)),
            ("gaussian.weight", positive(gaussian.weight)),
            ("gaussian.freedom", positive(gaussian.freedom)),
            ("gaussian.variance", positive(gaussian.variance)),
            ("beta.successes", positive(beta.successes)),
            ("beta.failures", positive(beta.failures)),
            ("mixed.mean", share(mixed.mean)),
            ("mixed.meanDeviation", positive(mixed.mean_deviation)),
            ("mixed.groupDeviation", positive(mixed.group_deviation)),
            ("mixed.noiseDeviation", positive(mixed.noise_deviation)),
            ("mixed.noiseLeast", positive(mixed.noise_least) && mixed.noise_least < mixed.noise_deviation),
            ("pruning.sameShare", self.pruning.same_share > 0.5 && self.pruning.same_share <= 1.0),
            ("pendingShare", share(self.pending_share)),
            (
                "valueFor, which goes with the strategy bandit,",
                self.value_for.is_none() || self.strategy == Strategy::Bandit,
            ),
            ("exploration", positive(self.exploration)),
            ("childrenEach", self.children_each.is_none_or(|children| (1..=BATCH_MAX).contains(&children))),
            ("breadth", (1..=BATCH_MAX).contains(&self.breadth)),
            ("trialTimeoutMs", self.trial_timeout_ms <= INTEGER_MAX),
            ("stop.trialsMax", stop.trials_max.is_none_or(|trials| trials > 0)),
            ("stop.tokensMax", stop.tokens_max.is_none_or(|tokens| (1..=INTEGER_MAX).contains(&tokens))),
            ("stop.moneyMicrosMax", stop.money_micros_max.is_none_or(|money| (1..=INTEGER_MAX).contains(&money))),
            ("stop.deadlineMs", stop.deadline_ms.is_none_or(|time| time <= INTEGER_MAX)),
            ("stop.scoreReached", stop.score_reached.is_none_or(share)),
            ("stop.gainLeast", stop.gain_least.is_none_or(share)),
            ("stop.failuresMax", stop.failures_max.is_none_or(|failures| failures > 0)),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(SearchError::OptionsInvalid(format!("{field} is out of its range"))),
            None => Ok(()),
        }
    }
}

fn share(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

/// From a millionth to a million: so that no quotient of two such numbers leaves the range of floating point.
fn positive(value: f64) -> bool {
    (1e-6..=1e6).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_from_json_need_the_algorithm_the_arms_and_the_seed_alone() {
        let options = Options::from_json(r#"{"algorithm":"abmcts-a","arms":2,"seed":7}"#).expect("valid");
        assert_eq!(options, Options::new(Algorithm::AbmctsA, 2, 7));
        let text = serde_json::to_string(&options).expect("serialises");
        assert_eq!(Options::from_json(&text), Ok(options));
    }

    #[test]
    fn what_is_unknown_or_out_of_range_is_named() {
        let refused = [
            (r#"{"algorithm":"abmcts-a","arms":0,"seed":7}"#, "arms"),
            (r#"{"algorithm":"abmcts-b","arms":1,"seed":7}"#, "abmcts-b"),
            (r#"{"algorithm":"mcts","arms":1,"seed":7,"budget":1}"#, "budget"),
            (r#"{"algorithm":"mcts","arms":1,"seed":-7}"#, "-7"),
            (r#"{"algorithm":"mcts","arms":1,"seed":7,"stop":{"trialsMax":0}}"#, "stop.trialsMax"),
            (r#"{"algorithm":"mcts","arms":1,"seed":7,"pendingShare":1.5}"#, "pendingShare"),
            (r#"{"algorithm":"mcts","arms":1,"seed":7,"mixed":{"noiseLeast":0}}"#, "mixed.noiseLeast"),
            ("[]", ""),
        ];
        for (text, named) in refused {
            let error = Options::from_json(text).expect_err(text);
            assert_eq!(error.code(), "options_invalid");
            assert!(error.to_string().contains(named), "{error} does not name {named}");
        }
    }
}
