//! What must not change: the states of fixed logs, here and in WebAssembly, and the snapshots of every version so far.

mod support;

use std::path::PathBuf;

use search::{Options, SNAPSHOT_VERSION, Search};
use support::{all_options, random_log, replay};

const EVENTS: u32 = 600;
const SEED: u64 = 2026;

fn options() -> Vec<Options> {
    all_options(3, SEED).into_iter().map(|options| Options { trial_timeout_ms: 60, ..options }).collect()
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name)
}

/// Writes what is missing when `TREELINE_WRITE_FIXTURES` is set, and reads it.
fn kept(name: &str, content: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = file(name);
    if !path.exists() && std::env::var_os("TREELINE_WRITE_FIXTURES").is_some() {
        std::fs::write(&path, content()).expect("written");
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `tests/wasm/search.test.ts` replays the same logs in the built module and finds the same hashes.
#[test]
fn the_states_after_long_random_logs_are_the_kept_ones() {
    let lines = || {
        let mut text = String::new();
        for (index, options) in options().iter().enumerate() {
            let log = random_log(options, EVENTS, index as u64);
            let events: Vec<String> = log.iter().map(search::Event::to_json).collect();
            let fingerprint = replay(options, &log).fingerprint();
            let options = serde_json::to_string(options).expect("serialises");
            text += &format!(
                r#"{{"options":{options},"events":[{}],"fingerprint":"{fingerprint:016x}"}}"#,
                events.join(",")
            );
            text.push('\n');
        }
        text.into_bytes()
    };
    let kept = String::from_utf8(kept("logs.jsonl", lines)).expect("text");
    let mut count = 0;
    for line in kept.lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let mut search =
            Search::new(Options::from_json(&case["options"].to_string()).expect("options")).expect("valid");
        for event in case["events"].as_array().expect("a list") {
            search.apply(&search::Event::from_json(&event.to_string()).expect("an event")).expect("accepted");
        }
        let fingerprint = format!("{:016x}", search.fingerprint());
        assert_eq!(case["fingerprint"].as_str(), Some(fingerprint.as_str()), "{}", case["options"]);
        count += 1;
    }
    assert_eq!(count, options().len());
}

#[test]
fn snapshots_of_every_version_load_as_bytes_and_as_json() {
    let search = || replay(&options()[0], &random_log(&options()[0], EVENTS, 0));
    kept(&format!("v{SNAPSHOT_VERSION}.bin"), || search().snapshot());
    kept(&format!("v{SNAPSHOT_VERSION}.json"), || search().to_json().into_bytes());
    for version in 1..=SNAPSHOT_VERSION {
        let bytes = std::fs::read(file(&format!("v{version}.bin"))).expect("kept");
        let text = std::fs::read_to_string(file(&format!("v{version}.json"))).expect("kept");
        let from_bytes = Search::from_snapshot(&bytes).expect("loads");
        let from_json = Search::from_json(&text).expect("loads");
        assert_eq!(from_bytes.fingerprint(), from_json.fingerprint());
        assert!(from_bytes.trials() > 100);
    }
}
