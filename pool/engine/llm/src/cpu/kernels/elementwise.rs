//! What is done to each element, or to each row, between products.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all kernels, told in the parent module")]

use lanes::functions::exponential;
use lanes::{LANES, Lanes};

/// Root-mean-square normalisation (Zhang and Sennrich 2019) of `count` floats, a multiple of [`LANES`]:
/// `target = values / √(mean of squares + epsilon) · weights`.
#[inline(always)]
pub unsafe fn normalise<L: Lanes>(
    values: *const f32,
    weights: *const f32,
    count: usize,
    epsilon: f32,
    target: *mut f32,
) {
    let mut squares = L::splat(0.0);
    for index in (0..count).step_by(LANES) {
        let value = L::load(values.add(index));
        squares = L::multiply_add(value, value, squares);
    }
    let factor = L::splat(1.0 / (L::sum(squares) / count as f32 + epsilon).sqrt());
    for index in (0..count).step_by(LANES) {
        let scaled = L::multiply(L::load(values.add(index)), factor);
        L::store(target.add(index), L::multiply(scaled, L::load(weights.add(index))));
    }
}

/// `gates = gates / (1 + e^−gates) · values` over `count` floats, a multiple of [`LANES`]: SwiGLU (Shazeer 2020).
#[inline(always)]
pub unsafe fn gate<L: Lanes>(gates: *mut f32, values: *const f32, count: usize) {
    for index in (0..count).step_by(LANES) {
        let gate = L::load(gates.add(index));
        let decay = exponential::<L>(L::subtract(L::splat(0.0), gate));
        let open = L::divide(gate, L::add(L::splat(1.0), decay));
        L::store(gates.add(index), L::multiply(open, L::load(values.add(index))));
    }
}

/// `target += values` over `count` floats, a multiple of [`LANES`].
#[inline(always)]
pub unsafe fn add<L: Lanes>(target: *mut f32, values: *const f32, count: usize) {
    for index in (0..count).step_by(LANES) {
        L::store(target.add(index), L::add(L::load(target.add(index)), L::load(values.add(index))));
    }
}

/// Turns each pair of neighbours among `count` floats by its angle: rotary embedding (Su et al. 2021). `turns` holds
/// cosine and sine of each pair.
#[inline(always)]
pub unsafe fn rotate(values: *mut f32, turns: *const f32, count: usize) {
    for index in (0..count).step_by(2) {
        let (cosine, sine) = (*turns.add(index), *turns.add(index + 1));
        let (real, imaginary) = (*values.add(index), *values.add(index + 1));
        *values.add(index) = real * cosine - imaginary * sine;
        *values.add(index + 1) = real * sine + imaginary * cosine;
    }
}
