//! The real MiniLM in floats, beside the one in 8-bit integers. Where the machine has no model (`make pool` fetches it,
//! `TREELINE_MODEL_DIRECTORY` may name another place) these tests say so and pass: there is nothing to test.

use contract::v1::{EmbedRequest, RerankRequest, TokenizeRequest};
use engine_core::{CallContext, EngineError, Model, ModelSource, Reason};
use minilm::MiniLm;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const TEXTS: [&str; 6] = [
    "hello world",
    "The quick brown fox jumps over the lazy dog.",
    "Größe, façade, naïve — and 東京!",
    "def add(left, right): return left + right",
    "How do I reset my password?",
    "To choose a new password, open the settings and follow the link that we send you by e-mail.",
];

fn folder() -> Option<PathBuf> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/treeline/models");
    let models = std::env::var_os("TREELINE_MODEL_DIRECTORY").filter(|name| !name.is_empty());
    let folder = models.map_or_else(home, PathBuf::from).join("all-minilm-l6-v2");
    if folder.join("model.safetensors").exists() {
        return Some(folder);
    }
    println!("skipped: no model in {}", folder.display());
    None
}

fn load(folder: PathBuf, tokenizer: &str, settings: serde_json::Value) -> Result<Arc<dyn Model>, EngineError> {
    let files = [("weights", "model.safetensors"), ("tokenizer", tokenizer)];
    backend_candle::backend().load(&ModelSource {
        name: "all-minilm-l6-v2-float".to_owned(),
        version: 1,
        folder,
        files: files.map(|(role, name)| (role.to_owned(), PathBuf::from(name))).into_iter().collect::<BTreeMap<_, _>>(),
        settings: settings.as_object().cloned().unwrap_or_default(),
        threads: 2,
    })
}

fn open() -> Option<(PathBuf, Arc<dyn Model>)> {
    let folder = folder()?;
    let model = load(folder.clone(), "tokenizer.json", serde_json::json!({})).expect("loaded");
    Some((folder, model))
}

fn texts(texts: &[&str]) -> EmbedRequest {
    EmbedRequest { texts: texts.iter().map(|text| (*text).to_owned()).collect(), ..Default::default() }
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[test]
fn hello_world_has_its_known_vector() {
    let Some((_, model)) = open() else { return };
    let description = model.description();
    assert_eq!((description.backend, description.context_length), ("candle", 256));
    let embeddings = model.embed(&CallContext::default(), &texts(&["hello world"])).expect("embedded");
    println!("{:?}", &embeddings.vectors[..4]);
    assert_eq!((embeddings.dimensions, embeddings.vectors.len()), (384, 384));
    for (found, expected) in embeddings.vectors.iter().zip([-0.03448, 0.03102, 0.00673, 0.02611]) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
    assert!((cosine(&embeddings.vectors, &embeddings.vectors) - 1.0).abs() < 1e-5);
    assert_eq!(embeddings.token_counts, [4]);
}

#[test]
fn integers_point_where_floats_do() {
    let Some((folder, model)) = open() else { return };
    let integers = MiniLm::open(&folder.join("all-minilm-l6-v2.tlm"), 2).expect("opened");
    let floats = model.embed(&CallContext::default(), &texts(&TEXTS)).expect("embedded");
    let integers = integers.embed_texts(&TEXTS).expect("embedded");
    assert_eq!(floats.token_counts, integers.token_counts);
    for (text, (left, right)) in
        TEXTS.iter().zip(floats.vectors.chunks_exact(384).zip(integers.vectors.chunks_exact(384)))
    {
        println!("{:.5} {text}", cosine(left, right));
        assert!(cosine(left, right) > 0.99, "{text}: {}", cosine(left, right));
    }
}

#[test]
fn texts_beside_each_other_get_what_each_gets_alone() {
    let Some((_, model)) = open() else { return };
    let together = model.embed(&CallContext::default(), &texts(&TEXTS)).expect("embedded").vectors;
    for (text, found) in TEXTS.iter().zip(together.chunks_exact(384)) {
        let alone = model.embed(&CallContext::default(), &texts(&[text])).expect("embedded").vectors;
        let far = alone.iter().zip(found).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "{text}: {far}");
    }
}

#[test]
fn nothing_is_padded_and_a_long_text_is_cut_at_256_tokens() {
    let Some((_, model)) = open() else { return };
    let long = "word ".repeat(400);
    let request = EmbedRequest { dimensions: 128, ..texts(&["a", &long]) };
    let embeddings = model.embed(&CallContext::default(), &request).expect("embedded");
    assert_eq!(embeddings.token_counts, [3, 256]);
    assert_eq!(embeddings.truncated_inputs, [1]);
    assert_eq!((embeddings.dimensions, embeddings.vectors.len()), (128, 256));
    let tokens = model.tokenize(&TokenizeRequest { text: "Hello, world".to_owned(), ..Default::default() });
    assert_eq!(tokens.expect("cut").ids, [101, 7592, 1010, 2088, 102]);
}

#[test]
fn the_document_that_answers_comes_first() {
    let Some((_, model)) = open() else { return };
    let request = RerankRequest {
        query: TEXTS[4].to_owned(),
        documents: [TEXTS[1], TEXTS[5], TEXTS[3]].map(str::to_owned).to_vec(),
        top_n: 2,
        ..Default::default()
    };
    let results = model.rerank(&CallContext::default(), &request).expect("ranked").results;
    println!("{results:?}");
    assert_eq!(results.len(), 2);
    assert_eq!(results[0].index, 1);
    assert!(results[0].relevance_score > results[1].relevance_score + 0.3);
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let Some((folder, model)) = open() else { return };
    let reason = |request: EmbedRequest| model.embed(&CallContext::default(), &request).err().map(|error| error.reason);
    assert_eq!(reason(texts(&[])), Some(Reason::InvalidArgument));
    assert_eq!(reason(texts(&["a", ""])), Some(Reason::InvalidArgument));
    assert_eq!(reason(EmbedRequest { dimensions: 385, ..texts(&["a"]) }), Some(Reason::InvalidArgument));
    let cancelled = CallContext::default();
    cancelled.cancel();
    let error = model.embed(&cancelled, &texts(&["a"])).err().map(|error| error.reason);
    assert_eq!(error, Some(Reason::Cancelled));
    for (tokenizer, settings, said) in [
        ("config.json", serde_json::json!({}), "/model/type"),
        ("nothing.json", serde_json::json!({}), "nothing.json"),
        ("tokenizer.json", serde_json::json!({"tokens_max": 513}), "512 positions"),
        ("tokenizer.json", serde_json::json!({"heads": 7}), "7 heads"),
        ("tokenizer.json", serde_json::json!({"heads": "many"}), "setting heads"),
        ("tokenizer.json", serde_json::json!({"device": "tpu"}), "no device"),
        ("tokenizer.json", serde_json::json!({"device": 1}), "no text"),
    ] {
        let refusal = load(folder.clone(), tokenizer, settings).err().map(|error| error.message).unwrap_or_default();
        assert!(refusal.contains(said), "{said}: {refusal}");
    }
}
