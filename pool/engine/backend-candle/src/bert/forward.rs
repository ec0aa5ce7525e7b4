//! The layers. Rows of all sequences stand one after the other without padding: linear layers see one tall matrix, and only
//! attention looks at where a sequence begins and ends.

use super::weights::{Layer, Weights};
use candle_core::{Module, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

/// Rows of one sequence: the first, and how many.
type Part = (usize, usize);

/// The mean of the last layer's rows of each sequence, one after the other.
pub fn means(weights: &Weights, sequences: &[&[u32]]) -> Result<Vec<f32>> {
    let parts = parts(sequences);
    let mut state = embed(weights, sequences)?;
    for layer in &weights.layers {
        state = apply(layer, &state, &parts, weights.heads)?;
    }
    let mean = |&(row, rows): &Part| state.narrow(0, row, rows)?.mean(0);
    let means = parts.iter().map(mean).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&means, 0)?.to_vec1()
}

fn parts(sequences: &[&[u32]]) -> Vec<Part> {
    let mut end = 0;
    let part = |sequence: &&[u32]| {
        end += sequence.len();
        (end - sequence.len(), sequence.len())
    };
    sequences.iter().map(part).collect()
}

fn embed(weights: &Weights, sequences: &[&[u32]]) -> Result<Tensor> {
    let device = weights.tokens.device();
    let positions: Vec<u32> = sequences.iter().flat_map(|sequence| 0..sequence.len() as u32).collect();
    let tokens = weights.tokens.index_select(&Tensor::new(sequences.concat(), device)?, 0)?;
    let places = weights.places.index_select(&Tensor::new(positions, device)?, 0)?;
    weights.norm.forward(&(tokens + places)?)
}

fn apply(layer: &Layer, state: &Tensor, parts: &[Part], heads: usize) -> Result<Tensor> {
    let projected = layer.projections.forward(state)?;
    let mixed = parts.iter().map(|part| attend(&projected, *part, heads)).collect::<Result<Vec<_>>>()?;
    let mixed = layer.output.forward(&Tensor::cat(&mixed, 0)?)?;
    let state = layer.attention_norm.forward(&(mixed + state)?)?;
    let fed = layer.narrow.forward(&layer.widen.forward(&state)?.gelu_erf()?)?;
    layer.feed_norm.forward(&(fed + state)?)
}

/// What the rows of one sequence take from each other.
fn attend(projected: &Tensor, (row, rows): Part, heads: usize) -> Result<Tensor> {
    let width = projected.dim(1)? / 3;
    let by_head = projected.narrow(0, row, rows)?.reshape((rows, 3, heads, width / heads))?;
    let by_head = by_head.permute((1, 2, 0, 3))?.contiguous()?;
    let queries = (by_head.get(0)? * ((width / heads) as f64).powf(-0.5))?;
    let scores = queries.matmul(&by_head.get(1)?.transpose(1, 2)?)?;
    let mixed = softmax_last_dim(&scores)?.matmul(&by_head.get(2)?)?;
    mixed.transpose(0, 1)?.reshape((rows, width))
}
