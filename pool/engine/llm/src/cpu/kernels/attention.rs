//! Attention of a few queries over the keys and values of the cache.
//!
//! Per layer and block of tokens, and per head, the cache holds keys with the tokens of a dimension side by side, and
//! values with the dimensions of a token side by side, so that neither pass sums across lanes. Sums go over dimensions,
//! and over tokens, from first to last: which other queries share the pass changes no bit.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all kernels, told in the parent module")]
#![allow(clippy::needless_range_loop, reason = "one number indexes several arrays, and the loops are of fixed length")]

use lanes::functions::exponential;
use lanes::{LANES, Lanes};

/// Queries that share a pass over keys or values, at most.
const TILE_QUERIES: usize = 6;

/// Keys and values of one head in one layer.
pub struct Heads<'step> {
    /// The layer's part of the cache, from the head's keys of block 0 on.
    pub start: *const u16,
    /// From a block to the next, in elements.
    pub block_stride: usize,
    /// From a block's keys of the head to its values, in elements.
    pub values_offset: usize,
    /// Blocks for positions from 0 on.
    pub blocks: &'step [u32],
    /// Tokens of a block, a multiple of [`LANES`].
    pub block_tokens: usize,
    /// Floats of a key or value, a multiple of 32.
    pub dimensions: usize,
}

impl Heads<'_> {
    #[inline(always)]
    unsafe fn keys(&self, block: usize) -> *const u16 {
        self.start.add(*self.blocks.get_unchecked(block) as usize * self.block_stride)
    }

    #[inline(always)]
    unsafe fn values(&self, block: usize) -> *const u16 {
        self.keys(block).add(self.values_offset)
    }
}

/// Attends with `queries`, of which each sees as many tokens as `lengths` says, never fewer than the one before: puts the
/// weighted mean of values in place of each query. `scores` has room for `score_stride` floats a query, at least the
/// longest length rounded up to [`LANES`].
#[inline(always)]
pub unsafe fn attend<L: Lanes>(
    heads: &Heads<'_>,
    queries: &[*mut f32],
    lengths: &[usize],
    scale: f32,
    scores: *mut f32,
    score_stride: usize,
) {
    let mut done = 0;
    while done < queries.len() {
        let left = queries.len() - done;
        let (queries, lengths) = (queries.as_ptr().add(done), lengths.as_ptr().add(done));
        let scores = Scores { start: scores.add(done * score_stride), stride: score_stride };
        done += match left {
            1 => tile::<L, 1>(heads, queries, lengths, scale, &scores),
            2 => tile::<L, 2>(heads, queries, lengths, scale, &scores),
            3 => tile::<L, 3>(heads, queries, lengths, scale, &scores),
            4 => tile::<L, 4>(heads, queries, lengths, scale, &scores),
            5 => tile::<L, 5>(heads, queries, lengths, scale, &scores),
            _ => tile::<L, TILE_QUERIES>(heads, queries, lengths, scale, &scores),
        };
    }
}

/// Scores of the queries of a tile, and later the weights made of them.
struct Scores {
    start: *mut f32,
    stride: usize,
}

#[inline(always)]
unsafe fn tile<L: Lanes, const QUERIES: usize>(
    heads: &Heads<'_>,
    queries: *const *mut f32,
    lengths: *const usize,
    scale: f32,
    scores: &Scores,
) -> usize {
    let queries = *queries.cast::<[*mut f32; QUERIES]>();
    let lengths = *lengths.cast::<[usize; QUERIES]>();
    let longest = lengths[QUERIES - 1];
    score::<L, QUERIES>(heads, &queries, longest, scale, scores);
    let mut factors = [0.0; QUERIES];
    for query in 0..QUERIES {
        factors[query] = soften::<L>(scores.start.add(query * scores.stride), lengths[query], longest);
    }
    for column in (0..heads.dimensions).step_by(2 * LANES) {
        let sums = weigh::<L, QUERIES>(heads, column, longest, scores);
        for query in 0..QUERIES {
            let (target, factor) = (queries[query].add(column), L::splat(factors[query]));
            L::store(target, L::multiply(sums[query][0], factor));
            L::store(target.add(LANES), L::multiply(sums[query][1], factor));
        }
    }
    QUERIES
}

/// Scores of all tokens up to the longest length.
#[inline(always)]
unsafe fn score<L: Lanes, const QUERIES: usize>(
    heads: &Heads<'_>,
    queries: &[*mut f32; QUERIES],
    longest: usize,
    scale: f32,
    scores: &Scores,
) {
    let scale = L::splat(scale);
    for token in (0..longest).step_by(LANES) {
        let keys = heads.keys(token / heads.block_tokens).add(token % heads.block_tokens);
        let mut sums = [L::splat(0.0); QUERIES];
        for dimension in 0..heads.dimensions {
            let key = L::load_half(keys.add(dimension * heads.block_tokens));
            for query in 0..QUERIES {
                sums[query] = L::multiply_add(key, L::splat(*queries[query].add(dimension)), sums[query]);
            }
        }
        for query in 0..QUERIES {
            L::store(scores.start.add(query * scores.stride + token), L::multiply(sums[query], scale));
        }
    }
}

/// Turns the first `length` scores into their exponentials, relative to the largest, and those up to `longest` into zeros;
/// returns what makes the weights sum to one.
#[inline(always)]
unsafe fn soften<L: Lanes>(scores: *mut f32, length: usize, longest: usize) -> f32 {
    let padded = length.next_multiple_of(LANES);
    for token in length..padded {
        *scores.add(token) = f32::NEG_INFINITY;
    }
    let mut largest = L::load(scores);
    for token in (LANES..padded).step_by(LANES) {
        largest = L::maximum(L::load(scores.add(token)), largest);
    }
    let largest = L::splat(L::largest(largest));
    let mut sum = L::splat(0.0);
    for token in (0..padded).step_by(LANES) {
        let weight = exponential::<L>(L::subtract(L::load(scores.add(token)), largest));
        L::store(scores.add(token), weight);
        sum = L::add(sum, weight);
    }
    for token in length..padded.max(longest) {
        *scores.add(token) = 0.0;
    }
    1.0 / L::sum(sum)
}

/// Weighted sums of two vectors of each value.
#[inline(always)]
unsafe fn weigh<L: Lanes, const QUERIES: usize>(
    heads: &Heads<'_>,
    column: usize,
    longest: usize,
    scores: &Scores,
) -> [[L::Floats; 2]; QUERIES] {
    let mut sums = [[L::splat(0.0); 2]; QUERIES];
    for first in (0..longest).step_by(heads.block_tokens) {
        let values = heads.values(first / heads.block_tokens).add(column);
        for token in 0..heads.block_tokens.min(longest - first) {
            let value = values.add(token * heads.dimensions);
            let (low, high) = (L::load_half(value), L::load_half(value.add(LANES)));
            for query in 0..QUERIES {
                let weight = L::splat(*scores.start.add(query * scores.stride + first + token));
                sums[query][0] = L::multiply_add(low, weight, sums[query][0]);
                sums[query][1] = L::multiply_add(high, weight, sums[query][1]);
            }
        }
    }
    sums
}
