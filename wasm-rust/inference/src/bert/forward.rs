//! The forward pass over some sequences. Their rows stand one after the other without padding: linear layers see one
//! tall matrix, and only attention looks at where a sequence begins and ends.

use super::weights::{Layer, Linear, Norm, Weights};
use crate::file::File;
use crate::kernels::activation::gelu;
use crate::kernels::attention::{self, Sequence, attend};
use crate::kernels::lanes::F32x4;
use crate::kernels::matrix::Output;
use crate::kernels::normalise::{add_scaled, layer as normalise, unit};
use crate::kernels::rows::Rows;

/// BERT's own, which is too small to matter but must be the same.
const EPSILON: f32 = 1e-12;
/// Rows of the wide layer that are computed together: few enough to stay in the second-level cache.
const WIDE_ROWS: usize = 48;

/// Working memory, kept from call to call; it grows to the largest call and no further.
#[derive(Default)]
pub(super) struct Arena {
    state: Vec<f32>,
    attention_input: Vec<f32>,
    mixture: Vec<f32>,
    wide: Vec<f32>,
    rows: Rows,
    attention: attention::Workspace,
}

impl Arena {
    /// Embeds `sequences`, each into the next row of `outputs`.
    pub(super) fn run<'o>(
        &mut self,
        file: &File,
        weights: &Weights,
        sequences: &[&[u32]],
        outputs: &mut impl Iterator<Item = &'o mut [f32]>,
    ) {
        let rows = sequences.iter().map(|sequence| sequence.len()).sum();
        self.grow(rows, weights);
        self.look_up(file, weights, sequences);
        for layer in &weights.layers {
            self.attention(file, weights.hidden, layer, sequences, rows);
            self.feed_forward(file, weights, layer, rows);
        }
        self.pool(weights.hidden, sequences, outputs);
    }

    fn grow(&mut self, rows: usize, weights: &Weights) {
        let grow = |values: &mut Vec<f32>, length: usize| values.resize(values.len().max(length), 0.0);
        grow(&mut self.state, rows * weights.hidden);
        grow(&mut self.attention_input, rows * weights.hidden * 3);
        grow(&mut self.mixture, rows * weights.hidden);
        grow(&mut self.wide, rows.min(WIDE_ROWS) * weights.intermediate);
    }

    fn look_up(&mut self, file: &File, weights: &Weights, sequences: &[&[u32]]) {
        let hidden = weights.hidden;
        let (words, scales) = (file.i8s(weights.words), file.f32s(weights.word_scales));
        let positions = file.f32s(weights.positions);
        let mut states = self.state.chunks_exact_mut(hidden);
        for sequence in sequences {
            let placed = sequence.iter().zip(positions.chunks_exact(hidden));
            for ((&id, position), state) in placed.zip(&mut states) {
                let scale = scales[id as usize];
                let word = &words[id as usize * hidden..][..hidden];
                for ((state, &word), position) in state.iter_mut().zip(word).zip(position) {
                    *state = f32::from(word) * scale + position;
                }
                normalise_row(file, &weights.norm, state);
            }
        }
    }

    fn attention(&mut self, file: &File, hidden: usize, layer: &Layer, sequences: &[&[u32]], rows: usize) {
        store_rows(&mut self.rows, &self.state, hidden, rows);
        product(file, &layer.attention_input, &self.rows, rows, &mut self.attention_input, Output::Store);
        let mut first = 0;
        for sequence in sequences {
            let input = &self.attention_input[first * hidden * 3..][..sequence.len() * hidden * 3];
            let out = &mut self.mixture[first * hidden..][..sequence.len() * hidden];
            attend(Sequence { rows: input, width: hidden }, out, &mut self.attention);
            first += sequence.len();
        }
        store_rows(&mut self.rows, &self.mixture, hidden, rows);
        product(file, &layer.attention_output, &self.rows, rows, &mut self.state, Output::Add);
        let states = self.state.chunks_exact_mut(hidden).take(rows);
        states.for_each(|state| normalise_row(file, &layer.attention_norm, state));
    }

    fn feed_forward(&mut self, file: &File, weights: &Weights, layer: &Layer, rows: usize) {
        let (hidden, intermediate) = (weights.hidden, weights.intermediate);
        for first in (0..rows).step_by(WIDE_ROWS) {
            let count = (rows - first).min(WIDE_ROWS);
            let state = &mut self.state[first * hidden..][..count * hidden];
            store_rows(&mut self.rows, state, hidden, count);
            product(file, &layer.expand, &self.rows, count, &mut self.wide, Output::Store);
            self.rows.reset(count, intermediate);
            for (index, row) in self.wide.chunks_exact_mut(intermediate).take(count).enumerate() {
                let (least, greatest) = activate(row);
                self.rows.store_between(index, row, least, greatest);
            }
            product(file, &layer.contract, &self.rows, count, state, Output::Add);
            state.chunks_exact_mut(hidden).for_each(|state| normalise_row(file, &layer.output_norm, state));
        }
    }

    /// The mean of each sequence's rows, of length 1.
    fn pool<'o>(&self, hidden: usize, sequences: &[&[u32]], outputs: &mut impl Iterator<Item = &'o mut [f32]>) {
        let mut states = self.state.chunks_exact(hidden);
        for (sequence, output) in sequences.iter().zip(outputs) {
            output.fill(0.0);
            let share = 1.0 / sequence.len() as f32;
            states.by_ref().take(sequence.len()).for_each(|state| add_scaled(output, state, share));
            unit(output);
        }
    }
}

fn store_rows(rows: &mut Rows, values: &[f32], width: usize, count: usize) {
    rows.reset(count, width);
    for (index, row) in values.chunks_exact(width).take(count).enumerate() {
        rows.store(index, row);
    }
}

fn product(file: &File, linear: &Linear, rows: &Rows, count: usize, out: &mut [f32], output: Output) {
    linear.matrix(file).multiply(rows, count, out, output);
}

fn normalise_row(file: &File, norm: &Norm, row: &mut [f32]) {
    normalise(row, file.f32s(norm.scale), file.f32s(norm.shift), EPSILON);
}

/// Puts a row through GELU and tells its new least and greatest value.
#[inline(never)]
fn activate(row: &mut [f32]) -> (f32, f32) {
    let (mut least, mut greatest) = (F32x4::splat(f32::MAX), F32x4::splat(f32::MIN));
    for part in row.as_chunks_mut::<4>().0 {
        let value = gelu(F32x4::load(part));
        least = value.min(least);
        greatest = value.max(greatest);
        value.store(part);
    }
    (least.smallest(), greatest.largest())
}
