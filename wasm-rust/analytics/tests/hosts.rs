//! The same long logs as `tests/wasm/analytics.test.ts` runs in WebAssembly give the same bits here. The cases and what
//! they come to lie in `tests/vectors/analytics.json`.

use analytics::choice::Request;
use analytics::definition::Definition;
use analytics::event::{ArmEvent, DecisionId, Event, Settings};
use analytics::experiment::Experiment;
use serde_json::{Value, json};

const VECTORS: &str = "../../tests/vectors/analytics.json";

/// A number in 0..1 from two, the same in Rust and in JavaScript.
fn scattered(left: u64, right: u64) -> f64 {
    (left.wrapping_mul(2_654_435_761).wrapping_add(right.wrapping_mul(40_503)) % (1 << 32)) as f64 / 4_294_967_296.0
}

/// Runs a case. Gives the checksum at the end of its snapshot, which is FNV-1a of all before.
fn run(case: &Value) -> String {
    let definition: Definition = serde_json::from_value(case["definition"].clone()).unwrap();
    let (features, rewards) = (definition.features, definition.rewards.len());
    let continuous = definition.is_continuous();
    let mut experiment = Experiment::new(definition).unwrap();
    for arm in 0..if continuous { 0 } else { 6 } {
        let event = ArmEvent { at_ms: 0, arm: format!("arm-{arm}"), settings: Settings::new(), active: true };
        experiment.apply(&Event::Arm(event)).unwrap();
    }
    for step in 1..=case["steps"].as_u64().unwrap() {
        let id = DecisionId(u128::from(step) << 64 | u128::from(step * 7));
        let at_ms = step * 10;
        let namespace = if step % 3 == 0 { "code" } else { "chat" };
        let context: Vec<f64> = (0..features as u64).map(|index| scattered(step, index + 11)).collect();
        let request = Request { id, at_ms, namespace, features: &context };
        let (choice, _) = experiment.decide(&request).unwrap();
        let place = choice.point.first().map_or(choice.arm as u64, |value| (value * 4.0) as u64);
        for reward in 0..rewards as u64 {
            let uniform = scattered(step, place + 100 * reward);
            // The first is 0 or 1, the second any number; every seventh never comes.
            let value = if reward == 0 { f64::from(uniform < 0.3 + 0.05 * place as f64) } else { 4_000.0 * uniform };
            if step % 7 > 0 || reward > 0 {
                experiment.give(id, at_ms + reward, reward as usize, value).unwrap();
            }
        }
    }
    let bytes = experiment.to_bytes();
    bytes[bytes.len() - 8..].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn long_logs_end_in_the_recorded_bits() {
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap();
    assert!(cases.len() >= 9);
    for case in cases {
        assert_eq!(json!(run(&case)), case["checksum"], "{}", case["definition"]["name"]);
    }
}

/// Writes what the cases come to. Run where a change of the bits is meant: `cargo test --test hosts -- --ignored`.
#[test]
#[ignore = "writes the vectors"]
fn write_the_vectors() {
    let mut cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(VECTORS).unwrap()).unwrap();
    for case in &mut cases {
        case["checksum"] = json!(run(case));
    }
    std::fs::write(VECTORS, serde_json::to_string_pretty(&cases).unwrap() + "\n").unwrap();
}
