//! What the tests share: definitions, logs and simulated worlds.
#![allow(dead_code, reason = "each test file uses some of it")]

use analytics::choice::{Choice, Request};
use analytics::definition::{Definition, Drift, Policy, Prior, Rail, Reward};
use analytics::event::{ArmEvent, DecideEvent, DecisionId, Event, FeedbackEvent, Setting, Settings};
use analytics::experiment::Experiment;
use analytics::random::Keyed;

/// A reward of 0 or 1 with a default of 0.
pub fn success() -> Reward {
    Reward { name: "success".into(), worst: 0.0, best: 1.0, weight: 1.0, default: Some(0.0) }
}

/// One binary reward, no floor, a window of 100 ms.
pub fn definition(policy: Policy) -> Definition {
    Definition {
        name: "test".into(),
        seed: 1,
        rewards: vec![success()],
        rails: Vec::new(),
        policy,
        floor: 0.0,
        shadow: false,
        fallback: None,
        window_ms: 100,
        grace_ms: 1_000_000,
        drift: Drift::Stationary,
        bucket_ms: 1_000,
        prior: Prior::default(),
        sharing: 0.0,
        features: 0,
        space: Vec::new(),
    }
}

/// Two rewards (quality and a latency that a rail limits), sharing and discounting: all that state has.
pub fn rich_definition() -> Definition {
    let latency = Reward { name: "latencyMs".into(), worst: 5_000.0, best: 0.0, weight: 0.5, default: None };
    Definition {
        rewards: vec![success(), latency],
        rails: vec![Rail {
            reward: "latencyMs".into(),
            quantile: 0.9,
            limit: 2_000.0,
            confidence: 0.9,
            trials: 40,
            margin: 0.2,
        }],
        floor: 0.1,
        fallback: Some("b".into()),
        drift: Drift::Discount { half_life_ms: 4_000 },
        sharing: 20.0,
        grace_ms: 60_000,
        ..definition(Policy::Thompson { family: analytics::definition::Family::Beta })
    }
}

pub fn arm(name: &str, at_ms: u64) -> Event {
    arm_with(name, at_ms, &[("model", name)])
}

pub fn arm_with(name: &str, at_ms: u64, settings: &[(&str, &str)]) -> Event {
    let settings: Settings =
        settings.iter().map(|(name, value)| ((*name).to_owned(), Setting::Text((*value).to_owned()))).collect();
    Event::Arm(ArmEvent { at_ms, arm: name.to_owned(), settings, active: true })
}

pub fn feedback(id: u128, at_ms: u64, rewards: &[(&str, f64)]) -> Event {
    let rewards = rewards.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Event::Feedback(FeedbackEvent { id: DecisionId(id), at_ms, rewards })
}

pub fn request(id: u128, at_ms: u64, namespace: &str) -> Request<'_> {
    Request { id: DecisionId(id), at_ms, namespace, features: &[] }
}

pub fn decided(id: u128, at_ms: u64, namespace: &str, arm: &str) -> Event {
    Event::Decide(DecideEvent {
        id: DecisionId(id),
        at_ms,
        namespace: namespace.into(),
        arm: arm.into(),
        propensity: 0.5,
        features: vec![],
        point: vec![],
    })
}

/// An experiment with arms `00`, `01`, …
pub fn experiment(definition: Definition, arms: usize) -> Experiment {
    let mut experiment = Experiment::new(definition).unwrap();
    for index in 0..arms {
        experiment.apply(&arm(&format!("{index:02}"), 0)).unwrap();
    }
    experiment
}

/// Events in the order of their time: three arms in two namespaces, with feedback in parts, twice, in conflict, late and
/// never.
pub fn log(seed: u32, decisions: u64) -> Vec<Event> {
    let mut random = Keyed::new(seed, 0);
    let mut events = vec![arm("a", 1_000), arm("b", 1_000)];
    for index in 0..decisions {
        let at_ms = 1_000 + index * 40;
        let id = u128::from(random.bits()) << 64 | u128::from(index);
        let name = ["a", "b", "c"][(random.bits() % 3) as usize];
        events.push(decided(id, at_ms, ["chat", "code"][(random.bits() % 2) as usize], name));
        let success = f64::from(random.uniform() < 0.4);
        let latency = random.uniform() * 3_000.0;
        let after = |random: &mut Keyed| at_ms + random.bits() % 130;
        match random.bits() % 6 {
            0 => {}
            1 => events.push(feedback(id, after(&mut random), &[("success", success)])),
            2 => {
                let both = [("success", success), ("latencyMs", latency)];
                events.push(feedback(id, at_ms + 5, &both));
                events.push(feedback(id, at_ms + 5, &both));
                events.push(feedback(id, at_ms + 9, &[("success", 1.0 - success)]));
            }
            _ => {
                events.push(feedback(id, after(&mut random), &[("success", success)]));
                events.push(feedback(id, after(&mut random), &[("latencyMs", latency)]));
            }
        }
        if index == decisions / 2 {
            events.push(arm("c", at_ms));
            let withdrawn = ArmEvent { at_ms: at_ms + 1, arm: "a".into(), settings: Settings::new(), active: false };
            events.push(Event::Arm(withdrawn));
        }
    }
    events.push(Event::Tick { at_ms: 1_000 + decisions * 40 });
    events
}

pub fn apply_all(experiment: &mut Experiment, events: &[Event]) {
    for event in events {
        experiment.apply(event).unwrap();
    }
}

pub fn shuffle<T>(items: &mut [T], random: &mut Keyed) {
    for index in (1..items.len()).rev() {
        items.swap(index, (random.bits() % (index as u64 + 1)) as usize);
    }
}

/// Runs an experiment against arms that pay 1 with these probabilities. Gives the sum of the regret.
pub fn run_bernoulli(experiment: &mut Experiment, means: &[f64], steps: u64, seed: u32) -> f64 {
    let best = means.iter().copied().fold(0.0, f64::max);
    let start = experiment.newest_ms();
    let mut world = Keyed::new(seed, 1 << 100 | u128::from(start));
    let mut regret = 0.0;
    for step in 1..=steps {
        let at_ms = start + step;
        let id = u128::from(seed) << 64 | u128::from(at_ms);
        let (Choice { arm, .. }, _) = experiment.decide(&request(id, at_ms, "")).unwrap();
        regret += best - means[arm];
        let reward = f64::from(world.uniform() < means[arm]);
        experiment.apply(&feedback(id, at_ms, &[("success", reward)])).unwrap();
    }
    regret
}
