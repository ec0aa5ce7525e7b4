//! Lanes as two 256-bit registers: AVX2, FMA and F16C.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for the whole trait, told at the crate's head")]

use crate::Lanes;
use std::arch::x86_64::*;

/// Pairs of 256-bit registers.
#[derive(Debug, Clone, Copy)]
pub struct Avx2;

#[inline(always)]
unsafe fn spread(factors: *const i8) -> __m256i {
    _mm256_set1_epi32(factors.cast::<i32>().read_unaligned())
}

/// Adds products of unsigned with signed bytes; each pair of products fits 16 bits.
#[inline(always)]
unsafe fn dot(sums: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(unsigned, signed);
    _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[inline(always)]
unsafe fn scale(value: __m256, power: __m256i) -> __m256 {
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), _mm256_slli_epi32::<23>(power)))
}

impl Lanes for Avx2 {
    type Floats = [__m256; 2];
    type Integers = [__m256i; 2];
    type Bytes = [__m256i; 2];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Floats {
        [_mm256_set1_ps(value); 2]
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self::Floats {
        [_mm256_loadu_ps(source), _mm256_loadu_ps(source.add(8))]
    }
    #[inline(always)]
    unsafe fn store(target: *mut f32, value: Self::Floats) {
        _mm256_storeu_ps(target, value[0]);
        _mm256_storeu_ps(target.add(8), value[1]);
    }
    #[inline(always)]
    unsafe fn load_half(source: *const u16) -> Self::Floats {
        [_mm256_cvtph_ps(_mm_loadu_si128(source.cast())), _mm256_cvtph_ps(_mm_loadu_si128(source.add(8).cast()))]
    }
    #[inline(always)]
    unsafe fn store_half(target: *mut u16, value: Self::Floats) {
        _mm_storeu_si128(target.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value[0]));
        _mm_storeu_si128(target.add(8).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value[1]));
    }
    #[inline(always)]
    unsafe fn round_to_half(value: f32) -> f32 {
        _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(value))))
    }
    #[inline(always)]
    unsafe fn add(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        [_mm256_add_ps(left[0], right[0]), _mm256_add_ps(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn subtract(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        [_mm256_sub_ps(left[0], right[0]), _mm256_sub_ps(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn multiply(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        [_mm256_mul_ps(left[0], right[0]), _mm256_mul_ps(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn divide(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        [_mm256_div_ps(left[0], right[0]), _mm256_div_ps(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn multiply_add(left: Self::Floats, right: Self::Floats, addend: Self::Floats) -> Self::Floats {
        [_mm256_fmadd_ps(left[0], right[0], addend[0]), _mm256_fmadd_ps(left[1], right[1], addend[1])]
    }
    #[inline(always)]
    unsafe fn maximum(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        [_mm256_max_ps(left[0], right[0]), _mm256_max_ps(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn minimum(left: Self::Floats, right: Self::Floats) -> Self::Floats {
        [_mm256_min_ps(left[0], right[0]), _mm256_min_ps(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn absolute(value: Self::Floats) -> Self::Floats {
        let sign = _mm256_set1_ps(-0.0);
        [_mm256_andnot_ps(sign, value[0]), _mm256_andnot_ps(sign, value[1])]
    }
    #[inline(always)]
    unsafe fn sum(value: Self::Floats) -> f32 {
        let eight = _mm256_add_ps(value[0], value[1]);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
    #[inline(always)]
    unsafe fn largest(value: Self::Floats) -> f32 {
        let eight = _mm256_max_ps(value[0], value[1]);
        let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
    #[inline(always)]
    unsafe fn round(value: Self::Floats) -> Self::Integers {
        [_mm256_cvtps_epi32(value[0]), _mm256_cvtps_epi32(value[1])]
    }
    #[inline(always)]
    unsafe fn to_floats(value: Self::Integers) -> Self::Floats {
        [_mm256_cvtepi32_ps(value[0]), _mm256_cvtepi32_ps(value[1])]
    }
    #[inline(always)]
    unsafe fn splat_integer(value: i32) -> Self::Integers {
        [_mm256_set1_epi32(value); 2]
    }
    #[inline(always)]
    unsafe fn add_integers(left: Self::Integers, right: Self::Integers) -> Self::Integers {
        [_mm256_add_epi32(left[0], right[0]), _mm256_add_epi32(left[1], right[1])]
    }
    #[inline(always)]
    unsafe fn sum_integers(value: Self::Integers) -> i32 {
        let eight = _mm256_add_epi32(value[0], value[1]);
        let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
        let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
    }
    #[inline(always)]
    unsafe fn scale_by_power(value: Self::Floats, power: Self::Integers) -> Self::Floats {
        [scale(value[0], power[0]), scale(value[1], power[1])]
    }
    #[inline(always)]
    unsafe fn store_low_bytes(target: *mut i8, value: Self::Integers) {
        // Packing works within halves of a register; the permutation puts the quarters in order.
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(value[0], value[1]));
        let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
        _mm_storeu_si128(target.cast(), bytes);
    }
    #[inline(always)]
    unsafe fn load_bytes(source: *const u8) -> Self::Bytes {
        [_mm256_loadu_si256(source.cast()), _mm256_loadu_si256(source.add(32).cast())]
    }
    #[inline(always)]
    unsafe fn low_nibbles(bytes: Self::Bytes) -> Self::Bytes {
        let mask = _mm256_set1_epi8(0xf);
        [_mm256_and_si256(bytes[0], mask), _mm256_and_si256(bytes[1], mask)]
    }
    #[inline(always)]
    unsafe fn high_nibbles(bytes: Self::Bytes) -> Self::Bytes {
        Self::low_nibbles([_mm256_srli_epi16::<4>(bytes[0]), _mm256_srli_epi16::<4>(bytes[1])])
    }
    #[inline(always)]
    unsafe fn dot_small(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers {
        let factors = spread(factors);
        [dot(sums[0], bytes[0], factors), dot(sums[1], bytes[1], factors)]
    }
    #[inline(always)]
    unsafe fn offset_start(_: i32) -> Self::Integers {
        Self::splat_integer(0)
    }
    #[inline(always)]
    unsafe fn dot_offset(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers {
        // Unsigned times signed saturates for large bytes; the magnitude of one, and the other with its sign, do not.
        let factors = spread(factors);
        let offset = _mm256_set1_epi8(-128);
        let (first, second) = (_mm256_xor_si256(bytes[0], offset), _mm256_xor_si256(bytes[1], offset));
        [
            dot(sums[0], _mm256_abs_epi8(first), _mm256_sign_epi8(factors, first)),
            dot(sums[1], _mm256_abs_epi8(second), _mm256_sign_epi8(factors, second)),
        ]
    }
}
