//! What a caller may set, checked.

use contract::v1::Sampling;
use engine_core::EngineError;
use std::fmt::Debug;
use std::ops::RangeInclusive;

/// Tokens whose logits a caller may change, at most.
pub const LOGIT_BIAS_MAX: usize = 4_096;

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// 0: the likeliest token. 0 to 2.
    pub temperature: f32,
    /// Over 0, up to 1; 1: off.
    pub top_p: f32,
    /// 0: off.
    pub top_k: usize,
    /// 0 to 1; 0: off.
    pub min_p: f32,
    /// -2 to 2.
    pub presence_penalty: f32,
    /// -2 to 2.
    pub frequency_penalty: f32,
    /// Over 0, up to 2; 1: off.
    pub repetition_penalty: f32,
    /// Where chance begins.
    pub seed: u64,
    /// Added to logits.
    pub logit_bias: Vec<(u32, f32)>,
}

impl SamplingSettings {
    /// The settings of a request for a model of `vocabulary_size` tokens. `seed` is taken where the request has none.
    ///
    /// # Errors
    /// `InvalidArgument` where a setting is out of its range.
    pub fn new(request: Option<&Sampling>, vocabulary_size: usize, seed: u64) -> Result<Self, EngineError> {
        let none = Sampling::default();
        let request = request.unwrap_or(&none);
        let settings = Self {
            temperature: within("temperature", request.temperature, 1.0, 0.0..=2.0)?,
            top_p: within("top_p", request.top_p, 1.0, f32::MIN_POSITIVE..=1.0)?,
            top_k: request.top_k.unwrap_or(0) as usize,
            min_p: within("min_p", request.min_p, 0.0, 0.0..=1.0)?,
            presence_penalty: within("presence_penalty", request.presence_penalty, 0.0, -2.0..=2.0)?,
            frequency_penalty: within("frequency_penalty", request.frequency_penalty, 0.0, -2.0..=2.0)?,
            repetition_penalty: within("repetition_penalty", request.repetition_penalty, 1.0, f32::MIN_POSITIVE..=2.0)?,
            seed: request.seed.unwrap_or(seed),
            logit_bias: request.logit_bias.iter().map(|(&token, &bias)| (token, bias)).collect(),
        };
        check_bias(&settings.logit_bias, vocabulary_size)?;
        Ok(settings)
    }

    /// Whether any token may come.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.top_k == 0 && self.top_p == 1.0 && self.min_p == 0.0
    }
}

fn within(name: &str, value: Option<f32>, default: f32, range: RangeInclusive<f32>) -> Result<f32, EngineError> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => {
            let start =
                if *range.start() == f32::MIN_POSITIVE { "over 0".to_owned() } else { range.start().to_string() };
            Err(EngineError::invalid(name, format!("{name} lies between {start} and {}, not at {value}.", range.end())))
        }
    }
}

fn check_bias(bias: &[(u32, f32)], vocabulary_size: usize) -> Result<(), EngineError> {
    let refuse = |message: String| Err(EngineError::invalid("logit_bias", message));
    if bias.len() > LOGIT_BIAS_MAX {
        return refuse(format!("logit_bias has at most {LOGIT_BIAS_MAX} tokens."));
    }
    if let Some((token, _)) = bias.iter().find(|(token, _)| *token as usize >= vocabulary_size) {
        return refuse(format!("logit_bias names token {token}; the model has tokens 0 to {}.", vocabulary_size - 1));
    }
    match bias.iter().find(|(_, value)| !(-100.0..=100.0).contains(value)) {
        Some((token, value)) => {
            refuse(format!("logit_bias lies between -100 and 100; of token {token} it is {value}."))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_changes_nothing() {
        let settings = SamplingSettings::new(None, 10, 5).expect("settings");
        assert_eq!((settings.temperature, settings.repetition_penalty, settings.seed), (1.0, 1.0, 5));
        assert!(settings.is_unrestricted());
    }

    #[test]
    fn each_setting_is_refused_just_past_its_range_and_by_name() {
        type Spoil = fn(&mut Sampling);
        let cases: [(&str, Spoil); 12] = [
            ("temperature", |s| s.temperature = Some(2.001)),
            ("temperature", |s| s.temperature = Some(-0.001)),
            ("temperature", |s| s.temperature = Some(f32::NAN)),
            ("top_p", |s| s.top_p = Some(0.0)),
            ("top_p", |s| s.top_p = Some(1.001)),
            ("min_p", |s| s.min_p = Some(1.001)),
            ("presence_penalty", |s| s.presence_penalty = Some(2.001)),
            ("frequency_penalty", |s| s.frequency_penalty = Some(-2.001)),
            ("repetition_penalty", |s| s.repetition_penalty = Some(0.0)),
            ("logit_bias", |s| s.logit_bias = [(10, 1.0)].into()),
            ("logit_bias", |s| s.logit_bias = [(9, 100.5)].into()),
            ("logit_bias", |s| s.logit_bias = (0..=LOGIT_BIAS_MAX as u32).map(|token| (token, 0.0)).collect()),
        ];
        for (name, change) in cases {
            let mut request = Sampling::default();
            change(&mut request);
            let fault = SamplingSettings::new(Some(&request), 10, 0).expect_err(name);
            assert_eq!(fault.parameter.as_deref(), Some(name), "{fault}");
        }
    }
}
