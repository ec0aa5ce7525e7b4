//! The arithmetic of the encoder, written once on [`lanes`].
//!
//! Every function is unsafe for the reasons told there; pointers are to as many elements as the lengths beside them say.
//! Each row's result is computed in the same order whatever other rows are computed with it.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all of it, told above")]
#![allow(clippy::needless_range_loop, reason = "one number indexes several arrays, and the loops are of fixed length")]

use crate::weights::{HEAD, Linear, Norm, PANEL, QUAD};
use lanes::functions::{exponential, gelu};
use lanes::{LANES, Lanes};

/// Rows that share a pass over a panel, at most, where there are 32 registers: 24 sums, two vectors of weights, and one of
/// activations.
pub const TILE_ROWS: usize = 12;
/// Queries that share a pass over keys or values, at most.
pub const TILE_QUERIES: usize = 6;
/// BERT's own, which is too small to matter but must be the same.
const EPSILON: f32 = 1e-12;

/// What a row of bytes stands for: `scale · byte + offset`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grid {
    /// The step between neighbouring values.
    pub scale: f32,
    /// What the byte 0 stands for.
    pub offset: f32,
    /// The sum of the row's bytes.
    pub sum: i32,
}

/// Steps between the least and the greatest byte, which are −127 and 127: AVX2 has no product of −128.
const STEPS: f32 = 254.0;

/// Puts a row of floats, a multiple of [`LANES`], on a grid between its least and its greatest value; with `SMOOTH`, each is
/// multiplied by its factor first.
#[inline(always)]
pub unsafe fn quantise<L: Lanes, const SMOOTH: bool>(
    values: *const f32,
    factors: *const f32,
    count: usize,
    bytes: *mut i8,
) -> Grid {
    let value = |index: usize| {
        let value = L::load(values.add(index));
        if SMOOTH { L::multiply(value, L::load(factors.add(index))) } else { value }
    };
    let mut greatest = value(0);
    let mut least = greatest;
    for index in (LANES..count).step_by(LANES) {
        let value = value(index);
        greatest = L::maximum(value, greatest);
        least = L::minimum(value, least);
    }
    let greatest = L::largest(greatest);
    let least = -L::largest(L::subtract(L::splat(0.0), least));
    let scale = (greatest - least) / STEPS;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let offset = least + STEPS / 2.0 * scale;
    let (inverse, shift) = (L::splat(inverse), L::splat(-offset * inverse));
    let mut sum = L::splat_integer(0);
    for index in (0..count).step_by(LANES) {
        let byte = L::round(L::multiply_add(value(index), inverse, shift));
        L::store_low_bytes(bytes.add(index), byte);
        sum = L::add_integers(sum, byte);
    }
    Grid { scale, offset, sum: L::sum_integers(sum) }
}

/// Rows of bytes with their grids.
#[derive(Clone, Copy)]
pub struct Rows {
    /// One row after the other, as many bytes each as the linear layer has inputs.
    pub bytes: *const i8,
    /// One a row.
    pub grids: *const Grid,
    /// How many.
    pub count: usize,
}

/// Puts `rows` through a linear layer, into rows of `target`, in place of what is there or, with `ADD`, added to it.
#[inline(always)]
pub unsafe fn multiply<L: Lanes, const ADD: bool>(linear: &Linear, rows: Rows, target: *mut f32, tile_rows: usize) {
    let tiles = rows.count.div_ceil(tile_rows);
    for panel in 0..linear.outputs() / PANEL {
        for tile in 0..tiles {
            // Tiles of as equal heights as can be.
            let (first, end) = (rows.count * tile / tiles, rows.count * (tile + 1) / tiles);
            let place = Place {
                linear,
                panel,
                rows: rows.at(linear.inputs, first),
                target: target.add(first * linear.outputs()),
            };
            match end - first {
                1 => place.tile::<L, 1, ADD>(),
                2 => place.tile::<L, 2, ADD>(),
                3 => place.tile::<L, 3, ADD>(),
                4 => place.tile::<L, 4, ADD>(),
                5 => place.tile::<L, 5, ADD>(),
                6 => place.tile::<L, 6, ADD>(),
                7 => place.tile::<L, 7, ADD>(),
                8 => place.tile::<L, 8, ADD>(),
                9 => place.tile::<L, 9, ADD>(),
                10 => place.tile::<L, 10, ADD>(),
                11 => place.tile::<L, 11, ADD>(),
                _ => place.tile::<L, TILE_ROWS, ADD>(),
            }
        }
    }
}

impl Rows {
    #[inline(always)]
    unsafe fn at(self, width: usize, first: usize) -> Self {
        Self { bytes: self.bytes.add(first * width), grids: self.grids.add(first), count: self.count - first }
    }
}

/// Some rows and a panel.
struct Place<'layer> {
    linear: &'layer Linear,
    panel: usize,
    rows: Rows,
    target: *mut f32,
}

impl Place<'_> {
    #[inline(always)]
    unsafe fn tile<L: Lanes, const HEIGHT: usize, const ADD: bool>(&self) {
        let sums = self.products::<L, HEIGHT>();
        // Two calls and no loop: the sums stay in registers only where no index of theirs is computed.
        self.finish::<L, HEIGHT, ADD>(0, sums.map(|pair| pair[0]));
        self.finish::<L, HEIGHT, ADD>(LANES, sums.map(|pair| pair[1]));
    }

    #[inline(always)]
    unsafe fn finish<L: Lanes, const HEIGHT: usize, const ADD: bool>(&self, first: usize, sums: [L::Integers; HEIGHT]) {
        let output = self.panel * PANEL + first;
        let scale = L::load(self.linear.scales.as_ptr().add(output));
        let weight_sum = L::load(self.linear.sums.as_ptr().add(output));
        let bias = L::load(self.linear.bias.as_ptr().add(output));
        for row in 0..HEIGHT {
            let grid = self.rows.grids.add(row);
            let rest = L::multiply_add(L::splat((*grid).offset), weight_sum, bias);
            let scale = L::multiply(scale, L::splat((*grid).scale));
            let mut value = L::multiply_add(L::to_floats(sums[row]), scale, rest);
            let target = self.target.add(row * self.linear.outputs() + output);
            if ADD {
                value = L::add(L::load(target), value);
            }
            L::store(target, value);
        }
    }

    #[inline(always)]
    unsafe fn products<L: Lanes, const HEIGHT: usize>(&self) -> [[L::Integers; 2]; HEIGHT] {
        let (inputs, mut weights) = (self.linear.inputs, self.linear.panel(self.panel));
        let mut sums = [[L::splat_integer(0); 2]; HEIGHT];
        for row in 0..HEIGHT {
            sums[row] = [L::offset_start((*self.rows.grids.add(row)).sum); 2];
        }
        for input in (0..inputs).step_by(QUAD) {
            let (low, high) = (L::load_bytes(weights), L::load_bytes(weights.add(QUAD * LANES)));
            for row in 0..HEIGHT {
                let factors = self.rows.bytes.add(row * inputs + input);
                sums[row][0] = L::dot_offset(sums[row][0], low, factors);
                sums[row][1] = L::dot_offset(sums[row][1], high, factors);
            }
            weights = weights.add(2 * QUAD * LANES);
        }
        sums
    }
}

/// Replaces a row by (row − mean) / √(variance + epsilon) · scale + shift.
#[inline(always)]
pub unsafe fn normalise<L: Lanes>(row: *mut f32, norm: &Norm) {
    let count = norm.scale.len();
    let mut sum = L::splat(0.0);
    for index in (0..count).step_by(LANES) {
        sum = L::add(sum, L::load(row.add(index)));
    }
    let mean = L::splat(L::sum(sum) / count as f32);
    let mut squares = L::splat(0.0);
    for index in (0..count).step_by(LANES) {
        let centred = L::subtract(L::load(row.add(index)), mean);
        squares = L::multiply_add(centred, centred, squares);
    }
    let factor = L::splat(1.0 / (L::sum(squares) / count as f32 + EPSILON).sqrt());
    for index in (0..count).step_by(LANES) {
        let centred = L::multiply(L::subtract(L::load(row.add(index)), mean), factor);
        let (scale, shift) = (L::load(norm.scale.as_ptr().add(index)), L::load(norm.shift.as_ptr().add(index)));
        L::store(row.add(index), L::multiply_add(centred, scale, shift));
    }
}

/// GELU of each of `count` floats, a multiple of [`LANES`], times its factor.
#[inline(always)]
pub unsafe fn activate<L: Lanes>(values: *mut f32, factors: *const f32, count: usize) {
    for index in (0..count).step_by(LANES) {
        let value = gelu::<L>(L::load(values.add(index)));
        L::store(values.add(index), L::multiply(value, L::load(factors.add(index))));
    }
}

/// `target += row · factor`, of `count` floats, a multiple of [`LANES`].
#[inline(always)]
pub unsafe fn add_scaled<L: Lanes>(target: *mut f32, row: *const f32, count: usize, factor: f32) {
    for index in (0..count).step_by(LANES) {
        let sum = L::multiply_add(L::load(row.add(index)), L::splat(factor), L::load(target.add(index)));
        L::store(target.add(index), sum);
    }
}

/// One sequence's queries, keys and values: rows of three times `hidden` floats.
#[derive(Clone, Copy)]
pub struct Sequence {
    /// The first row.
    pub rows: *const f32,
    /// Tokens.
    pub count: usize,
    /// Floats of each third.
    pub hidden: usize,
}

/// Floats of working memory that [`attend`] needs for `count` tokens: keys by dimension, and scores of a tile.
pub fn attention_room(count: usize) -> usize {
    (HEAD + TILE_QUERIES) * count.next_multiple_of(2 * LANES)
}

/// Attention of all heads of a sequence; puts each token's mixture into its row of `target`, `hidden` floats each.
#[inline(always)]
pub unsafe fn attend<L: Lanes>(sequence: Sequence, target: *mut f32, room: *mut f32, tile_queries: usize) {
    let padded = sequence.count.next_multiple_of(2 * LANES);
    let (keys, scores) = (room, room.add(HEAD * padded));
    for column in (0..sequence.hidden).step_by(HEAD) {
        turn_keys(sequence, column, keys, padded);
        let head = Head { sequence, column, keys, scores, padded, target };
        let mut first = 0;
        while first < sequence.count {
            first += match (sequence.count - first).min(tile_queries) {
                1 => head.tile::<L, 1>(first),
                2 => head.tile::<L, 2>(first),
                3 => head.tile::<L, 3>(first),
                4 => head.tile::<L, 4>(first),
                5 => head.tile::<L, 5>(first),
                _ => head.tile::<L, TILE_QUERIES>(first),
            };
        }
    }
}

/// Keys with the tokens of a dimension side by side; zeros where there are no more tokens.
#[inline(always)]
unsafe fn turn_keys(sequence: Sequence, column: usize, keys: *mut f32, padded: usize) {
    for token in 0..sequence.count {
        let row = sequence.rows.add(token * 3 * sequence.hidden + sequence.hidden + column);
        for dimension in 0..HEAD {
            *keys.add(dimension * padded + token) = *row.add(dimension);
        }
    }
    for dimension in 0..HEAD {
        for token in sequence.count..padded {
            *keys.add(dimension * padded + token) = 0.0;
        }
    }
}

struct Head {
    sequence: Sequence,
    column: usize,
    keys: *const f32,
    scores: *mut f32,
    padded: usize,
    target: *mut f32,
}

impl Head {
    #[inline(always)]
    unsafe fn tile<L: Lanes, const QUERIES: usize>(&self, first: usize) -> usize {
        self.score::<L, QUERIES>(first);
        let mut factors = [0.0; QUERIES];
        for query in 0..QUERIES {
            factors[query] = self.soften::<L>(self.scores.add(query * self.padded));
        }
        self.weigh::<L, QUERIES>(first, &factors);
        QUERIES
    }

    #[inline(always)]
    unsafe fn score<L: Lanes, const QUERIES: usize>(&self, first: usize) {
        let stride = 3 * self.sequence.hidden;
        let queries = self.sequence.rows.add(first * stride + self.column);
        for token in (0..self.padded).step_by(2 * LANES) {
            let mut sums = [[L::splat(0.0); 2]; QUERIES];
            for dimension in 0..HEAD {
                let keys = self.keys.add(dimension * self.padded + token);
                let (low, high) = (L::load(keys), L::load(keys.add(LANES)));
                for query in 0..QUERIES {
                    let factor = L::splat(*queries.add(query * stride + dimension));
                    sums[query][0] = L::multiply_add(low, factor, sums[query][0]);
                    sums[query][1] = L::multiply_add(high, factor, sums[query][1]);
                }
            }
            for query in 0..QUERIES {
                let scores = self.scores.add(query * self.padded + token);
                L::store(scores, sums[query][0]);
                L::store(scores.add(LANES), sums[query][1]);
            }
        }
    }

    /// Turns scores into exponentials relative to the largest; returns what makes them sum to one.
    #[inline(always)]
    unsafe fn soften<L: Lanes>(&self, scores: *mut f32) -> f32 {
        for token in self.sequence.count..self.padded {
            *scores.add(token) = f32::NEG_INFINITY;
        }
        let mut largest = L::load(scores);
        for token in (LANES..self.padded).step_by(LANES) {
            largest = L::maximum(L::load(scores.add(token)), largest);
        }
        let largest = L::splat(L::largest(largest));
        let mut sum = L::splat(0.0);
        for token in (0..self.padded).step_by(LANES) {
            let weight = exponential::<L>(L::subtract(L::load(scores.add(token)), largest));
            L::store(scores.add(token), weight);
            sum = L::add(sum, weight);
        }
        1.0 / L::sum(sum)
    }

    #[inline(always)]
    unsafe fn weigh<L: Lanes, const QUERIES: usize>(&self, first: usize, factors: &[f32; QUERIES]) {
        let stride = 3 * self.sequence.hidden;
        let values = self.sequence.rows.add(2 * self.sequence.hidden + self.column);
        let mut sums = [[L::splat(0.0); 2]; QUERIES];
        for token in 0..self.sequence.count {
            let value = values.add(token * stride);
            let (low, high) = (L::load(value), L::load(value.add(LANES)));
            for query in 0..QUERIES {
                let weight = L::splat(*self.scores.add(query * self.padded + token));
                sums[query][0] = L::multiply_add(low, weight, sums[query][0]);
                sums[query][1] = L::multiply_add(high, weight, sums[query][1]);
            }
        }
        for query in 0..QUERIES {
            let target = self.target.add((first + query) * self.sequence.hidden + self.column);
            let factor = L::splat(factors[query]);
            L::store(target, L::multiply(sums[query][0], factor));
            L::store(target.add(LANES), L::multiply(sums[query][1], factor));
        }
    }
}
