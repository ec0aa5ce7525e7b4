//! The points of a continuous space with their rewards: a set ordered by time, of which the newest are kept.

use crate::event::DecisionId;
use serde::{Deserialize, Serialize};

/// Observations that are kept.
pub const OBSERVATIONS_MAX: usize = 256;

/// A point with its reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// When it was chosen, in milliseconds since 1970.
    pub at_ms: u64,
    /// By which decision.
    pub id: DecisionId,
    /// One number a dimension.
    pub point: Vec<f64>,
    /// In 0..=1.
    pub reward: f64,
}

/// The newest observations, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Observations(pub(crate) Vec<Observation>);

impl Observations {
    /// The observations, oldest first.
    pub fn as_slice(&self) -> &[Observation] {
        &self.0
    }

    /// Adds an observation (`times` = 1) or takes it out (-1).
    pub(crate) fn add(&mut self, at_ms: u64, id: DecisionId, point: &[f64], reward: f64, times: i64) {
        let key = (at_ms, id);
        let place = self.0.binary_search_by_key(&key, |observation| (observation.at_ms, observation.id));
        match (place, times > 0) {
            (Err(position), true) => {
                self.0.insert(position, Observation { at_ms, id, point: point.to_vec(), reward });
                self.trim();
            }
            (Ok(position), true) => self.0[position].reward = reward,
            (Ok(position), false) => drop(self.0.remove(position)),
            (Err(_), false) => {}
        }
    }

    /// Adds those of another side; where both have one, this side's stays.
    pub(crate) fn join(&mut self, other: &Self) {
        for observation in &other.0 {
            let key = (observation.at_ms, observation.id);
            if let Err(position) = self.0.binary_search_by_key(&key, |present| (present.at_ms, present.id)) {
                self.0.insert(position, observation.clone());
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        let excess = self.0.len().saturating_sub(OBSERVATIONS_MAX);
        self.0.drain(..excess);
    }
}
