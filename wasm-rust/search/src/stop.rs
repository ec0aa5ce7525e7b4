//! Why a search gives no more trials.

use crate::arms::Cost;
use crate::options::StopRules;

/// The first rule that is met, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A score is good enough.
    ScoreReached,
    /// All trials of the budget are made or on their way.
    Trials,
    /// The tokens are spent.
    Tokens,
    /// The money is spent.
    Money,
    /// The deadline has come.
    Deadline,
    /// Too many trials failed.
    Failures,
    /// One more trial is not expected to gain enough.
    Gain,
}

impl StopReason {
    /// The reason, as one stable word.
    pub fn code(self) -> &'static str {
        match self {
            Self::ScoreReached => "score_reached",
            Self::Trials => "trials",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Deadline => "deadline",
            Self::Failures => "failures",
            Self::Gain => "gain",
        }
    }
}

/// How far a search has come.
pub(crate) struct Progress {
    /// Trials complete or open.
    pub live: u32,
    /// Trials failed or expired.
    pub failures: u32,
    pub spent: Cost,
    /// None where no score has come.
    pub best_score: Option<f64>,
    pub expected_gain: f64,
}

/// The first rule that is met.
pub(crate) fn reason(rules: &StopRules, progress: &Progress, now: u64) -> Option<StopReason> {
    let reached = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
    let tests = [
        (StopReason::ScoreReached, rules.score_reached.is_some_and(|score| progress.best_score >= Some(score))),
        (StopReason::Trials, rules.trials_max.is_some_and(|trials| progress.live >= trials)),
        (StopReason::Tokens, reached(rules.tokens_max, progress.spent.tokens)),
        (StopReason::Money, reached(rules.money_micros_max, progress.spent.money_micros)),
        (StopReason::Deadline, reached(rules.deadline_ms, now)),
        (StopReason::Failures, rules.failures_max.is_some_and(|failures| progress.failures >= failures)),
        (StopReason::Gain, rules.gain_least.is_some_and(|least| progress.expected_gain < least)),
    ];
    tests.into_iter().find_map(|(reason, met)| met.then_some(reason))
}
