//! The forward pass over some sequences. Their rows stand one after the other without padding: linear layers see one tall
//! matrix, and only attention looks at where a sequence begins and ends.

use crate::calibration::{Observed, Product};
use crate::kernels::{self, Grid, Rows, Sequence, TILE_QUERIES, TILE_ROWS};
use crate::sentences::unit;
use crate::weights::{Layer, Linear, Norm, Weights};
use lanes::portable::Portable;
use lanes::{Instructions, Lanes};

/// Rows (tokens) that go through the layers together; sequences are grouped so that there are no more.
pub const ROWS_MAX: usize = 512;
/// Rows of the wide layer that are computed together: few enough to stay in the second-level cache.
const WIDE_ROWS: usize = 4 * TILE_ROWS;

/// Working memory, kept from call to call; it grows to the largest group and no further.
#[derive(Default)]
pub struct Arena {
    state: Vec<f32>,
    attention_input: Vec<f32>,
    mixture: Vec<f32>,
    wide: Vec<f32>,
    room: Vec<f32>,
    bytes: Vec<i8>,
    grids: Vec<Grid>,
    /// Where the inputs of products are looked at, while a model is calibrated.
    pub observed: Option<Observed>,
}

impl Arena {
    /// Working memory for a model that is calibrated.
    pub fn observing(observed: Observed) -> Self {
        Self { observed: Some(observed), ..Self::default() }
    }

    fn grow(&mut self, weights: &Weights, sequences: &[&[u32]]) {
        fn grow<T: Copy + Default>(values: &mut Vec<T>, length: usize) {
            values.resize(values.len().max(length), T::default());
        }
        let rows = sequences.iter().map(|sequence| sequence.len()).sum::<usize>();
        let longest = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
        let wide = rows.min(WIDE_ROWS) * weights.intermediate;
        grow(&mut self.state, rows * weights.hidden);
        grow(&mut self.attention_input, rows * weights.hidden * 3);
        grow(&mut self.mixture, rows * weights.hidden);
        grow(&mut self.wide, wide);
        grow(&mut self.room, kernels::attention_room(longest));
        grow(&mut self.bytes, wide.max(rows * weights.hidden));
        grow(&mut self.grids, rows);
    }
}

/// Embeds sequences into rows of `target`. See [`choose`].
pub type Encode = unsafe fn(weights: &Weights, sequences: &[&[u32]], arena: &mut Arena, target: &mut [f32]);

/// The forward pass for the last of the instructions, which must be ones that this processor has.
///
/// What it returns may be called on this processor with sequences of at most `tokens_max` tokens below `vocabulary_size`,
/// of which none is empty, and a target of `hidden` floats a sequence.
pub fn choose(available: &[Instructions]) -> Encode {
    #[cfg(target_arch = "x86_64")]
    {
        use lanes::{avx2::Avx2, avx512::Avx512};

        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2(weights: &Weights, sequences: &[&[u32]], arena: &mut Arena, target: &mut [f32]) {
            // SAFETY: the conditions are the caller's, the same.
            unsafe { encode::<Avx2>(weights, sequences, arena, target, Tiles { rows: 2, queries: 3 }) }
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
        unsafe fn avx512(weights: &Weights, sequences: &[&[u32]], arena: &mut Arena, target: &mut [f32]) {
            let tiles = Tiles { rows: TILE_ROWS, queries: TILE_QUERIES };
            // SAFETY: the conditions are the caller's, the same.
            unsafe { encode::<Avx512>(weights, sequences, arena, target, tiles) }
        }

        match available.last() {
            Some(Instructions::Avx512) => return avx512,
            Some(Instructions::Avx2) => return avx2,
            _ => {}
        }
    }
    let _ = available;
    portable
}

unsafe fn portable(weights: &Weights, sequences: &[&[u32]], arena: &mut Arena, target: &mut [f32]) {
    // SAFETY: the conditions are the caller's, the same.
    unsafe { encode::<Portable>(weights, sequences, arena, target, Tiles { rows: 2, queries: 2 }) }
}

/// How much the registers hold.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    queries: usize,
}

#[inline(always)]
unsafe fn encode<L: Lanes>(
    weights: &Weights,
    sequences: &[&[u32]],
    arena: &mut Arena,
    target: &mut [f32],
    tiles: Tiles,
) {
    arena.grow(weights, sequences);
    let rows = sequences.iter().map(|sequence| sequence.len()).sum();
    let mut pass = Pass { weights, arena, rows, tiles };
    // SAFETY: the arena has room for all rows, and the conditions of `choose` hold.
    unsafe {
        pass.look_up::<L>(sequences);
        for (number, layer) in weights.layers.iter().enumerate() {
            pass.attention::<L>(number, layer, sequences);
            pass.feed_forward::<L>(number, layer);
        }
        pass.pool::<L>(sequences, target);
    }
}

struct Pass<'call> {
    weights: &'call Weights,
    arena: &'call mut Arena,
    rows: usize,
    tiles: Tiles,
}

#[allow(unsafe_op_in_unsafe_fn, reason = "the arena has room for all rows, and indices are below their bounds")]
impl Pass<'_> {
    #[inline(always)]
    unsafe fn look_up<L: Lanes>(&mut self, sequences: &[&[u32]]) {
        let (weights, hidden) = (self.weights, self.weights.hidden);
        let mut states = self.arena.state.chunks_exact_mut(hidden);
        for sequence in sequences {
            let placed = sequence.iter().zip(weights.positions.chunks_exact(hidden));
            for ((&id, position), state) in placed.zip(&mut states) {
                let scale = weights.word_scales[id as usize];
                let word = &weights.words[id as usize * hidden..][..hidden];
                for ((state, &word), position) in state.iter_mut().zip(word).zip(position) {
                    *state = f32::from(word) * scale + position;
                }
                kernels::normalise::<L>(state.as_mut_ptr(), &weights.norm);
            }
        }
    }

    #[inline(always)]
    unsafe fn attention<L: Lanes>(&mut self, number: usize, layer: &Layer, sequences: &[&[u32]]) {
        let hidden = self.weights.hidden;
        self.observe(number, Product::AttentionInput, self.arena.state.as_ptr(), self.rows * hidden);
        let input = self.quantised::<L, true>(self.arena.state.as_ptr(), self.rows, &layer.attention_input);
        let target = self.arena.attention_input.as_mut_ptr();
        kernels::multiply::<L, false>(&layer.attention_input, input, target, self.tiles.rows);
        let mut first = 0;
        for sequence in sequences {
            let rows = self.arena.attention_input.as_ptr().add(first * hidden * 3);
            let sequence = Sequence { rows, count: sequence.len(), hidden };
            let target = self.arena.mixture.as_mut_ptr().add(first * hidden);
            kernels::attend::<L>(sequence, target, self.arena.room.as_mut_ptr(), self.tiles.queries);
            first += sequence.count;
        }
        self.observe(number, Product::AttentionOutput, self.arena.mixture.as_ptr(), self.rows * hidden);
        // The values' weights have the factors of this product already.
        let mixture = self.quantised::<L, false>(self.arena.mixture.as_ptr(), self.rows, &layer.attention_output);
        self.add_and_normalise::<L>(&layer.attention_output, &layer.attention_norm, mixture, 0);
    }

    #[inline(always)]
    unsafe fn feed_forward<L: Lanes>(&mut self, number: usize, layer: &Layer) {
        let (hidden, intermediate) = (self.weights.hidden, self.weights.intermediate);
        self.observe(number, Product::Expand, self.arena.state.as_ptr(), self.rows * hidden);
        for first in (0..self.rows).step_by(WIDE_ROWS) {
            let count = (self.rows - first).min(WIDE_ROWS);
            let state = self.arena.state.as_ptr().add(first * hidden);
            let input = self.quantised::<L, true>(state, count, &layer.expand);
            let wide = self.arena.wide.as_mut_ptr();
            kernels::multiply::<L, false>(&layer.expand, input, wide, self.tiles.rows);
            let bytes = self.arena.bytes.as_mut_ptr();
            for row in 0..count {
                let wide = wide.add(row * intermediate);
                kernels::activate::<L>(wide, layer.contract.factors.as_ptr(), intermediate);
                let bytes = bytes.add(row * intermediate);
                self.arena.grids[row] = kernels::quantise::<L, false>(wide, wide, intermediate, bytes);
            }
            self.observe(number, Product::Contract, wide, count * intermediate);
            let rows = Rows { bytes, grids: self.arena.grids.as_ptr(), count };
            self.add_and_normalise::<L>(&layer.contract, &layer.output_norm, rows, first);
        }
    }

    #[inline(always)]
    unsafe fn observe(&mut self, layer: usize, product: Product, values: *const f32, count: usize) {
        if let Some(observed) = &mut self.arena.observed {
            observed.see(layer, product, std::slice::from_raw_parts(values, count));
        }
    }

    /// Adds a product to the states from row `first` on, and normalises them.
    #[inline(always)]
    unsafe fn add_and_normalise<L: Lanes>(&mut self, linear: &Linear, norm: &Norm, rows: Rows, first: usize) {
        let hidden = self.weights.hidden;
        let state = self.arena.state.as_mut_ptr().add(first * hidden);
        kernels::multiply::<L, true>(linear, rows, state, self.tiles.rows);
        for row in 0..rows.count {
            kernels::normalise::<L>(state.add(row * hidden), norm);
        }
    }

    /// Rows of inputs of `linear` as bytes.
    #[inline(always)]
    unsafe fn quantised<L: Lanes, const SMOOTH: bool>(
        &mut self,
        values: *const f32,
        count: usize,
        linear: &Linear,
    ) -> Rows {
        let (bytes, width, factors) = (self.arena.bytes.as_mut_ptr(), linear.inputs, linear.factors.as_ptr());
        for row in 0..count {
            let place = row * width;
            self.arena.grids[row] = kernels::quantise::<L, SMOOTH>(values.add(place), factors, width, bytes.add(place));
        }
        Rows { bytes, grids: self.arena.grids.as_ptr(), count }
    }

    /// The mean of each sequence's rows, of length 1.
    #[inline(always)]
    unsafe fn pool<L: Lanes>(&mut self, sequences: &[&[u32]], target: &mut [f32]) {
        let hidden = self.weights.hidden;
        let mut states = self.arena.state.chunks_exact(hidden);
        for (sequence, target) in sequences.iter().zip(target.chunks_exact_mut(hidden)) {
            target.fill(0.0);
            let share = 1.0 / sequence.len() as f32;
            for state in states.by_ref().take(sequence.len()) {
                kernels::add_scaled::<L>(target.as_mut_ptr(), state.as_ptr(), hidden, share);
            }
            unit(target);
        }
    }
}
