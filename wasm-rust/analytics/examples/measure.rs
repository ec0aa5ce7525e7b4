//! The native half of `npm run bench:analytics`: prints one JSON object.
//!
//!     measure speed                    nanoseconds of a decision, of a reward, and of a decision whose choice is known
//!     measure regret RUNS STEPS        regret of each policy on two problems, at ten times of each run
//!     measure optimiser RUNS TRIALS    simple regret of the optimiser after 50 trials and at the end
//!
//! The worlds are those of `peers.py`: the same run and step give the same uniform number in both.

use analytics::choice::Request;
use analytics::definition::{Definition, Dimension, DimensionKind, Drift, Family, Policy, Prior, Reward};
use analytics::event::{ArmEvent, DecisionId, Event, Settings};
use analytics::experiment::Experiment;
use analytics::random::Keyed;
use serde_json::{Value, json};
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |position: usize, otherwise: u64| {
        arguments.get(position).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let result = match arguments.get(1).map(String::as_str) {
        Some("speed") => speed(),
        Some("regret") => regret(number(2, 20), number(3, 10_000)),
        Some("optimiser") => optimiser(number(2, 20), number(3, 200)),
        _ => json!("measure speed | regret [RUNS] [STEPS] | optimiser [RUNS] [TRIALS]"),
    };
    println!("{result}");
}

fn definition(policy: Policy, seed: u32) -> Definition {
    Definition {
        name: "bench".into(),
        seed,
        rewards: vec![Reward { name: "reward".into(), worst: 0.0, best: 1.0, weight: 1.0, default: None }],
        rails: vec![],
        policy,
        floor: 0.0,
        shadow: false,
        fallback: None,
        window_ms: 100,
        grace_ms: 100,
        drift: Drift::Stationary,
        bucket_ms: 1_000,
        prior: Prior::default(),
        sharing: 0.0,
        features: 0,
        space: vec![],
    }
}

fn experiment(policy: Policy, seed: u32, arms: usize) -> Experiment {
    let mut experiment = Experiment::new(definition(policy, seed)).expect("the definition is sound");
    for arm in 0..arms {
        let event = ArmEvent { at_ms: 0, arm: format!("{arm:03}"), settings: Settings::new(), active: true };
        experiment.apply(&Event::Arm(event)).expect("the arm is sound");
    }
    experiment
}

fn policies() -> Vec<(&'static str, Policy)> {
    vec![
        ("thompson", Policy::Thompson { family: Family::Beta }),
        ("thompsonGaussian", Policy::Thompson { family: Family::Gaussian }),
        ("topTwo", Policy::TopTwo { family: Family::Beta, leader: 0.5 }),
        ("klUcb", Policy::KlUcb { exploration: 0.0 }),
    ]
}

fn request(id: u128, at_ms: u64) -> Request<'static> {
    Request { id: DecisionId(id), at_ms, namespace: "", features: &[] }
}

/// The median time of each of the three, over batches; every decision is followed by its reward.
fn speed() -> Value {
    let mut rows = Vec::new();
    for (name, policy) in policies() {
        for arms in [10, 100] {
            // All arms alike is the slowest case: none can be left out of the quadrature.
            for (world, gap) in [("alike", 0.0), ("apart", 0.05)] {
                let (decide, reward, again) = time_one(&policy, arms, gap);
                rows.push(json!({
                    "policy": name, "arms": arms, "world": world,
                    "decideNanoseconds": decide, "feedbackNanoseconds": reward, "decideAgainNanoseconds": again,
                }));
            }
        }
    }
    json!(rows)
}

const BATCH: u64 = 50;
const BATCHES: u64 = 40;

fn time_one(policy: &Policy, arms: usize, gap: f64) -> (f64, f64, f64) {
    let mut experiment = experiment(policy.clone(), 1, arms);
    let mut world = Keyed::new(1, 1);
    let (mut decides, mut rewards, mut agains) = (Vec::new(), Vec::new(), Vec::new());
    let mut step = 0;
    for _ in 0..BATCHES {
        let (mut decide, mut reward, mut again) = (0, 0, 0);
        for _ in 0..BATCH {
            step += 1;
            let (id, other) = (u128::from(step), 1 << 100 | u128::from(step));
            let start = Instant::now();
            let (choice, _) = experiment.decide(&request(id, step)).expect("an arm");
            decide += start.elapsed().as_nanos();
            let start = Instant::now();
            experiment.decide(&request(other, step)).expect("an arm");
            again += start.elapsed().as_nanos();
            let mean = 0.5 - gap * choice.arm.min(9) as f64;
            let value = f64::from(world.uniform() < mean);
            let start = Instant::now();
            experiment.give(DecisionId(id), step, 0, value).expect("a reward");
            reward += start.elapsed().as_nanos();
        }
        decides.push(decide as f64 / BATCH as f64);
        rewards.push(reward as f64 / BATCH as f64);
        agains.push(again as f64 / BATCH as f64);
    }
    (median(decides), median(rewards), median(agains))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

const RARE: [f64; 10] = [0.1, 0.05, 0.05, 0.05, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01];
const CLOSE: [f64; 2] = [0.9, 0.8];

fn regret(runs: u64, steps: u64) -> Value {
    let mut rows = Vec::new();
    for (problem, means) in [("rare", &RARE[..]), ("close", &CLOSE[..])] {
        for (name, policy) in policies() {
            let curves: Vec<Vec<f64>> = (0..runs).map(|run| run_bernoulli(&policy, means, run as u32, steps)).collect();
            rows.push(json!({ "problem": problem, "policy": name, "curves": curves }));
        }
    }
    json!(rows)
}

/// Regret at ten times of a run.
fn run_bernoulli(policy: &Policy, means: &[f64], run: u32, steps: u64) -> Vec<f64> {
    let mut experiment = experiment(policy.clone(), run, means.len());
    let best = means.iter().copied().fold(0.0, f64::max);
    let (mut regret, mut curve) = (0.0, Vec::new());
    for step in 1..=steps {
        let id = u128::from(step);
        let (choice, _) = experiment.decide(&request(id, step)).expect("an arm");
        let uniform = Keyed::new(run, 1 << 64 | id).uniform();
        let reward = f64::from(uniform < means[choice.arm]);
        experiment.give(DecisionId(id), step, 0, reward).expect("a reward");
        regret += best - means[choice.arm];
        if step % (steps / 10).max(1) == 0 {
            curve.push(regret);
        }
    }
    curve
}

fn space() -> Vec<Dimension> {
    let number = |name: &str, low, high, logarithmic, whole| Dimension {
        name: name.into(),
        kind: DimensionKind::Number { low, high, logarithmic, whole },
    };
    let options = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    vec![
        Dimension { name: "model".into(), kind: DimensionKind::Choice { options } },
        number("temperature", 0.0, 2.0, false, false),
        number("topP", 0.05, 1.0, false, false),
        number("maxTokens", 64.0, 4096.0, true, true),
    ]
}

/// What a point is worth: the same function as in `peers.py`. Its largest value is 0.9.
fn worth(point: &[f64]) -> f64 {
    let model = point[0] as usize;
    let bump = |value: f64, centre: f64, width: f64| (value - centre) * (value - centre) / (width * width);
    let distance = bump(point[1], [0.3, 0.7, 1.0, 0.2][model], 0.6)
        + bump(point[2], [0.9, 0.8, 0.5, 0.95][model], 0.4)
        + bump(libm::log2(point[3] / 64.0) / 6.0, [0.5, 0.7, 0.4, 0.6][model], 0.35);
    0.2 + [0.45, 0.7, 0.6, 0.3][model] * libm::exp(-0.5 * distance)
}

/// Both kinds of ratings: yes or no, and one to five stars.
fn optimiser(runs: u64, trials: u64) -> Value {
    json!({ "yesOrNo": optimise(runs, trials, yes_or_no), "stars": optimise(runs, trials, stars) })
}

fn yes_or_no(worth: f64, random: &mut Keyed) -> f64 {
    f64::from(random.uniform() < worth)
}

/// One to five stars as 0..=1, by a person whose taste deviates by a fifth of the scale.
fn stars(worth: f64, random: &mut Keyed) -> f64 {
    (4.0 * (worth + 0.2 * random.normal()).clamp(0.0, 1.0)).round_ties_even() / 4.0
}

fn optimise(runs: u64, trials: u64, rate: impl Fn(f64, &mut Keyed) -> f64) -> Value {
    let mut rows = Vec::new();
    let mut nanoseconds = Vec::new();
    for run in 0..runs as u32 {
        let mut asked = definition(Policy::Optimise { initial: 10 }, run);
        asked.space = space();
        let mut experiment = Experiment::new(asked).expect("the definition is sound");
        let mut row = Vec::new();
        for trial in 1..=trials {
            let id = u128::from(trial);
            let start = Instant::now();
            let (choice, _) = experiment.decide(&request(id, trial)).expect("a point");
            nanoseconds.push(start.elapsed().as_nanos() as f64);
            let rating = rate(worth(&choice.point), &mut Keyed::new(run, 1 << 65 | id));
            experiment.give(DecisionId(id), trial, 0, rating).expect("a reward");
            if trial == 50 || trial == trials {
                let best = experiment.report(trial, 0.05).expect("a report").best_point.expect("a best point");
                row.push(0.9 - worth(&best.point));
            }
        }
        rows.push(row);
    }
    let mean = nanoseconds.iter().sum::<f64>() / nanoseconds.len() as f64;
    json!({ "simpleRegret": rows, "decideNanosecondsMean": mean, "decideNanosecondsMedian": median(nanoseconds) })
}
