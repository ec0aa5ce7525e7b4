//! A small model with random weights for tests, and its twin in 64-bit floats.

use super::weights::Arena;
use crate::gguf::writer::Writer;
use crate::gguf::{ElementType, Gguf};
use lanes::half::to_half;

/// Uniform numbers from a seed: a linear congruential generator (Knuth's MMIX constants), the upper half of its state.
pub struct Random(pub u64);

impl Random {
    /// From −1 to 1.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) as f64 / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    }

    pub fn byte(&mut self) -> u8 {
        self.next();
        (self.0 >> 56) as u8
    }
}

/// Random bytes that are a matrix of that type, with values up to about `magnitude`.
pub fn random_matrix(element_type: ElementType, elements: usize, magnitude: f32, random: &mut Random) -> Vec<u8> {
    let mut data = Vec::new();
    for _ in 0..elements / element_type.block_elements() {
        let start = data.len();
        data.extend((0..element_type.block_bytes()).map(|_| random.byte()));
        let block = &mut data[start..];
        let value = magnitude * random.next();
        let mut put =
            |position: usize, value: f32| block[position..position + 2].copy_from_slice(&to_half(value).to_le_bytes());
        match element_type {
            ElementType::F32 => block.copy_from_slice(&value.to_le_bytes()),
            ElementType::F16 => put(0, value),
            ElementType::Bf16 => block.copy_from_slice(&value.to_le_bytes()[2..]),
            ElementType::Q8_0 => put(0, magnitude / 128.0),
            ElementType::Q4_0 => put(0, magnitude / 8.0),
            ElementType::Q5_0 => put(0, magnitude / 16.0),
            ElementType::Q4_1 => {
                [(0, magnitude / 8.0), (2, -magnitude)].map(|(at, value)| put(at, value)).into_iter().collect()
            }
            ElementType::Q5_1 => {
                [(0, magnitude / 16.0), (2, -magnitude)].map(|(at, value)| put(at, value)).into_iter().collect()
            }
            other => unreachable!("no kernel computes {other:?}"),
        }
    }
    data
}

pub const LAYERS: usize = 2;
pub const WIDTH: usize = 96;
pub const HEADS: usize = 6;
pub const KEY_HEADS: usize = 2;
pub const HEAD_WIDTH: usize = 32;
pub const HIDDEN: usize = 160;
pub const VOCABULARY: usize = 203;
pub const CONTEXT: usize = 128;

/// The file of a model with random weights.
pub fn file(element_type: ElementType, seed: u64) -> Vec<u8> {
    let (random, mut writer) = (&mut Random(seed), Writer::default());
    writer
        .text("general.architecture", "llama")
        .integer("llama.block_count", LAYERS as u32)
        .integer("llama.context_length", CONTEXT as u32)
        .integer("llama.embedding_length", WIDTH as u32)
        .integer("llama.feed_forward_length", HIDDEN as u32)
        .integer("llama.attention.head_count", HEADS as u32)
        .integer("llama.attention.head_count_kv", KEY_HEADS as u32)
        .integer("llama.attention.key_length", HEAD_WIDTH as u32)
        .integer("llama.attention.value_length", HEAD_WIDTH as u32)
        .integer("llama.rope.dimension_count", HEAD_WIDTH as u32)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .float("llama.rope.freq_base", 1e4);
    let mut matrix = |name: &str, element_type, columns: usize, rows: usize| {
        let data = random_matrix(element_type, columns * rows, 2.0 / (columns as f32).sqrt(), random);
        writer.tensor(name, element_type, &[columns as u64, rows as u64], &data);
    };
    matrix("token_embd.weight", ElementType::Q8_0, WIDTH, VOCABULARY);
    for layer in 0..LAYERS {
        let mut part = |name, columns, rows| matrix(&format!("blk.{layer}.{name}.weight"), element_type, columns, rows);
        part("attn_q", WIDTH, HEADS * HEAD_WIDTH);
        part("attn_k", WIDTH, KEY_HEADS * HEAD_WIDTH);
        part("attn_v", WIDTH, KEY_HEADS * HEAD_WIDTH);
        part("attn_output", HEADS * HEAD_WIDTH, WIDTH);
        part("ffn_gate", WIDTH, HIDDEN);
        part("ffn_up", WIDTH, HIDDEN);
        part("ffn_down", HIDDEN, WIDTH);
    }
    let norm: Vec<u8> = (0..WIDTH).flat_map(|index| (1.0 + index as f32 / 500.0).to_le_bytes()).collect();
    for layer in 0..LAYERS {
        for name in ["attn_norm", "ffn_norm"] {
            writer.tensor(&format!("blk.{layer}.{name}.weight"), ElementType::F32, &[WIDTH as u64], &norm);
        }
    }
    writer.tensor("output_norm.weight", ElementType::F32, &[WIDTH as u64], &norm);
    writer.finish()
}

/// The same model in 64-bit floats, with no cache, no blocks, and nothing rounded: slow and plain.
pub struct Twin {
    file: Gguf,
}

type Rows = Vec<Vec<f64>>;

impl Twin {
    pub fn new(file: Vec<u8>) -> Self {
        Self { file: Gguf::from_bytes(file).unwrap() }
    }

    fn matrix(&self, name: &str) -> Rows {
        let tensor = self.file.tensor(name).unwrap();
        let (columns, rows) = (tensor.place.dimensions[0], tensor.place.dimensions[1]);
        let mut arena =
            Arena::new(super::weights::Weights::bytes_of(tensor.place.element_type, columns, rows)).unwrap();
        let packed = arena.pack(tensor, columns, rows);
        let mut floats = vec![0.0; columns];
        (0..rows)
            .map(|row| {
                packed.row(row, &mut floats);
                floats.iter().map(|&value| f64::from(value)).collect()
            })
            .collect()
    }

    fn product(&self, name: &str, rows: &Rows) -> Rows {
        let matrix = self.matrix(name);
        let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum();
        rows.iter().map(|row| matrix.iter().map(|weights| dot(weights, row)).collect()).collect()
    }

    fn normalise(rows: &Rows) -> Rows {
        let normalise = |row: &Vec<f64>| {
            let squares: f64 = row.iter().map(|value| value * value).sum();
            let factor = 1.0 / (squares / WIDTH as f64 + 1e-5).sqrt();
            let weight = |index: usize| f64::from(1.0 + index as f32 / 500.0);
            row.iter().enumerate().map(|(index, value)| value * factor * weight(index)).collect()
        };
        rows.iter().map(normalise).collect()
    }

    fn turn(rows: &mut Rows) {
        for (position, row) in rows.iter_mut().enumerate() {
            for (index, pair) in row.chunks_exact_mut(2).enumerate() {
                let exponent = (index % (HEAD_WIDTH / 2)) as f64 / (HEAD_WIDTH / 2) as f64;
                let angle = position as f64 * 1e4_f64.powf(-exponent);
                let (real, imaginary) = (pair[0], pair[1]);
                pair[0] = real * angle.cos() - imaginary * angle.sin();
                pair[1] = real * angle.sin() + imaginary * angle.cos();
            }
        }
    }

    fn attend(queries: &Rows, keys: &Rows, values: &Rows) -> Rows {
        let one = |position: usize, head: usize| {
            let (own, shared) = (head * HEAD_WIDTH, head / (HEADS / KEY_HEADS) * HEAD_WIDTH);
            let score = |token: usize| -> f64 {
                (0..HEAD_WIDTH).map(|index| queries[position][own + index] * keys[token][shared + index]).sum()
            };
            let scores: Vec<f64> = (0..=position).map(|token| score(token) / (HEAD_WIDTH as f64).sqrt()).collect();
            let sum: f64 = scores.iter().map(|score| score.exp()).sum();
            let mean = |index: usize| -> f64 {
                (0..=position).map(|token| scores[token].exp() / sum * values[token][shared + index]).sum()
            };
            (0..HEAD_WIDTH).map(mean).collect::<Vec<f64>>()
        };
        (0..queries.len()).map(|position| (0..HEADS).flat_map(|head| one(position, head)).collect()).collect()
    }

    fn add(rows: &mut Rows, more: Rows) {
        for (row, more) in rows.iter_mut().zip(more) {
            row.iter_mut().zip(more).for_each(|(value, more)| *value += more);
        }
    }

    /// Logits after each token.
    pub fn logits(&self, tokens: &[u32]) -> Rows {
        let embedding = self.matrix("token_embd.weight");
        let mut rows: Rows = tokens.iter().map(|&token| embedding[token as usize].clone()).collect();
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let normal = Self::normalise(&rows);
            let (mut queries, mut keys) =
                (self.product(&name("attn_q"), &normal), self.product(&name("attn_k"), &normal));
            Self::turn(&mut queries);
            Self::turn(&mut keys);
            let mixed = Self::attend(&queries, &keys, &self.product(&name("attn_v"), &normal));
            Self::add(&mut rows, self.product(&name("attn_output"), &mixed));
            let normal = Self::normalise(&rows);
            let (mut gates, values) =
                (self.product(&name("ffn_gate"), &normal), self.product(&name("ffn_up"), &normal));
            for (gates, values) in gates.iter_mut().zip(values) {
                gates.iter_mut().zip(values).for_each(|(gate, value)| *gate = *gate / (1.0 + (-*gate).exp()) * value);
            }
            Self::add(&mut rows, self.product(&name("ffn_down"), &gates));
        }
        self.product("token_embd.weight", &Self::normalise(&rows))
    }
}
