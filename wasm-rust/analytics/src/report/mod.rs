//! What the experiment has shown so far, for people: as values that serialise to JSON.
//!
//! Intervals of means are confidence sequences that hold at all times and for all arms of a namespace at once. They count
//! rewards from the beginning and take each arm's mean as constant, so they say nothing of an arm that drifts. Where
//! rewards are delayed, those that come early count first.

mod effects;

use crate::confidence::{Interval, count_to_separate, mean_interval};
use crate::definition::Policy;
use crate::error::AnalyticsError;
use crate::experiment::Experiment;
use crate::fixed::Tally;
use crate::optimiser;
use crate::policy::identification;
use crate::tally::ArmTally;
pub use effects::Effect;
use serde::Serialize;

/// An experiment's analytics.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The time up to which it has heard, in milliseconds since 1970.
    pub newest_ms: u64,
    /// Decisions whose rewards are awaited.
    pub open: usize,
    /// The probability that any interval of a namespace's means is ever wrong.
    pub alpha: f64,
    /// By name.
    pub namespaces: Vec<NamespaceReport>,
    /// The split of the decisions over time.
    pub traffic: Vec<TrafficReport>,
    /// The best point of the continuous space so far.
    pub best_point: Option<BestPoint>,
}

/// A task type's analytics.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceReport {
    /// Its name.
    pub namespace: String,
    /// In the order of their names.
    pub arms: Vec<ArmReport>,
    /// The arm of the largest mean among those with rewards.
    pub best: Option<String>,
    /// Whether its interval lies above all others' (for track-and-stop: whether it has stopped).
    pub decided: bool,
    /// What was lost against always using the best arm, summed over all rewards so far.
    pub regret: Option<Regret>,
    /// How many rewards more the two best arms need, in sum, until their intervals are apart, if their means stay.
    pub needed: Option<u64>,
    /// What each setting of each parameter adds.
    pub effects: Vec<Effect>,
}

/// An arm's analytics in a namespace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmReport {
    /// Its name.
    pub arm: String,
    /// Whether it may be chosen.
    pub active: bool,
    /// Whether a rail excludes it.
    pub excluded: bool,
    /// The probability with which it would be chosen now; 0 for all where the choice needs features.
    pub probability: f64,
    /// Decisions.
    pub decisions: i64,
    /// Decisions whose whole reward is known.
    pub count: i64,
    /// The mean of the whole reward, in 0..=1.
    pub mean: f64,
    /// Where the true mean lies.
    pub interval: Interval,
    /// Each reward's count and mean, in its own unit.
    pub rewards: Vec<RewardReport>,
}

/// A reward of an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RewardReport {
    /// Its name.
    pub reward: String,
    /// How many came.
    pub count: i64,
    /// Their mean in the reward's own unit; values beyond its range count as its ends.
    pub mean: f64,
}

/// Regret in units of the whole reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Regret {
    /// With the means seen.
    pub estimate: f64,
    /// The least that the intervals allow.
    pub low: f64,
    /// The most that the intervals allow.
    pub high: f64,
}

/// Decisions in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficReport {
    /// Its start, in milliseconds since 1970.
    pub start_ms: u64,
    /// Its length in milliseconds.
    pub width_ms: u64,
    /// Decisions by arm.
    pub decisions: std::collections::BTreeMap<String, i64>,
}

/// The best point of a continuous space.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BestPoint {
    /// One number a dimension.
    pub point: Vec<f64>,
    /// The reward that the model expects there, in 0..=1.
    pub mean: f64,
    /// The model's deviation of it.
    pub deviation: f64,
}

impl Experiment {
    /// The analytics at a time; the means' intervals are wrong with probability at most `alpha` a namespace.
    pub fn report(&mut self, at_ms: u64, alpha: f64) -> Result<Report, AnalyticsError> {
        crate::event::check_time(at_ms)?;
        crate::event::check(alpha > 0.0 && alpha < 1.0, "alpha is not in 0..1")?;
        let names: Vec<String> = self.namespaces.keys().cloned().collect();
        let namespaces = names.into_iter().map(|name| self.report_namespace(name, at_ms, alpha)).collect();
        let best = optimiser::best_point(&self.definition, &self.observations, &mut self.cache.optimiser);
        Ok(Report {
            newest_ms: self.newest_ms,
            open: self.ledger.open(),
            alpha,
            namespaces,
            traffic: self.report_traffic(),
            best_point: best.map(|(point, mean, deviation)| BestPoint { point, mean, deviation }),
        })
    }

    fn report_namespace(&mut self, namespace: String, at_ms: u64, alpha: f64) -> NamespaceReport {
        let standings = self.standings(&namespace, at_ms);
        let featureless = !self.definition.is_linear() && !self.definition.is_continuous();
        let probabilities = if featureless { self.probabilities(&namespace, at_ms, &[]) } else { Ok(&[][..]) };
        let probabilities = probabilities.unwrap_or(&[]).to_vec();
        let tallies = self.namespaces.get(&namespace).map_or(&[][..], Vec::as_slice);
        let share = alpha / tallies.len().max(1) as f64;
        let arms: Vec<ArmReport> = (0..tallies.len())
            .map(|arm| ArmReport {
                arm: self.arms[arm].name.clone(),
                active: self.arms[arm].active,
                excluded: standings[arm].excluded,
                probability: probabilities.get(arm).copied().unwrap_or(0.0),
                decisions: tallies[arm].decisions,
                count: tallies[arm].whole.count,
                mean: tallies[arm].whole.mean(),
                interval: interval(&tallies[arm].whole, share),
                rewards: self.report_rewards(&tallies[arm]),
            })
            .collect();
        let best = best_of(&arms);
        let stopped = match self.definition.policy {
            Policy::TrackAndStop { delta } => {
                let beliefs: Vec<_> =
                    standings.iter().filter(|standing| standing.eligible).map(|standing| standing.belief).collect();
                identification::decided(&beliefs, delta).is_some()
            }
            _ => false,
        };
        NamespaceReport {
            namespace,
            decided: stopped || best.is_some_and(|best| is_apart(&arms, best)),
            regret: best.map(|best| regret(&arms, best)),
            needed: best.and_then(|best| needed(&arms, best, share)),
            best: best.map(|best| arms[best].arm.clone()),
            effects: effects::effects(&self.arms, tallies, alpha),
            arms,
        }
    }

    fn report_rewards(&self, tally: &ArmTally) -> Vec<RewardReport> {
        let rewards = self.definition.rewards.iter().zip(&tally.rewards);
        let report = |(reward, tally): (&crate::definition::Reward, &Tally)| RewardReport {
            reward: reward.name.clone(),
            count: tally.count,
            mean: if tally.count > 0 { reward.worst + tally.mean() * (reward.best - reward.worst) } else { 0.0 },
        };
        rewards.map(report).collect()
    }

    fn report_traffic(&self) -> Vec<TrafficReport> {
        let width_ms = self.traffic.width_ms;
        let buckets = self.traffic.buckets.iter();
        buckets
            .map(|(index, arms)| TrafficReport { start_ms: index * width_ms, width_ms, decisions: arms.clone() })
            .collect()
    }
}

fn interval(tally: &Tally, alpha: f64) -> Interval {
    mean_interval(tally.count as f64, tally.sum.value(), alpha)
}

/// The arm of the largest mean that has rewards.
fn best_of(arms: &[ArmReport]) -> Option<usize> {
    let seen = (0..arms.len()).filter(|arm| arms[*arm].count > 0);
    seen.max_by(|left, right| arms[*left].mean.total_cmp(&arms[*right].mean))
}

fn others(arms: &[ArmReport], best: usize) -> impl Iterator<Item = &ArmReport> {
    arms.iter()
        .enumerate()
        .filter(move |(arm, report)| *arm != best && (report.active || report.count > 0))
        .map(|(_, report)| report)
}

fn is_apart(arms: &[ArmReport], best: usize) -> bool {
    others(arms, best).all(|other| other.interval.high < arms[best].interval.low)
}

fn regret(arms: &[ArmReport], best: usize) -> Regret {
    let low = arms.iter().map(|arm| arm.interval.low).fold(0.0, f64::max);
    let high = arms.iter().filter(|arm| arm.count > 0).map(|arm| arm.interval.high).fold(0.0, f64::max);
    let sum = |lost: &dyn Fn(&ArmReport) -> f64| arms.iter().map(|arm| arm.count as f64 * lost(arm).max(0.0)).sum();
    Regret {
        estimate: sum(&|arm| arms[best].mean - arm.mean),
        low: sum(&|arm| low - arm.interval.high),
        high: sum(&|arm| high - arm.interval.low),
    }
}

/// Rewards that the best arm and the best of the others still need. Nothing where there is no other, or where the means
/// are too close.
fn needed(arms: &[ArmReport], best: usize, alpha: f64) -> Option<u64> {
    let second = others(arms, best).max_by(|left, right| left.mean.total_cmp(&right.mean))?;
    let each = count_to_separate(arms[best].mean, second.mean, alpha)?;
    let missing = |count: i64| each.saturating_sub(count.max(0) as u64);
    Some(if is_apart(arms, best) { 0 } else { missing(arms[best].count) + missing(second.count) })
}
