//! The product of byte rows with a byte matrix, which is nearly all of a model's work.
//!
//! Weights are 7-bit: w ≈ (u − 64)·scale with u in 0..=127, one scale an output. Activations are 8-bit with a grid a
//! row ([`super::rows`]). That way round, because WebAssembly's relaxed dot product is exact only where one of its
//! operands has 7 bits, and weights, which follow a bell curve, lose less by it than activations, which have outliers.
//!
//! For one output: Σ x·w ≈ scale·(row.scale·Σ q·(u − 64)) + row.offset·Σ w, where Σ w
//! is the sum of the stored weights: were it the float weights', the offset's part would not cancel with that of q.
//!
//! The matrix is packed as the product reads it: panels of [`PANEL`] outputs; in a panel, for every four inputs, those
//! four weights of each output in turn (32 bytes). So the weights stream through once, in order, and each 16 bytes meet
//! the same four activations of a row, repeated four times.

use super::lanes::{F32x4, I32x4};
use super::rows::Rows;

/// Outputs a panel: two vectors of four.
pub const PANEL: usize = 8;
/// What a stored weight of zero looks like.
pub const WEIGHT_ZERO: i32 = 64;
/// Inputs that one lane of a dot product sums.
const GROUP: usize = 4;
/// Rows that share one pass over a panel. Eight sums keep two dot products a cycle busy at a latency of four; with more,
/// V8 spills registers and loses half of the speed.
const TILE: usize = 4;
/// Bytes of activations that pass all panels before the next ones do: they stay in the first-level cache beside a panel.
const ROW_BYTES: usize = 24 << 10;

/// A packed matrix and what is needed to make its integer sums into floats.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// Inputs · outputs bytes, packed in panels.
    pub weights: &'a [u8],
    /// One float an output: its weights' step.
    pub scales: &'a [f32],
    /// One float an output: the sum of its stored weights, as floats.
    pub sums: &'a [f32],
    /// One float an output, added at the end.
    pub bias: &'a [f32],
    /// Values a row of activations has; a multiple of 16.
    pub inputs: usize,
}

/// What becomes of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It replaces what was there.
    Store,
    /// It is added to what was there.
    Add,
}

impl Matrix<'_> {
    /// Outputs a row.
    pub fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// Multiplies the first `count` rows and puts each product into its row of `out`.
    #[inline(never)]
    pub fn multiply(&self, rows: &Rows, count: usize, out: &mut [f32], output: Output) {
        let outputs = self.outputs();
        assert!(self.inputs == rows.width() && self.inputs.is_multiple_of(16) && outputs.is_multiple_of(PANEL));
        assert!(rows.values().len() >= count * self.inputs && rows.grids().len() >= count);
        assert!(self.weights.len() == self.inputs * outputs && out.len() >= count * outputs);
        assert!(self.sums.len() == outputs && self.bias.len() == outputs);
        if dot::in_two_steps() {
            self.blocks::<true>(rows, count, out, output);
        } else {
            self.blocks::<false>(rows, count, out, output);
        }
    }

    /// `TWO_STEPS` is for processors without an instruction for the whole dot product; see [`dot::in_two_steps`].
    #[inline(always)]
    fn blocks<const TWO_STEPS: bool>(&self, rows: &Rows, count: usize, out: &mut [f32], output: Output) {
        let block = (ROW_BYTES / self.inputs / TILE).max(1) * TILE;
        for first in (0..count).step_by(block) {
            let end = count.min(first + block);
            let panels = 0..self.outputs() / PANEL;
            panels.for_each(|panel| self.panel::<TWO_STEPS>(panel, rows, first, end, out, output));
        }
    }

    /// One panel's outputs for the rows from `first` to before `end`, in tiles of as equal heights as can be.
    #[inline(always)]
    fn panel<const TWO_STEPS: bool>(
        &self,
        panel: usize,
        rows: &Rows,
        mut first: usize,
        end: usize,
        out: &mut [f32],
        output: Output,
    ) {
        while first < end {
            let tiles = (end - first).div_ceil(TILE);
            let height = (end - first).div_ceil(tiles);
            match height {
                1 => self.tile::<1, TWO_STEPS>(panel, rows, first, out, output),
                2 => self.tile::<2, TWO_STEPS>(panel, rows, first, out, output),
                3 => self.tile::<3, TWO_STEPS>(panel, rows, first, out, output),
                _ => self.tile::<TILE, TWO_STEPS>(panel, rows, first, out, output),
            }
            first += height;
        }
    }

    #[inline(always)]
    fn tile<const HEIGHT: usize, const TWO_STEPS: bool>(
        &self,
        panel: usize,
        rows: &Rows,
        first: usize,
        out: &mut [f32],
        output: Output,
    ) {
        let weights = &self.weights[panel * PANEL * self.inputs..][..PANEL * self.inputs];
        let values = &rows.values()[first * self.inputs..][..HEIGHT * self.inputs];
        let sums = dot::products::<HEIGHT, TWO_STEPS>(weights, values, self.inputs);
        let [scales, weight_sums, bias] = [self.scales, self.sums, self.bias].map(|all| eight(all, panel));
        let targets = out[first * self.outputs()..].chunks_mut(self.outputs());
        for ((sums, grid), target) in sums.into_iter().zip(&rows.grids()[first..]).zip(targets) {
            let base = I32x4::splat(grid.sum.wrapping_mul(WEIGHT_ZERO));
            let (step, offset) = (F32x4::splat(grid.scale), F32x4::splat(grid.offset));
            let (halves, _) = target[panel * PANEL..][..PANEL].as_chunks_mut::<4>();
            for (half, target) in halves.iter_mut().enumerate() {
                let product = sums[half].sub(base).to_f32().mul(step.mul(scales[half]));
                let value = product.add(offset.mul(weight_sums[half]).add(bias[half]));
                match output {
                    Output::Store => value.store(target),
                    Output::Add => F32x4::load(target).add(value).store(target),
                }
            }
        }
    }
}

/// A panel's share of one float an output.
#[inline(always)]
fn eight(values: &[f32], panel: usize) -> [F32x4; 2] {
    let (halves, _) = values[panel * PANEL..][..PANEL].as_chunks::<4>();
    [F32x4::load(&halves[0]), F32x4::load(&halves[1])]
}

/// Puts a row-major matrix of 7-bit weights (outputs × inputs) into panels.
pub fn pack(weights: &[u8], inputs: usize) -> Vec<u8> {
    let outputs = weights.len() / inputs;
    let mut packed = Vec::with_capacity(weights.len());
    for panel in 0..outputs / PANEL {
        for group in 0..inputs / GROUP {
            for output in 0..PANEL {
                let start = (panel * PANEL + output) * inputs + group * GROUP;
                packed.extend_from_slice(&weights[start..start + GROUP]);
            }
        }
    }
    packed
}

/// The integer sums of a tile, with relaxed SIMD: one instruction for sixteen products where the processor has it.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
mod dot {
    use super::{GROUP, I32x4, PANEL};
    use core::arch::wasm32::*;

    /// Whether the host makes the relaxed dot product of two instructions, multiply-add bytes to 16 bits and those to 32
    /// (x86 without VNNI). Older engines load a vector of ones for every such pair; asked for the two halves on their
    /// own, they keep it in a register, which is a quarter faster. With operands of 7 and 8 bits all hosts agree on the
    /// result, so what this tells changes no embedding: it is seen by operands that make 16 bits overflow.
    pub(super) fn in_two_steps() -> bool {
        let bytes = core::hint::black_box((-128_i8, 255_u8));
        let sums = i32x4_relaxed_dot_i8x16_i7x16_add(i8x16_splat(bytes.0), u8x16_splat(bytes.1), i32x4_splat(0));
        i32x4_extract_lane::<0>(sums) == 2 * i32::from(i16::MIN)
    }

    #[inline(always)]
    pub(super) fn products<const HEIGHT: usize, const TWO_STEPS: bool>(
        weights: &[u8],
        values: &[i8],
        inputs: usize,
    ) -> [[I32x4; 2]; HEIGHT] {
        debug_assert!(weights.len() == PANEL * inputs && values.len() == HEIGHT * inputs);
        let ones = i16x8_splat(1);
        let add = |sum: I32x4, values: v128, weights: v128| {
            I32x4(if TWO_STEPS {
                i32x4_add(sum.0, i32x4_dot_i16x8(i16x8_relaxed_dot_i8x16_i7x16(values, weights), ones))
            } else {
                i32x4_relaxed_dot_i8x16_i7x16_add(values, weights, sum.0)
            })
        };
        let mut sums = [[I32x4::ZERO; 2]; HEIGHT];
        let (weights, values) = (weights.as_ptr(), values.as_ptr());
        for group in 0..inputs / GROUP {
            // SAFETY: a panel holds PANEL · inputs bytes and `values` HEIGHT · inputs, so for every group below
            // inputs / GROUP the two vectors of weights and the four bytes of each row lie inside. `Matrix::tile` cut
            // both slices to these lengths.
            unsafe {
                let at = weights.add(group * GROUP * PANEL);
                let (left, right) = (v128_load(at.cast()), v128_load(at.add(16).cast()));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let four = v128_load32_splat(values.add(row * inputs + group * GROUP).cast());
                    sums[0] = add(sums[0], four, left);
                    sums[1] = add(sums[1], four, right);
                }
            }
        }
        sums
    }
}

/// The integer sums of a tile, with plain SIMD: bytes widened to 16 bits and multiplied in pairs. A vector then holds
/// two sums of two outputs, which come together at the end.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(target_feature = "relaxed-simd")))]
mod dot {
    use super::{GROUP, I32x4, PANEL};
    use core::arch::wasm32::*;

    /// Rows a pass: each needs four sums.
    const PASS: usize = 2;

    pub(super) fn in_two_steps() -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn products<const HEIGHT: usize, const TWO_STEPS: bool>(
        weights: &[u8],
        values: &[i8],
        inputs: usize,
    ) -> [[I32x4; 2]; HEIGHT] {
        debug_assert!(weights.len() == PANEL * inputs && values.len() == HEIGHT * inputs);
        let mut sums = [[I32x4::ZERO; 2]; HEIGHT];
        let mut row = 0;
        while row + PASS <= HEIGHT {
            let pair = pass::<PASS>(weights, &values[row * inputs..], inputs);
            sums[row..row + PASS].copy_from_slice(&pair);
            row += PASS;
        }
        if row < HEIGHT {
            sums[row] = pass::<1>(weights, &values[row * inputs..], inputs)[0];
        }
        sums
    }

    #[inline(always)]
    fn pass<const ROWS: usize>(weights: &[u8], values: &[i8], inputs: usize) -> [[I32x4; 2]; ROWS] {
        assert!(weights.len() >= PANEL * inputs && values.len() >= ROWS * inputs);
        let mut sums = [[i32x4(0, 0, 0, 0); 4]; ROWS];
        let (weights, values) = (weights.as_ptr(), values.as_ptr());
        for group in 0..inputs / GROUP {
            // SAFETY: the assertion above covers PANEL · inputs weights and ROWS · inputs values; a group reads the 32
            // weights and the four bytes of each row that belong to it.
            unsafe {
                let at = weights.add(group * GROUP * PANEL);
                let quarters = [
                    i16x8_load_extend_u8x8(at),
                    i16x8_load_extend_u8x8(at.add(8)),
                    i16x8_load_extend_u8x8(at.add(16)),
                    i16x8_load_extend_u8x8(at.add(24)),
                ];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let four = v128_load32_splat(values.add(row * inputs + group * GROUP).cast());
                    let wide = i16x8_extend_low_i8x16(four);
                    for (sum, quarter) in sums.iter_mut().zip(quarters) {
                        *sum = i32x4_add(*sum, i32x4_dot_i16x8(quarter, wide));
                    }
                }
            }
        }
        sums.map(|[a, b, c, d]| [I32x4(join(a, b)), I32x4(join(c, d))])
    }

    /// Adds neighbouring lanes of two vectors.
    #[inline(always)]
    fn join(low: v128, high: v128) -> v128 {
        i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high))
    }
}

/// The integer sums of a tile on x86-64: eight outputs in one 256-bit dot product where the processor has AVX-VNNI, else
/// 16-bit products in pairs, which every such processor has.
#[cfg(target_arch = "x86_64")]
mod dot {
    use super::{GROUP, I32x4, PANEL};
    use core::arch::x86_64::*;

    pub(super) fn in_two_steps() -> bool {
        false
    }

    pub(super) fn products<const HEIGHT: usize, const TWO_STEPS: bool>(
        weights: &[u8],
        values: &[i8],
        inputs: usize,
    ) -> [[I32x4; 2]; HEIGHT] {
        assert!(weights.len() == PANEL * inputs && values.len() == HEIGHT * inputs);
        let sums = if is_x86_feature_detected!("avxvnni") {
            // SAFETY: the processor has been asked; the assertion covers what is read.
            unsafe { with_vnni::<HEIGHT>(weights, values, inputs) }
        } else {
            // SAFETY: SSE2 is part of x86-64; the assertion covers what is read.
            unsafe { with_pairs::<HEIGHT>(weights, values, inputs) }
        };
        sums.map(|[a, b, c, d, e, f, g, h]| [I32x4([a, b, c, d]), I32x4([e, f, g, h])])
    }

    /// # Safety
    /// The processor must have AVX-VNNI; `weights` must have PANEL · inputs bytes and `values` HEIGHT · inputs.
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn with_vnni<const HEIGHT: usize>(weights: &[u8], values: &[i8], inputs: usize) -> [[i32; PANEL]; HEIGHT] {
        let mut sums = [_mm256_setzero_si256(); HEIGHT];
        let (weights, values) = (weights.as_ptr(), values.as_ptr());
        for group in 0..inputs / GROUP {
            // SAFETY: a group is 32 bytes of a panel and four of each row, which the caller vouches for.
            unsafe {
                let panel = _mm256_loadu_si256(weights.add(group * GROUP * PANEL).cast());
                for (row, sum) in sums.iter_mut().enumerate() {
                    let four: i32 = values.add(row * inputs + group * GROUP).cast::<i32>().read_unaligned();
                    *sum = _mm256_dpbusd_avx_epi32(*sum, panel, _mm256_set1_epi32(four));
                }
            }
        }
        // SAFETY: both are 32 bytes, and every bit pattern is eight integers.
        sums.map(|sum| unsafe { core::mem::transmute::<__m256i, [i32; PANEL]>(sum) })
    }

    /// # Safety
    /// `weights` must have PANEL · inputs bytes and `values` HEIGHT · inputs.
    #[inline(always)]
    unsafe fn with_pairs<const HEIGHT: usize>(weights: &[u8], values: &[i8], inputs: usize) -> [[i32; PANEL]; HEIGHT] {
        // SAFETY: SSE2 is part of x86-64; a group is 32 bytes of a panel and four of each row, which the caller vouches
        // for; a vector of 16 bytes is four integers.
        unsafe {
            let mut sums = [[_mm_setzero_si128(); 4]; HEIGHT];
            let zero = _mm_setzero_si128();
            for group in 0..inputs / GROUP {
                let at = weights.as_ptr().add(group * GROUP * PANEL);
                let (left, right) = (_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(16).cast()));
                let quarters = [
                    _mm_unpacklo_epi8(left, zero),
                    _mm_unpackhi_epi8(left, zero),
                    _mm_unpacklo_epi8(right, zero),
                    _mm_unpackhi_epi8(right, zero),
                ];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let four = values.as_ptr().add(row * inputs + group * GROUP).cast::<i32>().read_unaligned();
                    let four = _mm_set1_epi32(four);
                    let wide = _mm_srai_epi16::<8>(_mm_unpacklo_epi8(four, four));
                    for (sum, quarter) in sums.iter_mut().zip(quarters) {
                        *sum = _mm_add_epi32(*sum, _mm_madd_epi16(quarter, wide));
                    }
                }
            }
            // Each vector holds two halves of two outputs.
            sums.map(|quarters| {
                let halves = quarters.map(|quarter| core::mem::transmute::<__m128i, [i32; 4]>(quarter));
                core::array::from_fn(|output| {
                    halves[output / 2][output % 2 * 2] + halves[output / 2][output % 2 * 2 + 1]
                })
            })
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn both_ways_give_the_obvious_sums() {
            let inputs = 32;
            let weights: Vec<u8> = (0..PANEL * inputs).map(|i| (i * 37 % 128) as u8).collect();
            let values: Vec<i8> = (0..3 * inputs).map(|i| (i * 91 % 256) as u8 as i8).collect();
            let obvious = |row: usize, output: usize| -> i32 {
                let weight = |k: usize| weights[k / GROUP * GROUP * PANEL + output * GROUP + k % GROUP];
                (0..inputs).map(|k| i32::from(weight(k)) * i32::from(values[row * inputs + k])).sum()
            };
            let expected: [[i32; PANEL]; 3] = core::array::from_fn(|row| core::array::from_fn(|n| obvious(row, n)));
            // SAFETY: the slices have the lengths that are asked for.
            assert_eq!(unsafe { with_pairs::<3>(&weights, &values, inputs) }, expected);
            if is_x86_feature_detected!("avxvnni") {
                // SAFETY: as above, and the processor has been asked.
                assert_eq!(unsafe { with_vnni::<3>(&weights, &values, inputs) }, expected);
            }
        }
    }
}

/// The integer sums of a tile, in plain Rust.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod dot {
    use super::{GROUP, I32x4, PANEL};

    pub(super) fn in_two_steps() -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn products<const HEIGHT: usize, const TWO_STEPS: bool>(
        weights: &[u8],
        values: &[i8],
        inputs: usize,
    ) -> [[I32x4; 2]; HEIGHT] {
        let mut sums = [[0_i32; PANEL]; HEIGHT];
        let (groups, _) = weights.as_chunks::<{ PANEL * GROUP }>();
        for (index, group) in groups.iter().enumerate() {
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = &values[row * inputs + index * GROUP..][..GROUP];
                for (output, sum) in sums.iter_mut().enumerate() {
                    *sum += (0..GROUP).map(|i| i32::from(group[output * GROUP + i]) * i32::from(four[i])).sum::<i32>();
                }
            }
        }
        sums.map(|[a, b, c, d, e, f, g, h]| [I32x4([a, b, c, d]), I32x4([e, f, g, h])])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small deterministic source of bytes.
    fn bytes(count: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn a_product_equals_the_sum_over_dequantised_values() {
        let (inputs, outputs) = (48, 24);
        let plain: Vec<u8> = bytes(inputs * outputs, 7).into_iter().map(|byte| byte & 127).collect();
        let scales: Vec<f32> = (0..outputs).map(|n| 0.01 + n as f32 * 0.001).collect();
        let bias: Vec<f32> = (0..outputs).map(|n| n as f32 - 3.0).collect();
        let weight = |n: usize, k: usize| (i32::from(plain[n * inputs + k]) - WEIGHT_ZERO) as f32 * scales[n];
        let sums: Vec<f32> = (0..outputs).map(|n| (0..inputs).map(|k| weight(n, k)).sum()).collect();
        let packed = pack(&plain, inputs);
        let matrix = Matrix { weights: &packed, scales: &scales, sums: &sums, bias: &bias, inputs };
        for count in 1..=20 {
            let mut rows = Rows::default();
            rows.reset(count, inputs);
            for row in 0..count {
                let values: Vec<f32> = bytes(inputs, row as u32).iter().map(|&b| f32::from(b) * 0.02 - 1.0).collect();
                rows.store(row, &values);
            }
            let mut out = vec![1.0; count * outputs];
            matrix.multiply(&rows, count, &mut out, Output::Add);
            for row in 0..count {
                let grid = rows.grids()[row];
                for n in 0..outputs {
                    let expected: f32 = (0..inputs)
                        .map(|k| (f32::from(rows.values()[row * inputs + k]) * grid.scale + grid.offset) * weight(n, k))
                        .sum::<f32>()
                        + bias[n]
                        + 1.0;
                    let got = out[row * outputs + n];
                    assert!((got - expected).abs() < 1e-3, "{count} rows, row {row}, output {n}: {got} {expected}");
                }
            }
        }
    }
}
