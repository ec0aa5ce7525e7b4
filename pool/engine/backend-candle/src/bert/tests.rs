//! A small encoder with random weights against its twin in plain 64-bit floats; wrong files.

use super::{EncoderOptions, open};
use candle_core::{DType, Device, Tensor};
use engine_core::EngineError;
use llm::random::Random;
use minilm::sentences::SentenceModel;
use std::collections::HashMap;
use std::path::PathBuf;

const WIDTH: usize = 64;
const MIDDLE: usize = 96;
const LAYERS: usize = 2;
const POSITIONS: usize = 40;
const HEADS: usize = 2;
const WORDS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sea", "is", "blue", "##s", "and", "deep"];

type Tensors = HashMap<String, Tensor>;

fn tensors(seed: u64) -> Tensors {
    let mut random = Random::new(seed, 0);
    let mut all = Tensors::new();
    let mut put = |name: &str, shape: &[usize], middle: f32, spread: f32| {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| middle + (random.unit() as f32 * 2.0 - 1.0) * spread).collect();
        all.insert(name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"));
    };
    put("embeddings.word_embeddings.weight", &[WORDS.len(), WIDTH], 0.0, 1.0);
    put("embeddings.position_embeddings.weight", &[POSITIONS, WIDTH], 0.0, 0.5);
    put("embeddings.token_type_embeddings.weight", &[2, WIDTH], 0.0, 0.5);
    let norms = (0..LAYERS)
        .flat_map(|layer| ["attention.output", "output"].map(|part| format!("encoder.layer.{layer}.{part}")));
    for norm in norms.chain(["embeddings".to_owned()]) {
        put(&format!("{norm}.LayerNorm.weight"), &[WIDTH], 1.0, 0.2);
        put(&format!("{norm}.LayerNorm.bias"), &[WIDTH], 0.0, 0.2);
    }
    for layer in 0..LAYERS {
        for (part, outputs, inputs) in [
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", MIDDLE, WIDTH),
            ("output.dense", WIDTH, MIDDLE),
        ] {
            put(&format!("encoder.layer.{layer}.{part}.weight"), &[outputs, inputs], 0.0, 0.3);
            put(&format!("encoder.layer.{layer}.{part}.bias"), &[outputs], 0.0, 0.1);
        }
    }
    all
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("candle-bert-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        let vocab: serde_json::Map<_, _> =
            WORDS.iter().zip(0..).map(|(word, id): (&&str, u32)| ((*word).to_owned(), id.into())).collect();
        let tokenizer = serde_json::json!({
            "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab,
            },
        });
        std::fs::write(path.join("tokenizer.json"), tokenizer.to_string()).expect("written");
        Self(path)
    }

    fn weights(&self) -> PathBuf {
        self.0.join("model.safetensors")
    }

    fn open(&self, tensors: &Tensors) -> Result<SentenceModel<super::FloatEncoder>, EngineError> {
        candle_core::safetensors::save(tensors, self.weights()).expect("saved");
        self.open_as_it_is()
    }

    fn open_as_it_is(&self) -> Result<SentenceModel<super::FloatEncoder>, EngineError> {
        let options = EncoderOptions { device: Device::Cpu, heads: Some(HEADS), tokens_max: None };
        open(&self.weights(), &self.0.join("tokenizer.json"), &options)
    }

    fn refusal(&self, tensors: &Tensors) -> String {
        self.open(tensors).err().map(|error| error.message).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same in 64-bit floats: slow and plain.
struct Twin(HashMap<String, Vec<f64>>);

impl Twin {
    fn new(tensors: &Tensors) -> Self {
        let floats = |tensor: &Tensor| -> Vec<f64> {
            let tensor = tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all()?.to_vec1());
            tensor.expect("floats")
        };
        Self(tensors.iter().map(|(name, tensor)| (name.clone(), floats(tensor))).collect())
    }

    fn linear(&self, name: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (weight, bias) = (&self.0[&format!("{name}.weight")], &self.0[&format!("{name}.bias")]);
        let output = |row: &[f64], index: usize| -> f64 {
            let weights = &weight[index * row.len()..(index + 1) * row.len()];
            bias[index] + weights.iter().zip(row).map(|(weight, value)| weight * value).sum::<f64>()
        };
        rows.iter().map(|row| (0..bias.len()).map(|index| output(row, index)).collect()).collect()
    }

    fn normalise(&self, name: &str, rows: &mut [Vec<f64>]) {
        let (weight, bias) = (&self.0[&format!("{name}.LayerNorm.weight")], &self.0[&format!("{name}.LayerNorm.bias")]);
        for row in rows {
            let mean = row.iter().sum::<f64>() / WIDTH as f64;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / WIDTH as f64;
            let places = row.iter_mut().zip(weight.iter().zip(bias));
            places.for_each(|(value, (weight, bias))| *value = (*value - mean) / variance.sqrt() * weight + bias);
        }
    }

    fn attend(&self, layer: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [queries, keys, values] =
            ["query", "key", "value"].map(|part| self.linear(&format!("{layer}.attention.self.{part}"), rows));
        let head_width = WIDTH / HEADS;
        let mixed = |row: usize, column: usize| -> f64 {
            let head = column / head_width * head_width..(column / head_width + 1) * head_width;
            let score = |other: usize| -> f64 {
                head.clone().map(|index| queries[row][index] * keys[other][index]).sum::<f64>()
                    / (head_width as f64).sqrt()
            };
            let shares: Vec<f64> = (0..rows.len()).map(|other| score(other).exp()).collect();
            let sum: f64 = shares.iter().sum();
            shares.iter().zip(&values).map(|(share, value)| share / sum * value[column]).sum()
        };
        let mixed: Vec<Vec<f64>> =
            (0..rows.len()).map(|row| (0..WIDTH).map(|column| mixed(row, column)).collect()).collect();
        self.linear(&format!("{layer}.attention.output.dense"), &mixed)
    }

    fn embed(&self, tokens: &[u32]) -> Vec<f64> {
        let row = |name: &str, row: usize, column: usize| {
            self.0[&format!("embeddings.{name}_embeddings.weight")][row * WIDTH + column]
        };
        let float = |position: usize, token: u32, column: usize| {
            row("word", token as usize, column) + row("position", position, column) + row("token_type", 0, column)
        };
        let mut rows: Vec<Vec<f64>> = (0..)
            .zip(tokens)
            .map(|(position, token)| (0..WIDTH).map(|column| float(position, *token, column)).collect())
            .collect();
        self.normalise("embeddings", &mut rows);
        for layer in 0..LAYERS {
            let layer = format!("encoder.layer.{layer}");
            let mixed = self.attend(&layer, &rows);
            add(&mut rows, &mixed);
            self.normalise(&format!("{layer}.attention.output"), &mut rows);
            let mut wide = self.linear(&format!("{layer}.intermediate.dense"), &rows);
            wide.iter_mut().flatten().for_each(|value| *value *= 0.5 * (1.0 + error_function(*value / 2_f64.sqrt())));
            add(&mut rows, &self.linear(&format!("{layer}.output.dense"), &wide));
            self.normalise(&format!("{layer}.output"), &mut rows);
        }
        let sums: Vec<f64> = (0..WIDTH).map(|column| rows.iter().map(|row| row[column]).sum()).collect();
        let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        sums.iter().map(|sum| sum / length).collect()
    }
}

fn add(rows: &mut [Vec<f64>], more: &[Vec<f64>]) {
    rows.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(value, more)| *value += more);
}

/// The integral of the bell curve by Simpson's rule.
fn error_function(end: f64) -> f64 {
    const STEPS: usize = 400;
    let step = end / STEPS as f64;
    let weight = |index: usize| match index {
        0 | STEPS => 1.0,
        index if index % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=STEPS).map(|index| weight(index) * (-(index as f64 * step).powi(2)).exp()).sum();
    sum * step / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn embeddings_are_those_of_the_twin_alone_and_beside_others() {
    let seed = 5;
    println!("seed {seed}");
    let (folder, tensors) = (Folder::new("twin"), tensors(seed));
    let (model, twin) = (folder.open(&tensors).expect("opened"), Twin::new(&tensors));
    let sequences = [vec![2, 5, 6, 7, 8, 3], vec![2, 3], vec![2, 11, 10, 8, 3], vec![2; 40]];
    let together = model.embed_tokens(&sequences).expect("embedded");
    assert_eq!((together.dimensions, together.vectors.len()), (WIDTH, 4 * WIDTH));
    for (sequence, found) in sequences.iter().zip(together.vectors.chunks_exact(WIDTH)) {
        // What the tokenizer makes of it: a caller's opening and closing tokens are its own.
        let framed = match sequence.len() {
            40 => [vec![2], vec![2; 38], vec![3]].concat(),
            _ => sequence.clone(),
        };
        let expected = twin.embed(&framed);
        let far = found.iter().zip(&expected).map(|(left, right)| (f64::from(*left) - right).abs()).fold(0.0, f64::max);
        assert!(far < 1e-5, "{sequence:?}: {far}");
        let alone = model.embed_tokens(&[sequence]).expect("embedded").vectors;
        let far = alone.iter().zip(found).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
        assert!(far < 1e-6, "{sequence:?} alone: {far}");
    }
}

#[test]
fn texts_are_cut_where_the_model_has_no_more_positions() {
    let folder = Folder::new("cut");
    let model = folder.open(&tensors(6)).expect("opened");
    let long = "the deep seas ".repeat(POSITIONS);
    let embeddings = model.embed_texts(&["The seas", long.as_str()]).expect("embedded");
    assert_eq!(embeddings.token_counts, [5, POSITIONS as u32]);
    assert_eq!(embeddings.truncated_inputs, [1]);
}

#[test]
fn half_floats_are_read_as_floats() {
    let (folder, mut tensors) = (Folder::new("half"), tensors(7));
    let whole = folder.open(&tensors).expect("opened").embed_texts(&["the sea"]).expect("embedded").vectors;
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_dtype(DType::F16).expect("halved");
    }
    let half = folder.open(&tensors).expect("opened").embed_texts(&["the sea"]).expect("embedded").vectors;
    let cosine: f32 = whole.iter().zip(&half).map(|(left, right)| left * right).sum();
    assert!(cosine > 0.9999 && whole != half, "{cosine}");
}

#[test]
fn a_file_that_does_not_fit_is_refused_by_what_does_not() {
    let (folder, whole) = (Folder::new("wrong"), tensors(8));
    let changed = |name: &str, tensor: Option<Tensor>| {
        let mut tensors = whole.clone();
        match tensor {
            Some(tensor) => tensors.insert(name.to_owned(), tensor),
            None => tensors.remove(name),
        };
        folder.refusal(&tensors)
    };
    let zeros = |shape: &[usize], dtype| Some(Tensor::zeros(shape, dtype, &Device::Cpu).expect("zeros"));
    assert_eq!(folder.refusal(&whole), "");
    assert_eq!(changed("pooler.dense.bias", zeros(&[WIDTH], DType::F32)), "");
    for (name, tensor, said) in [
        ("encoder.layer.1.output.dense.bias", None, "no tensor \"encoder.layer.1.output.dense.bias\""),
        ("encoder.layer.1.output.dense.bias", zeros(&[WIDTH + 1], DType::F32), "shape"),
        ("encoder.layer.1.output.dense.bias", zeros(&[WIDTH], DType::U32), "not of floats"),
        ("encoder.layer.2.output.dense.bias", zeros(&[WIDTH], DType::F32), "lacks"),
        ("embeddings.word_embeddings.weight", None, "no tensor"),
        ("embeddings.word_embeddings.weight", zeros(&[WIDTH], DType::F32), "no matrix"),
        ("embeddings.word_embeddings.weight", zeros(&[13, WIDTH], DType::F32), "vocabulary"),
        ("embeddings.word_embeddings.weight", zeros(&[12, 0], DType::F32), "do not fit"),
        ("embeddings.token_type_embeddings.weight", zeros(&[0, WIDTH], DType::F32), "do not fit"),
    ] {
        let refusal = changed(name, tensor);
        assert!(refusal.contains(said), "{name}: {refusal}");
    }
}

#[test]
fn a_file_cut_anywhere_in_its_header_or_data_is_refused() {
    let folder = Folder::new("damaged");
    folder.open(&tensors(9)).expect("opened");
    let whole = std::fs::read(folder.weights()).expect("read");
    let lengths = (0..whole.len()).step_by(997).chain([1, 7, 8, 9, whole.len() - 1]);
    for length in lengths {
        std::fs::write(folder.weights(), &whole[..length]).expect("written");
        assert!(folder.open_as_it_is().is_err(), "cut to {length} bytes");
    }
}
