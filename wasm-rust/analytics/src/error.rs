//! Everything that can be refused, as one closed list. Each reason has a stable code that callers may match on.

use std::fmt;

/// Why an experiment, an event or a snapshot was refused. The experiment is as it was before the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnalyticsError {
    /// The definition contradicts itself or leaves its bounds.
    DefinitionInvalid(String),
    /// An event or a request has a value out of its range, or names what the definition does not have.
    EventInvalid(String),
    /// The decision's id is taken by a decision that is not the same.
    DecisionConflict,
    /// More open decisions, arms or namespaces than the stated bound.
    Full {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        entries_max: usize,
    },
    /// No arm may be chosen: none is declared, or the rails exclude all and there is no fallback.
    NoArm,
    /// The two sides of a merge do not stem from the base, or went on from it for longer than the grace period.
    MergeRefused(&'static str),
    /// The bytes are no snapshot, or are damaged.
    SnapshotCorrupt(String),
    /// The snapshot is of a version that this build does not know.
    SnapshotUnsupported(u16),
    /// A record of an off-policy estimate is out of range.
    RecordInvalid(String),
}

impl AnalyticsError {
    /// The stable code of this reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DefinitionInvalid(_) => "definition_invalid",
            Self::EventInvalid(_) => "event_invalid",
            Self::DecisionConflict => "decision_conflict",
            Self::Full { .. } => "experiment_full",
            Self::NoArm => "no_arm",
            Self::MergeRefused(_) => "merge_refused",
            Self::SnapshotCorrupt(_) => "snapshot_corrupt",
            Self::SnapshotUnsupported(_) => "snapshot_unsupported",
            Self::RecordInvalid(_) => "record_invalid",
        }
    }
}

impl fmt::Display for AnalyticsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefinitionInvalid(what) => write!(out, "the experiment's definition is invalid: {what}"),
            Self::EventInvalid(what) => write!(out, "the event is invalid: {what}"),
            Self::DecisionConflict => write!(out, "the decision's id is taken by another decision"),
            Self::Full { what, entries_max } => {
                write!(out, "there are {entries_max} {what} already, which is the bound")
            }
            Self::NoArm => write!(out, "there is no arm that may be chosen"),
            Self::MergeRefused(what) => write!(out, "the states cannot be merged: {what}"),
            Self::SnapshotCorrupt(what) => write!(out, "the snapshot is corrupt: {what}"),
            Self::SnapshotUnsupported(version) => write!(out, "snapshots of version {version} are not supported"),
            Self::RecordInvalid(what) => write!(out, "the record is invalid: {what}"),
        }
    }
}

impl std::error::Error for AnalyticsError {}
