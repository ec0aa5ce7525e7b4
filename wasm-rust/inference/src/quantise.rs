//! Makes the int8 model file out of a float BERT: safetensors and tokenizer.json in, `.tlm` out.

use crate::backend::ModelKind;
use crate::error::InferenceError;
use crate::file::Writer;
use crate::kernels::attention::HEAD;
use crate::kernels::matrix::{WEIGHT_ZERO, pack};
use crate::safetensors::Safetensors;
use serde_json::Value;

/// A shape that is read off the weights' names and the caller's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Values of a state.
    pub hidden: usize,
    /// Values of the wide layer.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Positions that the weights have.
    pub positions: usize,
    /// Tokens a text may have; at most `positions`.
    pub tokens_max: usize,
}

impl Shape {
    /// all-MiniLM-L6-v2, with the length that sentence-transformers gives it.
    pub const MINILM: Self = Self { hidden: 384, intermediate: 1536, layers: 6, positions: 512, tokens_max: 256 };
}

/// Steps tried between half of a row's greatest weight and all of it.
const CLIPS: usize = 40;
/// The least and the greatest stored weight, as distance from zero.
const WEIGHT_RANGE: (f32, f32) = (-64.0, 63.0);

/// Quantises a BERT. `progress` is told the share that is done, from 0 to 1.
pub fn quantise_bert(
    name: &str,
    shape: Shape,
    safetensors: &[u8],
    tokenizer_json: &str,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<u8>, InferenceError> {
    let source = Safetensors::open(safetensors)?;
    let vocabulary = read_vocabulary(tokenizer_json)?;
    let mut writer = Writer::new(ModelKind::Bert as u32);
    writer.metadata("name", name);
    let numbers = [
        ("hidden", shape.hidden),
        ("intermediate", shape.intermediate),
        ("layers", shape.layers),
        ("tokens", shape.tokens_max),
        ("vocabulary", vocabulary.len()),
    ];
    numbers.iter().for_each(|(key, value)| writer.metadata(key, &value.to_string()));
    write_embeddings(&mut writer, &source, shape, vocabulary.len())?;
    for number in 0..shape.layers {
        progress((number as f64 + 0.5) / (shape.layers as f64 + 0.5));
        write_layer(&mut writer, &source, shape, number)?;
    }
    writer.u8s("vocabulary", (vocabulary.join("\n") + "\n").into_bytes());
    progress(1.0);
    Ok(writer.finish())
}

/// The tokens of a WordPiece tokenizer.json in the order of their ids. Settings other than BERT's usual are refused.
pub fn read_vocabulary(tokenizer_json: &str) -> Result<Vec<String>, InferenceError> {
    let invalid = |what: &str| InferenceError::SourceInvalid(format!("tokenizer.json: {what}"));
    let json: Value = serde_json::from_str(tokenizer_json).map_err(|error| invalid(&error.to_string()))?;
    let (model, normalizer) = (&json["model"], &json["normalizer"]);
    let usual = model["type"] == "WordPiece"
        && model["continuing_subword_prefix"] == "##"
        && model["max_input_chars_per_word"] == 100
        && normalizer["type"] == "BertNormalizer"
        && normalizer["lowercase"] == true
        && json["pre_tokenizer"]["type"] == "BertPreTokenizer";
    if !usual {
        return Err(invalid("it is not a lower-casing BERT WordPiece tokenizer"));
    }
    let entries = model["vocab"].as_object().ok_or_else(|| invalid("no vocabulary"))?;
    let mut tokens = vec![String::new(); entries.len()];
    for (token, id) in entries {
        let id = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|&id| id < tokens.len());
        let place = &mut tokens[id.ok_or_else(|| invalid("ids have a gap"))?];
        if !place.is_empty() || token.is_empty() || token.contains('\n') {
            return Err(invalid("a token is empty, doubled or has a line break"));
        }
        place.clone_from(token);
    }
    Ok(tokens)
}

fn write_embeddings(
    writer: &mut Writer,
    source: &Safetensors,
    shape: Shape,
    vocabulary: usize,
) -> Result<(), InferenceError> {
    let hidden = shape.hidden;
    let words = source.f32s("embeddings.word_embeddings.weight", &[vocabulary, hidden])?;
    let (mut bytes, mut scales) = (Vec::with_capacity(words.len()), Vec::with_capacity(vocabulary));
    for row in words.chunks_exact(hidden) {
        let (scale, values) = quantise_row(row, (-127.0, 127.0));
        scales.push(scale);
        bytes.extend(values.into_iter().map(|value| value as i8 as u8));
    }
    writer.u8s("words", bytes);
    writer.f32s("words.scales", &scales);
    let kinds = source.f32s("embeddings.token_type_embeddings.weight", &[2, hidden])?;
    let mut positions = source.f32s("embeddings.position_embeddings.weight", &[shape.positions, hidden])?;
    positions.truncate(shape.tokens_max * hidden);
    for position in positions.chunks_exact_mut(hidden) {
        position.iter_mut().zip(&kinds).for_each(|(position, kind)| *position += kind);
    }
    writer.f32s("positions", &positions);
    write_norm(writer, source, hidden, "embeddings.LayerNorm", "norm")
}

fn write_layer(writer: &mut Writer, source: &Safetensors, shape: Shape, number: usize) -> Result<(), InferenceError> {
    let hidden = shape.hidden;
    let from = |part: &str| format!("encoder.layer.{number}.{part}");
    let to = |part: &str| format!("{number}.{part}");
    let mut input = Linear::default();
    for (part, factor) in [("query", 1.0 / (HEAD as f32).sqrt()), ("key", 1.0), ("value", 1.0)] {
        input.append(Linear::read(source, &from(&format!("attention.self.{part}")), hidden, hidden)?, factor);
    }
    input.write(writer, &to("attention-input"), hidden);
    Linear::read(source, &from("attention.output.dense"), hidden, hidden)?.write(
        writer,
        &to("attention-output"),
        hidden,
    );
    write_norm(writer, source, hidden, &from("attention.output.LayerNorm"), &to("attention-norm"))?;
    let wide = shape.intermediate;
    Linear::read(source, &from("intermediate.dense"), hidden, wide)?.write(writer, &to("expand"), hidden);
    Linear::read(source, &from("output.dense"), wide, hidden)?.write(writer, &to("contract"), wide);
    write_norm(writer, source, hidden, &from("output.LayerNorm"), &to("output-norm"))
}

fn write_norm(
    writer: &mut Writer,
    source: &Safetensors,
    hidden: usize,
    from: &str,
    to: &str,
) -> Result<(), InferenceError> {
    writer.f32s(&format!("{to}.scale"), &source.f32s(&format!("{from}.weight"), &[hidden])?);
    writer.f32s(&format!("{to}.shift"), &source.f32s(&format!("{from}.bias"), &[hidden])?);
    Ok(())
}

/// A float matrix (outputs × inputs) with its bias.
#[derive(Default)]
struct Linear {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Linear {
    fn read(source: &Safetensors, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        let weights = source.f32s(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Self { weights, bias: source.f32s(&format!("{name}.bias"), &[outputs])? })
    }

    /// Puts another matrix's outputs, times `factor`, below this one's.
    fn append(&mut self, other: Self, factor: f32) {
        self.weights.extend(other.weights.into_iter().map(|weight| weight * factor));
        self.bias.extend(other.bias.into_iter().map(|bias| bias * factor));
    }

    fn write(&self, writer: &mut Writer, name: &str, inputs: usize) {
        let mut stored = Vec::with_capacity(self.weights.len());
        let (mut scales, mut sums) = (Vec::new(), Vec::new());
        for row in self.weights.chunks_exact(inputs) {
            let (scale, values) = quantise_row(row, WEIGHT_RANGE);
            scales.push(scale);
            sums.push(scale * values.iter().sum::<i32>() as f32);
            stored.extend(values.into_iter().map(|value| (value + WEIGHT_ZERO) as u8));
        }
        writer.u8s(&format!("{name}.weights"), pack(&stored, inputs));
        writer.f32s(&format!("{name}.scales"), &scales);
        writer.f32s(&format!("{name}.sums"), &sums);
        writer.f32s(&format!("{name}.bias"), &self.bias);
    }
}

/// The scale under which `row`, rounded to whole steps within `range`, has the least squared error, and the steps.
/// Cutting a few extreme weights short makes all others finer, so scales below the one that covers all are tried.
pub(crate) fn quantise_row(row: &[f32], range: (f32, f32)) -> (f32, Vec<i32>) {
    let greatest = row.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    if greatest == 0.0 {
        return (0.0, vec![0; row.len()]);
    }
    let whole = greatest / range.1;
    let mut best = (f64::MAX, whole);
    for clip in CLIPS..=2 * CLIPS {
        let scale = whole * clip as f32 / (2 * CLIPS) as f32;
        let error = row.iter().fold(0.0, |sum, &weight| {
            let off = f64::from(weight - step(weight, scale, range) * scale);
            sum + off * off
        });
        if error < best.0 {
            best = (error, scale);
        }
    }
    (best.1, row.iter().map(|&weight| step(weight, best.1, range) as i32).collect())
}

fn step(weight: f32, scale: f32, range: (f32, f32)) -> f32 {
    (weight / scale).round_ties_even().clamp(range.0, range.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_within_half_a_step_where_nothing_is_cut() {
        let row: Vec<f32> = (0..127).map(|i| (i - 63) as f32 * 0.01).collect();
        let (scale, steps) = quantise_row(&row, WEIGHT_RANGE);
        for (weight, step) in row.iter().zip(steps) {
            assert!((weight - step as f32 * scale).abs() <= scale * 0.51);
        }
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        assert_eq!(quantise_row(&[0.0; 4], WEIGHT_RANGE), (0.0, vec![0; 4]));
    }

    #[test]
    fn other_tokenizers_are_refused() {
        for text in ["", "{}", r#"{"model":{"type":"BPE"}}"#] {
            assert!(matches!(read_vocabulary(text), Err(InferenceError::SourceInvalid(_))));
        }
    }
}
