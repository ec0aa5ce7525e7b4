//! The decisions whose rewards may still change, by their ids. What an entry adds to the counts is a pure function of
//! the entry, so a reward that comes later, twice or in another order can be put right exactly.

use crate::definition::{Definition, Rail};
use crate::event::{DecideEvent, DecisionId};
use crate::tally::Settled;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Entries of the ledger.
pub const ENTRIES_MAX: usize = 131_072;

/// A decision, its rewards, or both: feedback may come first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The decision.
    pub decision: Option<DecideEvent>,
    /// For each reward of the definition the earliest value that came.
    pub given: Vec<Option<Given>>,
    /// Whether its rewards are in the counts.
    pub settled: bool,
}

/// A value of a reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Given {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// In the reward's own unit.
    pub value: f64,
}

impl Given {
    /// Whether this one counts rather than `other`: the earlier one; at the same time the smaller one.
    fn precedes(&self, other: &Self) -> bool {
        (self.at_ms, self.value.total_cmp(&other.value)) < (other.at_ms, std::cmp::Ordering::Equal)
    }
}

impl Entry {
    /// An entry without anything.
    pub(crate) fn new(definition: &Definition) -> Self {
        Self { given: vec![None; definition.rewards.len()], ..Self::default() }
    }

    /// Takes a value where it precedes the one that is there. Whether it did.
    pub(crate) fn give(&mut self, reward: usize, given: Given) -> bool {
        let place = &mut self.given[reward];
        let wins = place.as_ref().is_none_or(|present| given.precedes(present));
        if wins {
            *place = Some(given);
        }
        wins
    }

    /// The time by which it is ordered: the decision's, or else that of the first reward.
    pub(crate) fn at_ms(&self) -> u64 {
        let first = || self.given.iter().flatten().map(|given| given.at_ms).min();
        self.decision.as_ref().map(|decision| decision.at_ms).or_else(first).unwrap_or(0)
    }

    /// Whether its rewards belong into the counts once `newest_ms` has come: all are there, or the window is over.
    pub(crate) fn is_due(&self, definition: &Definition, newest_ms: u64) -> bool {
        let Some(decision) = &self.decision else { return false };
        let end = decision.at_ms + definition.window_ms;
        newest_ms > end || self.given.iter().all(|given| given.is_some_and(|given| given.at_ms <= end))
    }

    /// What it adds once settled. Nothing where a reward with a weight is missing and has no default.
    pub(crate) fn settle(&self, definition: &Definition) -> Option<Settled> {
        let decision = self.decision.as_ref()?;
        let end = decision.at_ms + definition.window_ms;
        let timely = |given: &Option<Given>| given.filter(|given| given.at_ms <= end).map(|given| given.value);
        let values: Vec<Option<f64>> = self.given.iter().map(timely).collect();
        let mut whole = 0.0;
        for (reward, value) in definition.rewards.iter().zip(&values) {
            if reward.weight > 0.0 {
                whole += reward.weight * reward.scaled(value.or(reward.default)?);
            }
        }
        let rewards = definition.rewards.iter().zip(&values).map(|(reward, value)| value.map(|v| reward.scaled(v)));
        Some(Settled {
            bucket: decision.at_ms / definition.bucket_ms,
            whole: whole / definition.weight(),
            rewards: rewards.collect(),
            rails: definition.rails.iter().map(|rail| is_above(definition, rail, &values)).collect(),
            features: decision.features.clone(),
        })
    }

    /// Joins what two sides know of the same decision. `None` where they know different decisions.
    pub(crate) fn join(&self, other: &Self) -> Option<Self> {
        let mut joined = self.clone();
        match (&self.decision, &other.decision) {
            (Some(left), Some(right)) if left != right => return None,
            (None, right) => joined.decision = right.clone(),
            _ => {}
        }
        for (reward, given) in other.given.iter().enumerate() {
            if let Some(given) = given {
                joined.give(reward, *given);
            }
        }
        Some(joined)
    }
}

fn is_above(definition: &Definition, rail: &Rail, values: &[Option<f64>]) -> Option<bool> {
    let position = definition.rewards.iter().position(|reward| reward.name == rail.reward)?;
    values[position].map(|value| value > rail.limit)
}

/// The entries, and their order in time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    entries: BTreeMap<DecisionId, Entry>,
    /// All entries by time, to retire them.
    #[serde(skip)]
    by_time: BTreeSet<(u64, DecisionId)>,
    /// Those of them that are decided and not settled.
    #[serde(skip)]
    open: BTreeSet<(u64, DecisionId)>,
}

impl Ledger {
    /// The entries by id.
    pub fn entries(&self) -> &BTreeMap<DecisionId, Entry> {
        &self.entries
    }

    /// Decisions whose rewards are not in the counts.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The entry of an id.
    pub(crate) fn get(&self, id: DecisionId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Puts an entry in the place of the one of that id.
    pub(crate) fn put(&mut self, id: DecisionId, entry: Entry) {
        self.remove(id);
        let key = (entry.at_ms(), id);
        self.by_time.insert(key);
        if entry.decision.is_some() && !entry.settled {
            self.open.insert(key);
        }
        self.entries.insert(id, entry);
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, id: DecisionId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let key = (entry.at_ms(), id);
        self.by_time.remove(&key);
        self.open.remove(&key);
        Some(entry)
    }

    /// The oldest open entry from before `before_ms`.
    pub(crate) fn oldest_open(&self, before_ms: u64) -> Option<DecisionId> {
        self.open.first().filter(|(at_ms, _)| *at_ms < before_ms).map(|(_, id)| *id)
    }

    /// The oldest entry from before `before_ms`.
    pub(crate) fn oldest(&self, before_ms: u64) -> Option<DecisionId> {
        self.by_time.first().filter(|(at_ms, _)| *at_ms < before_ms).map(|(_, id)| *id)
    }

    /// Makes the order anew, after the entries were loaded.
    pub(crate) fn index(&mut self) {
        let keys = |open: bool| {
            let chosen =
                self.entries.iter().filter(move |(_, entry)| !open || (entry.decision.is_some() && !entry.settled));
            chosen.map(|(id, entry)| (entry.at_ms(), *id)).collect::<BTreeSet<_>>()
        };
        let (by_time, open) = (keys(false), keys(true));
        (self.by_time, self.open) = (by_time, open);
    }
}
