//! The arms: what can make an answer (a model, a prompt, a set of parameters). Here they are numbers.

use crate::error::SearchError;
use crate::options::{ARMS_MAX, CostMeasure};
use crate::statistics::Statistics;

/// What a trial has cost. All whole numbers, so that sums do not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cost {
    /// Tokens read and written.
    pub tokens: u64,
    /// Money, in millionths of its unit.
    pub money_micros: u64,
    /// Time, in milliseconds.
    pub time_ms: u64,
}

impl Cost {
    /// Both together; held at the greatest number where it would be passed.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            money_micros: self.money_micros.saturating_add(other.money_micros),
            time_ms: self.time_ms.saturating_add(other.time_ms),
        }
    }

    /// One of the three.
    pub fn in_measure(&self, measure: CostMeasure) -> u64 {
        match measure {
            CostMeasure::Tokens => self.tokens,
            CostMeasure::Money => self.money_micros,
            CostMeasure::Time => self.time_ms,
        }
    }
}

/// One arm.
#[derive(Clone, Copy, Debug)]
pub struct Arm {
    /// Whether it may be asked. An arm that was removed keeps its scores.
    pub active: bool,
    /// The mean score that is expected of it before any is seen, 0 to 1.
    pub prior_mean: Option<f64>,
    /// All scores of its answers, anywhere in the tree.
    pub statistics: Statistics,
    /// What its trials have cost.
    pub spent: Cost,
}

/// All arms, by number.
#[derive(Clone, Debug, Default)]
pub struct Arms {
    all: Vec<Arm>,
    active: u32,
}

impl Arms {
    /// Adds one and gives its number.
    pub fn add(&mut self, prior_mean: Option<f64>) -> Result<u32, SearchError> {
        if prior_mean.is_some_and(|mean| !(0.0..=1.0).contains(&mean)) {
            return Err(SearchError::OptionsInvalid("an arm's prior mean is out of its range".into()));
        }
        if self.all.len() == ARMS_MAX {
            return Err(SearchError::ArmsTooMany);
        }
        self.all.push(Arm { active: true, prior_mean, statistics: Statistics::default(), spent: Cost::default() });
        self.active += 1;
        Ok(self.all.len() as u32 - 1)
    }

    /// Takes an arm out of the choice. Does nothing where it is out already.
    pub fn remove(&mut self, arm: u32) -> Result<(), SearchError> {
        let removed = self.all.get_mut(arm as usize).ok_or(SearchError::ArmUnknown(arm))?;
        self.active -= u32::from(removed.active);
        removed.active = false;
        Ok(())
    }

    /// All, the removed ones among them.
    pub fn all(&self) -> &[Arm] {
        &self.all
    }

    /// How many may be asked.
    pub fn active_count(&self) -> u32 {
        self.active
    }

    /// Those that may be asked, with their numbers.
    pub fn active(&self) -> impl Iterator<Item = (u32, &Arm)> {
        self.all.iter().enumerate().filter(|(_, arm)| arm.active).map(|(number, arm)| (number as u32, arm))
    }

    pub(crate) fn open(&mut self, arm: u32) {
        self.all[arm as usize].statistics.pending += 1;
    }

    pub(crate) fn close(&mut self, arm: u32) {
        self.all[arm as usize].statistics.pending -= 1;
    }

    pub(crate) fn score(&mut self, arm: u32, score: f64) {
        self.all[arm as usize].statistics.add(score);
    }

    pub(crate) fn spend(&mut self, arm: u32, cost: &Cost) {
        let arm = &mut self.all[arm as usize];
        arm.spent = arm.spent.plus(cost);
    }
}
