//! What another policy would have earned, from the log of the one that ran: inverse propensity scoring (Horvitz and
//! Thompson 1952), its self-normalised form (Swaminathan and Joachims 2015), and the doubly robust estimate (Dudík,
//! Langford and Li 2011) with the means of each arm and namespace as its model, fitted on the other half of the log.

use crate::error::AnalyticsError;
use crate::numeric::special::normal_quantile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Records of one estimate.
pub const RECORDS_MAX: usize = 1_000_000;

/// A decision with its reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The namespace.
    #[serde(default)]
    pub namespace: String,
    /// The arm that was served.
    pub arm: String,
    /// The probability with which it was drawn, in 0..=1 and not 0.
    pub propensity: f64,
    /// Any finite number.
    pub reward: f64,
}

/// The policy that is asked about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// Always the same arm.
    Arm(String),
    /// Each arm with its probability.
    Mixture(BTreeMap<String, f64>),
    /// A mixture for each namespace.
    ByNamespace(BTreeMap<String, BTreeMap<String, f64>>),
}

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The reward a decision.
    pub mean: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// The estimates. Their intervals are normal ones: right for one look at a log of many records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OffPolicy {
    /// Records.
    pub count: usize,
    /// As many records under the target policy itself would tell as much: (Σw)² / Σw².
    pub effective_count: f64,
    /// Inverse propensity scoring: unbiased.
    pub ips: Estimate,
    /// Self-normalised: nearly unbiased, steadier. Nothing where the target never does what was logged.
    pub snips: Option<Estimate>,
    /// Doubly robust: unbiased, steadier still where arms differ.
    pub doubly_robust: Estimate,
}

impl Target {
    fn probability(&self, namespace: &str, arm: &str) -> f64 {
        match self {
            Self::Arm(name) => f64::from(name == arm),
            Self::Mixture(mixture) => mixture.get(arm).copied().unwrap_or(0.0),
            Self::ByNamespace(mixtures) => {
                mixtures.get(namespace).and_then(|mixture| mixture.get(arm)).copied().unwrap_or(0.0)
            }
        }
    }

    /// The arms that it uses in a namespace, with their probabilities.
    fn arms(&self, namespace: &str) -> Vec<(&str, f64)> {
        match self {
            Self::Arm(name) => vec![(name.as_str(), 1.0)],
            Self::Mixture(mixture) => mixture.iter().map(|(arm, p)| (arm.as_str(), *p)).collect(),
            Self::ByNamespace(mixtures) => mixtures
                .get(namespace)
                .map_or_else(Vec::new, |mixture| mixture.iter().map(|(arm, p)| (arm.as_str(), *p)).collect()),
        }
    }

    fn validate(&self, records: &[Record]) -> Result<(), AnalyticsError> {
        let sound = |mixture: &BTreeMap<String, f64>| {
            let sum: f64 = mixture.values().sum();
            mixture.values().all(|p| (0.0..=1.0).contains(p)) && (sum - 1.0).abs() < 1e-6
        };
        let holds = match self {
            Self::Arm(_) => true,
            Self::Mixture(mixture) => sound(mixture),
            Self::ByNamespace(mixtures) => {
                mixtures.values().all(sound) && records.iter().all(|record| mixtures.contains_key(&record.namespace))
            }
        };
        check(holds, "the target's probabilities do not sum to one in every namespace of the log")
    }
}

/// Estimates what `target` would have earned, with intervals of this `confidence` (in 0..1).
pub fn estimate(records: &[Record], target: &Target, confidence: f64) -> Result<OffPolicy, AnalyticsError> {
    check((2..=RECORDS_MAX).contains(&records.len()), "there must be 2 to 1,000,000 records")?;
    check(confidence > 0.0 && confidence < 1.0, "the confidence is not in 0..1")?;
    let sound = |record: &Record| record.propensity > 0.0 && record.propensity <= 1.0 && record.reward.is_finite();
    check(records.iter().all(sound), "a propensity is not in 0..=1, or a reward is not finite")?;
    target.validate(records)?;
    let z = normal_quantile(0.5 + 0.5 * confidence);
    let weights: Vec<f64> =
        records.iter().map(|record| target.probability(&record.namespace, &record.arm) / record.propensity).collect();
    let scores: Vec<f64> = weights.iter().zip(records).map(|(weight, record)| weight * record.reward).collect();
    let robust = robust_scores(records, &weights, target);
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    Ok(OffPolicy {
        count: records.len(),
        effective_count: if squares > 0.0 { sum * sum / squares } else { 0.0 },
        ips: mean_of(&scores, z),
        snips: (sum > 0.0).then(|| self_normalised(records, &weights, &scores, z)),
        doubly_robust: mean_of(&robust, z),
    })
}

fn mean_of(scores: &[f64], z: f64) -> Estimate {
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let variance = scores.iter().map(|score| (score - mean) * (score - mean)).sum::<f64>() / (count - 1.0);
    let reach = z * (variance / count).sqrt();
    Estimate { mean, low: mean - reach, high: mean + reach }
}

fn self_normalised(records: &[Record], weights: &[f64], scores: &[f64], z: f64) -> Estimate {
    let sum: f64 = weights.iter().sum();
    let mean = scores.iter().sum::<f64>() / sum;
    let spread = |(weight, record): (&f64, &Record)| {
        let error = weight * (record.reward - mean);
        error * error
    };
    let reach = z * weights.iter().zip(records).map(spread).sum::<f64>().sqrt() / sum;
    Estimate { mean, low: mean - reach, high: mean + reach }
}

/// Means by arm and namespace over one half of the log: sum and count.
type Means<'a> = BTreeMap<(&'a str, &'a str), (f64, f64)>;

fn robust_scores(records: &[Record], weights: &[f64], target: &Target) -> Vec<f64> {
    let mut halves = [Means::new(), Means::new()];
    for (position, record) in records.iter().enumerate() {
        let place = halves[position % 2].entry((&record.namespace, &record.arm)).or_default();
        *place = (place.0 + record.reward, place.1 + 1.0);
    }
    let overall = halves.each_ref().map(|means| {
        let (sum, count) = means.values().fold((0.0, 0.0), |total, mean| (total.0 + mean.0, total.1 + mean.1));
        sum / f64::max(count, 1.0)
    });
    let score = |(position, (record, weight)): (usize, (&Record, &f64))| {
        let other = 1 - position % 2;
        let mean = |arm: &str| {
            let found = halves[other].get(&(record.namespace.as_str(), arm));
            found.map_or(overall[other], |(sum, count)| sum / count)
        };
        let expected: f64 = target.arms(&record.namespace).iter().map(|(arm, p)| p * mean(arm)).sum();
        expected + weight * (record.reward - mean(&record.arm))
    };
    records.iter().zip(weights).enumerate().map(score).collect()
}

fn check(holds: bool, what: &str) -> Result<(), AnalyticsError> {
    if holds { Ok(()) } else { Err(AnalyticsError::RecordInvalid(what.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(arm: &str, propensity: f64, reward: f64) -> Record {
        Record { namespace: String::new(), arm: arm.to_owned(), propensity, reward }
    }

    #[test]
    fn the_estimates_are_those_of_the_formulas() {
        // By hand: weights 2, 0, 4; scores 2, 0, 0.
        let log = [record("a", 0.5, 1.0), record("b", 0.5, 1.0), record("a", 0.25, 0.0)];
        let result = estimate(&log, &Target::Arm("a".into()), 0.95).unwrap();
        assert!((result.ips.mean - 2.0 / 3.0).abs() < 1e-12);
        assert!((result.snips.unwrap().mean - 2.0 / 6.0).abs() < 1e-12);
        assert!((result.effective_count - 36.0 / 20.0).abs() < 1e-12);
        // Halves: {0, 2} and {1}. Means of `a`: 0.5 in the first, the overall 1 in the second.
        // Scores: 1 + 2 (1 - 1), 0.5 + 0, 1 + 4 (0 - 1).
        assert!((result.doubly_robust.mean - (1.0 + 0.5 - 3.0) / 3.0).abs() < 1e-12);
        let reach = 1.959963984540054 * (4.0f64 / 3.0 / 3.0).sqrt();
        assert!((result.ips.high - result.ips.mean - reach).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_a_log_or_a_policy_is_refused() {
        let log = [record("a", 0.5, 1.0), record("b", 0.0, 1.0)];
        assert!(estimate(&log, &Target::Arm("a".into()), 0.95).is_err());
        let log = [record("a", 0.5, 1.0), record("b", 0.5, 1.0)];
        assert!(estimate(&log, &Target::Mixture([("a".to_owned(), 0.7)].into()), 0.95).is_err());
        assert!(estimate(&log, &Target::Arm("a".into()), 1.0).is_err());
        assert!(estimate(&log[..1], &Target::Arm("a".into()), 0.9).is_err());
        assert!(estimate(&log, &Target::Arm("other".into()), 0.9).unwrap().snips.is_none());
    }
}
