//! Floats to 8-bit values, 32 of which share a scale.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all kernels, told in the parent module")]

use crate::cpu::activations::{Activations, BlockScale};
use crate::cpu::weights::BLOCK;
use lanes::{LANES, Lanes};

/// The largest magnitude of a quantised value.
const QUANT_MAX: f32 = 127.0;

/// Writes `count` floats, whole blocks of them, to `activations` at a row and column.
#[inline(always)]
pub unsafe fn write<L: Lanes>(values: *const f32, count: usize, activations: &Activations, row: usize, column: usize) {
    for start in (0..count).step_by(BLOCK) {
        let (quants, scale) = (activations.quants(row, column + start), activations.scales(row, column + start));
        *scale = block::<L>(values.add(start), quants);
    }
    if activations.keeps_floats() {
        std::ptr::copy_nonoverlapping(values, activations.floats(row, column), count);
    }
}

#[inline(always)]
unsafe fn block<L: Lanes>(values: *const f32, quants: *mut i8) -> BlockScale {
    let (first, second) = (L::load(values), L::load(values.add(LANES)));
    let largest = L::largest(L::maximum(L::absolute(first), L::absolute(second)));
    let inverse = if largest > 0.0 { QUANT_MAX / largest } else { 0.0 };
    let first = L::round(L::multiply(first, L::splat(inverse)));
    let second = L::round(L::multiply(second, L::splat(inverse)));
    L::store_low_bytes(quants, first);
    L::store_low_bytes(quants.add(LANES), second);
    let sum = L::sum_integers(L::add_integers(first, second));
    let scale = largest / QUANT_MAX;
    BlockScale { scale: rounded::<L>(scale), weighted_sum: rounded::<L>(scale * sum as f32), sum, unused: 0 }
}

/// The nearest 16-bit float, or the value itself where that would be infinite.
#[inline(always)]
unsafe fn rounded<L: Lanes>(value: f32) -> f32 {
    let rounded = L::round_to_half(value);
    if rounded.is_finite() { rounded } else { value }
}
