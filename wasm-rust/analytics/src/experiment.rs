//! The state of an experiment, and the one function that events change it by.

use crate::choice::Cache;
use crate::definition::Definition;
use crate::error::AnalyticsError;
use crate::event::{
    ArmEvent, DecideEvent, DecisionId, Event, FeedbackEvent, Settings, check, check_features, check_time,
};
use crate::ledger::{ENTRIES_MAX, Entry, Given, Ledger};
use crate::observation::Observations;
use crate::tally::{ArmTally, Settled};
use crate::traffic::Traffic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Arms of an experiment, with those that were withdrawn.
pub const ARMS_MAX: usize = 128;
/// Namespaces of an experiment.
pub const NAMESPACES_MAX: usize = 256;

/// An arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What a call under it uses.
    pub settings: Settings,
    /// Whether it may be chosen. An arm that is known from a decision only may not.
    pub active: bool,
    /// When it was last declared, in milliseconds since 1970.
    pub at_ms: u64,
}

/// An experiment: its definition, and what the events have made of it.
///
/// Events give the same state in any order, as long as each is told within `grace_ms` after its decision's window: the
/// counts are whole numbers, of two values for a reward the earlier counts, and of two declarations of an arm the later.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Experiment {
    pub(crate) definition: Definition,
    pub(crate) newest_ms: u64,
    /// By name.
    pub(crate) arms: Vec<Arm>,
    /// For each namespace the arms' counts, in the order of `arms`.
    pub(crate) namespaces: BTreeMap<String, Vec<ArmTally>>,
    pub(crate) ledger: Ledger,
    pub(crate) traffic: Traffic,
    pub(crate) observations: Observations,
    #[serde(skip)]
    pub(crate) cache: Cache,
}

/// What an event has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is in the state now.
    Recorded,
    /// It was there already, or something that takes precedence was.
    Known,
    /// It is older than the window and the grace period, so it changes nothing.
    TooOld,
}

impl Experiment {
    /// An experiment without arms.
    pub fn new(definition: Definition) -> Result<Self, AnalyticsError> {
        definition.validate()?;
        let traffic = Traffic::new(definition.bucket_ms);
        Ok(Self {
            definition,
            newest_ms: 0,
            arms: Vec::new(),
            namespaces: BTreeMap::new(),
            ledger: Ledger::default(),
            traffic,
            observations: Observations::default(),
            cache: Cache::default(),
        })
    }

    /// What it was asked to do.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The latest time that it has heard of, in milliseconds since 1970.
    pub fn newest_ms(&self) -> u64 {
        self.newest_ms
    }

    /// Its arms by name, with those that may not be chosen any more.
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// The counts by namespace, in the order of the arms.
    pub fn namespaces(&self) -> &BTreeMap<String, Vec<ArmTally>> {
        &self.namespaces
    }

    /// The decisions whose rewards may still change.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The split of the decisions over time.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The points of the continuous space whose rewards are known.
    pub fn observations(&self) -> &Observations {
        &self.observations
    }

    /// Applies one event. Where it is refused, nothing has changed.
    pub fn apply(&mut self, event: &Event) -> Result<Applied, AnalyticsError> {
        check_time(event.at_ms())?;
        let applied = match event {
            Event::Arm(event) => self.declare(event)?,
            Event::Decide(event) => self.record(event)?,
            Event::Feedback(event) => self.reward(event)?,
            Event::Tick { .. } => Applied::Recorded,
        };
        self.pass_to(event.at_ms());
        Ok(applied)
    }

    /// The bucket of a time.
    pub(crate) fn bucket(&self, at_ms: u64) -> u64 {
        at_ms / self.definition.bucket_ms
    }

    /// The position of an arm.
    pub(crate) fn position(&self, arm: &str) -> Result<usize, usize> {
        self.arms.binary_search_by(|other| other.name.as_str().cmp(arm))
    }

    fn declare(&mut self, event: &ArmEvent) -> Result<Applied, AnalyticsError> {
        event.validate()?;
        check(!self.definition.is_continuous(), "a continuous space has no arms")?;
        let position = self.make_arm(&event.arm)?;
        let arm =
            Arm { name: event.arm.clone(), settings: event.settings.clone(), active: event.active, at_ms: event.at_ms };
        if !arm.succeeds(&self.arms[position]) {
            return Ok(Applied::Known);
        }
        self.arms[position] = arm;
        self.cache.forget_all();
        Ok(Applied::Recorded)
    }

    fn record(&mut self, event: &DecideEvent) -> Result<Applied, AnalyticsError> {
        self.validate_decision(event)?;
        if self.is_retired(event.at_ms) {
            return Ok(Applied::TooOld);
        }
        let mut entry = match self.ledger.get(event.id) {
            None => Entry::new(&self.definition),
            Some(entry) => match &entry.decision {
                None => entry.clone(),
                Some(present) if present == event => return Ok(Applied::Known),
                Some(_) => return Err(AnalyticsError::DecisionConflict),
            },
        };
        self.check_room(event.id)?;
        self.make_namespace(&event.namespace)?;
        self.make_arm(&event.arm)?;
        entry.decision = Some(event.clone());
        self.count_decision(event, 1);
        self.settle_if_due(event.id, entry);
        Ok(Applied::Recorded)
    }

    /// Tells the value of one reward, by its position in the definition: the short form of a feedback event.
    pub fn give(&mut self, id: DecisionId, at_ms: u64, reward: usize, value: f64) -> Result<Applied, AnalyticsError> {
        check_time(at_ms)?;
        check(value.is_finite(), "a reward is not finite")?;
        check(reward < self.definition.rewards.len(), "a reward is not declared")?;
        let applied = self.take_rewards(id, at_ms, &[(reward, value)])?;
        self.pass_to(at_ms);
        Ok(applied)
    }

    fn reward(&mut self, event: &FeedbackEvent) -> Result<Applied, AnalyticsError> {
        let values = self.parse_rewards(event)?;
        self.take_rewards(event.id, event.at_ms, &values)
    }

    fn take_rewards(&mut self, id: DecisionId, at_ms: u64, values: &[(usize, f64)]) -> Result<Applied, AnalyticsError> {
        let mut entry = match self.ledger.get(id) {
            Some(entry) => entry.clone(),
            None if self.is_retired(at_ms) => return Ok(Applied::TooOld),
            None => Entry::new(&self.definition),
        };
        self.check_room(id)?;
        let before = entry.settle(&self.definition).filter(|_| entry.settled);
        let mut news = false;
        for (reward, value) in values {
            news |= entry.give(*reward, Given { at_ms, value: *value });
        }
        if !news {
            return Ok(Applied::Known);
        }
        if entry.settled {
            self.count_settled(id, &entry, before, -1);
            entry.settled = false;
        }
        self.settle_if_due(id, entry);
        Ok(Applied::Recorded)
    }

    /// Takes note of the time: settles what is due, and lets go of what nobody may change any more.
    fn pass_to(&mut self, at_ms: u64) {
        if at_ms <= self.newest_ms {
            return;
        }
        let (before, after) = (self.bucket(self.newest_ms), self.bucket(at_ms));
        self.newest_ms = at_ms;
        if after > before {
            self.namespaces.values_mut().flatten().for_each(|tally| tally.forget(after));
        }
        self.sweep();
    }

    /// Settles and retires by the newest time.
    pub(crate) fn sweep(&mut self) {
        while let Some(id) = self.ledger.oldest_open(self.newest_ms.saturating_sub(self.definition.window_ms)) {
            let Some(entry) = self.ledger.remove(id) else { break };
            self.settle_if_due(id, entry);
        }
        let kept_ms = self.definition.window_ms + self.definition.grace_ms;
        while let Some(id) = self.ledger.oldest(self.newest_ms.saturating_sub(kept_ms)) {
            self.ledger.remove(id);
        }
    }

    fn settle_if_due(&mut self, id: DecisionId, mut entry: Entry) {
        if entry.is_due(&self.definition, self.newest_ms) {
            let settled = entry.settle(&self.definition);
            self.count_settled(id, &entry, settled, 1);
            entry.settled = true;
        }
        self.ledger.put(id, entry);
    }

    /// Adds a decision to the counts, or takes it back. The arm and the namespace exist.
    pub(crate) fn count_decision(&mut self, event: &DecideEvent, times: i64) {
        self.traffic.add(event.at_ms, &event.arm, times);
        if let Some(tally) = self.tally(event) {
            tally.decisions += times;
        }
    }

    /// Adds a settled decision to the counts, or takes it back.
    pub(crate) fn count_settled(&mut self, id: DecisionId, entry: &Entry, settled: Option<Settled>, times: i64) {
        let (Some(decision), Some(settled)) = (&entry.decision, settled) else { return };
        if self.definition.is_continuous() {
            self.observations.add(decision.at_ms, id, &decision.point, settled.whole, times);
        }
        let newest_bucket = self.bucket(self.newest_ms);
        if let Some(tally) = self.tally(decision) {
            tally.add(&settled, newest_bucket, times);
        }
        if let Ok(position) = self.position(&decision.arm) {
            self.cache.forget(&decision.namespace, position, self.definition.sharing > 0.0);
        }
    }

    fn tally(&mut self, decision: &DecideEvent) -> Option<&mut ArmTally> {
        let position = self.position(&decision.arm).ok()?;
        self.namespaces.get_mut(&decision.namespace)?.get_mut(position)
    }

    /// The position of an arm, which is made where it was missing.
    pub(crate) fn make_arm(&mut self, name: &str) -> Result<usize, AnalyticsError> {
        let position = match self.position(name) {
            Ok(position) => return Ok(position),
            Err(position) => position,
        };
        if self.arms.len() >= ARMS_MAX {
            return Err(AnalyticsError::Full { what: "arms", entries_max: ARMS_MAX });
        }
        let arm = Arm { name: name.to_owned(), settings: Settings::new(), active: false, at_ms: 0 };
        self.arms.insert(position, arm);
        for tallies in self.namespaces.values_mut() {
            tallies.insert(position, ArmTally::new(&self.definition));
        }
        self.cache.forget_all();
        Ok(position)
    }

    pub(crate) fn make_namespace(&mut self, name: &str) -> Result<(), AnalyticsError> {
        if self.namespaces.contains_key(name) {
            return Ok(());
        }
        if self.namespaces.len() >= NAMESPACES_MAX {
            return Err(AnalyticsError::Full { what: "namespaces", entries_max: NAMESPACES_MAX });
        }
        let tallies = self.arms.iter().map(|_| ArmTally::new(&self.definition)).collect();
        self.namespaces.insert(name.to_owned(), tallies);
        Ok(())
    }

    /// Whether a decision is within its bounds.
    pub(crate) fn accepts(&self, event: &Event) -> bool {
        matches!(event, Event::Decide(event) if self.validate_decision(event).is_ok())
    }

    fn is_retired(&self, at_ms: u64) -> bool {
        at_ms + self.definition.window_ms + self.definition.grace_ms < self.newest_ms
    }

    fn check_room(&self, id: DecisionId) -> Result<(), AnalyticsError> {
        let full = self.ledger.entries().len() >= ENTRIES_MAX && self.ledger.get(id).is_none();
        if full { Err(AnalyticsError::Full { what: "open decisions", entries_max: ENTRIES_MAX }) } else { Ok(()) }
    }

    fn validate_decision(&self, event: &DecideEvent) -> Result<(), AnalyticsError> {
        let continuous = self.definition.is_continuous();
        let named = if continuous { event.arm.is_empty() } else { crate::definition::is_name(&event.arm) };
        check(named, "the arm's name is empty or too long")?;
        check(event.namespace.len() <= crate::definition::NAME_BYTES_MAX, "the namespace's name is too long")?;
        check(event.propensity > 0.0 && event.propensity <= 1.0, "the propensity is not in 0..=1")?;
        let features = if self.definition.is_linear() { self.definition.features } else { 0 };
        check_features(&event.features, features)?;
        check(crate::optimiser::is_point(&self.definition.space, &event.point), "the point is not in the space")
    }

    fn parse_rewards(&self, event: &FeedbackEvent) -> Result<Vec<(usize, f64)>, AnalyticsError> {
        let position = |name: &String| self.definition.rewards.iter().position(|reward| reward.name == *name);
        let parse = |(name, value): (&String, &f64)| {
            check(value.is_finite(), "a reward is not finite")?;
            let position = position(name).ok_or(AnalyticsError::EventInvalid("a reward is not declared".into()))?;
            Ok((position, *value))
        };
        event.rewards.iter().map(parse).collect()
    }
}

impl Arm {
    /// Whether this declaration counts rather than `present`: the later one; at the same time an order of their contents.
    pub(crate) fn succeeds(&self, present: &Self) -> bool {
        let key = |arm: &Self| (arm.at_ms, arm.active, format!("{:?}", arm.settings));
        key(self) > key(present)
    }
}
