//! What happens to a search. Its whole state follows from its options and its events, so a log of them is a backup that
//! replays to the same bits on any host.

use serde::{Deserialize, Serialize};

use crate::arms::Cost;
use crate::error::SearchError;

/// One thing that happened. All times are milliseconds of one clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Event {
    /// Trials were asked for.
    Ask {
        /// How many at most.
        count: u32,
        /// When.
        now: u64,
    },
    /// A trial's score came.
    Tell {
        /// Which trial.
        trial: u32,
        /// Its score, 0 to 1.
        score: f64,
        /// What it cost.
        #[serde(default)]
        cost: Cost,
        /// When.
        now: u64,
    },
    /// A trial's call failed.
    Fail {
        /// Which trial.
        trial: u32,
        /// What it cost all the same.
        #[serde(default)]
        cost: Cost,
        /// When.
        now: u64,
    },
    /// Trials past their deadline were given up.
    Expire {
        /// When.
        now: u64,
    },
    /// An arm was added.
    AddArm {
        /// The mean score that is expected of it, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prior_mean: Option<f64>,
    },
    /// An arm was taken out of the choice.
    RemoveArm {
        /// Which arm.
        arm: u32,
    },
}

impl Event {
    /// Reads an event from JSON.
    pub fn from_json(text: &str) -> Result<Self, SearchError> {
        serde_json::from_str(text).map_err(|error| SearchError::EventInvalid(error.to_string()))
    }

    /// The event as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A trial to carry out: make an answer with `arm` from the answer of `parent` (from nothing where that is the root).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// Its number, and that of the node it becomes.
    pub id: u32,
    /// The node that it refines; 0 is the root.
    pub parent: u32,
    /// The arm that makes it.
    pub arm: u32,
}

/// What an event led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The trials to carry out. Fewer than asked for where the budget ends or results must come first.
    Asked(Vec<Trial>),
    /// It was new and is counted.
    Recorded,
    /// It was known before; nothing has changed.
    Known,
    /// The trials that ran out of time.
    Expired(Vec<u32>),
    /// The new arm's number.
    ArmAdded(u32),
}
