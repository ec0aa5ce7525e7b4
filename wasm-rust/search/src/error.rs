//! Why a call was refused. The search is unchanged after every one of them.

use std::fmt;

/// A refusal. [`SearchError::code`] is stable; the text is for people.
#[derive(Clone, Debug, PartialEq)]
pub enum SearchError {
    /// An option is missing, unknown or out of its range.
    OptionsInvalid(String),
    /// `ask` for no trial, or for more than [`crate::BATCH_MAX`].
    CountOutOfRange(u32),
    /// There is no arm that may be asked.
    ArmsMissing,
    /// There was never such an arm.
    ArmUnknown(u32),
    /// More than [`crate::ARMS_MAX`] arms.
    ArmsTooMany,
    /// There was never such a trial.
    TrialUnknown(u32),
    /// The trial was reported as failed before; its score is not wanted any more.
    TrialFailed(u32),
    /// A score is not a number in [0, 1]. The trial stays open.
    ScoreInvalid(f64),
    /// The tree has [`crate::NODES_MAX`] nodes.
    TreeFull,
    /// A snapshot is cut short, damaged or contradicts itself.
    SnapshotCorrupt(String),
    /// A snapshot is of a version that this build does not know.
    SnapshotVersion(u32),
    /// An event is not one.
    EventInvalid(String),
}

impl SearchError {
    /// The reason, as one stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OptionsInvalid(_) => "options_invalid",
            Self::CountOutOfRange(_) => "count_out_of_range",
            Self::ArmsMissing => "arms_missing",
            Self::ArmUnknown(_) => "arm_unknown",
            Self::ArmsTooMany => "arms_too_many",
            Self::TrialUnknown(_) => "trial_unknown",
            Self::TrialFailed(_) => "trial_failed",
            Self::ScoreInvalid(_) => "score_invalid",
            Self::TreeFull => "tree_full",
            Self::SnapshotCorrupt(_) => "snapshot_corrupt",
            Self::SnapshotVersion(_) => "snapshot_version",
            Self::EventInvalid(_) => "event_invalid",
        }
    }
}

impl fmt::Display for SearchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptionsInvalid(reason) => write!(formatter, "the options are invalid: {reason}"),
            Self::CountOutOfRange(count) => {
                write!(formatter, "{count} trials were asked for; 1 to {} can be", crate::BATCH_MAX)
            }
            Self::ArmsMissing => formatter.write_str("there is no arm to ask"),
            Self::ArmUnknown(arm) => write!(formatter, "there is no arm {arm}"),
            Self::ArmsTooMany => write!(formatter, "a search has at most {} arms", crate::ARMS_MAX),
            Self::TrialUnknown(trial) => write!(formatter, "there is no trial {trial}"),
            Self::TrialFailed(trial) => write!(formatter, "trial {trial} has failed before"),
            Self::ScoreInvalid(score) => write!(formatter, "a score is a number from 0 to 1, not {score}"),
            Self::TreeFull => write!(formatter, "a search has at most {} nodes", crate::NODES_MAX),
            Self::SnapshotCorrupt(reason) => write!(formatter, "the snapshot is damaged: {reason}"),
            Self::SnapshotVersion(version) => write!(formatter, "snapshots of version {version} are not known"),
            Self::EventInvalid(reason) => write!(formatter, "not an event: {reason}"),
        }
    }
}

impl std::error::Error for SearchError {}
