//! Four floats or four integers at a time: WebAssembly's vectors, or plain arrays that a native compiler vectorises.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod native {
    use core::arch::wasm32::*;

    /// Four 32-bit floats.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub struct F32x4(pub(crate) v128);

    /// Four 32-bit integers.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub struct I32x4(pub(crate) v128);

    impl F32x4 {
        /// Four times `value`.
        #[inline(always)]
        pub fn splat(value: f32) -> Self {
            Self(f32x4_splat(value))
        }

        /// The four floats of `values`.
        #[inline(always)]
        pub fn load(values: &[f32; 4]) -> Self {
            // SAFETY: the reference covers 16 readable bytes; the load has no alignment need.
            Self(unsafe { v128_load(values.as_ptr().cast()) })
        }

        /// Writes the four floats.
        #[inline(always)]
        pub fn store(self, values: &mut [f32; 4]) {
            // SAFETY: the reference covers 16 writable bytes; the store has no alignment need.
            unsafe { v128_store(values.as_mut_ptr().cast(), self.0) }
        }

        /// The lanes as an array.
        #[inline(always)]
        pub fn lanes(self) -> [f32; 4] {
            let mut values = [0.0; 4];
            self.store(&mut values);
            values
        }

        /// Lane-wise sum.
        #[inline(always)]
        pub fn add(self, other: Self) -> Self {
            Self(f32x4_add(self.0, other.0))
        }

        /// Lane-wise difference.
        #[inline(always)]
        pub fn sub(self, other: Self) -> Self {
            Self(f32x4_sub(self.0, other.0))
        }

        /// Lane-wise product.
        #[inline(always)]
        pub fn mul(self, other: Self) -> Self {
            Self(f32x4_mul(self.0, other.0))
        }

        /// Lane-wise quotient.
        #[inline(always)]
        pub fn div(self, other: Self) -> Self {
            Self(f32x4_div(self.0, other.0))
        }

        /// `self` where it is less than `other`, else `other`.
        #[inline(always)]
        pub fn min(self, other: Self) -> Self {
            Self(f32x4_pmin(other.0, self.0))
        }

        /// `self` where it is greater than `other`, else `other`.
        #[inline(always)]
        pub fn max(self, other: Self) -> Self {
            Self(f32x4_pmax(other.0, self.0))
        }

        /// The same bits as integers.
        #[inline(always)]
        pub fn bits(self) -> I32x4 {
            I32x4(self.0)
        }
    }

    impl I32x4 {
        /// Four zeros.
        pub const ZERO: Self = Self(i32x4(0, 0, 0, 0));

        /// Four times `value`.
        #[inline(always)]
        pub fn splat(value: i32) -> Self {
            Self(i32x4_splat(value))
        }

        /// Lane-wise sum, wrapping.
        #[inline(always)]
        pub fn add(self, other: Self) -> Self {
            Self(i32x4_add(self.0, other.0))
        }

        /// Lane-wise difference, wrapping.
        #[inline(always)]
        pub fn sub(self, other: Self) -> Self {
            Self(i32x4_sub(self.0, other.0))
        }

        /// The bits moved up by 23 places, into a float's exponent.
        #[inline(always)]
        pub fn shift_to_exponent(self) -> Self {
            Self(i32x4_shl(self.0, 23))
        }

        /// The nearest floats.
        #[inline(always)]
        pub fn to_f32(self) -> F32x4 {
            F32x4(f32x4_convert_i32x4(self.0))
        }

        /// The same bits as floats.
        #[inline(always)]
        pub fn bits(self) -> F32x4 {
            F32x4(self.0)
        }

        /// The lanes as an array.
        #[inline(always)]
        pub fn lanes(self) -> [i32; 4] {
            [
                i32x4_extract_lane::<0>(self.0),
                i32x4_extract_lane::<1>(self.0),
                i32x4_extract_lane::<2>(self.0),
                i32x4_extract_lane::<3>(self.0),
            ]
        }
    }

    /// Sixteen integers as bytes, held to -128..=127.
    #[inline(always)]
    pub fn narrow(parts: [I32x4; 4], bytes: &mut [i8; 16]) {
        let low = i16x8_narrow_i32x4(parts[0].0, parts[1].0);
        let high = i16x8_narrow_i32x4(parts[2].0, parts[3].0);
        // SAFETY: the reference covers 16 writable bytes; the store has no alignment need.
        unsafe { v128_store(bytes.as_mut_ptr().cast(), i8x16_narrow_i16x8(low, high)) }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod native {
    use std::array::from_fn;

    /// Four 32-bit floats.
    #[derive(Clone, Copy)]
    pub struct F32x4(pub(crate) [f32; 4]);

    /// Four 32-bit integers.
    #[derive(Clone, Copy)]
    pub struct I32x4(pub(crate) [i32; 4]);

    impl F32x4 {
        /// Four times `value`.
        #[inline(always)]
        pub fn splat(value: f32) -> Self {
            Self([value; 4])
        }

        /// The four floats of `values`.
        #[inline(always)]
        pub fn load(values: &[f32; 4]) -> Self {
            Self(*values)
        }

        /// Writes the four floats.
        #[inline(always)]
        pub fn store(self, values: &mut [f32; 4]) {
            *values = self.0;
        }

        /// The lanes as an array.
        #[inline(always)]
        pub fn lanes(self) -> [f32; 4] {
            self.0
        }

        /// Lane-wise sum.
        #[inline(always)]
        #[allow(clippy::should_implement_trait)]
        pub fn add(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane] + other.0[lane]))
        }

        /// Lane-wise difference.
        #[inline(always)]
        #[allow(clippy::should_implement_trait)]
        pub fn sub(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane] - other.0[lane]))
        }

        /// Lane-wise product.
        #[inline(always)]
        #[allow(clippy::should_implement_trait)]
        pub fn mul(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane] * other.0[lane]))
        }

        /// Lane-wise quotient.
        #[inline(always)]
        #[allow(clippy::should_implement_trait)]
        pub fn div(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane] / other.0[lane]))
        }

        /// `self` where it is less than `other`, else `other`.
        #[inline(always)]
        pub fn min(self, other: Self) -> Self {
            Self(from_fn(|lane| if self.0[lane] < other.0[lane] { self.0[lane] } else { other.0[lane] }))
        }

        /// `self` where it is greater than `other`, else `other`.
        #[inline(always)]
        pub fn max(self, other: Self) -> Self {
            Self(from_fn(|lane| if self.0[lane] > other.0[lane] { self.0[lane] } else { other.0[lane] }))
        }

        /// The same bits as integers.
        #[inline(always)]
        pub fn bits(self) -> I32x4 {
            I32x4(from_fn(|lane| self.0[lane].to_bits() as i32))
        }
    }

    impl I32x4 {
        /// Four zeros.
        pub const ZERO: Self = Self([0; 4]);

        /// Four times `value`.
        #[inline(always)]
        pub fn splat(value: i32) -> Self {
            Self([value; 4])
        }

        /// Lane-wise sum, wrapping.
        #[inline(always)]
        #[allow(clippy::should_implement_trait)]
        pub fn add(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane].wrapping_add(other.0[lane])))
        }

        /// Lane-wise difference, wrapping.
        #[inline(always)]
        #[allow(clippy::should_implement_trait)]
        pub fn sub(self, other: Self) -> Self {
            Self(from_fn(|lane| self.0[lane].wrapping_sub(other.0[lane])))
        }

        /// The bits moved up by 23 places, into a float's exponent.
        #[inline(always)]
        pub fn shift_to_exponent(self) -> Self {
            Self(from_fn(|lane| self.0[lane] << 23))
        }

        /// The nearest floats.
        #[inline(always)]
        pub fn to_f32(self) -> F32x4 {
            F32x4(from_fn(|lane| self.0[lane] as f32))
        }

        /// The same bits as floats.
        #[inline(always)]
        pub fn bits(self) -> F32x4 {
            F32x4(from_fn(|lane| f32::from_bits(self.0[lane] as u32)))
        }

        /// The lanes as an array.
        #[inline(always)]
        pub fn lanes(self) -> [i32; 4] {
            self.0
        }
    }

    /// Sixteen integers as bytes, held to -128..=127.
    #[inline(always)]
    pub fn narrow(parts: [I32x4; 4], bytes: &mut [i8; 16]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = parts[index / 4].0[index % 4].clamp(-128, 127) as i8;
        }
    }
}

pub use native::{F32x4, I32x4, narrow};

/// Adding this to a float of less than 2²² in magnitude leaves its nearest integer in the low bits (ties to even).
const ROUNDING: f32 = 12_582_912.0;

impl F32x4 {
    /// The nearest integers, ties to even. Correct below 2²² in magnitude; any bits, but no trap, above.
    #[inline(always)]
    pub fn round(self) -> I32x4 {
        self.add(Self::splat(ROUNDING)).bits().sub(I32x4::splat(ROUNDING.to_bits() as i32))
    }

    /// The nearest integers as floats, ties to even, and integers whose low bits hold them. Correct as [`Self::round`] is.
    #[inline(always)]
    pub fn round_in_place(self) -> (Self, I32x4) {
        let place = self.add(Self::splat(ROUNDING));
        (place.sub(Self::splat(ROUNDING)), place.bits())
    }

    /// The sum of the four lanes, in a fixed order.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        let [a, b, c, d] = self.lanes();
        (a + c) + (b + d)
    }

    /// The largest lane.
    #[inline(always)]
    pub fn largest(self) -> f32 {
        let [a, b, c, d] = self.lanes();
        let (left, right) = (if a > c { a } else { c }, if b > d { b } else { d });
        if left > right { left } else { right }
    }

    /// The smallest lane.
    #[inline(always)]
    pub fn smallest(self) -> f32 {
        let [a, b, c, d] = self.lanes();
        let (left, right) = (if a < c { a } else { c }, if b < d { b } else { d });
        if left < right { left } else { right }
    }
}
