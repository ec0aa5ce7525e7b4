//! Snapshots that are not what was written: never a panic, never a hang, never much memory.

mod support;

use search::{Algorithm, Options, Random, Search};
use support::{all_options, random_log, replay, run, score_of};

const SEED: u64 = 99;

fn small() -> Search {
    let options = Options { trial_timeout_ms: 60, ..all_options(2, 1)[0].clone() };
    replay(&options, &random_log(&options, 60, SEED))
}

/// The checksum that the format ends with, so that damage gets past it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 8;
    let sum = bytes[..body]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    bytes[body..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn a_snapshot_cut_anywhere_is_refused() {
    let bytes = small().snapshot();
    for length in 0..bytes.len() {
        assert!(Search::from_snapshot(&bytes[..length]).is_err(), "{length} bytes");
        if length >= 8 {
            assert!(Search::from_snapshot(&sealed(bytes[..length].to_vec())).is_err(), "{length} sealed bytes");
        }
    }
    assert!(Search::from_snapshot(&sealed([&bytes[..], &[0]].concat())).is_err());
}

/// What gets past the checksum is either refused or a state that can be used, saved and loaded.
#[test]
fn damage_past_the_checksum_is_refused_or_harmless() {
    let bytes = small().snapshot();
    let mut random = Random::from_seed(SEED);
    let (mut loaded, rounds) = (0, 20_000);
    for _ in 0..rounds {
        let mut damaged = bytes.clone();
        for _ in 0..=random.bits() % 3 {
            let place = (random.bits() % damaged.len() as u64) as usize;
            damaged[place] = match random.bits() % 3 {
                0 => random.bits() as u8,
                1 => damaged[place] ^ 1 << (random.bits() % 8),
                _ => 0xff,
            };
        }
        let Ok(mut search) = Search::from_snapshot(&sealed(damaged)) else { continue };
        loaded += 1;
        let _ = search.ask(3, 1);
        let _ = search.expire(1 << 40);
        let again = Search::from_snapshot(&search.snapshot()).expect("what was loaded can be saved");
        assert_eq!(again.fingerprint(), search.fingerprint());
    }
    println!("{loaded} of {rounds} damaged snapshots were loaded; seed {SEED}");
    assert!(loaded > 0 && loaded < rounds);
}

#[test]
fn damaged_json_is_refused_or_harmless() {
    let text = small().to_json();
    let mut random = Random::from_seed(SEED);
    for _ in 0..5_000 {
        let mut bytes = text.clone().into_bytes();
        let place = (random.bits() % bytes.len() as u64) as usize;
        bytes[place] = b"0123456789,{}[]\"-e.tn"[(random.bits() % 21) as usize];
        let Ok(mut search) = Search::from_json(&String::from_utf8_lossy(&bytes)) else { continue };
        let _ = search.ask(3, 1);
        assert!(Search::from_snapshot(&search.snapshot()).is_ok());
    }
}

#[test]
fn a_version_of_the_future_is_named() {
    let mut bytes = small().snapshot();
    bytes[4] = 200;
    assert_eq!(Search::from_snapshot(&sealed(bytes)).expect_err("refused").code(), "snapshot_version");
    let text = small().to_json().replacen(r#""version":1"#, r#""version":200"#, 1);
    assert_eq!(Search::from_json(&text).expect_err("refused").code(), "snapshot_version");
}

/// Loading is linear: a chain as deep as the tree is large costs no more than a bush.
#[test]
fn a_deep_snapshot_loads_like_a_wide_one() {
    for algorithm in [Algorithm::SequentialRefinement, Algorithm::RepeatedSampling] {
        let search = run(Options::new(algorithm, 1, 1), 10_000, |trial| score_of(trial, 1));
        let bytes = search.snapshot();
        println!("{algorithm:?}: {} bytes", bytes.len());
        assert_eq!(Search::from_snapshot(&bytes).expect("loads").fingerprint(), search.fingerprint());
    }
}
