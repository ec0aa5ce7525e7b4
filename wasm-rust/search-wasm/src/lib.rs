//! The `search` crate for JavaScript: this file only converts.
//!
//! Every failure is a JavaScript `Error` whose `code` is one of `SearchError`'s codes. Nothing here traps on bad input.

use js_sys::{Error, Reflect};
use search::{Cost, Event, INTEGER_MAX, Options, Outcome, SearchError, Trial};
use serde_json::json;
use wasm_bindgen::prelude::*;

/// A search over answers.
#[wasm_bindgen]
pub struct Search {
    inner: search::Search,
}

#[wasm_bindgen]
impl Search {
    /// A search that has not begun. `options` is JSON. Throws `options_invalid`.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> Result<Search, JsValue> {
        opened(Options::from_json(options).and_then(search::Search::new))
    }

    /// A search from its bytes. Throws `snapshot_corrupt`, `snapshot_version` and others.
    #[wasm_bindgen(js_name = fromSnapshot)]
    pub fn from_snapshot(bytes: &[u8]) -> Result<Search, JsValue> {
        opened(search::Search::from_snapshot(bytes))
    }

    /// A search from its JSON. Throws as `fromSnapshot` does.
    #[wasm_bindgen(js_name = fromJson)]
    pub fn from_json(text: &str) -> Result<Search, JsValue> {
        opened(search::Search::from_json(text))
    }

    /// Trials to carry out, three numbers each: its own, its parent's (0 for the root), and its arm's.
    pub fn ask(&mut self, count: f64, now: f64) -> Result<Vec<u32>, JsValue> {
        let (count, now) = (whole32(count).map_err(thrown)?, whole(now).map_err(thrown)?);
        let trials = self.inner.ask(count, now).map_err(thrown)?;
        Ok(trials.iter().flat_map(|trial| [trial.id, trial.parent, trial.arm]).collect())
    }

    /// Takes a trial's score; false where it had one before.
    pub fn tell(
        &mut self,
        trial: f64,
        score: f64,
        tokens: f64,
        #[wasm_bindgen(js_name = moneyMicros)] money_micros: f64,
        #[wasm_bindgen(js_name = timeMs)] time_ms: f64,
        now: f64,
    ) -> Result<bool, JsValue> {
        let cost = cost(tokens, money_micros, time_ms).map_err(thrown)?;
        let (trial, now) = (whole32(trial).map_err(thrown)?, whole(now).map_err(thrown)?);
        self.inner.tell(trial, score, cost, now).map_err(thrown)
    }

    /// Takes note that a trial's call failed; false where it had ended before.
    pub fn fail(
        &mut self,
        trial: f64,
        tokens: f64,
        #[wasm_bindgen(js_name = moneyMicros)] money_micros: f64,
        #[wasm_bindgen(js_name = timeMs)] time_ms: f64,
        now: f64,
    ) -> Result<bool, JsValue> {
        let cost = cost(tokens, money_micros, time_ms).map_err(thrown)?;
        let (trial, now) = (whole32(trial).map_err(thrown)?, whole(now).map_err(thrown)?);
        self.inner.fail(trial, cost, now).map_err(thrown)
    }

    /// Gives up all open trials past their deadline, and names them.
    pub fn expire(&mut self, now: f64) -> Result<Vec<u32>, JsValue> {
        self.inner.expire(whole(now).map_err(thrown)?).map_err(thrown)
    }

    /// Adds an arm and gives its number.
    #[wasm_bindgen(js_name = addArm)]
    pub fn add_arm(&mut self, #[wasm_bindgen(js_name = priorMean)] prior_mean: Option<f64>) -> Result<u32, JsValue> {
        self.inner.add_arm(prior_mean).map_err(thrown)
    }

    /// Takes an arm out of the choice.
    #[wasm_bindgen(js_name = removeArm)]
    pub fn remove_arm(&mut self, arm: f64) -> Result<(), JsValue> {
        whole32(arm).and_then(|arm| self.inner.remove_arm(arm)).map_err(thrown)
    }

    /// Applies an event, given as JSON, and gives its outcome as JSON.
    pub fn apply(&mut self, event: &str) -> Result<String, JsValue> {
        let outcome = Event::from_json(event).and_then(|event| self.inner.apply(&event)).map_err(thrown)?;
        let outcome = match outcome {
            Outcome::Asked(trials) => json!({ "asked": trials.iter().map(trial_json).collect::<Vec<_>>() }),
            Outcome::Recorded => json!({ "recorded": true }),
            Outcome::Known => json!({ "recorded": false }),
            Outcome::Expired(trials) => json!({ "expired": trials }),
            Outcome::ArmAdded(arm) => json!({ "armAdded": arm }),
        };
        Ok(outcome.to_string())
    }

    /// The best answers as JSON, best first.
    pub fn top(&self, count: u32) -> String {
        as_json(&self.inner.top(count as usize))
    }

    /// What is known of a node, as JSON; of the root for 0.
    pub fn statistics(&self, node: f64) -> Result<String, JsValue> {
        let summary = whole32(node).and_then(|node| self.inner.statistics(node)).map_err(thrown)?;
        Ok(as_json(&summary))
    }

    /// Why no more trials are given; undefined while some are.
    #[wasm_bindgen(js_name = stopReason)]
    pub fn stop_reason(&self, now: f64) -> Result<Option<String>, JsValue> {
        let now = whole(now).map_err(thrown)?;
        Ok(self.inner.stop_reason(now).map(|reason| reason.code().to_owned()))
    }

    /// What one more trial may be expected to gain at most, in score.
    #[wasm_bindgen(getter, js_name = expectedGain)]
    pub fn expected_gain(&self) -> f64 {
        self.inner.expected_gain()
    }

    /// Trials without an end, in the order of asking.
    #[wasm_bindgen(js_name = openTrials)]
    pub fn open_trials(&self) -> Vec<u32> {
        self.inner.open_trials()
    }

    /// Trials asked, whatever became of them.
    #[wasm_bindgen(getter)]
    pub fn trials(&self) -> u32 {
        self.inner.trials()
    }

    /// All that was spent, as JSON.
    pub fn spent(&self) -> String {
        as_json(&self.inner.spent())
    }

    /// Mean score and number of scores of an arm.
    #[wasm_bindgen(js_name = armStatistics)]
    pub fn arm_statistics(&self, arm: f64) -> Result<Vec<f64>, JsValue> {
        let (mean, count) = whole32(arm).and_then(|arm| self.inner.arm_statistics(arm)).map_err(thrown)?;
        Ok(vec![mean, f64::from(count)])
    }

    /// The state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        self.inner.snapshot()
    }

    /// The state as JSON.
    #[wasm_bindgen(js_name = toJson)]
    pub fn to_json(&self) -> String {
        self.inner.to_json()
    }

    /// A hash of the whole state, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.inner.fingerprint())
    }
}

fn opened(search: Result<search::Search, SearchError>) -> Result<Search, JsValue> {
    search.map(|inner| Search { inner }).map_err(thrown)
}

fn trial_json(trial: &Trial) -> serde_json::Value {
    json!({ "id": trial.id, "parent": trial.parent, "arm": trial.arm })
}

fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn cost(tokens: f64, money_micros: f64, time_ms: f64) -> Result<Cost, SearchError> {
    Ok(Cost { tokens: whole(tokens)?, money_micros: whole(money_micros)?, time_ms: whole(time_ms)? })
}

/// JavaScript has one kind of number. Those that are no whole number in range are refused, not rounded.
fn whole(number: f64) -> Result<u64, SearchError> {
    if number >= 0.0 && number <= INTEGER_MAX as f64 && number.trunc() == number {
        return Ok(number as u64);
    }
    Err(SearchError::EventInvalid(format!("{number} is not a whole number in its range")))
}

fn whole32(number: f64) -> Result<u32, SearchError> {
    let whole = whole(number)?;
    u32::try_from(whole).map_err(|_| SearchError::EventInvalid(format!("{number} is out of its range")))
}

fn thrown(error: SearchError) -> JsValue {
    let thrown = Error::new(&error.to_string());
    // Setting a property of a fresh, unfrozen object does not fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}
