//! Choosing: from the state to the arms' probabilities, and from them to an arm. No clock, no network, no randomness but
//! the decision's id.

use crate::definition::{Definition, Policy, is_name};
use crate::drift::{Evidence, evidence, is_excluded};
use crate::error::AnalyticsError;
use crate::event::{DecideEvent, DecisionId, Event, check, check_features, check_time};
use crate::experiment::Experiment;
use crate::numeric::best::Workspace;
use crate::optimiser;
use crate::policy::{self, Belief, Scratch, linear};
use crate::random::Keyed;
use crate::sharing::shared_prior;
use crate::tally::ArmTally;
use std::collections::BTreeMap;

/// What is to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A number that no other decision has; all randomness comes from it.
    pub id: DecisionId,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The task type; the empty text is one too.
    pub namespace: &'a str,
    /// The context's features, as many as the definition says where the policy is linear; else none.
    pub features: &'a [f64],
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The arm to use, by its position; 0 for a point.
    pub arm: usize,
    /// The probability with which it was drawn: exactly the one that was drawn by. 1 for a point and in shadow mode.
    pub propensity: f64,
    /// The arm that the policy drew: another one in shadow mode only.
    pub proposed: usize,
    /// The probability with which the policy drew it.
    pub proposed_propensity: f64,
    /// The point of the continuous space; else empty.
    pub point: Vec<f64>,
}

/// What was computed for a namespace and still holds.
#[derive(Debug, Clone, Default)]
struct CachedNamespace {
    /// Per arm: for which bucket, and what.
    arms: Vec<Option<(u64, Standing)>>,
    /// Per arm its regression.
    fits: Vec<Option<linear::Fit>>,
    /// For which bucket, and the arms' probabilities.
    probabilities: Option<(u64, Vec<f64>)>,
}

/// What is known of an arm, and whether it may be chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub belief: Belief,
    pub eligible: bool,
    /// Whether a rail excludes it.
    pub excluded: bool,
}

/// Results that are used again until a reward or an arm changes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache {
    namespaces: BTreeMap<String, CachedNamespace>,
    scratch: Scratch,
    workspace: Workspace,
    eligible: Vec<usize>,
    beliefs: Vec<Belief>,
    chosen: Vec<f64>,
    pub optimiser: optimiser::Model,
}

impl Cache {
    /// After a change of an arm's counts; of all namespaces where they share them.
    pub(crate) fn forget(&mut self, namespace: &str, arm: usize, everywhere: bool) {
        if everywhere {
            self.namespaces.values_mut().for_each(|cached| cached.forget(arm));
        } else if let Some(cached) = self.namespaces.get_mut(namespace) {
            cached.forget(arm);
        }
    }

    /// After a change of the arms.
    pub(crate) fn forget_all(&mut self) {
        self.namespaces.clear();
    }
}

impl CachedNamespace {
    fn forget(&mut self, arm: usize) {
        self.probabilities = None;
        if let Some(standing) = self.arms.get_mut(arm) {
            *standing = None;
        }
        if let Some(fit) = self.fits.get_mut(arm) {
            *fit = None;
        }
    }
}

impl Experiment {
    /// Chooses without changing the state, and gives the event that records it.
    pub fn choose(&mut self, request: &Request) -> Result<(Choice, Event), AnalyticsError> {
        self.validate_request(request)?;
        let mut random = Keyed::new(self.definition.seed, request.id.0);
        if self.definition.is_continuous() {
            let point =
                optimiser::suggest(&self.definition, &self.observations, &mut self.cache.optimiser, &mut random);
            let choice = Choice { arm: 0, propensity: 1.0, proposed: 0, proposed_propensity: 1.0, point };
            let event = self.event(request, &choice);
            return Ok((choice, event));
        }
        let probabilities = self.probabilities(request.namespace, request.at_ms, request.features)?;
        let proposed = draw(probabilities, random.uniform());
        let proposed_propensity = probabilities[proposed];
        let (arm, propensity) = match self.shadow_arm() {
            Some(fallback) => (fallback, 1.0),
            None => (proposed, proposed_propensity),
        };
        let choice = Choice { arm, propensity, proposed, proposed_propensity, point: Vec::new() };
        let event = self.event(request, &choice);
        Ok((choice, event))
    }

    /// Chooses and records it.
    pub fn decide(&mut self, request: &Request) -> Result<(Choice, Event), AnalyticsError> {
        let (choice, event) = self.choose(request)?;
        self.apply(&event)?;
        Ok((choice, event))
    }

    /// The probability with which each arm would be drawn, in the order of `arms`.
    pub fn probabilities(&mut self, namespace: &str, at_ms: u64, features: &[f64]) -> Result<&[f64], AnalyticsError> {
        let now = self.bucket(at_ms.max(self.newest_ms));
        let mut cached = self.cache.namespaces.remove(namespace).unwrap_or_default();
        let stale = cached.probabilities.as_ref().is_none_or(|(bucket, _)| *bucket != now);
        if stale || self.definition.is_linear() {
            self.refresh(namespace, now, &mut cached);
            let mut probabilities = cached.probabilities.take().map(|(_, values)| values).unwrap_or_default();
            let computed = self.compute(&mut cached, features, &mut probabilities);
            cached.probabilities = computed.is_ok().then_some((now, probabilities));
            computed?;
        }
        let cached = self.cache.namespaces.entry(namespace.to_owned()).insert_entry(cached).into_mut();
        Ok(cached.probabilities.as_ref().map_or(&[], |(_, values)| values))
    }

    /// What is known of each arm of a namespace, in the order of `arms`.
    pub(crate) fn standings(&self, namespace: &str, at_ms: u64) -> Vec<Standing> {
        let now = self.bucket(at_ms.max(self.newest_ms));
        (0..self.arms.len()).map(|arm| self.standing(namespace, now, arm)).collect()
    }

    fn refresh(&self, namespace: &str, now: u64, cached: &mut CachedNamespace) {
        cached.arms.resize(self.arms.len(), None);
        for (arm, place) in cached.arms.iter_mut().enumerate() {
            if place.as_ref().is_none_or(|(bucket, _)| *bucket != now) {
                *place = Some((now, self.standing(namespace, now, arm)));
            }
        }
        let ridge = match self.definition.policy {
            Policy::LinThompson { ridge, .. } | Policy::LinUcb { ridge, .. } => ridge,
            _ => return,
        };
        let empty = ArmTally::new(&self.definition);
        cached.fits.resize(self.arms.len(), None);
        for (arm, place) in cached.fits.iter_mut().enumerate() {
            let tally = self.namespaces.get(namespace).map_or(&empty, |tallies| &tallies[arm]);
            place.get_or_insert_with(|| linear::Fit::new(&tally.linear, ridge));
        }
    }

    fn standing(&self, namespace: &str, now: u64, arm: usize) -> Standing {
        let definition = &self.definition;
        let tally = self.namespaces.get(namespace).map(|tallies| &tallies[arm]);
        let excluded = tally.is_some_and(|tally| is_excluded(definition, tally, now));
        let is_fallback = definition.fallback.as_ref() == Some(&self.arms[arm].name);
        Standing {
            belief: Belief {
                prior: self.prior(namespace, now, arm),
                evidence: tally.map_or(Evidence::default(), |tally| evidence(definition, tally, now)),
            },
            eligible: self.arms[arm].active && (is_fallback || !excluded),
            excluded,
        }
    }

    fn prior(&self, namespace: &str, now: u64, arm: usize) -> crate::definition::Prior {
        let Definition { prior, sharing, .. } = self.definition;
        if sharing <= 0.0 {
            return prior;
        }
        let others = self.namespaces.iter().filter(|(name, _)| *name != namespace);
        let others: Vec<Evidence> = others.map(|(_, tallies)| evidence(&self.definition, &tallies[arm], now)).collect();
        shared_prior(prior, &others, sharing)
    }

    fn compute(
        &mut self,
        cached: &mut CachedNamespace,
        features: &[f64],
        probabilities: &mut Vec<f64>,
    ) -> Result<(), AnalyticsError> {
        let Cache { eligible, beliefs, chosen, scratch, workspace, .. } = &mut self.cache;
        eligible.clear();
        beliefs.clear();
        for (arm, standing) in cached.arms.iter().enumerate() {
            if let Some((_, Standing { belief, eligible: true, .. })) = standing {
                eligible.push(arm);
                beliefs.push(*belief);
            }
        }
        if eligible.is_empty() {
            return Err(AnalyticsError::NoArm);
        }
        if self.definition.is_linear() {
            let fits: Vec<&linear::Fit> = eligible.iter().filter_map(|arm| cached.fits[*arm].as_ref()).collect();
            linear::choose(&self.definition.policy, &fits, features, workspace, chosen);
        } else {
            policy::choose(&self.definition.policy, beliefs, scratch, chosen);
        }
        let floor = self.definition.floor;
        probabilities.clear();
        probabilities.resize(cached.arms.len(), 0.0);
        for (arm, probability) in eligible.iter().zip(chosen.iter()) {
            probabilities[*arm] = (1.0 - floor) * probability + floor / eligible.len() as f64;
        }
        Ok(())
    }

    fn shadow_arm(&self) -> Option<usize> {
        let fallback = self.definition.fallback.as_ref().filter(|_| self.definition.shadow)?;
        self.position(fallback).ok().filter(|arm| self.arms[*arm].active)
    }

    fn validate_request(&self, request: &Request) -> Result<(), AnalyticsError> {
        check_time(request.at_ms)?;
        check(request.namespace.is_empty() || is_name(request.namespace), "the namespace's name is too long")?;
        check_features(request.features, if self.definition.is_linear() { self.definition.features } else { 0 })
    }

    fn event(&self, request: &Request, choice: &Choice) -> Event {
        let continuous = self.definition.is_continuous();
        Event::Decide(DecideEvent {
            id: request.id,
            at_ms: request.at_ms,
            namespace: request.namespace.to_owned(),
            arm: if continuous { String::new() } else { self.arms[choice.arm].name.clone() },
            propensity: choice.propensity,
            features: request.features.to_vec(),
            point: choice.point.clone(),
        })
    }
}

/// The position at which the running sum passes `uniform`; never one of probability 0.
fn draw(probabilities: &[f64], uniform: f64) -> usize {
    let total: f64 = probabilities.iter().sum();
    let mut rest = uniform * total;
    let mut last = 0;
    for (position, probability) in probabilities.iter().enumerate() {
        if *probability > 0.0 {
            last = position;
            if rest < *probability {
                return position;
            }
            rest -= probability;
        }
    }
    last
}
