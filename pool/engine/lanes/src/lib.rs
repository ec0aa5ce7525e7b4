//! Sixteen lanes of a vector, on each kind of processor: kernels are written once on [`Lanes`], and compiled once for each
//! implementation. The crates `llm` and `minilm` compute with it.
//!
//! Every function of [`Lanes`] is unsafe for the same two reasons: the processor must have the instructions (see
//! [`available`]), and pointers must be valid for the lanes read or written, at any alignment. So that the compiler may use
//! the instructions of the caller, all of them are inlined always, into a function that enables them.
//!
//! | module | holds |
//! |---|---|
//! | [`portable`], `avx2`, `avx512` | the implementations |
//! | [`functions`] | exponential and GELU |
//! | [`half`] | 16-bit floats |

#![allow(clippy::missing_safety_doc, reason = "told above, once for all")]

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod functions;
pub mod half;
pub mod portable;

/// Lanes of a vector of floats.
pub const LANES: usize = 16;

/// Operations on sixteen lanes at once.
pub trait Lanes: Copy + 'static {
    /// Sixteen floats.
    type Floats: Copy;
    /// Sixteen 32-bit integers.
    type Integers: Copy;
    /// Sixty-four bytes: four a lane.
    type Bytes: Copy;

    /// One value in all lanes.
    unsafe fn splat(value: f32) -> Self::Floats;
    /// Sixteen floats from memory.
    unsafe fn load(source: *const f32) -> Self::Floats;
    /// Sixteen floats to memory.
    unsafe fn store(target: *mut f32, value: Self::Floats);
    /// From 16-bit floats; exact.
    unsafe fn load_half(source: *const u16) -> Self::Floats;
    /// To 16-bit floats, to the nearest.
    unsafe fn store_half(target: *mut u16, value: Self::Floats);
    /// The nearest 16-bit float of one value.
    unsafe fn round_to_half(value: f32) -> f32;

    /// `left + right`.
    unsafe fn add(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// `left − right`.
    unsafe fn subtract(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// `left · right`.
    unsafe fn multiply(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// `left / right`.
    unsafe fn divide(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// `left · right + addend`, rounded once where the processor can.
    unsafe fn multiply_add(left: Self::Floats, right: Self::Floats, addend: Self::Floats) -> Self::Floats;
    /// The larger of each two.
    unsafe fn maximum(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// The smaller of each two.
    unsafe fn minimum(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// Magnitudes.
    unsafe fn absolute(value: Self::Floats) -> Self::Floats;
    /// The sum of all lanes, as a tree: 8 and 8, 4 and 4, 2 and 2, 1 and 1.
    unsafe fn sum(value: Self::Floats) -> f32;
    /// The largest lane.
    unsafe fn largest(value: Self::Floats) -> f32;

    /// To the nearest integer, ties to even.
    unsafe fn round(value: Self::Floats) -> Self::Integers;
    /// To floats, to the nearest.
    unsafe fn to_floats(value: Self::Integers) -> Self::Floats;
    /// One value in all lanes.
    unsafe fn splat_integer(value: i32) -> Self::Integers;
    /// `left + right`.
    unsafe fn add_integers(left: Self::Integers, right: Self::Integers) -> Self::Integers;
    /// The sum of all lanes.
    unsafe fn sum_integers(value: Self::Integers) -> i32;
    /// `value · 2^power` where the result is a normal float.
    unsafe fn scale_by_power(value: Self::Floats, power: Self::Integers) -> Self::Floats;
    /// The lowest byte of each lane.
    unsafe fn store_low_bytes(target: *mut i8, value: Self::Integers);

    /// Sixty-four bytes from memory.
    unsafe fn load_bytes(source: *const u8) -> Self::Bytes;
    /// The low four bits of each byte.
    unsafe fn low_nibbles(bytes: Self::Bytes) -> Self::Bytes;
    /// The high four bits of each byte.
    unsafe fn high_nibbles(bytes: Self::Bytes) -> Self::Bytes;
    /// Adds to each lane the product of its four bytes, of 0 to 127 each, with the four signed bytes at `factors`: within 32-bit sums exact.
    unsafe fn dot_small(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers;
    /// What the sums of [`Self::dot_offset`] begin with, if all factors together sum to `factor_sum`.
    unsafe fn offset_start(factor_sum: i32) -> Self::Integers;
    /// As [`Self::dot_small`], with bytes that stand for signed ones: 128 for 0.
    unsafe fn dot_offset(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers;
}

/// Vector instructions that there is an implementation for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// What the compiler makes of plain code, on any processor.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, VL, DQ and VNNI.
    Avx512,
}

/// Instructions that this processor has, the best last.
pub fn available() -> Vec<Instructions> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut found = vec![Instructions::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
        if avx2 {
            found.push(Instructions::Avx2);
        }
        if avx2 && avx512 && has!("avx512vnni") {
            found.push(Instructions::Avx512);
        }
    }
    found
}
