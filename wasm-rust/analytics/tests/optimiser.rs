//! The optimiser for continuous spaces: it finds good points under noise, and is a pure function of the observations.

mod support;

use analytics::definition::{Dimension, DimensionKind, Policy, Reward};
use analytics::event::Event;
use analytics::experiment::Experiment;
use analytics::random::Keyed;
use support::*;

fn study(seed: u32) -> Experiment {
    let mut asked = definition(Policy::Optimise { initial: 8 });
    asked.seed = seed;
    asked.rewards = vec![Reward { name: "score".into(), worst: 0.0, best: 1.0, weight: 1.0, default: None }];
    let number = |name: &str, low, high, logarithmic, whole| Dimension {
        name: name.into(),
        kind: DimensionKind::Number { low, high, logarithmic, whole },
    };
    let options = vec!["small".to_owned(), "large".to_owned()];
    asked.space = vec![
        number("temperature", 0.0, 2.0, false, false),
        number("maxTokens", 16.0, 4096.0, true, true),
        Dimension { name: "model".into(), kind: DimensionKind::Choice { options } },
    ];
    Experiment::new(asked).unwrap()
}

/// The best point is (0.5, 256, large), worth 0.8.
fn worth(point: &[f64]) -> f64 {
    let places = [(point[0] - 0.5) / 0.6, (libm::log2(point[1]) - 8.0) / 3.0];
    let model = if point[2] == 1.0 { 0.8 } else { 0.5 };
    model * libm::exp(-0.5 * (places[0] * places[0] + places[1] * places[1]))
}

fn run(experiment: &mut Experiment, trials: std::ops::RangeInclusive<u64>, seed: u32) {
    for trial in trials {
        let id = u128::from(trial);
        let (choice, _) = experiment.decide(&request(id, trial, "")).unwrap();
        assert!(choice.point[1] == choice.point[1].round_ties_even() && (16.0..=4096.0).contains(&choice.point[1]));
        let score = worth(&choice.point) + 0.1 * Keyed::new(seed, 1 << 64 | id).normal();
        experiment.apply(&feedback(id, trial, &[("score", score)])).unwrap();
    }
}

#[test]
fn it_comes_much_nearer_to_the_best_point_than_random_points() {
    const RUNS: u32 = 20;
    let (mut lost, mut lost_at_random) = (0.0, 0.0);
    for seed in 0..RUNS {
        let mut experiment = study(seed);
        run(&mut experiment, 1..=60, seed);
        let best = experiment.report(60, 0.05).unwrap().best_point.unwrap();
        lost += (0.8 - worth(&best.point)) / f64::from(RUNS);
        // The point of the largest noisy score among sixty random ones.
        let mut random = Keyed::new(seed, 1);
        let chosen = (0..60)
            .map(|_| {
                let point =
                    [2.0 * random.uniform(), libm::exp2(4.0 + 8.0 * random.uniform()), (random.bits() % 2) as f64];
                (worth(&point) + 0.1 * random.normal(), worth(&point))
            })
            .max_by(|left, right| left.0.total_cmp(&right.0));
        lost_at_random += (0.8 - chosen.unwrap().1) / f64::from(RUNS);
    }
    println!("simple regret {lost}, of random points {lost_at_random}");
    assert!(lost < 0.06 && lost < 0.6 * lost_at_random, "{lost} {lost_at_random}");
}

#[test]
fn a_loaded_state_and_another_order_of_events_suggest_the_same_point() {
    let mut experiment = study(1);
    run(&mut experiment, 1..=40, 1);
    let mut loaded = Experiment::from_bytes(&experiment.to_bytes()).unwrap();
    assert_eq!(loaded.choose(&request(99, 41, "")).unwrap(), experiment.choose(&request(99, 41, "")).unwrap());
    let mut events: Vec<Event> = Vec::new();
    for (id, entry) in experiment.ledger().entries() {
        events.push(Event::Decide(entry.decision.clone().unwrap()));
        let given = entry.given[0].unwrap();
        events.push(feedback(id.0, given.at_ms, &[("score", given.value)]));
    }
    shuffle(&mut events, &mut Keyed::new(1, 9));
    let mut other = study(1);
    apply_all(&mut other, &events);
    assert_eq!(other.to_bytes(), experiment.to_bytes());
    assert_eq!(other.choose(&request(99, 41, "")).unwrap(), experiment.choose(&request(99, 41, "")).unwrap());
}

#[test]
fn only_the_newest_observations_are_kept_and_points_outside_are_refused() {
    let mut experiment = study(2);
    run(&mut experiment, 1..=300, 2);
    assert_eq!(experiment.observations().as_slice().len(), 256);
    assert_eq!(experiment.observations().as_slice()[0].at_ms, 45);
    let Event::Decide(mut outside) = experiment.choose(&request(1_000, 301, "")).unwrap().1 else { panic!() };
    outside.point[2] = 2.0;
    assert!(experiment.apply(&Event::Decide(outside)).is_err());
}
