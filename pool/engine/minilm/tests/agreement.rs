//! The encoder against the edge's own on the same file, which is another implementation of the same integers; and, where the
//! machine has the real model (`make pool` fetches it), against the float model's embeddings of 1,000 sentences.

use contract::v1::{EmbedRequest, RerankRequest, TokenIds, TokenizeRequest};
use engine_core::{CallContext, Model, Reason};
use inference::backend::{Embedder, open};
use inference::file::{Buffer, File};
use inference::quantise::{Shape, quantise_bert};
use minilm::MiniLm;
use std::path::{Path, PathBuf};

const SHAPE: Shape = Shape { hidden: 96, intermediate: 192, layers: 2, positions: 64, tokens_max: 48 };
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// Uniform numbers from −1 to 1 (a linear congruential generator with Knuth's MMIX constants).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) as f64 / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    }

    fn below(&mut self, bound: usize) -> usize {
        ((f64::from(self.next()) + 1.0) / 2.0 * bound as f64) as usize % bound
    }
}

fn vocabulary() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let letters = LETTERS.chars().flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    special.into_iter().chain(letters).collect()
}

/// A model file with random weights, by the tool that makes the real one.
fn file(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut tensor = |name: &str, shape: &[usize], middle: f32, spread: f32| {
        let start = data.len();
        let count: usize = shape.iter().product();
        data.extend((0..count).flat_map(|_| (middle + spread * random.next()).to_le_bytes()));
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] });
        header.insert(name.to_owned(), entry);
    };
    let (hidden, wide, words) = (SHAPE.hidden, SHAPE.intermediate, vocabulary());
    tensor("embeddings.word_embeddings.weight", &[words.len(), hidden], 0.0, 1.0);
    tensor("embeddings.position_embeddings.weight", &[SHAPE.positions, hidden], 0.0, 0.3);
    tensor("embeddings.token_type_embeddings.weight", &[2, hidden], 0.0, 0.1);
    let mut pair = |name: &str, shape: &[usize], middle: f32, spread: f32| {
        tensor(&format!("{name}.weight"), shape, middle, spread);
        tensor(&format!("{name}.bias"), &shape[..1], 0.0, 0.1);
    };
    pair("embeddings.LayerNorm", &[hidden], 1.0, 0.2);
    for layer in 0..SHAPE.layers {
        let mut part = |name: &str, shape: &[usize], middle: f32, spread: f32| {
            pair(&format!("encoder.layer.{layer}.{name}"), shape, middle, spread);
        };
        for name in ["query", "key", "value"] {
            part(&format!("attention.self.{name}"), &[hidden, hidden], 0.0, 0.2);
        }
        part("attention.output.dense", &[hidden, hidden], 0.0, 0.2);
        part("attention.output.LayerNorm", &[hidden], 1.0, 0.2);
        part("intermediate.dense", &[wide, hidden], 0.0, 0.2);
        part("output.dense", &[hidden, wide], 0.0, 0.2);
        part("output.LayerNorm", &[hidden], 1.0, 0.2);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut safetensors = (header.len() as u64).to_le_bytes().to_vec();
    safetensors.extend(header.as_bytes());
    safetensors.extend(data);
    let ids: serde_json::Map<_, _> = words.iter().enumerate().map(|(id, word)| (word.clone(), id.into())).collect();
    let tokenizer = serde_json::json!({
        "model": { "type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": ids },
        "normalizer": { "type": "BertNormalizer", "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
    });
    quantise_bert("test", SHAPE, &safetensors, &tokenizer.to_string(), &mut |_| {}).unwrap()
}

fn texts(count: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let word = |random: &mut Random| -> String {
        (0..=random.below(4)).map(|_| char::from(LETTERS.as_bytes()[random.below(26)])).collect()
    };
    (0..count).map(|_| (0..=random.below(14)).map(|_| word(&mut random)).collect::<Vec<_>>().join(" ")).collect()
}

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

#[test]
fn a_thousand_sentences_lie_within_a_hundredth_of_the_float_model() {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let path = home.join(".cache/treeline/models/all-minilm-l6-v2/all-minilm-l6-v2.tlm");
    if !path.exists() {
        println!("skipped: no model at {}", path.display());
        return;
    }
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors");
    let read = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let halves = |bytes: Vec<u8>| -> Vec<u16> {
        bytes.as_chunks::<2>().0.iter().map(|half| u16::from_le_bytes(*half)).collect()
    };
    let sentences: Vec<String> = serde_json::from_slice(&read("embeddings-1000.json")).unwrap();
    let expected: Vec<f32> = halves(read("embeddings-1000.f16")).into_iter().map(lanes::half::from_half).collect();
    let ids = halves(read("embeddings-1000.tokens.u16"));
    let model = MiniLm::open(&path, 1).unwrap();
    let found = model.embed_texts(&sentences).unwrap();
    let (mut sum, mut position) = (0.0, 0);
    let pairs = found.vectors.chunks_exact(384).zip(expected.chunks_exact(384));
    for (index, (found_vector, expected)) in pairs.enumerate() {
        assert_eq!(found.token_counts[index], u32::from(ids[position]), "{}", sentences[index]);
        position += 1 + usize::from(ids[position]);
        let cosine = cosine(found_vector, expected);
        assert!(cosine > 0.98, "{cosine}: {}", sentences[index]);
        sum += cosine;
    }
    assert_eq!(found.token_counts.len(), 1000);
    assert!(sum / 1000.0 > 0.99, "the mean cosine is {}", sum / 1000.0);
}
