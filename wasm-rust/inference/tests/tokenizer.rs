//! The tokenizer against the reference tokenizer's own answers (`tests/vectors/tokenizer.json`).

mod weights;

use inference::tokenizer::{Tokenizer, Workspace};
use serde_json::Value;

/// The model's length, special tokens included.
const TOKENS_MAX: usize = 256;

fn tokenizer() -> Option<Tokenizer> {
    let json = std::fs::read_to_string(weights::folder()?.join("tokenizer.json")).expect("tokenizer.json is readable");
    let vocabulary = inference::quantise::read_vocabulary(&json).expect("a BERT tokenizer");
    Some(Tokenizer::from_vocabulary(&vocabulary.join("\n")).expect("it has the special tokens"))
}

fn encode(tokenizer: &Tokenizer, text: &str, tokens_max: usize) -> (Vec<u32>, bool) {
    let mut ids = Vec::new();
    let encoded = tokenizer.encode(text, tokens_max, &mut ids, &mut Workspace::default());
    assert_eq!(encoded.tokens, ids.len());
    (ids, encoded.truncated)
}

#[test]
fn every_text_gets_the_ids_that_the_reference_gives_it() {
    let Some(tokenizer) = tokenizer() else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/tokenizer.json");
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("vectors")).expect("JSON");
    let cases = cases.as_array().expect("a list");
    assert!(cases.len() > 400);
    for case in cases {
        let text = case["text"].as_str().expect("text");
        let expected: Vec<u32> =
            case["ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("id") as u32).collect();
        assert_eq!(encode(&tokenizer, text, TOKENS_MAX).0, expected, "{text:?}");
    }
}

#[test]
fn a_text_that_just_fits_is_not_called_truncated_and_one_more_word_is() {
    let Some(tokenizer) = tokenizer() else { return };
    let (fits, cut) = (vec!["word"; TOKENS_MAX - 2].join(" "), vec!["word"; TOKENS_MAX - 1].join(" "));
    let (ids, truncated) = encode(&tokenizer, &fits, TOKENS_MAX);
    assert_eq!((ids.len(), truncated), (TOKENS_MAX, false));
    let (ids, truncated) = encode(&tokenizer, &cut, TOKENS_MAX);
    assert_eq!((ids.len(), ids[TOKENS_MAX - 1], truncated), (TOKENS_MAX, tokenizer.closing(), true));
}

#[test]
fn a_callers_ids_are_framed_once_and_checked() {
    let Some(tokenizer) = tokenizer() else { return };
    for tokens in [&[7592_u32, 2088][..], &[101, 7592, 2088], &[7592, 2088, 102], &[101, 7592, 2088, 102]] {
        let mut ids = Vec::new();
        let encoded = tokenizer.frame(tokens, TOKENS_MAX, &mut ids).expect("all in the vocabulary");
        assert_eq!((ids, encoded.tokens, encoded.truncated), (vec![101, 7592, 2088, 102], 4, false));
    }
    let mut ids = Vec::new();
    assert!(tokenizer.frame(&[u32::MAX], TOKENS_MAX, &mut ids).is_err() && ids.is_empty());
    let encoded = tokenizer.frame(&[7592; 300], TOKENS_MAX, &mut ids).expect("all in the vocabulary");
    assert_eq!((ids.len(), ids[TOKENS_MAX - 1], encoded.truncated), (TOKENS_MAX, 102, true));
}

#[test]
fn megabytes_of_hostile_text_are_done_at_once() {
    let Some(tokenizer) = tokenizer() else { return };
    let texts = ["a".repeat(4 << 20), " ".repeat(4 << 20), "\u{301}".repeat(1 << 20), "\u{16ff0}".repeat(1 << 18)];
    for text in texts {
        let started = std::time::Instant::now();
        encode(&tokenizer, &text, TOKENS_MAX);
        assert!(started.elapsed().as_secs() < 5, "{} bytes took {:?}", text.len(), started.elapsed());
    }
}
