//! The policies: what they draw is what they say, and they do what they are for.

mod support;

use analytics::choice::Request;
use analytics::definition::{Drift, Family, Policy, Rail, Reward};
use analytics::error::AnalyticsError;
use analytics::event::{ArmEvent, DecisionId, Event, Settings};
use analytics::experiment::Experiment;
use analytics::numeric::special::coin_divergence;
use analytics::random::Keyed;
use support::*;

const THOMPSON: Policy = Policy::Thompson { family: Family::Beta };

fn policies() -> Vec<Policy> {
    vec![
        THOMPSON,
        Policy::Thompson { family: Family::Gaussian },
        Policy::TopTwo { family: Family::Beta, leader: 0.5 },
        Policy::TopTwo { family: Family::Gaussian, leader: 0.3 },
        Policy::KlUcb { exploration: 0.0 },
        Policy::Elimination { delta: 0.05 },
        Policy::TrackAndStop { delta: 0.05 },
    ]
}

fn told(policy: Policy, floor: f64) -> Experiment {
    let mut asked = definition(policy);
    asked.floor = floor;
    let mut experiment = experiment(asked, 5);
    let mut random = Keyed::new(3, 3);
    for id in 0..150u64 {
        let arm = (id % 5) as usize;
        experiment.apply(&decided(u128::from(id), id, "", &format!("{arm:02}"))).unwrap();
        let reward = f64::from(random.uniform() < 0.3 + 0.08 * arm as f64);
        experiment.apply(&feedback(u128::from(id), id, &[("success", reward)])).unwrap();
    }
    experiment
}

#[test]
fn the_propensity_is_the_frequency_of_the_arm() {
    const DRAWS: u64 = 200_000;
    for policy in policies() {
        let mut experiment = told(policy.clone(), 0.1);
        let expected = experiment.probabilities("", 200, &[]).unwrap().to_vec();
        assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mut counts = vec![0.0; expected.len()];
        for id in 0..DRAWS {
            let (choice, _) = experiment.choose(&request(1 << 70 | u128::from(id), 200, "")).unwrap();
            assert_eq!(choice.propensity, expected[choice.arm]);
            counts[choice.arm] += 1.0;
        }
        let statistic: f64 = counts
            .iter()
            .zip(&expected)
            .map(|(count, p)| {
                let wanted = p * DRAWS as f64;
                (count - wanted) * (count - wanted) / wanted
            })
            .sum();
        // scipy.stats.chi2.ppf(0.9999, 4)
        assert!(statistic < 23.512742444991076, "{policy:?}: {statistic}, {expected:?}");
    }
}

#[test]
fn no_arm_falls_below_its_share_of_the_floor() {
    for policy in policies() {
        let mut experiment = told(policy.clone(), 0.2);
        let probabilities = experiment.probabilities("", 200, &[]).unwrap();
        assert!(probabilities.iter().all(|p| *p >= 0.04 - 1e-15), "{policy:?}: {probabilities:?}");
    }
}

#[test]
fn top_two_has_the_probabilities_of_its_two_draws() {
    let first = told(THOMPSON, 0.0).probabilities("", 200, &[]).unwrap().to_vec();
    let actual =
        told(Policy::TopTwo { family: Family::Beta, leader: 0.4 }, 0.0).probabilities("", 200, &[]).unwrap().to_vec();
    for arm in 0..5 {
        let challenger: f64 = (0..5)
            .filter(|leader| *leader != arm)
            .map(|leader| first[leader] * first[arm] / (1.0 - first[leader]))
            .sum();
        assert!((actual[arm] - 0.4 * first[arm] - 0.6 * challenger).abs() < 1e-9);
    }
}

#[test]
fn kl_ucb_draws_the_arm_of_the_largest_bound() {
    let mut experiment = told(Policy::KlUcb { exploration: 0.0 }, 0.0);
    let budget = libm::log(151.0);
    let bound = |experiment: &Experiment, arm: usize| {
        let tally = experiment.namespaces()[""][arm].whole;
        // By a scan instead of bisection.
        (0..=100_000)
            .map(|step| f64::from(step) / 1e5)
            .filter(|q| *q >= tally.mean() && tally.count as f64 * coin_divergence(tally.mean(), *q) <= budget)
            .fold(0.0, f64::max)
    };
    let bounds: Vec<f64> = (0..5).map(|arm| bound(&experiment, arm)).collect();
    let largest = (0..5).max_by(|l, r| bounds[*l].total_cmp(&bounds[*r])).unwrap();
    assert_eq!(experiment.probabilities("", 200, &[]).unwrap()[largest], 1.0, "{bounds:?}");
}

/// The mean regret over runs, with its standard error.
fn regret(policy: &Policy, means: &[f64], steps: u64, runs: u32) -> (f64, f64) {
    let regrets: Vec<f64> = (0..runs)
        .map(|seed| {
            let mut asked = definition(policy.clone());
            asked.seed = seed;
            run_bernoulli(&mut experiment(asked, means.len()), means, steps, seed)
        })
        .collect();
    let mean = regrets.iter().sum::<f64>() / f64::from(runs);
    let variance = regrets.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / f64::from(runs - 1);
    (mean, (variance / f64::from(runs)).sqrt())
}

#[test]
fn regret_grows_with_the_logarithm_of_time() {
    for policy in [THOMPSON, Policy::KlUcb { exploration: 0.0 }, Policy::Thompson { family: Family::Gaussian }] {
        let means = [0.9, 0.8];
        let (early, _) = regret(&policy, &means, 500, 60);
        let (late, error) = regret(&policy, &means, 5_000, 60);
        // Evenly drawn arms lose 250; ten times the time costs less than three times the regret.
        assert!(late < 3.0 * early + 3.0 * error && late < 25.0, "{policy:?}: {early}, {late} ± {error}");
    }
}

#[test]
fn arms_of_real_rewards_are_told_apart_by_their_variance() {
    let mut asked = definition(Policy::Thompson { family: Family::Gaussian });
    asked.rewards = vec![Reward { name: "score".into(), worst: -10.0, best: 10.0, weight: 1.0, default: None }];
    let mut experiment = experiment(asked, 3);
    let mut random = Keyed::new(2, 2);
    let mut last = [0; 3];
    for step in 1..=2_000u64 {
        let id = u128::from(step);
        let (choice, _) = experiment.decide(&request(id, step, "")).unwrap();
        // A tenth of the deviation of a coin: a Gaussian policy needs far fewer draws for the difference of 0.2.
        let score = [0.0, 0.2, 0.4][choice.arm] + random.normal();
        experiment.apply(&feedback(id, step, &[("score", score)])).unwrap();
        last[choice.arm] += u32::from(step > 1_000);
    }
    assert!(last[2] > 850, "{last:?}");
}

#[test]
fn linear_policies_learn_which_arm_suits_which_context() {
    for policy in [Policy::LinThompson { ridge: 1.0, scale: 0.5 }, Policy::LinUcb { ridge: 1.0, width: 1.0 }] {
        let mut asked = definition(policy.clone());
        asked.features = 3;
        let mut experiment = experiment(asked, 2);
        let mut random = Keyed::new(8, 8);
        let mut right = 0;
        for step in 1..=3_000u64 {
            let x = random.uniform() * 2.0 - 1.0;
            let features = [1.0, x, random.uniform()];
            let id = DecisionId(u128::from(step));
            let (choice, event) =
                experiment.decide(&Request { id, at_ms: step, namespace: "", features: &features }).unwrap();
            let Event::Decide(event) = event else { panic!("no decision") };
            assert_eq!(event.features, features);
            let mean = 0.5 + if choice.arm == 0 { 0.4 * x } else { -0.4 * x };
            let reward = f64::from(random.uniform() < mean);
            experiment.apply(&feedback(id.0, step, &[("success", reward)])).unwrap();
            right += u32::from(step > 1_500 && (choice.arm == 0) == (x > 0.0));
        }
        assert!(right > 1_300, "{policy:?}: {right} of 1500");
    }
}

#[test]
fn a_linear_choice_has_the_propensity_of_its_frequency() {
    let mut asked = definition(Policy::LinThompson { ridge: 1.0, scale: 0.5 });
    asked.features = 2;
    let mut experiment = experiment(asked, 3);
    fn request(id: u128, features: &[f64]) -> Request<'_> {
        Request { id: DecisionId(id), at_ms: 10, namespace: "", features }
    }
    for id in 0..30 {
        let features = [1.0, f64::from(id as u32 % 3)];
        experiment.decide(&request(id, &features)).unwrap();
        experiment.apply(&feedback(id, 10, &[("success", (id % 2) as f64)])).unwrap();
    }
    let expected = experiment.probabilities("", 10, &[1.0, 0.5]).unwrap().to_vec();
    let mut counts = [0.0; 3];
    for id in 0..20_000 {
        counts[experiment.choose(&request(1 << 70 | id, &[1.0, 0.5])).unwrap().0.arm] += 1.0 / 20_000.0;
    }
    for (count, p) in counts.iter().zip(&expected) {
        assert!((count - p).abs() < 4.0 * (p * (1.0 - p) / 20_000.0).sqrt() + 1e-9, "{counts:?} {expected:?}");
    }
}

#[test]
fn the_best_arm_is_named_wrongly_at_most_as_often_as_delta_says() {
    const DELTA: f64 = 0.1;
    const RUNS: u32 = 100;
    for policy in [Policy::Elimination { delta: DELTA }, Policy::TrackAndStop { delta: DELTA }] {
        let means = [0.4, 0.5, 0.7];
        let mut wrong = 0;
        let mut draws = 0;
        for seed in 0..RUNS {
            let mut asked = definition(policy.clone());
            asked.seed = seed;
            let mut experiment = experiment(asked, 3);
            let certain = loop {
                run_bernoulli(&mut experiment, &means, 10, seed);
                let probabilities = experiment.probabilities("", experiment.newest_ms(), &[]).unwrap().to_vec();
                if let Some(certain) = probabilities.iter().position(|p| *p == 1.0) {
                    // Track-and-stop also draws an arm alone that is behind; only a stop lasts.
                    if experiment.report(0, DELTA).unwrap().namespaces[0].decided
                        || matches!(policy, Policy::Elimination { .. })
                    {
                        break certain;
                    }
                }
                assert!(experiment.newest_ms() < 100_000, "it does not stop");
            };
            draws += experiment.newest_ms();
            wrong += u32::from(certain != 2);
        }
        println!("{policy:?}: {wrong} of {RUNS} wrong, {} draws", draws / u64::from(RUNS));
        assert!(f64::from(wrong) <= DELTA * f64::from(RUNS), "{policy:?}: {wrong} of {RUNS}");
    }
}

#[test]
fn track_and_stop_draws_by_the_optimal_proportions() {
    // Optimal proportions for these means, by a brute force over the simplex in steps of 0.001.
    let proportions = |means: &[f64]| {
        let asked = definition(Policy::TrackAndStop { delta: 0.1 });
        let mut experiment = experiment(asked, means.len());
        for id in 0..3_000u64 {
            let arm = (id % 3) as usize;
            experiment.apply(&decided(u128::from(id), 1, "", &format!("{arm:02}"))).unwrap();
            experiment.apply(&feedback(u128::from(id), 1, &[("success", means[arm])])).unwrap();
        }
        experiment
    };
    let mut close = proportions(&[0.5, 0.49, 0.48]);
    let actual = close.probabilities("", 1, &[]).unwrap().to_vec();
    let means: Vec<f64> = [0.5, 0.49, 0.48].iter().map(|m| (1.0 + 1_000.0 * m) / 1_002.0).collect();
    let value = |w: [f64; 3]| {
        (1..3)
            .map(|other| {
                let middle = (w[0] * means[0] + w[other] * means[other]) / (w[0] + w[other]);
                w[0] * coin_divergence(means[0], middle) + w[other] * coin_divergence(means[other], middle)
            })
            .fold(f64::INFINITY, f64::min)
    };
    let mut best = (0.0, [0.0; 3]);
    for first in 1..1_000 {
        for second in 1..1_000 - first {
            let w = [f64::from(first) / 1e3, f64::from(second) / 1e3, f64::from(1_000 - first - second) / 1e3];
            if value(w) > best.0 {
                best = (value(w), w);
            }
        }
    }
    // The optimum is flat, so the values are compared.
    let reached = value([actual[0], actual[1], actual[2]]);
    assert!(reached > best.0 * (1.0 - 1e-5), "{actual:?} {best:?} {reached}");
}

#[test]
fn after_a_change_the_policies_for_drift_find_the_new_best_arm() {
    let drifts = [Drift::Window { buckets: 10 }, Drift::Discount { half_life_ms: 500 }, Drift::Detect { delta: 0.01 }];
    let share_of_new_best = |drift: Drift| {
        let mut total = 0.0;
        for seed in 0..10 {
            let mut asked = definition(THOMPSON);
            (asked.drift, asked.bucket_ms, asked.seed) = (drift, 100, seed);
            let mut experiment = experiment(asked, 2);
            run_bernoulli(&mut experiment, &[0.7, 0.4], 3_000, seed);
            // The best arm gets worse than the other; the last thousand of two thousand draws are looked at.
            run_bernoulli(&mut experiment, &[0.2, 0.4], 1_000, seed);
            total += 1.0 - run_bernoulli(&mut experiment, &[0.2, 0.4], 1_000, seed) / 0.2 / 1_000.0;
        }
        total / 10.0
    };
    let still = share_of_new_best(Drift::Stationary);
    for drift in drifts {
        let share = share_of_new_best(drift);
        println!("{drift:?}: {share}, stationary {still}");
        assert!(share > 0.8 && share > still + 0.2, "{drift:?}: {share}, stationary {still}");
    }
}

fn railed() -> Experiment {
    let mut asked = definition(THOMPSON);
    asked.rewards.push(Reward { name: "latencyMs".into(), worst: 10_000.0, best: 0.0, weight: 0.0, default: None });
    asked.rails = vec![Rail {
        reward: "latencyMs".into(),
        quantile: 0.95,
        limit: 2_000.0,
        confidence: 0.9,
        trials: 60,
        margin: 0.2,
    }];
    asked.fallback = Some("00".into());
    experiment(asked, 3)
}

/// Tells `count` decisions for an arm, of which `slow` are above the limit.
fn serve(experiment: &mut Experiment, arm: &str, count: u64, slow: u64, at_ms: u64) {
    for index in 0..count {
        let id = u128::from(at_ms) << 64 | u128::from(arm.as_bytes()[1]) << 32 | u128::from(index);
        experiment.apply(&decided(id, at_ms, "", arm)).unwrap();
        let latency = if index < slow { 2_500.0 } else { 100.0 };
        experiment.apply(&feedback(id, at_ms, &[("success", 0.5), ("latencyMs", latency)])).unwrap();
    }
}

#[test]
fn an_arm_that_breaks_a_rail_is_out_and_comes_in_again_with_a_margin_or_after_a_while() {
    let mut experiment = railed();
    let out = |experiment: &mut Experiment, arm: usize, at_ms: u64| {
        experiment.probabilities("", at_ms, &[]).unwrap()[arm] == 0.0
    };
    serve(&mut experiment, "01", 59, 10, 10);
    assert!(!out(&mut experiment, 1, 10), "judged before its trials");
    serve(&mut experiment, "01", 1, 0, 11);
    assert!(out(&mut experiment, 1, 11));
    serve(&mut experiment, "02", 200, 1, 10);
    assert!(!out(&mut experiment, 2, 11));
    // Clopper and Pearson's bounds at 90 % (scipy.stats.beta.ppf(0.9, 11, n - 10)): 0.0493 at 10 of 310 is below
    // 0.05 but not below 0.04; at 400 it is 0.038.
    serve(&mut experiment, "01", 250, 0, 1_500);
    assert!(out(&mut experiment, 1, 1_500), "it came in without the margin");
    serve(&mut experiment, "01", 90, 0, 2_500);
    assert!(!out(&mut experiment, 1, 2_500));
    // Out again, and without new values in again once the buckets are gone.
    serve(&mut experiment, "01", 100, 50, 3_500);
    assert!(out(&mut experiment, 1, 3_500));
    assert!(!out(&mut experiment, 1, 3_500 + 32_000));
}

#[test]
fn the_fallback_is_served_where_the_rails_exclude_all() {
    let mut experiment = railed();
    for arm in ["00", "01", "02"] {
        serve(&mut experiment, arm, 100, 50, 10);
    }
    let (choice, _) = experiment.decide(&request(1, 20, "")).unwrap();
    assert_eq!((choice.arm, choice.propensity), (0, 1.0));
}

#[test]
fn shadow_mode_serves_the_fallback_and_tells_what_it_would_have_drawn() {
    let mut asked = definition(THOMPSON);
    (asked.shadow, asked.fallback) = (true, Some("00".into()));
    let mut experiment = experiment(asked, 2);
    let proposals: Vec<usize> = (0..100)
        .map(|id| {
            let (choice, event) = experiment.decide(&request(id, 5, "")).unwrap();
            let Event::Decide(event) = event else { panic!("no decision") };
            assert_eq!((choice.arm, choice.propensity, event.arm.as_str()), (0, 1.0, "00"));
            assert!((choice.proposed_propensity - 0.5).abs() < 1e-9);
            choice.proposed
        })
        .collect();
    assert!(proposals.contains(&0) && proposals.contains(&1));
}

#[test]
fn arms_come_and_go_while_it_runs() {
    let mut experiment = told(THOMPSON, 0.0);
    let withdrawn = ArmEvent { at_ms: 300, arm: "04".into(), settings: Settings::new(), active: false };
    experiment.apply(&Event::Arm(withdrawn.clone())).unwrap();
    assert_eq!(experiment.probabilities("", 300, &[]).unwrap()[4], 0.0);
    experiment.apply(&arm("035", 301)).unwrap();
    let probabilities = experiment.probabilities("", 301, &[]).unwrap().to_vec();
    assert_eq!(experiment.arms()[4].name, "035");
    assert!(probabilities[4] > 0.05 && probabilities[5] == 0.0);
    // Feedback of the withdrawn arm still counts, and an older declaration does not bring it back.
    experiment.apply(&ArmEvent { at_ms: 299, active: true, ..withdrawn }.into_event()).unwrap();
    assert_eq!(experiment.probabilities("", 301, &[]).unwrap()[5], 0.0);
    assert_eq!(experiment.namespaces()[""][5].whole.count, 30);
    let mut empty = Experiment::new(definition(THOMPSON)).unwrap();
    assert_eq!(empty.decide(&request(1, 1, "")).unwrap_err(), AnalyticsError::NoArm);
}

trait IntoEvent {
    fn into_event(self) -> Event;
}

impl IntoEvent for ArmEvent {
    fn into_event(self) -> Event {
        Event::Arm(self)
    }
}

#[test]
fn a_new_namespace_starts_from_what_the_others_know() {
    let mut asked = definition(THOMPSON);
    asked.sharing = 50.0;
    let mut experiment = experiment(asked, 2);
    for id in 0..400u64 {
        let (namespace, arm) = (["chat", "code"][(id % 2) as usize], (id / 2 % 2) as usize);
        experiment.apply(&decided(u128::from(id), 10, namespace, &format!("{arm:02}"))).unwrap();
        let reward = f64::from(id / 4 % 10 < [3, 7][arm]);
        experiment.apply(&feedback(u128::from(id), 10, &[("success", reward)])).unwrap();
    }
    assert!(experiment.probabilities("new", 10, &[]).unwrap()[1] > 0.99);
    assert!(experiment.probabilities("", 10, &[]).unwrap()[1] > 0.99);
}

#[test]
fn definitions_that_contradict_themselves_are_refused() {
    let change: [fn(&mut analytics::definition::Definition); 10] = [
        |d| d.rewards.clear(),
        |d| d.rewards[0].weight = 0.0,
        |d| d.rewards[0].best = d.rewards[0].worst,
        |d| d.floor = 1.5,
        |d| d.shadow = true,
        |d| d.window_ms = 0,
        |d| d.prior.successes = 0.5,
        |d| d.policy = Policy::LinUcb { ridge: 1.0, width: 1.0 },
        |d| d.policy = Policy::Optimise { initial: 8 },
        |d| {
            d.fallback = Some("a".into());
            d.rails = vec![Rail {
                reward: "success".into(),
                quantile: 0.95,
                limit: 1.0,
                confidence: 0.95,
                trials: 40,
                margin: 0.1,
            }];
        },
    ];
    for (index, change) in change.iter().enumerate() {
        let mut asked = definition(THOMPSON);
        change(&mut asked);
        assert!(matches!(Experiment::new(asked), Err(AnalyticsError::DefinitionInvalid(_))), "{index}");
    }
}
