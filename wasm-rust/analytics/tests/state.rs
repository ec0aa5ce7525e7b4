//! The state is a pure function of the set of events: order, repetition, snapshots and merges do not matter.

mod support;

use analytics::error::AnalyticsError;
use analytics::event::{DecisionId, Event};
use analytics::experiment::{Applied, Experiment};
use analytics::merge::merge;
use analytics::random::Keyed;
use support::*;

fn replay(events: &[Event]) -> Experiment {
    let mut experiment = Experiment::new(rich_definition()).unwrap();
    apply_all(&mut experiment, events);
    experiment
}

#[test]
fn any_order_of_events_gives_the_same_state() {
    for seed in 0..20 {
        let events = log(seed, 300);
        let expected = replay(&events).to_bytes();
        let mut random = Keyed::new(seed, 99);
        for _ in 0..5 {
            let mut shuffled = events.clone();
            shuffle(&mut shuffled, &mut random);
            assert_eq!(replay(&shuffled).to_bytes(), expected, "seed {seed}");
        }
    }
}

#[test]
fn telling_everything_twice_changes_nothing() {
    let events = log(3, 300);
    let once = replay(&events);
    let mut twice = once.clone();
    for event in &events {
        let applied = twice.apply(event).unwrap();
        assert!(applied == Applied::Known || matches!(event, Event::Tick { .. }), "{event:?}");
    }
    assert_eq!(twice.to_bytes(), once.to_bytes());
}

#[test]
fn a_merge_equals_hearing_all_events_in_one_place() {
    for seed in 0..20 {
        let events = log(seed, 400);
        let (before, after) = events.split_at(300);
        let base = replay(before);
        let mut random = Keyed::new(seed, 7);
        let (mut left, mut right) = (base.clone(), base.clone());
        for event in after {
            // Some events reach both sides.
            let place = random.bits() % 3;
            if place != 0 {
                left.apply(event).unwrap();
            }
            if place != 1 {
                right.apply(event).unwrap();
            }
        }
        let expected = replay(&events).to_bytes();
        assert_eq!(merge(&base, &left, &right).unwrap().to_bytes(), expected, "seed {seed}");
        assert_eq!(merge(&base, &right, &left).unwrap().to_bytes(), expected, "seed {seed}");
    }
}

#[test]
fn a_merge_of_sides_that_went_on_for_too_long_is_refused() {
    let base = replay(&log(1, 50));
    let mut late = base.clone();
    late.apply(&Event::Tick { at_ms: base.newest_ms() + 60_001 }).unwrap();
    assert!(matches!(merge(&base, &late, &base), Err(AnalyticsError::MergeRefused(_))));
    let mut other = rich_definition();
    other.seed = 9;
    assert!(merge(&base, &base, &Experiment::new(other).unwrap()).is_err());
}

#[test]
fn snapshots_load_to_the_same_state_and_go_on_alike() {
    let events = log(5, 400);
    let (before, after) = events.split_at(500);
    let original = replay(before);
    let copies =
        [Experiment::from_bytes(&original.to_bytes()).unwrap(), Experiment::from_json(&original.to_json()).unwrap()];
    for mut copy in copies {
        assert_eq!(copy.to_bytes(), original.to_bytes());
        let mut straight = original.clone();
        for step in 0..50 {
            let request = request(1 << 80 | step, original.newest_ms() + 1, "chat");
            assert_eq!(copy.decide(&request).unwrap(), straight.decide(&request).unwrap());
        }
        apply_all(&mut copy, after);
        apply_all(&mut straight, after);
        assert_eq!(copy.to_bytes(), straight.to_bytes());
    }
}

#[test]
fn snapshots_of_version_1_load_for_ever() {
    let bytes = include_bytes!("fixtures/version-1.bin");
    let json = include_str!("fixtures/version-1.json");
    let loaded = Experiment::from_bytes(bytes).unwrap();
    assert_eq!(loaded.to_json(), json.trim_end());
    assert_eq!(loaded.to_bytes(), Experiment::from_json(json).unwrap().to_bytes());
    assert_eq!(loaded.ledger().entries().len(), 60);
}

/// Writes the fixtures. Run once a version: `cargo test -p analytics --test state -- --ignored`.
#[test]
#[ignore = "writes the fixtures of the version that is current"]
fn write_the_fixtures() {
    let experiment = replay(&log(42, 60));
    std::fs::write("tests/fixtures/version-1.bin", experiment.to_bytes()).unwrap();
    std::fs::write("tests/fixtures/version-1.json", experiment.to_json() + "\n").unwrap();
}

#[test]
fn damaged_snapshots_are_refused_and_never_panic() {
    let good = replay(&log(2, 40)).to_bytes();
    let mut random = Keyed::new(4, 0);
    for round in 0..3_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random.bits() % 4 {
            let place = random.bits() as usize % bytes.len();
            bytes[place] = random.bits() as u8;
        }
        if random.bits().is_multiple_of(4) {
            bytes.truncate(random.bits() as usize % bytes.len());
        }
        if bytes == good {
            continue;
        }
        assert!(Experiment::from_bytes(&bytes).is_err(), "round {round}");
        // The same damage with a checksum that is right: whatever loads must work.
        reseal(&mut bytes);
        if let Ok(mut experiment) = Experiment::from_bytes(&bytes) {
            let at_ms = experiment.newest_ms();
            let _ = experiment.decide(&request(1, at_ms, "chat"));
            let _ = experiment.report(at_ms, 0.05);
            let _ = experiment.apply(&Event::Tick { at_ms: at_ms + 1_000_000 });
        }
    }
    assert_eq!(Experiment::from_bytes(b"TLAX\x02\0........").unwrap_err(), AnalyticsError::SnapshotUnsupported(2));
    assert!(Experiment::from_json("{\"version\":1,\"experiment\":{}}").is_err());
    assert_eq!(Experiment::from_json("{\"version\":7}").unwrap_err(), AnalyticsError::SnapshotUnsupported(7));
}

fn reseal(bytes: &mut [u8]) {
    let Some(length) = bytes.len().checked_sub(8) else { return };
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = bytes[..length].iter().fold(0xcbf2_9ce4_8422_2325, hash);
    bytes[length..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_missing_reward_takes_its_default_after_the_window_and_a_late_one_is_ignored() {
    let mut experiment = experiment(definition(thompson()), 1);
    experiment.apply(&decided(1, 1_000, "", "00")).unwrap();
    experiment.apply(&decided(2, 1_000, "", "00")).unwrap();
    experiment.apply(&feedback(1, 1_100, &[("success", 1.0)])).unwrap();
    assert_eq!(experiment.ledger().open(), 1);
    experiment.apply(&Event::Tick { at_ms: 1_101 }).unwrap();
    let whole = |experiment: &Experiment| experiment.namespaces()[""][0].whole;
    assert_eq!((whole(&experiment).count, whole(&experiment).sum.value()), (2, 1.0));
    experiment.apply(&feedback(2, 1_101, &[("success", 1.0)])).unwrap();
    assert_eq!((whole(&experiment).count, whole(&experiment).sum.value()), (2, 1.0));
    // Told late, but given in time: it replaces the default.
    experiment.apply(&feedback(2, 1_050, &[("success", 1.0)])).unwrap();
    assert_eq!((whole(&experiment).count, whole(&experiment).sum.value()), (2, 2.0));
}

#[test]
fn a_missing_reward_without_a_default_leaves_the_decision_out() {
    let mut asked = definition(thompson());
    asked.rewards[0].default = None;
    let mut experiment = experiment(asked, 1);
    experiment.apply(&decided(1, 1_000, "", "00")).unwrap();
    experiment.apply(&Event::Tick { at_ms: 5_000 }).unwrap();
    assert_eq!((experiment.namespaces()[""][0].decisions, experiment.namespaces()[""][0].whole.count), (1, 0));
}

#[test]
fn feedback_may_come_before_its_decision_and_an_id_has_one_decision() {
    let mut experiment = experiment(definition(thompson()), 2);
    experiment.apply(&feedback(5, 1_010, &[("success", 1.0)])).unwrap();
    experiment.apply(&decided(5, 1_000, "", "01")).unwrap();
    assert_eq!(experiment.namespaces()[""][1].whole.count, 1);
    assert_eq!(experiment.apply(&decided(5, 1_000, "", "00")), Err(AnalyticsError::DecisionConflict));
    assert_eq!(experiment.apply(&decided(5, 1_000, "", "01")), Ok(Applied::Known));
}

#[test]
fn what_is_older_than_window_and_grace_is_let_go_of() {
    let mut experiment = Experiment::new(rich_definition()).unwrap();
    apply_all(&mut experiment, &log(8, 200));
    let at_ms = experiment.newest_ms() + 60_000 + 200;
    experiment.apply(&Event::Tick { at_ms }).unwrap();
    assert!(experiment.ledger().entries().is_empty());
    assert_eq!(experiment.apply(&decided(1, 1_000, "chat", "a")), Ok(Applied::TooOld));
    assert_eq!(experiment.apply(&feedback(1, 1_000, &[("success", 1.0)])), Ok(Applied::TooOld));
}

#[test]
fn weights_and_ranges_make_one_reward_of_several() {
    let mut experiment = Experiment::new(rich_definition()).unwrap();
    experiment.apply(&arm("a", 0)).unwrap();
    experiment.apply(&decided(1, 10, "chat", "a")).unwrap();
    experiment.apply(&feedback(1, 20, &[("success", 1.0), ("latencyMs", 1_000.0)])).unwrap();
    // (1 · 1 + 0.5 · (1000 - 5000) / (0 - 5000)) / 1.5
    let tally = &experiment.namespaces()["chat"][0];
    assert!((tally.whole.sum.value() - 1.4 / 1.5).abs() < 1e-7);
    assert!((tally.rewards[1].mean() - 0.8).abs() < 1e-7);
}

#[test]
fn events_out_of_bounds_are_refused_and_change_nothing() {
    let mut experiment = experiment(definition(thompson()), 1);
    let before = experiment.to_bytes();
    let bad = [
        feedback(1, 10, &[("success", f64::NAN)]),
        feedback(1, 10, &[("other", 1.0)]),
        feedback(1, u64::MAX, &[("success", 1.0)]),
        decided(1, 10, "", ""),
        decided(1, 10, &"n".repeat(129), "00"),
        arm(&"a".repeat(129), 10),
        Event::Tick { at_ms: u64::MAX },
    ];
    for event in bad {
        assert!(experiment.apply(&event).is_err(), "{event:?}");
    }
    assert_eq!(experiment.to_bytes(), before);
}

#[test]
fn the_bounds_of_arms_and_namespaces_hold() {
    let mut experiment = experiment(definition(thompson()), 128);
    let full = |result| matches!(result, Err(AnalyticsError::Full { .. }));
    assert!(full(experiment.apply(&arm("one more", 1))));
    for index in 0..256 {
        experiment.apply(&decided(index, 10, &format!("n{index}"), "00")).unwrap();
    }
    assert!(full(experiment.apply(&decided(999, 10, "one more", "00"))));
    assert!(experiment.apply(&feedback(0, 20, &[("success", 1.0)])).is_ok());
}

#[test]
fn traffic_keeps_every_decision_in_at_most_64_buckets() {
    let mut experiment = experiment(definition(thompson()), 2);
    for step in 0..2_000u64 {
        let name = if step % 4 == 0 { "00" } else { "01" };
        experiment.apply(&decided(u128::from(step), step * step, "", name)).unwrap();
    }
    let traffic = experiment.traffic();
    let count = |name: &str| traffic.buckets.values().filter_map(|arms| arms.get(name)).sum::<i64>();
    assert_eq!((count("00"), count("01")), (500, 1_500));
    assert!(traffic.buckets.len() <= 64 && traffic.width_ms == 64_000, "{}", traffic.width_ms);
}

#[test]
fn ids_and_events_have_a_readable_json_form() {
    let event = decided(255, 7, "chat", "a");
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(
        text,
        "{\"decide\":{\"id\":\"000000000000000000000000000000ff\",\"atMs\":7,\"namespace\":\"chat\",\"arm\":\"a\",\
         \"propensity\":0.5,\"features\":[],\"point\":[]}}"
    );
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    assert!(serde_json::from_str::<DecisionId>("\"+0000000000000000000000000000001\"").is_err());
}

fn thompson() -> analytics::definition::Policy {
    analytics::definition::Policy::Thompson { family: analytics::definition::Family::Beta }
}
