//! How the decisions were split over the arms in the course of time, in at most 64 buckets, whose width doubles when the
//! time grows. The width depends on the first and the last time alone, so the order of the events does not matter.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Buckets from the first to the last.
pub const TRAFFIC_BUCKETS_MAX: u64 = 64;

/// Decisions by time and arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// A bucket's width in milliseconds.
    pub width_ms: u64,
    /// Decisions by the bucket's position in time (times the width: its start) and by arm.
    pub buckets: BTreeMap<u64, BTreeMap<String, i64>>,
}

impl Traffic {
    /// No decisions yet.
    pub(crate) fn new(width_ms: u64) -> Self {
        Self { width_ms, buckets: BTreeMap::new() }
    }

    /// Counts decisions for an arm.
    pub(crate) fn add(&mut self, at_ms: u64, arm: &str, decisions: i64) {
        let arms = self.buckets.entry(at_ms / self.width_ms).or_default();
        match arms.get_mut(arm) {
            Some(count) => *count += decisions,
            None => drop(arms.insert(arm.to_owned(), decisions)),
        }
        self.coarsen();
    }

    /// Adds another's counts `times` times.
    pub(crate) fn add_traffic(&mut self, other: &Self, times: i64) {
        while self.width_ms < other.width_ms {
            self.double();
        }
        for (index, arms) in &other.buckets {
            for (arm, count) in arms {
                self.add(index * other.width_ms, arm, count * times);
            }
        }
    }

    /// Forgets arms and buckets without decisions.
    pub(crate) fn drop_zeros(&mut self) {
        self.buckets.values_mut().for_each(|arms| arms.retain(|_, count| *count != 0));
        self.buckets.retain(|_, arms| !arms.is_empty());
    }

    fn coarsen(&mut self) {
        while let (Some((first, _)), Some((last, _))) = (self.buckets.first_key_value(), self.buckets.last_key_value())
        {
            if last - first < TRAFFIC_BUCKETS_MAX {
                return;
            }
            self.double();
        }
    }

    fn double(&mut self) {
        self.width_ms *= 2;
        for (index, arms) in std::mem::take(&mut self.buckets) {
            let place = self.buckets.entry(index / 2).or_default();
            for (arm, count) in arms {
                *place.entry(arm).or_default() += count;
            }
        }
    }
}
