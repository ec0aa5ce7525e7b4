//! The real model on real text: agreement with the float model, truncation, batches, damage.

mod reference;
mod weights;

use inference::backend::{Embedder, open};
use inference::file::{Buffer, File};
use inference::similarity::cosine;
use inference::{InferenceError, ModelKind};

/// Agreement with the float model that every text must reach, and that they must reach on average.
const COSINE_WORST: f32 = 0.98;
const COSINE_MEAN: f32 = 0.99;

const TEXTS: [&str; 20] = [
    "hello world",
    "The quick brown fox jumps over the lazy dog.",
    "Interest rates were raised by the central bank on Tuesday, to the surprise of many.",
    "SELECT id, name FROM users WHERE age > 30 ORDER BY name;",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Ça va très bien, merci !",
    "Привет, как дела?",
    "你好，世界",
    "東京は日本の首都です。",
    "मुझे हिंदी पसंद है",
    "😀👍🏽 party time!",
    "a",
    "?",
    "42",
    "I love this movie!",
    "I hate this movie!",
    "http://example.com/a?b=c",
    "Photosynthesis turns light into chemical energy that a plant can keep.",
    "fn main() { println!(\"{}\", 6 * 7); }",
    "   spaces   everywhere   ",
];

fn minilm_bytes() -> Option<Vec<u8>> {
    Some(std::fs::read(weights::folder()?.join("all-minilm-l6-v2.tlm")).expect("all-minilm-l6-v2.tlm is readable"))
}

fn load(bytes: &[u8]) -> Result<Embedder, InferenceError> {
    Ok(Embedder::new(open(File::open(Buffer::from_bytes(bytes)?)?)?))
}

fn minilm() -> Option<Embedder> {
    Some(load(&minilm_bytes()?).expect("the model loads"))
}

#[test]
fn hello_world_is_where_the_float_model_puts_it() {
    let Some(mut model) = minilm() else { return };
    let vectors = model.embed(&["hello world"]).expect("a text").vectors;
    for (got, expected) in vectors.iter().zip([-0.03448, 0.03102, 0.00673, 0.02611]) {
        assert!((got - expected).abs() < 0.01, "{got} instead of {expected}");
    }
}

#[test]
fn every_text_agrees_with_the_float_model() {
    let Some(folder) = weights::folder() else { return };
    let mut model = minilm().expect("the folder is there");
    let float = reference::FloatBert::read(&folder);
    let long = TEXTS.join(" ");
    let mut total = 0.0;
    let texts: Vec<&str> = TEXTS.iter().copied().chain([long.as_str()]).collect();
    for text in &texts {
        let ids = model.tokenize(text).to_vec();
        let agreement = cosine(&model.embed(&[text]).expect("a text").vectors, &float.embed(&ids)).expect("one length");
        assert!(agreement >= COSINE_WORST, "{agreement} for {text:?}");
        total += agreement;
    }
    let mean = total / texts.len() as f32;
    assert!(mean >= COSINE_MEAN, "{mean} on average");
}

#[test]
fn a_batch_gives_the_same_bits_as_its_texts_one_by_one() {
    let Some(mut model) = minilm() else { return };
    let mut texts: Vec<String> = TEXTS.iter().map(|&text| text.to_owned()).collect();
    texts.push("many words ".repeat(300));
    texts.extend((1..40).map(|count| "token ".repeat(count * 5)));
    let together = model.embed(&texts).expect("texts");
    for (index, text) in texts.iter().enumerate() {
        let alone = model.embed(&[text]).expect("a text");
        assert_eq!(alone.vectors, together.vectors[index * 384..][..384], "{text:?}");
        assert_eq!(alone.token_counts[0], together.token_counts[index]);
        assert_eq!(alone.truncated[0], together.truncated[index]);
    }
}

#[test]
fn a_long_text_is_cut_at_256_tokens_and_says_so() {
    let Some(mut model) = minilm() else { return };
    let (long, longer) = ("word ".repeat(300), "word ".repeat(5_000));
    let result = model.embed(&[&long, &longer, "word"]).expect("texts");
    assert_eq!((result.token_counts, result.truncated), (vec![256, 256, 3], vec![1, 1, 0]));
    assert_eq!(result.vectors[..384], result.vectors[384..768]);
}

#[test]
fn a_callers_tokens_give_the_embedding_of_their_text() {
    let Some(mut model) = minilm() else { return };
    let texts = model.embed(&["hello world", "hello"]).expect("texts").vectors;
    let tokens = model.embed_tokens(&[7592, 2088, 101, 7592, 102], &[2, 3]).expect("tokens").vectors;
    assert_eq!(texts, tokens);
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let Some(mut model) = minilm() else { return };
    assert_eq!(model.embed::<&str>(&[]).err(), Some(InferenceError::InputEmpty));
    assert_eq!(model.embed(&["fine", ""]).err(), Some(InferenceError::InputEmpty));
    assert_eq!(model.embed(&vec!["x"; 2049]).err().map(|error| error.code()), Some("input_too_many"));
    for (ids, lengths, code) in [
        (&[7592_u32][..], &[0_u32, 1][..], "input_empty"),
        (&[7592], &[2], "length_mismatch"),
        (&[7592], &[u32::MAX, 2], "length_mismatch"),
        (&[7592, 7592], &[1], "length_mismatch"),
        (&[30_522], &[1], "token_out_of_range"),
        (&[], &[], "input_empty"),
    ] {
        assert_eq!(model.embed_tokens(ids, lengths).err().map(|error| error.code()), Some(code), "{ids:?} {lengths:?}");
    }
    assert!(model.embed(&["still alive"]).is_ok());
}

#[test]
fn a_damaged_or_cut_model_file_is_refused() {
    let Some(good) = minilm_bytes() else { return };
    let places = (0..8192).step_by(61).chain((8192..good.len()).step_by(1_000_003)).chain([good.len() - 1]);
    for at in places {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(load(&bad).is_err(), "byte {at} changed");
    }
    for length in [0, 1, 63, 64, 100, 4096, good.len() / 2, good.len() - 1] {
        assert!(load(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn the_static_model_loads_and_tells_near_from_far() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../pkg/static/treeline-static-v1.tlm");
    let mut model = load(&std::fs::read(path).expect("the static model is committed")).expect("it loads");
    assert_eq!(model.info().kind, ModelKind::Static);
    let size = model.info().dimensions;
    let texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose last quarter."];
    let vectors = model.embed(&texts).expect("texts").vectors;
    let between = |a: usize, b: usize| cosine(&vectors[a * size..][..size], &vectors[b * size..][..size]);
    assert!(between(0, 1).expect("one length") > between(0, 2).expect("one length") + 0.2);
    let blank = model.embed(&[" ", "[PAD]"]).expect("blank texts stand for an unknown one");
    assert!((blank.vectors.iter().map(|x| x * x).sum::<f32>() - 2.0).abs() < 1e-4);
}
