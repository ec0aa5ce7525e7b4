//! What happens to an experiment. The log of events, in any order within the grace period, gives its state.

use crate::definition::{FEATURE_SIZE_MAX, TIME_MS_MAX, is_name};
use crate::error::AnalyticsError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// The id of a decision: 128 bits that the caller draws. In JSON 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecisionId(pub u128);

impl Serialize for DecisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{:032x}", self.0))
        } else {
            serializer.serialize_u128(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for DecisionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u128::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = if digits { u128::from_str_radix(&text, 16).ok() } else { None };
        id.map(Self).ok_or_else(|| serde::de::Error::custom("a decision's id is 32 hexadecimal digits"))
    }
}

/// A setting of an arm: in JSON a number, a text or a truth value.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
    /// Yes or no.
    Flag(bool),
}

#[derive(Serialize, Deserialize)]
enum Tagged {
    Number(f64),
    Text(String),
    Flag(bool),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Plain {
    Number(f64),
    Text(String),
    Flag(bool),
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            match self.clone() {
                Self::Number(value) => Plain::Number(value),
                Self::Text(value) => Plain::Text(value),
                Self::Flag(value) => Plain::Flag(value),
            }
            .serialize(serializer)
        } else {
            match self.clone() {
                Self::Number(value) => Tagged::Number(value),
                Self::Text(value) => Tagged::Text(value),
                Self::Flag(value) => Tagged::Flag(value),
            }
            .serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(if deserializer.is_human_readable() {
            match Plain::deserialize(deserializer)? {
                Plain::Number(value) => Self::Number(value),
                Plain::Text(value) => Self::Text(value),
                Plain::Flag(value) => Self::Flag(value),
            }
        } else {
            match Tagged::deserialize(deserializer)? {
                Tagged::Number(value) => Self::Number(value),
                Tagged::Text(value) => Self::Text(value),
                Tagged::Flag(value) => Self::Flag(value),
            }
        })
    }
}

/// The settings of an arm, by the parameters' names.
pub type Settings = BTreeMap<String, Setting>;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Event {
    /// An arm is declared anew, or its settings or its standing change.
    Arm(ArmEvent),
    /// An arm was chosen for a call.
    Decide(DecideEvent),
    /// Rewards came for a decision.
    Feedback(FeedbackEvent),
    /// Time has passed.
    Tick {
        /// Milliseconds since 1970.
        at_ms: u64,
    },
}

/// An arm is declared, changed or withdrawn. The latest counts, whatever the order in which they are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArmEvent {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The arm.
    pub arm: String,
    /// What a call under it uses.
    pub settings: Settings,
    /// Whether it may be chosen from now on.
    pub active: bool,
}

/// An arm, or a point of the continuous space, was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecideEvent {
    /// The decision.
    pub id: DecisionId,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The task type, tenant or whatever else has arms' means of its own.
    pub namespace: String,
    /// The arm that was served; the empty text for a point.
    pub arm: String,
    /// The probability with which it was drawn; 1 for a point.
    pub propensity: f64,
    /// The context's features, as many as the definition says; none for policies that look at none.
    #[serde(default)]
    pub features: Vec<f64>,
    /// The point of the continuous space, one number a dimension (a choice by its position); else empty.
    #[serde(default)]
    pub point: Vec<f64>,
}

/// Rewards for a decision; more may follow. Telling the same again changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FeedbackEvent {
    /// The decision.
    pub id: DecisionId,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Values by the rewards' names, in the rewards' own units. Of two for the same reward the earlier counts.
    pub rewards: BTreeMap<String, f64>,
}

/// Parameters of an arm.
pub const SETTINGS_MAX: usize = 32;

impl Event {
    /// When it happened.
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Arm(event) => event.at_ms,
            Self::Decide(event) => event.at_ms,
            Self::Feedback(event) => event.at_ms,
            Self::Tick { at_ms } => *at_ms,
        }
    }
}

/// Refuses a time out of range.
pub(crate) fn check_time(at_ms: u64) -> Result<(), AnalyticsError> {
    check(at_ms <= TIME_MS_MAX / 2, "the time is not in range")
}

impl ArmEvent {
    pub(crate) fn validate(&self) -> Result<(), AnalyticsError> {
        check_time(self.at_ms)?;
        check(is_name(&self.arm), "the arm's name is empty or too long")?;
        check(self.settings.len() <= SETTINGS_MAX, "the arm has more than 32 settings")?;
        let sound = self.settings.iter().all(|(name, setting)| is_name(name) && setting.is_sound());
        check(sound, "a setting's name is empty or too long, or its value is not finite or too long")
    }
}

impl Setting {
    fn is_sound(&self) -> bool {
        match self {
            Self::Number(value) => value.is_finite(),
            Self::Text(text) => text.len() <= crate::definition::NAME_BYTES_MAX,
            Self::Flag(_) => true,
        }
    }

    /// As it is shown and compared.
    pub fn label(&self) -> String {
        match self {
            Self::Number(value) => format!("{value}"),
            Self::Text(text) => text.clone(),
            Self::Flag(value) => format!("{value}"),
        }
    }
}

/// Refuses features that are not as many as wanted, or too large.
pub(crate) fn check_features(features: &[f64], wanted: usize) -> Result<(), AnalyticsError> {
    check(features.len() == wanted, "the features are not as many as the definition says")?;
    check(features.iter().all(|value| value.abs() <= FEATURE_SIZE_MAX), "a feature is not in -16..=16")
}

pub(crate) fn check(holds: bool, what: &str) -> Result<(), AnalyticsError> {
    if holds { Ok(()) } else { Err(AnalyticsError::EventInvalid(what.to_owned())) }
}
