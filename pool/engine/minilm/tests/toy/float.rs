//! BERT in plain 32-bit floats, written down as in the paper (Devlin et al. 2019) and slow: what quantised ones are set
//! against.

use super::{SHAPE, vocabulary};
use inference::safetensors::Safetensors;
use inference::tokenizer::{Tokenizer, Workspace};

const HEAD: usize = 32;

type Rows = Vec<Vec<f32>>;

struct Model<'bytes> {
    source: Safetensors<'bytes>,
}

/// The unit vector of each text.
pub fn embed(safetensors: &[u8], texts: &[String]) -> Rows {
    let model = Model { source: Safetensors::open(safetensors).unwrap() };
    let tokenizer = Tokenizer::from_vocabulary(&(vocabulary().join("\n") + "\n")).unwrap();
    let vector = |text: &String| {
        let mut ids = Vec::new();
        tokenizer.encode(text, SHAPE.tokens_max, &mut ids, &mut Workspace::default());
        model.vector(&ids)
    };
    texts.iter().map(vector).collect()
}

impl Model<'_> {
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Rows {
        let values = self.source.f32s(&format!("{name}.weight"), &[rows, columns]).unwrap();
        values.chunks_exact(columns).map(<[f32]>::to_vec).collect()
    }

    fn linear(&self, name: &str, inputs: &Rows, outputs: usize) -> Rows {
        let weights = self.matrix(name, outputs, inputs[0].len());
        let bias = self.source.f32s(&format!("{name}.bias"), &[outputs]).unwrap();
        let row = |input: &Vec<f32>| weights.iter().zip(&bias).map(|(row, bias)| dot(row, input) + bias).collect();
        inputs.iter().map(row).collect()
    }

    fn normalised(&self, name: &str, rows: &Rows) -> Rows {
        let read = |part: &str| self.source.f32s(&format!("{name}.{part}"), &[SHAPE.hidden]).unwrap();
        let (scale, shift) = (read("weight"), read("bias"));
        let normalise = |row: &Vec<f32>| {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / row.len() as f32;
            let parts = row.iter().zip(&scale).zip(&shift);
            parts.map(|((value, scale), shift)| (value - mean) / (variance + 1e-12).sqrt() * scale + shift).collect()
        };
        rows.iter().map(normalise).collect()
    }

    fn attention(&self, name: &str, states: &Rows) -> Rows {
        let part = |part: &str| self.linear(&format!("{name}.self.{part}"), states, SHAPE.hidden);
        let (queries, keys, values) = (part("query"), part("key"), part("value"));
        let mut mixed = vec![vec![0.0; SHAPE.hidden]; states.len()];
        for head in (0..SHAPE.hidden).step_by(HEAD) {
            let place = head..head + HEAD;
            for (query, mixed) in queries.iter().zip(&mut mixed) {
                let score = |key: &Vec<f32>| dot(&query[place.clone()], &key[place.clone()]) / (HEAD as f32).sqrt();
                let shares: Vec<f32> = keys.iter().map(|key| score(key).exp()).collect();
                let whole: f32 = shares.iter().sum();
                for (share, value) in shares.iter().zip(&values) {
                    let pairs = mixed[place.clone()].iter_mut().zip(&value[place.clone()]);
                    pairs.for_each(|(mixed, value)| *mixed += share / whole * value);
                }
            }
        }
        self.linear(&format!("{name}.output.dense"), &mixed, SHAPE.hidden)
    }

    fn vector(&self, ids: &[u32]) -> Vec<f32> {
        let words = self.matrix("embeddings.word_embeddings", vocabulary().len(), SHAPE.hidden);
        let positions = self.matrix("embeddings.position_embeddings", SHAPE.positions, SHAPE.hidden);
        let kinds = self.matrix("embeddings.token_type_embeddings", 2, SHAPE.hidden);
        let placed = ids.iter().zip(&positions);
        let looked_up = placed.map(|(&id, position)| sum(&sum(&words[id as usize], position), &kinds[0])).collect();
        let mut states = self.normalised("embeddings.LayerNorm", &looked_up);
        for layer in 0..SHAPE.layers {
            let name = format!("encoder.layer.{layer}");
            let attention = self.attention(&format!("{name}.attention"), &states);
            states = self.normalised(&format!("{name}.attention.output.LayerNorm"), &sums(&states, &attention));
            let mut wide = self.linear(&format!("{name}.intermediate.dense"), &states, SHAPE.intermediate);
            wide.iter_mut().flatten().for_each(|value| *value = gelu(*value));
            let narrow = self.linear(&format!("{name}.output.dense"), &wide, SHAPE.hidden);
            states = self.normalised(&format!("{name}.output.LayerNorm"), &sums(&states, &narrow));
        }
        let whole = states.iter().fold(vec![0.0; SHAPE.hidden], |whole, state| sum(&whole, state));
        let length = dot(&whole, &whole).sqrt();
        whole.iter().map(|value| value / length).collect()
    }
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

fn sum(left: &[f32], right: &[f32]) -> Vec<f32> {
    left.iter().zip(right).map(|(left, right)| left + right).collect()
}

fn sums(left: &Rows, right: &Rows) -> Rows {
    left.iter().zip(right).map(|(left, right)| sum(left, right)).collect()
}

/// x·Φ(x), with Φ by its power series (Marsaglia 2004), which is exact to rounding for |x| below 6.
fn gelu(value: f32) -> f32 {
    let x = f64::from(value.clamp(-6.0, 6.0));
    let (mut term, mut sum, mut index) = (x, x, 1.0);
    while term.abs() > 1e-17 {
        index += 2.0;
        term *= x * x / index;
        sum += term;
    }
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (f64::from(value) * (0.5 + sum * density)) as f32
}
