//! The float model, slow and obvious: the twin that the int8 model is compared with.

use inference::safetensors::Safetensors;
use std::collections::HashMap;
use std::path::Path;

const HIDDEN: usize = 384;
const WIDE: usize = 1536;
const HEADS: usize = 12;
const HEAD: usize = HIDDEN / HEADS;
const LAYERS: usize = 6;
const VOCABULARY: usize = 30_522;

/// all-MiniLM-L6-v2 in 32-bit floats.
pub struct FloatBert {
    tensors: HashMap<String, Vec<f32>>,
}

impl FloatBert {
    /// Reads `model.safetensors`.
    pub fn read(folder: &Path) -> Self {
        let bytes = std::fs::read(folder.join("model.safetensors")).expect("model.safetensors is readable");
        let source = Safetensors::open(&bytes).expect("it is a safetensors file");
        let mut tensors = HashMap::new();
        let mut take = |name: String, shape: &[usize]| {
            let values = source.f32s(&name, shape).expect("the tensor is there");
            tensors.insert(name, values);
        };
        take("embeddings.word_embeddings.weight".into(), &[VOCABULARY, HIDDEN]);
        take("embeddings.position_embeddings.weight".into(), &[512, HIDDEN]);
        take("embeddings.token_type_embeddings.weight".into(), &[2, HIDDEN]);
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            norms.extend(["attention.output.LayerNorm", "output.LayerNorm"].map(name));
            for (part, inputs, outputs) in [
                ("attention.self.query", HIDDEN, HIDDEN),
                ("attention.self.key", HIDDEN, HIDDEN),
                ("attention.self.value", HIDDEN, HIDDEN),
                ("attention.output.dense", HIDDEN, HIDDEN),
                ("intermediate.dense", HIDDEN, WIDE),
                ("output.dense", WIDE, HIDDEN),
            ] {
                take(name(part) + ".weight", &[outputs, inputs]);
                take(name(part) + ".bias", &[outputs]);
            }
        }
        for norm in norms {
            take(norm.clone() + ".weight", &[HIDDEN]);
            take(norm + ".bias", &[HIDDEN]);
        }
        Self { tensors }
    }

    /// The embedding of token ids, special ones included.
    pub fn embed(&self, ids: &[u32]) -> Vec<f32> {
        let words = &self.tensors["embeddings.word_embeddings.weight"];
        let positions = &self.tensors["embeddings.position_embeddings.weight"];
        let kind = &self.tensors["embeddings.token_type_embeddings.weight"][..HIDDEN];
        let place = |(at, &id): (usize, &u32)| -> Vec<f32> {
            let (word, position) = (&words[id as usize * HIDDEN..], &positions[at * HIDDEN..]);
            (0..HIDDEN).map(|i| word[i] + position[i] + kind[i]).collect()
        };
        let mut states: Vec<Vec<f32>> = ids.iter().enumerate().map(place).collect();
        states.iter_mut().for_each(|state| self.normalise("embeddings.LayerNorm", state));
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let mixed = self.attend(&states, &name);
            self.add(&mut states, &mixed, &name("attention.output.dense"), &name("attention.output.LayerNorm"));
            let mut wide = self.linear(&states, &name("intermediate.dense"));
            wide.iter_mut().flatten().for_each(|value| *value = gelu(*value));
            self.add(&mut states, &wide, &name("output.dense"), &name("output.LayerNorm"));
        }
        let mean: Vec<f32> =
            (0..HIDDEN).map(|i| states.iter().map(|state| state[i]).sum::<f32>() / ids.len() as f32).collect();
        let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
        mean.into_iter().map(|value| value / length).collect()
    }

    fn linear(&self, rows: &[Vec<f32>], name: &str) -> Vec<Vec<f32>> {
        let (weights, bias) = (&self.tensors[&format!("{name}.weight")], &self.tensors[&format!("{name}.bias")]);
        let one = |row: &Vec<f32>| -> Vec<f32> {
            let output = |(weights, bias): (&[f32], &f32)| bias + dot(row, weights);
            weights.chunks_exact(row.len()).zip(bias).map(output).collect()
        };
        rows.iter().map(one).collect()
    }

    fn add(&self, states: &mut [Vec<f32>], rows: &[Vec<f32>], linear: &str, norm: &str) {
        for (state, row) in states.iter_mut().zip(self.linear(rows, linear)) {
            state.iter_mut().zip(row).for_each(|(state, value)| *state += value);
            self.normalise(norm, state);
        }
    }

    fn normalise(&self, name: &str, row: &mut [f32]) {
        let (scale, shift) = (&self.tensors[&format!("{name}.weight")], &self.tensors[&format!("{name}.bias")]);
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / row.len() as f32;
        for (i, value) in row.iter_mut().enumerate() {
            *value = (*value - mean) / (variance + 1e-12).sqrt() * scale[i] + shift[i];
        }
    }

    fn attend(&self, states: &[Vec<f32>], name: &dyn Fn(&str) -> String) -> Vec<Vec<f32>> {
        let [queries, keys, values] =
            ["query", "key", "value"].map(|part| self.linear(states, &name(&format!("attention.self.{part}"))));
        let mut mixed = vec![vec![0.0; HIDDEN]; states.len()];
        for (head, token) in (0..HEADS).flat_map(|head| (0..states.len()).map(move |token| (head, token))) {
            let part = head * HEAD..(head + 1) * HEAD;
            let score =
                |key: &Vec<f32>| (dot(&queries[token][part.clone()], &key[part.clone()]) / (HEAD as f32).sqrt()).exp();
            let shares: Vec<f32> = keys.iter().map(score).collect();
            let total: f32 = shares.iter().sum();
            for (share, value) in shares.iter().zip(&values) {
                for i in part.clone() {
                    mixed[token][i] += share / total * value[i];
                }
            }
        }
        mixed
    }
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    // Eight sums side by side, which a compiler can vectorise.
    let mut sums = [0.0_f32; 8];
    for (left, right) in left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0) {
        (0..8).for_each(|i| sums[i] += left[i] * right[i]);
    }
    sums.iter().sum()
}

/// x·Φ(x), with the error function by its series (small x) or its continued fraction (large x).
fn gelu(x: f32) -> f32 {
    let (x, z) = (f64::from(x), f64::from(x).abs() / std::f64::consts::SQRT_2);
    let density = (-z * z).exp() / std::f64::consts::PI.sqrt();
    let upper = if z < 3.0 {
        let mut term = z;
        let series: f64 = (1..80)
            .map(|k| {
                let value = term;
                term *= 2.0 * z * z / (2 * k + 1) as f64;
                value
            })
            .sum();
        0.5 - density * series
    } else {
        let fraction = (1..40).rev().fold(z, |rest, k| z + k as f64 / 2.0 / rest);
        density / fraction / 2.0
    };
    (if x < 0.0 { x * upper } else { x * (1.0 - upper) }) as f32
}
