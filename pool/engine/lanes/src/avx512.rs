//! Lanes as one 512-bit register: AVX-512 F, BW, VL, DQ and VNNI.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for the whole trait, told at the crate's head")]

use crate::Lanes;
use std::arch::x86_64::*;

/// 512-bit registers.
#[derive(Debug, Clone, Copy)]
pub struct Avx512;

impl Lanes for Avx512 {
    type Floats = __m512;
    type Integers = __m512i;
    type Bytes = __m512i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        _mm512_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> __m512 {
        _mm512_loadu_ps(source)
    }
    #[inline(always)]
    unsafe fn store(target: *mut f32, value: __m512) {
        _mm512_storeu_ps(target, value);
    }
    #[inline(always)]
    unsafe fn load_half(source: *const u16) -> __m512 {
        _mm512_cvtph_ps(_mm256_loadu_si256(source.cast()))
    }
    #[inline(always)]
    unsafe fn store_half(target: *mut u16, value: __m512) {
        _mm256_storeu_si256(target.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value));
    }
    #[inline(always)]
    unsafe fn round_to_half(value: f32) -> f32 {
        _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(value))))
    }
    #[inline(always)]
    unsafe fn add(left: __m512, right: __m512) -> __m512 {
        _mm512_add_ps(left, right)
    }
    #[inline(always)]
    unsafe fn subtract(left: __m512, right: __m512) -> __m512 {
        _mm512_sub_ps(left, right)
    }
    #[inline(always)]
    unsafe fn multiply(left: __m512, right: __m512) -> __m512 {
        _mm512_mul_ps(left, right)
    }
    #[inline(always)]
    unsafe fn divide(left: __m512, right: __m512) -> __m512 {
        _mm512_div_ps(left, right)
    }
    #[inline(always)]
    unsafe fn multiply_add(left: __m512, right: __m512, addend: __m512) -> __m512 {
        _mm512_fmadd_ps(left, right, addend)
    }
    #[inline(always)]
    unsafe fn maximum(left: __m512, right: __m512) -> __m512 {
        _mm512_max_ps(left, right)
    }
    #[inline(always)]
    unsafe fn minimum(left: __m512, right: __m512) -> __m512 {
        _mm512_min_ps(left, right)
    }
    #[inline(always)]
    unsafe fn absolute(value: __m512) -> __m512 {
        _mm512_abs_ps(value)
    }
    #[inline(always)]
    unsafe fn sum(value: __m512) -> f32 {
        let eight = _mm256_add_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value));
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
    #[inline(always)]
    unsafe fn largest(value: __m512) -> f32 {
        _mm512_reduce_max_ps(value)
    }
    #[inline(always)]
    unsafe fn round(value: __m512) -> __m512i {
        _mm512_cvtps_epi32(value)
    }
    #[inline(always)]
    unsafe fn to_floats(value: __m512i) -> __m512 {
        _mm512_cvtepi32_ps(value)
    }
    #[inline(always)]
    unsafe fn splat_integer(value: i32) -> __m512i {
        _mm512_set1_epi32(value)
    }
    #[inline(always)]
    unsafe fn add_integers(left: __m512i, right: __m512i) -> __m512i {
        _mm512_add_epi32(left, right)
    }
    #[inline(always)]
    unsafe fn sum_integers(value: __m512i) -> i32 {
        _mm512_reduce_add_epi32(value)
    }
    #[inline(always)]
    unsafe fn scale_by_power(value: __m512, power: __m512i) -> __m512 {
        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), _mm512_slli_epi32::<23>(power)))
    }
    #[inline(always)]
    unsafe fn store_low_bytes(target: *mut i8, value: __m512i) {
        _mm_storeu_si128(target.cast(), _mm512_cvtepi32_epi8(value));
    }
    #[inline(always)]
    unsafe fn load_bytes(source: *const u8) -> __m512i {
        _mm512_loadu_si512(source.cast())
    }
    #[inline(always)]
    unsafe fn low_nibbles(bytes: __m512i) -> __m512i {
        _mm512_and_si512(bytes, _mm512_set1_epi8(0xf))
    }
    #[inline(always)]
    unsafe fn high_nibbles(bytes: __m512i) -> __m512i {
        _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(0xf))
    }
    #[inline(always)]
    unsafe fn dot_small(sums: __m512i, bytes: __m512i, factors: *const i8) -> __m512i {
        _mm512_dpbusd_epi32(sums, bytes, _mm512_set1_epi32(factors.cast::<i32>().read_unaligned()))
    }
    #[inline(always)]
    unsafe fn offset_start(factor_sum: i32) -> __m512i {
        _mm512_set1_epi32(-128 * factor_sum)
    }
    #[inline(always)]
    unsafe fn dot_offset(sums: __m512i, bytes: __m512i, factors: *const i8) -> __m512i {
        Self::dot_small(sums, bytes, factors)
    }
}
