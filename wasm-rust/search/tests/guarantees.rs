//! What a search promises whatever the algorithm.

mod support;

use search::{
    ARMS_MAX, Algorithm, BATCH_MAX, Cost, CostMeasure, Event, Options, Outcome, Random, Search, Status, StopReason,
    StopRules, Strategy, Trial,
};
use support::{all_options, random_log, replay, run, score_of};

const FREE: Cost = Cost { tokens: 0, money_micros: 0, time_ms: 0 };

/// Where proposals do not depend on what they refine, no algorithm can do better or worse than another.
#[test]
fn every_algorithm_has_the_same_curve_where_answers_do_not_build_on_each_other() {
    for seed in 0..5 {
        let curve = |options: Options| {
            let search = run(options, 60, |trial| score_of(trial, seed));
            let mut best: Vec<f64> =
                (1..=60).map(|id| search.statistics(id).expect("asked").score.expect("told")).collect();
            (1..best.len()).for_each(|index| best[index] = best[index].max(best[index - 1]));
            best
        };
        let curves: Vec<_> = all_options(1, seed).into_iter().map(curve).collect();
        assert!(curves.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}");
    }
}

#[test]
fn any_order_of_tells_gives_the_same_state() {
    for options in all_options(3, 9) {
        for seed in 0..4 {
            let mut search = run(options.clone(), 30, |trial| score_of(trial, seed));
            let batch = search.ask(16, 100).expect("asked");
            let mut backwards = search.clone();
            for trial in &batch {
                search.tell(trial.id, score_of(trial, seed), Cost { tokens: 7, ..FREE }, 200).expect("told");
            }
            for trial in batch.iter().rev() {
                backwards.tell(trial.id, score_of(trial, seed), Cost { tokens: 7, ..FREE }, 200).expect("told");
            }
            assert_eq!(search.snapshot(), backwards.snapshot(), "{options:?}, seed {seed}");
            assert_eq!(search.ask(8, 300), backwards.ask(8, 300), "{options:?}, seed {seed}");
            assert_eq!(search.stop_reason(300), backwards.stop_reason(300));
            assert_eq!(search.expected_gain(), backwards.expected_gain());
        }
    }
}

#[test]
fn telling_again_changes_nothing() {
    for options in all_options(2, 3) {
        let mut search = run(options, 20, |trial| score_of(trial, 1));
        let before = search.snapshot();
        assert_eq!(search.tell(5, 0.123, Cost { tokens: 99, ..FREE }, 999), Ok(false));
        assert_eq!(search.fail(5, FREE, 999), Ok(false));
        assert_eq!(search.snapshot(), before);
    }
}

#[test]
fn a_bad_score_is_an_error_and_leaves_the_trial_open() {
    let mut search = Search::new(Options::new(Algorithm::AbmctsA, 1, 1)).expect("valid");
    let trial = search.ask(1, 0).expect("asked")[0];
    let before = search.snapshot();
    for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.001, 1.001] {
        assert_eq!(search.tell(trial.id, score, FREE, 1).expect_err("refused").code(), "score_invalid");
    }
    assert_eq!(search.snapshot(), before);
    assert_eq!(search.tell(trial.id, 1.0, FREE, 1), Ok(true));
}

#[test]
fn minus_zero_is_a_score_of_zero() {
    let mut search = Search::new(Options::new(Algorithm::BestFirst, 1, 1)).expect("valid");
    for (trial, score) in search.ask(2, 0).expect("asked").iter().zip([-0.0, 0.5]) {
        search.tell(trial.id, score, FREE, 0).expect("told");
    }
    assert_eq!(search.top(1)[0].id, 2);
    assert_eq!(Search::from_snapshot(&search.snapshot()).expect("loads").top(2), search.top(2));
}

#[test]
fn what_was_never_asked_is_refused() {
    let mut search = run(Options::new(Algorithm::AbmctsA, 1, 1), 3, |_| 0.5);
    for trial in [0, 4, u32::MAX] {
        assert_eq!(search.tell(trial, 0.5, FREE, 1).expect_err("refused").code(), "trial_unknown");
        assert_eq!(search.fail(trial, FREE, 1).expect_err("refused").code(), "trial_unknown");
    }
    assert_eq!(search.ask(0, 1).expect_err("refused").code(), "count_out_of_range");
    assert_eq!(search.ask(BATCH_MAX + 1, 1).expect_err("refused").code(), "count_out_of_range");
    assert_eq!(search.remove_arm(1).expect_err("refused").code(), "arm_unknown");
    assert_eq!(search.statistics(4).expect_err("refused").code(), "trial_unknown");
    assert_eq!(search.ask(1, u64::MAX).expect_err("refused").code(), "event_invalid");
    for _ in 1..ARMS_MAX {
        search.add_arm(None).expect("room");
    }
    assert_eq!(search.add_arm(None).expect_err("refused").code(), "arms_too_many");
}

#[test]
fn a_failed_trial_counts_for_nothing_but_its_cost() {
    for options in all_options(2, 3) {
        let mut search = run(options.clone(), 12, |trial| score_of(trial, 1));
        let Some(trial) = search.ask(1, 50).expect("asked").first().copied() else { continue };
        assert_eq!(search.fail(trial.id, Cost { tokens: 5, ..FREE }, 51), Ok(true));
        assert_eq!(search.spent().tokens, 5);
        assert_eq!(search.tell(trial.id, 0.9, FREE, 52).expect_err("refused").code(), "trial_failed");
        let root = search.statistics(0).expect("there");
        assert_eq!((root.visits, root.open), (12, 0), "{options:?}");
        assert!(!search.ask(1, 53).expect("asked").is_empty(), "{options:?} goes on");
    }
}

#[test]
fn an_expired_trial_frees_its_place_and_still_takes_a_late_score() {
    let options = Options { trial_timeout_ms: 100, ..Options::new(Algorithm::AbmctsA, 1, 1) };
    let mut search = Search::new(options).expect("valid");
    let (early, late) = (search.ask(1, 0).expect("asked")[0], search.ask(1, 50).expect("asked")[0]);
    assert_eq!(search.expire(99), Ok(vec![]));
    assert_eq!(search.expire(100), Ok(vec![early.id]));
    assert_eq!(search.expire(100), Ok(vec![]));
    assert_eq!(search.open_trials(), vec![late.id]);
    assert_eq!(search.statistics(early.id).expect("there").status, Status::Expired);
    assert_eq!(search.tell(early.id, 0.7, FREE, 120), Ok(true));
    assert_eq!(search.statistics(0).expect("there").visits, 1);
}

#[test]
fn arms_come_and_go_while_it_runs() {
    for options in all_options(1, 4) {
        let mut search = run(options.clone(), 10, |trial| score_of(trial, 2));
        assert_eq!(search.add_arm(Some(0.6)), Ok(1));
        search.remove_arm(0).expect("there");
        search.remove_arm(0).expect("again is no error");
        for now in 10..40 {
            for trial in search.ask(1, now).expect("asked") {
                assert_eq!(trial.arm, 1, "{options:?}");
                search.tell(trial.id, score_of(&trial, 2), FREE, now).expect("told");
            }
        }
        search.remove_arm(1).expect("there");
        assert_eq!(search.ask(1, 50).expect_err("refused").code(), "arms_missing");
    }
}

#[test]
fn better_arms_are_asked_more_often() {
    for strategy in [Strategy::Bandit, Strategy::Ucb, Strategy::Stack, Strategy::AlgorithmTwo] {
        for algorithm in [Algorithm::AbmctsA, Algorithm::AbmctsM] {
            let score = |trial: &Trial| 0.1 + 0.35 * f64::from(trial.arm) + 0.1 * score_of(trial, 3);
            let search = run(Options { strategy, ..Options::new(algorithm, 3, 8) }, 200, score);
            let counts: Vec<u32> = (0..3).map(|arm| search.arm_statistics(arm).expect("there").1).collect();
            assert!(counts[2] > counts[0] && counts[2] > counts[1], "{algorithm:?} {strategy:?}: {counts:?}");
        }
    }
}

#[test]
fn value_for_cost_prefers_the_cheap_of_two_equal_arms() {
    let share_of_cheap = |value_for: Option<CostMeasure>| {
        let mut search = Search::new(Options { value_for, ..Options::new(Algorithm::AbmctsA, 2, 5) }).expect("valid");
        for now in 0..200 {
            for trial in search.ask(1, now).expect("asked") {
                let cost = Cost { tokens: if trial.arm == 0 { 100 } else { 2000 }, ..FREE };
                search.tell(trial.id, 0.5 + 0.3 * score_of(&trial, 4), cost, now).expect("told");
            }
        }
        f64::from(search.arm_statistics(0).expect("there").1) / 200.0
    };
    let (blind, aware) = (share_of_cheap(None), share_of_cheap(Some(CostMeasure::Tokens)));
    assert!(aware > 0.6 && aware > blind + 0.2, "{aware} of the trials with costs, {blind} without");
}

#[test]
fn each_rule_stops_the_search() {
    let stop = |stop: StopRules| Options { stop, ..Options::new(Algorithm::AbmctsA, 1, 1) };
    let none = StopRules::default();
    let cases = [
        (StopRules { trials_max: Some(7), ..none }, StopReason::Trials, 7),
        (StopRules { tokens_max: Some(50), ..none }, StopReason::Tokens, 5),
        (StopRules { money_micros_max: Some(9), ..none }, StopReason::Money, 9),
        (StopRules { deadline_ms: Some(12), ..none }, StopReason::Deadline, 12),
        (StopRules { score_reached: Some(0.5), ..none }, StopReason::ScoreReached, 1),
        (StopRules { gain_least: Some(0.05), ..none }, StopReason::Gain, 10),
    ];
    for (rules, reason, trials) in cases {
        let mut search = Search::new(stop(rules)).expect("valid");
        for now in 0..100 {
            for trial in search.ask(1, now).expect("asked") {
                search.tell(trial.id, 0.5, Cost { tokens: 10, money_micros: 1, time_ms: 3 }, now).expect("told");
            }
        }
        assert_eq!((search.stop_reason(100), search.trials()), (Some(reason), trials));
    }
    let mut search = Search::new(stop(StopRules { failures_max: Some(3), ..none })).expect("valid");
    for now in 0..100 {
        for trial in search.ask(1, now).expect("asked") {
            search.fail(trial.id, FREE, now).expect("new");
        }
    }
    assert_eq!((search.stop_reason(100), search.trials()), (Some(StopReason::Failures), 3));
}

#[test]
fn open_trials_count_towards_the_budget_and_a_failed_one_gives_its_place_back() {
    let stop = StopRules { trials_max: Some(10), ..StopRules::default() };
    let mut search = Search::new(Options { stop, ..Options::new(Algorithm::AbmctsA, 2, 1) }).expect("valid");
    assert_eq!(search.ask(8, 0).expect("asked").len(), 8);
    assert_eq!(search.ask(8, 0).expect("asked").len(), 2);
    assert_eq!(search.ask(8, 0).expect("asked").len(), 0);
    search.fail(3, FREE, 1).expect("new");
    assert_eq!(search.ask(8, 2).expect("asked").len(), 1);
}

/// In a tree with one good answer, a batch without knowledge of itself would refine that one over and over.
#[test]
fn a_batch_does_not_pile_onto_one_node() {
    const BATCH: u32 = 32;
    const SEEDS: u32 = 40;
    for algorithm in [Algorithm::AbmctsA, Algorithm::AbmctsM, Algorithm::Mcts] {
        let (mut most, mut nodes) = (0.0, 0);
        for seed in 0..SEEDS {
            let seed = u64::from(seed);
            let mut search = run(Options::new(algorithm, 1, seed), 40, |trial| match trial.parent {
                0 => 0.2 + 0.1 * score_of(trial, seed),
                _ => 0.8 + 0.1 * score_of(trial, seed),
            });
            let mut counts = std::collections::BTreeMap::new();
            for trial in search.ask(BATCH, 100).expect("asked") {
                *counts.entry(trial.parent).or_insert(0u32) += 1;
            }
            most += f64::from(*counts.values().max().expect("asked")) / f64::from(BATCH) / f64::from(SEEDS);
            nodes += counts.len();
        }
        let nodes = nodes as f64 / f64::from(SEEDS);
        println!("{algorithm:?}: {most:.2} of a batch of {BATCH} on its first node, {nodes:.1} nodes");
        assert!(most <= 0.55 && nodes >= 8.0, "{algorithm:?}: {most} of a batch on one node, {nodes} nodes");
    }
}

#[test]
fn a_log_replays_to_the_same_state_and_every_event_survives_json() {
    for (index, options) in all_options(2, 77).into_iter().enumerate() {
        let options = Options { trial_timeout_ms: 60, ..options };
        let log = random_log(&options, 400, index as u64);
        let search = replay(&options, &log);
        let lines: Vec<Event> = log.iter().map(|event| Event::from_json(&event.to_json()).expect("an event")).collect();
        assert_eq!(lines, log);
        assert_eq!(replay(&options, &lines).fingerprint(), search.fingerprint(), "{options:?}, seed {index}");
        assert!(search.trials() > 15, "{options:?}, seed {index}: only {}", search.trials());
    }
}

/// Loading in the middle must not be seen in what follows.
#[test]
fn a_search_that_was_saved_and_loaded_goes_on_alike() {
    for (index, options) in all_options(2, 78).into_iter().enumerate() {
        let options = Options { trial_timeout_ms: 60, ..options };
        let log = random_log(&options, 300, 1000 + index as u64);
        let mut search = replay(&options, &log[..200]);
        let mut from_bytes = Search::from_snapshot(&search.snapshot()).expect("loads");
        let mut from_json = Search::from_json(&search.to_json()).expect("loads");
        for event in &log[200..] {
            let outcome = search.apply(event);
            assert_eq!(from_bytes.apply(event), outcome, "{options:?}, seed {index}");
            assert_eq!(from_json.apply(event), outcome, "{options:?}, seed {index}");
        }
        assert_eq!(from_bytes.snapshot(), search.snapshot());
        assert_eq!(from_json.snapshot(), search.snapshot());
        assert_eq!(from_json.stop_reason(0), search.stop_reason(0));
        assert_eq!((from_json.expected_gain(), from_json.spent()), (search.expected_gain(), search.spent()));
        assert_eq!(from_json.top(5), search.top(5));
    }
}

#[test]
fn trees_are_as_deep_as_their_answers() {
    const DEPTH: u32 = 10_000;
    for algorithm in [Algorithm::SequentialRefinement, Algorithm::BestFirst] {
        let options = Options { children_each: Some(1), ..Options::new(algorithm, 1, 1) };
        let mut search = run(options, DEPTH, |trial| f64::from(trial.id) / f64::from(DEPTH));
        assert_eq!(search.top(1)[0].depth, DEPTH);
        search = Search::from_snapshot(&search.snapshot()).expect("loads");
        assert_eq!(search.top(1)[0].depth, DEPTH);
        assert_eq!(Search::from_json(&search.to_json()).expect("loads").fingerprint(), search.fingerprint());
    }
}

/// AB-MCTS finds its way through a chain that is as deep.
#[test]
fn decisions_go_as_deep_as_the_tree() {
    const DEPTH: u32 = 10_000;
    for algorithm in [Algorithm::AbmctsA, Algorithm::AbmctsM, Algorithm::Mcts] {
        let chain = run(Options::new(Algorithm::SequentialRefinement, 1, 1), DEPTH, |_| 0.5);
        let text = chain
            .to_json()
            .replace("sequential-refinement", serde_json::to_value(algorithm).expect("a name").as_str().expect("text"));
        let options = r#""childrenEach":1,"algorithm""#;
        let mut search = Search::from_json(&text.replacen(r#""algorithm""#, options, 1)).expect("loads");
        for trial in search.ask(3, 0).expect("asked") {
            search.tell(trial.id, 1.0, FREE, 0).expect("told");
        }
        assert_eq!(search.statistics(0).expect("there").visits, DEPTH + 3);
    }
}

#[test]
fn a_hundred_thousand_nodes_take_less_than_64_megabytes() {
    let mut search = Search::new(Options::new(Algorithm::Mcts, 2, 1)).expect("valid");
    let mut random = Random::from_seed(1);
    while search.trials() < 100_000 {
        for trial in search.ask(64, 0).expect("asked") {
            search.tell(trial.id, random.uniform(), FREE, 0).expect("told");
        }
    }
    println!("{} nodes in {} bytes", search.trials(), search.bytes());
    assert!(search.bytes() < 64_000_000, "{}", search.bytes());
}

#[test]
fn an_event_that_is_refused_changes_nothing() {
    let mut search = run(Options::new(Algorithm::AbmctsA, 1, 1), 10, |trial| score_of(trial, 1));
    let before = search.snapshot();
    let refused = [
        Event::Ask { count: 0, now: 0 },
        Event::Tell { trial: 99, score: 0.5, cost: FREE, now: 0 },
        Event::Tell { trial: 1, score: 0.5, cost: Cost { tokens: u64::MAX, ..FREE }, now: 0 },
        Event::Fail { trial: 0, cost: FREE, now: 0 },
        Event::Expire { now: u64::MAX },
        Event::AddArm { prior_mean: Some(2.0) },
        Event::RemoveArm { arm: 9 },
    ];
    for event in refused {
        search.apply(&event).expect_err("refused");
        assert_eq!(search.snapshot(), before, "{event:?}");
    }
    assert_eq!(search.apply(&Event::Expire { now: 0 }), Ok(Outcome::Expired(vec![])));
}
