//! The statistics: intervals cover as often as they say, also when peeked at; estimates have the truth as their mean.

mod support;

use analytics::confidence::{count_to_separate, mean_interval};
use analytics::definition::{Drift, Family, Policy};
use analytics::drift::last_change;
use analytics::event::Event;
use analytics::fixed::Tally;
use analytics::off_policy::{Record, Target, estimate};
use analytics::random::Keyed;
use analytics::tally::Bucket;
use support::*;

#[test]
fn a_confidence_sequence_holds_at_all_times_of_at_least_as_many_runs_as_it_says() {
    const RUNS: u32 = 1_000;
    const ALPHA: f64 = 0.1;
    // Coins, and rewards between 0 and 1 of the same mean.
    for (mean, real) in [(0.5, false), (0.05, false), (0.3, true)] {
        let mut missed = 0;
        for seed in 0..RUNS {
            let mut random = Keyed::new(seed, 5);
            let mut sum = 0.0;
            let ever = (1..=2_000).any(|count| {
                let coin = f64::from(random.uniform() < mean);
                sum += if real { 0.5 * coin + 0.5 * mean * 2.0 * random.uniform() } else { coin };
                // Looking at every tenth saves time and hides next to nothing.
                let interval = if count < 50 || count % 10 == 0 {
                    mean_interval(f64::from(count), sum, ALPHA)
                } else {
                    return false;
                };
                mean < interval.low || mean > interval.high
            });
            missed += u32::from(ever);
        }
        println!("mean {mean}, real {real}: {missed} of {RUNS} runs missed");
        assert!(f64::from(missed) <= ALPHA * f64::from(RUNS), "{mean}: {missed}");
    }
}

#[test]
fn intervals_of_a_running_bandit_cover_the_arms_means_under_peeking() {
    const RUNS: u32 = 200;
    let means = [0.2, 0.5, 0.55];
    let mut missed = 0;
    for seed in 0..RUNS {
        let mut asked = definition(Policy::Thompson { family: Family::Beta });
        asked.seed = seed;
        let mut experiment = experiment(asked, 3);
        let ever = (0..40).any(|_| {
            run_bernoulli(&mut experiment, &means, 25, seed);
            let report = experiment.report(experiment.newest_ms(), 0.1).unwrap();
            report.namespaces[0]
                .arms
                .iter()
                .zip(means)
                .any(|(arm, mean)| mean < arm.interval.low || mean > arm.interval.high)
        });
        missed += u32::from(ever);
    }
    assert!(f64::from(missed) <= 0.1 * f64::from(RUNS), "{missed} of {RUNS}");
}

#[test]
fn the_interval_is_where_the_mixture_reaches_one_over_alpha() {
    // scipy.optimize.brentq on betaln(.5+s, .5+n-s) - betaln(.5, .5) - s ln p - (n-s) ln(1-p) = ln 20.
    for (count, sum, low, high) in INTERVALS {
        let interval = mean_interval(count, sum, 0.05);
        assert!((interval.low - low).abs() < 1e-8 && (interval.high - high).abs() < 1e-8, "{interval:?}");
    }
    let interval = mean_interval(0.0, 0.0, 0.05);
    assert_eq!((interval.low, interval.high), (0.0, 1.0));
}

const INTERVALS: [(f64, f64, f64, f64); 3] = [
    (100.0, 30.0, 0.16565153538786656, 0.462839865141713),
    (10.0, 0.0, 0.0, 0.3769873509906774),
    (5000.0, 4000.5, 0.7776383832696128, 0.8213655512092473),
];

#[test]
fn the_count_that_separates_two_arms_is_the_smallest_that_does() {
    let count = count_to_separate(0.6, 0.5, 0.025).unwrap();
    let apart =
        |count: f64| mean_interval(count, 0.6 * count, 0.025).low > mean_interval(count, 0.5 * count, 0.025).high;
    assert!(apart(count as f64) && !apart(count as f64 - 1.0), "{count}");
    assert_eq!(count_to_separate(0.5, 0.5, 0.05), None);
}

/// A log under a known policy: two namespaces, three arms, rewards that depend on both.
fn logged(seed: u32, count: u64) -> Vec<Record> {
    let mut random = Keyed::new(seed, 17);
    (0..count)
        .map(|_| {
            let namespace = (random.bits() % 2) as usize;
            let propensities = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]][namespace];
            let uniform = random.uniform();
            let arm = if uniform < propensities[0] {
                0
            } else if uniform < propensities[0] + propensities[1] {
                1
            } else {
                2
            };
            Record {
                namespace: format!("n{namespace}"),
                arm: format!("a{arm}"),
                propensity: propensities[arm],
                reward: f64::from(random.uniform() < truth(namespace, arm)),
            }
        })
        .collect()
}

fn truth(namespace: usize, arm: usize) -> f64 {
    [[0.2, 0.5, 0.7], [0.6, 0.4, 0.1]][namespace][arm]
}

#[test]
fn off_policy_estimates_have_the_truth_as_their_mean_and_intervals_that_cover_it() {
    const RUNS: u32 = 400;
    let mixture = |shares: [f64; 3]| shares.iter().enumerate().map(|(arm, p)| (format!("a{arm}"), *p)).collect();
    let targets = [
        (Target::Arm("a2".into()), 0.5 * (truth(0, 2) + truth(1, 2))),
        (
            Target::ByNamespace(
                [("n0".into(), mixture([0.0, 0.5, 0.5])), ("n1".into(), mixture([1.0, 0.0, 0.0]))].into(),
            ),
            0.5 * (0.5 * (truth(0, 1) + truth(0, 2)) + truth(1, 0)),
        ),
    ];
    for (target, truth) in targets {
        let (mut sums, mut squares, mut covered) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        for seed in 0..RUNS {
            let result = estimate(&logged(seed, 2_000), &target, 0.95).unwrap();
            for (index, part) in [result.ips, result.snips.unwrap(), result.doubly_robust].iter().enumerate() {
                sums[index] += part.mean / f64::from(RUNS);
                squares[index] += (part.mean - truth) * (part.mean - truth) / f64::from(RUNS);
                covered[index] += f64::from(part.low <= truth && truth <= part.high) / f64::from(RUNS);
            }
        }
        println!("{target:?}: truth {truth}, means {sums:?}, mean squares {squares:?}, coverage {covered:?}");
        for index in 0..3 {
            let error = (squares[index] / f64::from(RUNS)).sqrt();
            assert!((sums[index] - truth).abs() < 4.0 * error, "{target:?} {index}");
            // Of 400 runs at 95 % fewer than 92 % cover with a probability of 0.006.
            assert!(covered[index] > 0.92, "{target:?} {index}: {covered:?}");
        }
        assert!(squares[2] < squares[0], "the doubly robust estimate is not steadier: {squares:?}");
    }
}

fn buckets(random: &mut Keyed, means: &[f64]) -> Vec<Bucket> {
    let bucket = |(index, mean): (usize, &f64)| {
        let mut whole = Tally::default();
        for _ in 0..50 {
            whole.add(&Tally::of(f64::from(random.uniform() < *mean)), 1);
        }
        Bucket { index: index as u64, whole, rails: vec![] }
    };
    means.iter().enumerate().map(bucket).collect()
}

#[test]
fn a_change_is_seen_where_it_is_and_seldom_where_it_is_not() {
    const RUNS: u32 = 500;
    let mut random = Keyed::new(1, 1);
    let mut alarms = 0;
    let mut found = 0;
    for _ in 0..RUNS {
        // Peeking after every bucket.
        let steady = buckets(&mut random, &[0.3; 32]);
        alarms += u32::from((2..=32).any(|end| last_change(&steady[..end], 0.05) > 0));
        let mut means = vec![0.3; 20];
        means.extend([0.6; 6]);
        found += u32::from((19..=21).contains(&last_change(&buckets(&mut random, &means), 0.05)));
    }
    println!("{alarms} false alarms, {found} of {RUNS} changes found");
    assert!(f64::from(alarms) <= 0.05 * f64::from(RUNS), "{alarms}");
    assert!(f64::from(found) > 0.95 * f64::from(RUNS), "{found}");
    // Of two changes the last one counts.
    let mut means = vec![0.2; 10];
    means.extend([0.7; 10]);
    means.extend([0.4; 10]);
    assert_eq!(last_change(&buckets(&mut random, &means), 0.05), 20);
}

#[test]
fn effects_find_what_each_setting_adds() {
    let asked = definition(Policy::Elimination { delta: 0.05 });
    let mut experiment = analytics::experiment::Experiment::new(asked).unwrap();
    // reward = 0.3 + 0.2 (model large) + 0.1 (prompt b); the setting `route` is one with the model.
    let mut random = Keyed::new(6, 6);
    for (model, route) in [("small", "x"), ("large", "y")] {
        for prompt in ["a", "b"] {
            let name = format!("{model}-{prompt}");
            experiment.apply(&arm_with(&name, 0, &[("model", model), ("prompt", prompt)])).unwrap();
            for step in 0..1_000u64 {
                let id = u128::from(random.bits());
                experiment.apply(&decided(id, 1, "chat", &name)).unwrap();
                let mean = 0.3 + if model == "large" { 0.2 } else { 0.0 } + if prompt == "b" { 0.1 } else { 0.0 };
                let reward = f64::from(random.uniform() < mean);
                experiment.apply(&feedback(id, 1, &[("success", reward)])).unwrap();
                let _ = (step, route);
            }
        }
    }
    let report = experiment.report(10, 0.05).unwrap();
    let chat = &report.namespaces[0];
    let effect = |setting: &str| chat.effects.iter().find(|effect| effect.setting == setting).unwrap();
    for (setting, truth) in [("large", 0.1), ("small", -0.1), ("a", -0.05), ("b", 0.05)] {
        let effect = effect(setting);
        assert!(effect.low < truth && truth < effect.high && effect.high - effect.low < 0.08, "{effect:?}");
        assert!(!effect.confounded);
    }
    assert_eq!(chat.best.as_deref(), Some("large-b"));
    let regret = chat.regret.unwrap();
    assert!(regret.low < 600.0 && 600.0 < regret.high && (regret.estimate - 600.0).abs() < 150.0, "{regret:?}");
    assert!(chat.needed.is_some());
}

#[test]
fn settings_that_always_go_together_are_said_to_be_confounded() {
    let mut experiment =
        analytics::experiment::Experiment::new(definition(Policy::Elimination { delta: 0.05 })).unwrap();
    for (name, model, route) in [("one", "small", "x"), ("two", "large", "y")] {
        experiment.apply(&arm_with(name, 0, &[("model", model), ("route", route)])).unwrap();
        for id in 0..100u64 {
            let id = u128::from(id) + if name == "one" { 0 } else { 1_000 };
            experiment.apply(&decided(id, 1, "", name)).unwrap();
            experiment.apply(&feedback(id, 1, &[("success", f64::from(name == "two"))])).unwrap();
        }
    }
    experiment.apply(&Event::Tick { at_ms: 5 }).unwrap();
    let report = experiment.report(10, 0.05).unwrap();
    assert!(report.namespaces[0].effects.iter().all(|effect| effect.confounded));
    assert!(report.namespaces[0].decided && report.namespaces[0].needed == Some(0));
}

#[test]
fn a_report_is_json() {
    let mut asked = rich_definition();
    asked.drift = Drift::Stationary;
    let mut experiment = analytics::experiment::Experiment::new(asked).unwrap();
    apply_all(&mut experiment, &log(1, 200));
    let report = experiment.report(experiment.newest_ms(), 0.05).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["namespaces"][0]["namespace"], "chat");
    assert!(!json.to_string().contains("null,\"high\""));
}
