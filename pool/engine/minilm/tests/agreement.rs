//! The encoder against the edge's own on the same file, which is another implementation of the same integers; and, where the
//! machine has the real model (`make pool` fetches it), against the float model's embeddings of 1,000 sentences.

mod toy;

use contract::v1::{EmbedRequest, RerankRequest, TokenIds, TokenizeRequest};
use engine_core::{CallContext, Model, Reason};
use inference::backend::{Embedder, open};
use inference::file::{Buffer, File};
use inference::quantise::Shape;
use minilm::MiniLm;
use std::path::{Path, PathBuf};
use toy::{Random, SHAPE, file, sources, texts};

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    inference::similarity::cosine(left, right).unwrap()
}

#[test]
fn each_path_agrees_with_the_edge_on_the_same_file() {
    let bytes = file(1);
    let texts = texts(40, 2);
    let mut edge = Embedder::new(open(File::open(Buffer::from_bytes(&bytes).unwrap()).unwrap()).unwrap());
    let expected = edge.embed(&texts).unwrap();
    let available = lanes::available();
    for count in 1..=available.len() {
        let model = MiniLm::from_bytes(&bytes, 1, &available[..count]).unwrap();
        let found = model.embed_texts(&texts).unwrap();
        assert_eq!(found.token_counts, expected.token_counts);
        let pairs = found.vectors.chunks_exact(SHAPE.hidden).zip(expected.vectors.chunks_exact(SHAPE.hidden));
        for (index, (found, expected)) in pairs.enumerate() {
            let cosine = cosine(found, expected);
            assert!(cosine > 0.9995, "{:?}, text {index}: {cosine}", available[count - 1]);
        }
    }
}

#[test]
fn float_weights_quantised_here_are_closer_to_the_float_model_than_the_edge_s_file_on_each_path() {
    for seed in [21, 22, 23] {
        let (safetensors, tokenizer) = sources(seed);
        let texts = texts(40, seed);
        let expected = toy::float::embed(&safetensors, &texts);
        let distance = |model: &MiniLm| -> f32 {
            let found = model.embed_texts(&texts).unwrap().vectors;
            let pairs = found.chunks_exact(SHAPE.hidden).zip(&expected);
            pairs.map(|(found, expected)| 1.0 - cosine(found, expected)).fold(0.0, f32::max)
        };
        let edge = distance(&MiniLm::from_bytes(&file(seed), 1, &lanes::available()).unwrap());
        let available = lanes::available();
        for count in 1..=available.len() {
            let model = MiniLm::from_float(&safetensors, &tokenizer, SHAPE, 1, &available[..count]).unwrap();
            let found = distance(&model);
            println!("seed {seed}, {:?}: {found}, the edge's file {edge}", available[count - 1]);
            assert!(found < edge && found < 0.002, "seed {seed}, {:?}: {found}, {edge}", available[count - 1]);
        }
    }
}

#[test]
fn what_else_is_in_a_call_changes_no_bit_of_a_text() {
    let model = MiniLm::from_bytes(&file(3), 1, &lanes::available()).unwrap();
    // More rows than go through the layers together, so that there are several groups.
    let texts = texts(90, 4);
    let together = model.embed_texts(&texts).unwrap();
    assert!(together.token_counts.iter().sum::<u32>() > 1024);
    for (text, expected) in texts.iter().zip(together.vectors.chunks_exact(SHAPE.hidden)) {
        assert!(model.embed_texts(&[text]).unwrap().vectors == expected, "{text}");
    }
}

#[test]
fn calls_from_many_threads_at_once_are_answered_as_alone() {
    let model = MiniLm::from_bytes(&file(5), 2, &lanes::available()).unwrap();
    let texts = texts(24, 6);
    let expected = model.embed_texts(&texts).unwrap().vectors;
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| (0..20).for_each(|_| assert!(model.embed_texts(&texts).unwrap().vectors == expected)));
        }
    });
}

#[test]
fn requests_are_answered_as_the_contract_says() {
    let model = MiniLm::from_bytes(&file(7), 1, &lanes::available()).unwrap();
    let call = CallContext::default();
    let texts: Vec<String> = vec!["a b c".into(), "abc ".repeat(40)];
    let request = EmbedRequest { texts: texts.clone(), ..Default::default() };
    let whole = model.embed(&call, &request).unwrap();
    assert_eq!((whole.dimensions, whole.token_counts.clone()), (96, vec![5, 48]));
    assert_eq!(whole.truncated_inputs, [1]);
    for vector in whole.vectors.chunks_exact(96) {
        assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }

    let short = model.embed(&call, &EmbedRequest { dimensions: 32, ..request.clone() }).unwrap();
    assert_eq!((short.dimensions, short.vectors.len()), (32, 64));
    assert!(cosine(&short.vectors[..32], &whole.vectors[..32]) > 0.999_999);
    assert!((short.vectors[32..].iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);

    let ids = model.tokenize(&TokenizeRequest { text: "a b c".into(), ..Default::default() }).unwrap();
    assert_eq!(ids.pieces, [b"[CLS]".to_vec(), b"a".to_vec(), b"b".to_vec(), b"c".to_vec(), b"[SEP]".to_vec()]);
    let tokens = EmbedRequest { tokens: vec![TokenIds { ids: ids.ids }], ..Default::default() };
    assert!(model.embed(&call, &tokens).unwrap().vectors == whole.vectors[..96]);
}

#[test]
fn documents_are_ranked_by_their_cosine_with_the_query() {
    let model = MiniLm::from_bytes(&file(9), 1, &lanes::available()).unwrap();
    let documents = texts(12, 10);
    let query = documents[7].clone();
    let embeddings = model.embed_texts(&documents).unwrap();
    let vectors: Vec<&[f32]> = embeddings.vectors.chunks_exact(96).collect();
    let request = RerankRequest { query, documents, top_n: 5, ..Default::default() };
    let response = model.rerank(&CallContext::default(), &request).unwrap();
    assert_eq!((response.results.len(), response.results[0].index), (5, 7));
    assert!(response.results.is_sorted_by(|left, right| left.relevance_score >= right.relevance_score));
    for result in &response.results {
        let expected = f64::from(cosine(vectors[7], vectors[result.index as usize]));
        assert!((result.relevance_score - expected).abs() < 1e-5);
    }
}

#[test]
fn requests_at_fault_are_refused_by_the_field() {
    let model = MiniLm::from_bytes(&file(11), 1, &lanes::available()).unwrap();
    let call = CallContext::default();
    let text = || vec!["a".to_owned()];
    let ids = |ids: &[u32]| vec![TokenIds { ids: ids.to_vec() }];
    let cases = [
        ("tokens", EmbedRequest::default()),
        ("texts", EmbedRequest { texts: vec![String::new()], ..Default::default() }),
        ("texts", EmbedRequest { texts: vec!["a".to_owned(); 2049], ..Default::default() }),
        ("tokens", EmbedRequest { texts: text(), tokens: ids(&[1]), ..Default::default() }),
        ("tokens", EmbedRequest { tokens: ids(&[]), ..Default::default() }),
        ("tokens", EmbedRequest { tokens: ids(&[57]), ..Default::default() }),
        ("dimensions", EmbedRequest { texts: text(), dimensions: 97, ..Default::default() }),
    ];
    for (parameter, request) in cases {
        let error = model.embed(&call, &request).unwrap_err();
        assert_eq!((error.reason, error.parameter.as_deref()), (Reason::InvalidArgument, Some(parameter)), "{error}");
    }
    let no_query = RerankRequest { documents: text(), ..Default::default() };
    assert_eq!(model.rerank(&call, &no_query).unwrap_err().parameter.as_deref(), Some("query"));
    let no_document = RerankRequest { query: "a".to_owned(), ..Default::default() };
    assert_eq!(model.rerank(&call, &no_document).unwrap_err().parameter.as_deref(), Some("documents"));
    let cancelled = CallContext::default();
    cancelled.cancel();
    let request = EmbedRequest { texts: text(), ..Default::default() };
    assert_eq!(model.embed(&cancelled, &request).unwrap_err().reason, Reason::Cancelled);
}

#[test]
fn cut_or_mismatched_float_weights_are_refused() {
    let (safetensors, tokenizer) = sources(15);
    let open = |weights: &[u8], tokenizer: &str, shape: Shape| {
        MiniLm::from_float(weights, tokenizer, shape, 1, &lanes::available()).err().map(|error| error.reason)
    };
    for length in (0..safetensors.len()).step_by(4999) {
        assert_eq!(open(&safetensors[..length], &tokenizer, SHAPE), Some(Reason::ModelNotReady), "cut to {length}");
    }
    assert_eq!(open(&safetensors, "{}", SHAPE), Some(Reason::ModelNotReady));
    for shape in [
        Shape { hidden: 80, ..SHAPE },
        Shape { hidden: 128, ..SHAPE },
        Shape { intermediate: 200, ..SHAPE },
        Shape { layers: 3, ..SHAPE },
        Shape { positions: 32, ..SHAPE },
        Shape { tokens_max: SHAPE.positions + 1, ..SHAPE },
    ] {
        assert_eq!(open(&safetensors, &tokenizer, shape), Some(Reason::ModelNotReady), "{shape:?}");
    }
    assert!(MiniLm::open_float(Path::new("/nowhere"), Path::new("/nowhere"), 1).is_err());
}

#[test]
fn a_damaged_or_cut_file_is_refused() {
    let bytes = file(13);
    for length in (0..bytes.len()).step_by(997) {
        assert!(MiniLm::from_bytes(&bytes[..length], 1, &lanes::available()).is_err(), "cut to {length} bytes");
    }
    let mut random = Random(14);
    for _ in 0..300 {
        let (position, bit) = (random.below(bytes.len()), random.below(8));
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << bit;
        assert!(MiniLm::from_bytes(&damaged, 1, &lanes::available()).is_err(), "bit {bit} of byte {position}");
    }
}

/// The model's folder in the cache, or `None` where the machine has not fetched it, which is said.
fn real_model() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let folder = home.join(".cache/treeline/models/all-minilm-l6-v2");
    let there = folder.join("model.safetensors").exists() && folder.join("all-minilm-l6-v2.tlm").exists();
    if !there {
        println!("skipped: no model in {}", folder.display());
    }
    there.then_some(folder)
}

/// Mean and least cosine to the float model over the 1,000 committed sentences.
fn cosines(model: &MiniLm) -> (f32, f32) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors");
    let read = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let halves = |bytes: Vec<u8>| -> Vec<u16> {
        bytes.as_chunks::<2>().0.iter().map(|half| u16::from_le_bytes(*half)).collect()
    };
    let sentences: Vec<String> = serde_json::from_slice(&read("embeddings-1000.json")).unwrap();
    let expected: Vec<f32> = halves(read("embeddings-1000.f16")).into_iter().map(lanes::half::from_half).collect();
    let ids = halves(read("embeddings-1000.tokens.u16"));
    let found = model.embed_texts(&sentences).unwrap();
    assert_eq!(found.token_counts.len(), 1000);
    let (mut sum, mut least, mut position) = (0.0, 1.0_f32, 0);
    let pairs = found.vectors.chunks_exact(384).zip(expected.chunks_exact(384));
    for (index, (found_vector, expected)) in pairs.enumerate() {
        assert_eq!(found.token_counts[index], u32::from(ids[position]), "{}", sentences[index]);
        position += 1 + usize::from(ids[position]);
        let cosine = cosine(found_vector, expected);
        (sum, least) = (sum + cosine, least.min(cosine));
    }
    (sum / 1000.0, least)
}

#[test]
fn float_weights_quantised_here_stay_within_a_hundredth_of_the_float_model_on_each_of_a_thousand_sentences() {
    let Some(folder) = real_model() else { return };
    let model = MiniLm::open_float(&folder.join("model.safetensors"), &folder.join("tokenizer.json"), 1).unwrap();
    let (mean, least) = cosines(&model);
    println!("mean {mean:.5}, least {least:.5}");
    assert!(mean > 0.9985 && least > 0.994, "the mean cosine is {mean}, the least {least}");
}

#[test]
fn the_edge_s_file_lies_within_a_hundredth_of_the_float_model_on_the_mean_of_a_thousand_sentences() {
    let Some(folder) = real_model() else { return };
    let (mean, least) = cosines(&MiniLm::open(&folder.join("all-minilm-l6-v2.tlm"), 1).unwrap());
    assert!(mean > 0.99 && least > 0.98, "the mean cosine is {mean}, the least {least}");
}
