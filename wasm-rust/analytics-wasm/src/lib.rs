//! The `analytics` crate for JavaScript: this file only converts.
//!
//! Every failure is a JavaScript `Error` whose `code` is one of [`AnalyticsError`]'s codes. Nothing here traps on bad
//! input. Times are milliseconds since 1970; a decision's id is its two halves as `bigint`s, most significant first.

use analytics::choice::Request;
use analytics::error::AnalyticsError;
use analytics::event::{DecisionId, Event};
use analytics::experiment::Applied;
use analytics::merge;
use analytics::off_policy;
use js_sys::{Error, Reflect};
use serde_json::json;
use wasm_bindgen::prelude::*;

/// An experiment. Its methods change it in place; nothing is sent anywhere.
#[wasm_bindgen]
pub struct Experiment {
    inner: analytics::experiment::Experiment,
}

/// What was decided.
#[wasm_bindgen]
pub struct Choice {
    inner: analytics::choice::Choice,
    event: Event,
}

#[wasm_bindgen]
impl Experiment {
    /// An experiment without arms, from a definition as JSON. Throws `definition_invalid`.
    #[wasm_bindgen(constructor)]
    pub fn new(definition: &str) -> Result<Experiment, JsValue> {
        let definition = serde_json::from_str(definition)
            .map_err(|error| thrown(AnalyticsError::DefinitionInvalid(error.to_string())))?;
        analytics::experiment::Experiment::new(definition).map(|inner| Self { inner }).map_err(thrown)
    }

    /// Loads what `toBytes` has written. Throws `snapshot_corrupt` or `snapshot_unsupported`.
    #[wasm_bindgen(js_name = fromBytes)]
    pub fn from_bytes(bytes: &[u8]) -> Result<Experiment, JsValue> {
        analytics::experiment::Experiment::from_bytes(bytes).map(|inner| Self { inner }).map_err(thrown)
    }

    /// Loads what `toJson` has written. Throws `snapshot_corrupt` or `snapshot_unsupported`.
    #[wasm_bindgen(js_name = fromJson)]
    pub fn from_json(text: &str) -> Result<Experiment, JsValue> {
        analytics::experiment::Experiment::from_json(text).map(|inner| Self { inner }).map_err(thrown)
    }

    /// The state as bytes.
    #[wasm_bindgen(js_name = toBytes)]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.inner.to_bytes()
    }

    /// The state as JSON.
    #[wasm_bindgen(js_name = toJson)]
    pub fn to_json(&self) -> String {
        self.inner.to_json()
    }

    /// A copy, which goes on apart from this one.
    #[wasm_bindgen(js_name = copy)]
    pub fn copy(&self) -> Experiment {
        Self { inner: self.inner.clone() }
    }

    /// Joins two experiments that went on from `base`. Throws `merge_refused` or `decision_conflict`.
    pub fn merge(base: &Experiment, left: &Experiment, right: &Experiment) -> Result<Experiment, JsValue> {
        merge::merge(&base.inner, &left.inner, &right.inner).map(|inner| Self { inner }).map_err(thrown)
    }

    /// Chooses and records it. Throws `no_arm`, `event_invalid`, `decision_conflict` or `experiment_full`.
    pub fn decide(
        &mut self,
        #[wasm_bindgen(js_name = idHigh)] id_high: u64,
        #[wasm_bindgen(js_name = idLow)] id_low: u64,
        #[wasm_bindgen(js_name = atMs)] at_ms: f64,
        namespace: &str,
        features: &[f64],
    ) -> Result<Choice, JsValue> {
        let request = Request { id: id(id_high, id_low), at_ms: time(at_ms)?, namespace, features };
        self.inner.decide(&request).map(|(inner, event)| Choice { inner, event }).map_err(thrown)
    }

    /// Applies an event as JSON. Gives `recorded`, `known` or `too_old`. Throws as `decide`.
    pub fn apply(&mut self, event: &str) -> Result<String, JsValue> {
        let event =
            serde_json::from_str(event).map_err(|error| thrown(AnalyticsError::EventInvalid(error.to_string())))?;
        self.inner.apply(&event).map(applied).map_err(thrown)
    }

    /// Tells the value of one reward, the one at `reward` in the definition: the fast form of a feedback event.
    pub fn feedback(
        &mut self,
        #[wasm_bindgen(js_name = idHigh)] id_high: u64,
        #[wasm_bindgen(js_name = idLow)] id_low: u64,
        #[wasm_bindgen(js_name = atMs)] at_ms: f64,
        reward: usize,
        value: f64,
    ) -> Result<String, JsValue> {
        self.inner.give(id(id_high, id_low), time(at_ms)?, reward, value).map(applied).map_err(thrown)
    }

    /// The probabilities of the arms, in the order of `arms`. Throws `no_arm` or `event_invalid`.
    pub fn probabilities(
        &mut self,
        namespace: &str,
        #[wasm_bindgen(js_name = atMs)] at_ms: f64,
        features: &[f64],
    ) -> Result<Vec<f64>, JsValue> {
        self.inner.probabilities(namespace, time(at_ms)?, features).map(<[f64]>::to_vec).map_err(thrown)
    }

    /// The definition as JSON.
    #[wasm_bindgen(getter)]
    pub fn definition(&self) -> String {
        json!(self.inner.definition()).to_string()
    }

    /// The arms as JSON, in the order of a choice's `arm`.
    #[wasm_bindgen(getter)]
    pub fn arms(&self) -> String {
        json!(self.inner.arms()).to_string()
    }

    /// The latest time that it has heard of.
    #[wasm_bindgen(getter, js_name = newestMs)]
    pub fn newest_ms(&self) -> f64 {
        self.inner.newest_ms() as f64
    }

    /// Decisions whose rewards are awaited.
    #[wasm_bindgen(getter)]
    pub fn open(&self) -> usize {
        self.inner.ledger().open()
    }

    /// The analytics as JSON; a namespace's intervals are ever wrong with probability at most `alpha`.
    pub fn report(&mut self, #[wasm_bindgen(js_name = atMs)] at_ms: f64, alpha: f64) -> Result<String, JsValue> {
        let report = self.inner.report(time(at_ms)?, alpha).map_err(thrown)?;
        Ok(json!(report).to_string())
    }
}

#[wasm_bindgen]
impl Choice {
    /// The position of the arm to use.
    #[wasm_bindgen(getter)]
    pub fn arm(&self) -> usize {
        self.inner.arm
    }

    /// The probability with which it was drawn.
    #[wasm_bindgen(getter)]
    pub fn propensity(&self) -> f64 {
        self.inner.propensity
    }

    /// The position of the arm that the policy drew: another one in shadow mode only.
    #[wasm_bindgen(getter)]
    pub fn proposed(&self) -> usize {
        self.inner.proposed
    }

    /// The probability with which the policy drew it.
    #[wasm_bindgen(getter, js_name = proposedPropensity)]
    pub fn proposed_propensity(&self) -> f64 {
        self.inner.proposed_propensity
    }

    /// The point of the continuous space, one number a dimension; else empty.
    #[wasm_bindgen(getter)]
    pub fn point(&self) -> Vec<f64> {
        self.inner.point.clone()
    }

    /// The event that records it elsewhere, as JSON.
    #[wasm_bindgen(getter)]
    pub fn event(&self) -> String {
        json!(self.event).to_string()
    }
}

/// What another policy would have earned: records and target as JSON, the result too. Throws `record_invalid`.
#[wasm_bindgen(js_name = offPolicy)]
pub fn off_policy(records: &str, target: &str, confidence: f64) -> Result<String, JsValue> {
    let invalid = |error: serde_json::Error| thrown(AnalyticsError::RecordInvalid(error.to_string()));
    let records: Vec<off_policy::Record> = serde_json::from_str(records).map_err(invalid)?;
    let target: off_policy::Target = serde_json::from_str(target).map_err(invalid)?;
    let result = off_policy::estimate(&records, &target, confidence).map_err(thrown)?;
    Ok(json!(result).to_string())
}

fn id(high: u64, low: u64) -> DecisionId {
    DecisionId(u128::from(high) << 64 | u128::from(low))
}

/// A time of JavaScript; the experiment checks its range.
fn time(at_ms: f64) -> Result<u64, JsValue> {
    if at_ms >= 0.0 && at_ms.is_finite() {
        return Ok(at_ms as u64);
    }
    Err(thrown(AnalyticsError::EventInvalid("the time is not in range".into())))
}

fn applied(applied: Applied) -> String {
    let text = match applied {
        Applied::Recorded => "recorded",
        Applied::Known => "known",
        Applied::TooOld => "too_old",
    };
    text.to_owned()
}

fn thrown(error: AnalyticsError) -> JsValue {
    let thrown = Error::new(&error.to_string());
    // Setting a property of a fresh, unfrozen object does not fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}
