//! The state as bytes and as JSON. Both load again to the same state, bit for bit; damaged ones are refused.
//!
//! Bytes: `TLAX`, the version (two bytes, little endian), the state in postcard's wire format, and FNV-1a of all before
//! (eight bytes, little endian).

use crate::definition::{TIME_MS_MAX, is_name};
use crate::error::AnalyticsError;
use crate::event::Event;
use crate::experiment::{ARMS_MAX, Experiment, NAMESPACES_MAX};
use crate::ledger::ENTRIES_MAX;
use crate::observation::OBSERVATIONS_MAX;
use crate::traffic::TRAFFIC_BUCKETS_MAX;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 4] = b"TLAX";
/// The version that is written.
pub const VERSION: u16 = 1;
/// Bytes of a snapshot that is loaded.
pub const BYTES_MAX: usize = 256 << 20;
const FRAME: usize = 4 + 2 + 8;

#[derive(Serialize)]
struct JsonOut<'a> {
    version: u16,
    experiment: &'a Experiment,
}

#[derive(Deserialize)]
struct JsonIn {
    experiment: Experiment,
}

#[derive(Deserialize)]
struct JsonVersion {
    version: u16,
}

impl Experiment {
    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        // Writing into a growing vector does not fail, and the state has no type that the format lacks.
        let mut bytes = postcard::to_extend(self, bytes).unwrap_or_default();
        let sum = fnv(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Loads what `to_bytes` has written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AnalyticsError> {
        if bytes.len() < FRAME || bytes.len() > BYTES_MAX || &bytes[..4] != MAGIC {
            return Err(corrupt("it does not start like one, or is too short or too long"));
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(AnalyticsError::SnapshotUnsupported(version));
        }
        let (content, sum) = bytes.split_at(bytes.len() - 8);
        if fnv(content).to_le_bytes() != sum {
            return Err(corrupt("its checksum is wrong"));
        }
        let (experiment, rest): (Self, &[u8]) =
            postcard::take_from_bytes(&content[6..]).map_err(|error| corrupt(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(corrupt("there is something behind its end"));
        }
        experiment.opened()
    }

    /// The state as JSON.
    pub fn to_json(&self) -> String {
        // All keys are texts and all numbers finite, so this does not fail.
        serde_json::to_string(&JsonOut { version: VERSION, experiment: self }).unwrap_or_default()
    }

    /// Loads what `to_json` has written.
    pub fn from_json(text: &str) -> Result<Self, AnalyticsError> {
        if text.len() > BYTES_MAX {
            return Err(corrupt("it is too long"));
        }
        let failed = |error: serde_json::Error| corrupt(&error.to_string());
        let JsonVersion { version } = serde_json::from_str(text).map_err(failed)?;
        if version != VERSION {
            return Err(AnalyticsError::SnapshotUnsupported(version));
        }
        let JsonIn { experiment } = serde_json::from_str(text).map_err(failed)?;
        experiment.opened()
    }

    fn opened(mut self) -> Result<Self, AnalyticsError> {
        self.validate()?;
        self.ledger.index();
        Ok(self)
    }

    /// Refuses what no events can have given.
    fn validate(&self) -> Result<(), AnalyticsError> {
        self.definition.validate()?;
        check(self.newest_ms <= TIME_MS_MAX / 2, "its time is not in range")?;
        let sorted = self.arms.windows(2).all(|pair| pair[0].name < pair[1].name);
        check(sorted && self.arms.len() <= ARMS_MAX, "its arms are not in order, or too many")?;
        check(self.namespaces.len() <= NAMESPACES_MAX, "its namespaces are too many")?;
        for (name, tallies) in &self.namespaces {
            check(name.is_empty() || is_name(name), "a namespace's name is too long")?;
            check(tallies.len() == self.arms.len(), "a namespace has other arms")?;
            tallies.iter().try_for_each(|tally| tally.validate(&self.definition))?;
        }
        self.validate_arms()?;
        self.validate_ledger()?;
        self.validate_traffic()?;
        self.validate_observations()
    }

    fn validate_arms(&self) -> Result<(), AnalyticsError> {
        for arm in &self.arms {
            let event = crate::event::ArmEvent {
                at_ms: arm.at_ms,
                arm: arm.name.clone(),
                settings: arm.settings.clone(),
                active: arm.active,
            };
            let sound = (arm.name.is_empty() && self.definition.is_continuous()) || event.validate().is_ok();
            check(sound, "an arm is out of its bounds")?;
        }
        Ok(())
    }

    fn validate_ledger(&self) -> Result<(), AnalyticsError> {
        check(self.ledger.entries().len() <= ENTRIES_MAX, "its open decisions are too many")?;
        for entry in self.ledger.entries().values() {
            check(entry.given.len() == self.definition.rewards.len(), "a decision has other rewards")?;
            let given = entry.given.iter().flatten();
            let sound = given.into_iter().all(|given| given.value.is_finite() && given.at_ms <= TIME_MS_MAX / 2);
            check(sound, "a decision's reward is out of its bounds")?;
            let Some(decision) = &entry.decision else {
                check(!entry.settled, "what is not decided is settled")?;
                continue;
            };
            let known = self.position(&decision.arm).is_ok() && self.namespaces.contains_key(&decision.namespace);
            check(known && decision.at_ms <= TIME_MS_MAX / 2, "a decision's arm, namespace or time is unknown")?;
            let event = Event::Decide(decision.clone());
            check(self.accepts(&event), "a decision is out of its bounds")?;
        }
        Ok(())
    }

    fn validate_traffic(&self) -> Result<(), AnalyticsError> {
        let buckets = &self.traffic.buckets;
        let first = buckets.first_key_value().map_or(0, |(index, _)| *index);
        let last = buckets.last_key_value().map_or(0, |(index, _)| *index);
        let bounded = (1..TIME_MS_MAX).contains(&self.traffic.width_ms)
            && last <= TIME_MS_MAX / self.traffic.width_ms
            && last - first < TRAFFIC_BUCKETS_MAX;
        check(bounded, "its traffic's buckets are out of their bounds")?;
        let counts = buckets
            .values()
            .all(|arms| arms.iter().all(|(arm, count)| self.position(arm).is_ok() && (0..1 << 48).contains(count)));
        check(counts, "its traffic's counts are out of their bounds")
    }

    fn validate_observations(&self) -> Result<(), AnalyticsError> {
        let observations = self.observations.as_slice();
        let ordered = observations.windows(2).all(|pair| (pair[0].at_ms, pair[0].id) < (pair[1].at_ms, pair[1].id));
        let sound = observations.iter().all(|observation| {
            (0.0..=1.0).contains(&observation.reward)
                && crate::optimiser::is_point(&self.definition.space, &observation.point)
        });
        check(ordered && sound && observations.len() <= OBSERVATIONS_MAX, "its observations are out of their bounds")
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn corrupt(what: &str) -> AnalyticsError {
    AnalyticsError::SnapshotCorrupt(what.to_owned())
}

fn check(holds: bool, what: &str) -> Result<(), AnalyticsError> {
    if holds { Ok(()) } else { Err(corrupt(what)) }
}
