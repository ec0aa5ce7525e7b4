//! Encoders small enough for a test: random weights, a vocabulary of letters.

#![allow(dead_code, reason = "not every test uses all of it")]

pub mod float;

use inference::quantise::{Shape, quantise_bert};

/// Of every toy.
pub const SHAPE: Shape = Shape { hidden: 96, intermediate: 192, layers: 2, positions: 64, tokens_max: 48 };
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// Uniform numbers from −1 to 1 (a linear congruential generator with Knuth's MMIX constants).
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) as f64 / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    }

    /// A whole number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((f64::from(self.next()) + 1.0) / 2.0 * bound as f64) as usize % bound
    }
}

fn vocabulary() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let letters = LETTERS.chars().flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    special.into_iter().chain(letters).collect()
}

/// Random float weights and their tokenizer, as `model.safetensors` and `tokenizer.json` hold them.
pub fn sources(seed: u64) -> (Vec<u8>, String) {
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
    (safetensors, tokenizer.to_string())
}

/// A model file of those, by the tool that makes the edge's.
pub fn file(seed: u64) -> Vec<u8> {
    let (safetensors, tokenizer) = sources(seed);
    quantise_bert("test", SHAPE, &safetensors, &tokenizer, &mut |_| {}).unwrap()
}

/// Random texts of the letters.
pub fn texts(count: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let word = |random: &mut Random| -> String {
        (0..=random.below(4)).map(|_| char::from(LETTERS.as_bytes()[random.below(26)])).collect()
    };
    (0..count).map(|_| (0..=random.below(14)).map(|_| word(&mut random)).collect::<Vec<_>>().join(" ")).collect()
}
