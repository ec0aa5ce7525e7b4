//! Lanes as arrays, for processors without a path of their own; the compiler makes of them what it can.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for the whole trait, told at the crate's head")]

use crate::half::{from_half, to_half};
use crate::{LANES, Lanes};
use std::array::from_fn;

/// Arrays.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn fused(left: f32, right: f32, addend: f32) -> f32 {
    // Without the instruction, a fused multiplication is a slow library call.
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        left.mul_add(right, addend)
    } else {
        left * right + addend
    }
}

#[inline(always)]
unsafe fn four(factors: *const i8) -> [i32; 4] {
    factors.cast::<[i8; 4]>().read_unaligned().map(i32::from)
}

#[inline(always)]
unsafe fn dot(sums: [i32; LANES], bytes: [u8; 64], factors: *const i8, value: impl Fn(u8) -> i32) -> [i32; LANES] {
    let factors = four(factors);
    from_fn(|lane| sums[lane] + (0..4).map(|byte| value(bytes[4 * lane + byte]) * factors[byte]).sum::<i32>())
}

impl Lanes for Portable {
    type Floats = [f32; LANES];
    type Integers = [i32; LANES];
    type Bytes = [u8; 64];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Floats {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self::Floats {
        source.cast::<Self::Floats>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(target: *mut f32, value: Self::Floats) {
        target.cast::<Self::Floats>().write_unaligned(value);
    }
    #[inline(always)]
    unsafe fn load_half(source: *const u16) -> Self::Floats {
        source.cast::<[u16; LANES]>().read_unaligned().map(from_half)
    }
    #[inline(always)]
    unsafe fn store_half(target: *mut u16, value: Self::Floats) {
        target.cast::<[u16; LANES]>().write_unaligned(value.map(to_half));
    }
    #[inline(always)]
    unsafe fn round_to_half(value: f32) -> f32 {
        from_half(to_half(value))
    }
    #[inline(always)]
    unsafe fn add(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        from_fn(|lane| left[lane] + right[lane])
    }
    #[inline(always)]
    unsafe fn subtract(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        from_fn(|lane| left[lane] - right[lane])
    }
    #[inline(always)]
    unsafe fn multiply(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        from_fn(|lane| left[lane] * right[lane])
    }
    #[inline(always)]
    unsafe fn divide(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        from_fn(|lane| left[lane] / right[lane])
    }
    #[inline(always)]
    unsafe fn multiply_add(left: Self::Floats, right: Self::Floats, addend: Self::Floats) -> Self::Floats {
        from_fn(|lane| fused(left[lane], right[lane], addend[lane]))
    }
    #[inline(always)]
    unsafe fn maximum(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        from_fn(|lane| if left[lane] > right[lane] { left[lane] } else { right[lane] })
    }
    #[inline(always)]
    unsafe fn minimum(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        from_fn(|lane| if left[lane] < right[lane] { left[lane] } else { right[lane] })
    }
    #[inline(always)]
    unsafe fn absolute(value: Self::Floats) -> Self::Floats {
        value.map(f32::abs)
    }
    #[inline(always)]
    unsafe fn sum(value: Self::Floats) -> f32 {
        let eight: [f32; 8] = from_fn(|lane| value[lane] + value[lane + 8]);
        let four: [f32; 4] = from_fn(|lane| eight[lane] + eight[lane + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    unsafe fn largest(value: Self::Floats) -> f32 {
        value.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn round(value: Self::Floats) -> Self::Integers {
        value.map(|value| value.round_ties_even() as i32)
    }
    #[inline(always)]
    unsafe fn to_floats(value: Self::Integers) -> Self::Floats {
        value.map(|value| value as f32)
    }
    #[inline(always)]
    unsafe fn splat_integer(value: i32) -> Self::Integers {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn add_integers(left: Self::Integers, right: Self::Integers) -> Self::Integers {
        from_fn(|lane| left[lane].wrapping_add(right[lane]))
    }
    #[inline(always)]
    unsafe fn sum_integers(value: Self::Integers) -> i32 {
        value.into_iter().fold(0, i32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn scale_by_power(value: Self::Floats, power: Self::Integers) -> Self::Floats {
        from_fn(|lane| f32::from_bits(value[lane].to_bits().wrapping_add((power[lane] << 23) as u32)))
    }
    #[inline(always)]
    unsafe fn store_low_bytes(target: *mut i8, value: Self::Integers) {
        target.cast::<[i8; LANES]>().write_unaligned(value.map(|value| value as i8));
    }
    #[inline(always)]
    unsafe fn load_bytes(source: *const u8) -> Self::Bytes {
        source.cast::<Self::Bytes>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn low_nibbles(bytes: Self::Bytes) -> Self::Bytes {
        bytes.map(|byte| byte & 0xf)
    }
    #[inline(always)]
    unsafe fn high_nibbles(bytes: Self::Bytes) -> Self::Bytes {
        bytes.map(|byte| byte >> 4)
    }
    #[inline(always)]
    unsafe fn dot_small(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers {
        dot(sums, bytes, factors, i32::from)
    }
    #[inline(always)]
    unsafe fn offset_start(_: i32) -> Self::Integers {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn dot_offset(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers {
        dot(sums, bytes, factors, |byte| i32::from(byte) - 128)
    }
}
