//! Sixteen lanes of a vector, on each kind of processor: the kernels are written once on [`Lanes`], and compiled once for
//! each implementation.
//!
//! Every function here is unsafe for the same two reasons: the processor must have the instructions (which
//! [`super::path`] checks once), and pointers must be valid for the lanes read or written, at any alignment. So that the
//! compiler may use the instructions of the caller, all of them are inlined always, into a function that enables them.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
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

    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn load(source: *const f32) -> Self::Floats;
    unsafe fn store(target: *mut f32, value: Self::Floats);
    /// From 16-bit floats; exact.
    unsafe fn load_half(source: *const u16) -> Self::Floats;
    /// To 16-bit floats, to the nearest.
    unsafe fn store_half(target: *mut u16, value: Self::Floats);
    /// The nearest 16-bit float of one value.
    unsafe fn round_to_half(value: f32) -> f32;

    unsafe fn add(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn subtract(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn multiply(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn divide(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    /// `left · right + addend`, rounded once where the processor can.
    unsafe fn multiply_add(left: Self::Floats, right: Self::Floats, addend: Self::Floats) -> Self::Floats;
    unsafe fn maximum(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn minimum(left: Self::Floats, right: Self::Floats) -> Self::Floats;
    unsafe fn absolute(value: Self::Floats) -> Self::Floats;
    /// The sum of all lanes, as a tree: 8 and 8, 4 and 4, 2 and 2, 1 and 1.
    unsafe fn sum(value: Self::Floats) -> f32;
    /// The largest lane.
    unsafe fn largest(value: Self::Floats) -> f32;

    /// To the nearest integer, ties to even.
    unsafe fn round(value: Self::Floats) -> Self::Integers;
    unsafe fn to_floats(value: Self::Integers) -> Self::Floats;
    unsafe fn splat_integer(value: i32) -> Self::Integers;
    unsafe fn add_integers(left: Self::Integers, right: Self::Integers) -> Self::Integers;
    unsafe fn sum_integers(value: Self::Integers) -> i32;
    /// `value · 2^power` where the result is a normal float.
    unsafe fn scale_by_power(value: Self::Floats, power: Self::Integers) -> Self::Floats;
    /// The lowest byte of each lane.
    unsafe fn store_low_bytes(target: *mut i8, value: Self::Integers);

    unsafe fn load_bytes(source: *const u8) -> Self::Bytes;
    unsafe fn low_nibbles(bytes: Self::Bytes) -> Self::Bytes;
    unsafe fn high_nibbles(bytes: Self::Bytes) -> Self::Bytes;
    /// Adds to each lane the product of its four bytes, of 0 to 31 each, with the four signed bytes at `factors`.
    unsafe fn dot_small(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers;
    /// What the sums of [`Self::dot_offset`] begin with, if all factors together sum to `factor_sum`.
    unsafe fn offset_start(factor_sum: i32) -> Self::Integers;
    /// As [`Self::dot_small`], with bytes that stand for signed ones: 128 for 0.
    unsafe fn dot_offset(sums: Self::Integers, bytes: Self::Bytes, factors: *const i8) -> Self::Integers;
}
