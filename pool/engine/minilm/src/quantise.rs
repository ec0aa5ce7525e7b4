//! Float weights as 8-bit steps: a scale an output, chosen for the least error, and inputs smoothed by what
//! [`crate::calibration`] saw. A `.tlm` file has seven bits a weight, for the edge's instructions; here all eight count.

use crate::calibration::{Observed, Product};
use crate::weights::{HEAD, Layer, Linear, Norm, Weights};
use inference::InferenceError;
use inference::quantise::Shape;
use inference::safetensors::Safetensors;

/// The greatest step.
const STEP_MAX: f32 = 127.0;
/// Scales tried, from half of the one that covers a row's greatest weight up to it.
const SCALES: usize = 24;
/// Sums kept side by side, so that the compiler may use vectors.
const SIDE_BY_SIDE: usize = 16;
/// Adding and subtracting 1.5 · 2²³ rounds a small float to a whole number, ties to even.
const ROUNDER: f32 = 12_582_912.0;

/// A float matrix, a row an output, with its bias.
struct Matrix {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// A layer in floats.
pub struct FloatLayer {
    attention_input: Matrix,
    attention_output: Matrix,
    attention_norm: Norm,
    expand: Matrix,
    contract: Matrix,
    output_norm: Norm,
}

impl Matrix {
    fn read(source: &Safetensors, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        let weights = source.f32s(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Self { weights, bias: source.f32s(&format!("{name}.bias"), &[outputs])? })
    }

    /// In bytes, for inputs that are multiplied by `factors`.
    fn quantised(&self, factors: Vec<f32>) -> Linear {
        let rows = self.weights.chunks_exact(factors.len()).map(|row| {
            let smoothed: Vec<f32> = row.iter().zip(&factors).map(|(weight, factor)| weight / factor).collect();
            quantise_row(&smoothed)
        });
        Linear::of_rows(rows, factors.clone(), self.bias.clone())
    }
}

/// Reads a BERT of `shape`: all but its layers in bytes, and its layers in floats.
pub fn read(
    source: &Safetensors,
    shape: Shape,
    vocabulary_size: usize,
) -> Result<(Weights, Vec<FloatLayer>), InferenceError> {
    let hidden = shape.hidden;
    let words = source.f32s("embeddings.word_embeddings.weight", &[vocabulary_size, hidden])?;
    let kinds = source.f32s("embeddings.token_type_embeddings.weight", &[2, hidden])?;
    let mut positions = source.f32s("embeddings.position_embeddings.weight", &[shape.positions, hidden])?;
    positions.truncate(shape.tokens_max * hidden);
    for position in positions.chunks_exact_mut(hidden) {
        position.iter_mut().zip(&kinds).for_each(|(position, kind)| *position += kind);
    }
    let (word_scales, steps): (Vec<f32>, Vec<Vec<i8>>) = words.chunks_exact(hidden).map(quantise_row).unzip();
    let weights = Weights {
        hidden,
        intermediate: shape.intermediate,
        tokens_max: shape.tokens_max,
        vocabulary_size,
        words: steps.concat(),
        word_scales,
        positions,
        norm: norm(source, "embeddings.LayerNorm", hidden)?,
        layers: Vec::new(),
    };
    let layers = (0..shape.layers).map(|number| read_layer(source, shape, number)).collect::<Result<_, _>>()?;
    Ok((weights, layers))
}

fn norm(source: &Safetensors, name: &str, width: usize) -> Result<Norm, InferenceError> {
    let floats = |part: &str| source.f32s(&format!("{name}.{part}"), &[width]);
    Ok(Norm { scale: floats("weight")?, shift: floats("bias")? })
}

fn read_layer(source: &Safetensors, shape: Shape, number: usize) -> Result<FloatLayer, InferenceError> {
    let (hidden, wide) = (shape.hidden, shape.intermediate);
    let matrix = |part: &str, inputs: usize, outputs: usize| {
        Matrix::read(source, &format!("encoder.layer.{number}.{part}"), inputs, outputs)
    };
    let mut input = matrix("attention.self.query", hidden, hidden)?;
    let factor = 1.0 / (HEAD as f32).sqrt();
    input.weights.iter_mut().chain(&mut input.bias).for_each(|value| *value *= factor);
    for part in ["attention.self.key", "attention.self.value"] {
        let other = matrix(part, hidden, hidden)?;
        input.weights.extend(other.weights);
        input.bias.extend(other.bias);
    }
    Ok(FloatLayer {
        attention_input: input,
        attention_output: matrix("attention.output.dense", hidden, hidden)?,
        attention_norm: norm(source, &format!("encoder.layer.{number}.attention.output.LayerNorm"), hidden)?,
        expand: matrix("intermediate.dense", hidden, wide)?,
        contract: matrix("output.dense", wide, hidden)?,
        output_norm: norm(source, &format!("encoder.layer.{number}.output.LayerNorm"), hidden)?,
    })
}

/// Layers in bytes without factors, to see what their inputs are like.
pub fn plain(layers: &[FloatLayer], hidden: usize, intermediate: usize) -> Vec<Layer> {
    let ones = |inputs| vec![1.0; inputs];
    let layer = |layer: &FloatLayer| Layer {
        attention_input: layer.attention_input.quantised(ones(hidden)),
        attention_output: layer.attention_output.quantised(ones(hidden)),
        attention_norm: layer.attention_norm.clone(),
        expand: layer.expand.quantised(ones(hidden)),
        contract: layer.contract.quantised(ones(intermediate)),
        output_norm: layer.output_norm.clone(),
    };
    layers.iter().map(layer).collect()
}

/// Layers in bytes with factors by what was `observed`.
pub fn smoothed(layers: Vec<FloatLayer>, observed: &Observed) -> Vec<Layer> {
    let layer = |(number, mut layer): (usize, FloatLayer)| {
        let factors = |product, matrix: &Matrix| observed.factors(number, product, &matrix.weights);
        let output = factors(Product::AttentionOutput, &layer.attention_output);
        scale_values(&mut layer.attention_input, &output);
        let input = factors(Product::AttentionInput, &layer.attention_input);
        let expand = factors(Product::Expand, &layer.expand);
        let contract = factors(Product::Contract, &layer.contract);
        Layer {
            attention_input: layer.attention_input.quantised(input),
            attention_output: layer.attention_output.quantised(output),
            attention_norm: layer.attention_norm,
            expand: layer.expand.quantised(expand),
            contract: layer.contract.quantised(contract),
            output_norm: layer.output_norm,
        }
    };
    layers.into_iter().enumerate().map(layer).collect()
}

/// Multiplies the last third of the outputs, the values, by `factors`: attention only averages values, so what it mixes is
/// multiplied as well.
fn scale_values(input: &mut Matrix, factors: &[f32]) {
    let (first, hidden) = (2 * factors.len(), factors.len());
    let rows = input.weights[first * hidden..].chunks_exact_mut(hidden);
    for ((row, bias), factor) in rows.zip(&mut input.bias[first..]).zip(factors) {
        row.iter_mut().chain([bias]).for_each(|value| *value *= factor);
    }
}

/// The scale under which `row`, rounded to whole steps, has the least squared error, and the steps. Cutting a few extreme
/// weights short makes all others finer, so scales below the one that covers all are tried.
fn quantise_row(row: &[f32]) -> (f32, Vec<i8>) {
    let greatest = row.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
    if greatest == 0.0 {
        return (0.0, vec![0; row.len()]);
    }
    let whole = greatest / STEP_MAX;
    let tried = (SCALES / 2..=SCALES).map(|share| whole * share as f32 / SCALES as f32);
    let (_, scale) = tried.fold((f32::MAX, whole), |best, scale| {
        let error = squared_error(row, scale);
        if error < best.0 { (error, scale) } else { best }
    });
    (scale, row.iter().map(|&weight| step(weight, 1.0 / scale) as i8).collect())
}

fn squared_error(row: &[f32], scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    let off = |weight: f32| {
        let off = weight - step(weight, inverse) * scale;
        off * off
    };
    let (chunks, rest) = row.as_chunks::<SIDE_BY_SIDE>();
    let mut sums = [0.0; SIDE_BY_SIDE];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &weight)| *sum += off(weight));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&weight| off(weight)).sum::<f32>()
}

#[inline]
fn step(weight: f32, inverse: f32) -> f32 {
    let held = (weight * inverse).clamp(-STEP_MAX, STEP_MAX);
    (held + ROUNDER) - ROUNDER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_within_half_a_step_where_nothing_is_cut() {
        let row: Vec<f32> = (0..255).map(|index| (index - 127) as f32 * 0.01).collect();
        let (scale, steps) = quantise_row(&row);
        for (weight, step) in row.iter().zip(steps) {
            assert!((weight - f32::from(step) * scale).abs() <= scale * 0.51);
        }
    }

    #[test]
    fn one_great_weight_among_small_ones_is_cut_where_that_is_better() {
        let small = (1..1 << 16).map(|index| (index as f32 * 0.618_034).fract() * 0.3);
        let row: Vec<f32> = std::iter::once(1.0).chain(small).collect();
        let (scale, steps) = quantise_row(&row);
        assert!(scale < 1.0 / STEP_MAX && steps[0] == 127);
    }

    #[test]
    fn rows_of_zeros_and_of_values_that_are_no_numbers_do_no_harm() {
        assert_eq!(quantise_row(&[0.0; 4]), (0.0, vec![0; 4]));
        assert_eq!(quantise_row(&[f32::NAN, 0.0]).1.len(), 2);
    }
}
