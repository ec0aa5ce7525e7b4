//! Activations as bytes: each row on its own grid of 256 steps between its least and its greatest value.
//!
//! A value x is stored as q in -128..=127 with x ≈ q·scale + offset. The offset is a float, so a row whose values lie
//! far to one side loses nothing; its share of a product is the offset times the weights' sum.

use super::lanes::{F32x4, I32x4, narrow};

/// What a row of bytes stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Grid {
    /// The step between neighbouring values.
    pub scale: f32,
    /// What the byte 0 stands for.
    pub offset: f32,
    /// The sum of the row's bytes.
    pub sum: i32,
}

/// Rows of bytes, of one length, with their grids. Reused from call to call.
#[derive(Default)]
pub struct Rows {
    values: Vec<i8>,
    grids: Vec<Grid>,
    width: usize,
}

impl Rows {
    /// Makes room for `count` rows of `width` (a multiple of 16) values and starts over.
    pub fn reset(&mut self, count: usize, width: usize) {
        debug_assert!(width.is_multiple_of(16));
        if self.values.len() < count * width {
            self.values.resize(count * width, 0);
        }
        if self.grids.len() < count {
            self.grids.resize(count, Grid::default());
        }
        self.width = width;
    }

    /// Values a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes of all rows, one after the other.
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// Each row's grid.
    pub fn grids(&self) -> &[Grid] {
        &self.grids
    }

    /// Stores `row` as row number `index`.
    pub fn store(&mut self, index: usize, row: &[f32]) {
        let (least, greatest) = range(row);
        self.store_between(index, row, least, greatest);
    }

    /// Stores `row`, whose values lie between `least` and `greatest`, as row number `index`.
    #[inline(never)]
    pub fn store_between(&mut self, index: usize, row: &[f32], least: f32, greatest: f32) {
        let values = &mut self.values[index * self.width..][..self.width];
        self.grids[index] = write(row, values, least, greatest);
    }
}

/// The least and the greatest of a row's values.
fn range(row: &[f32]) -> (f32, f32) {
    let (parts, _) = row.as_chunks::<4>();
    let (mut least, mut greatest) = (F32x4::splat(f32::MAX), F32x4::splat(f32::MIN));
    for part in parts {
        let part = F32x4::load(part);
        least = part.min(least);
        greatest = part.max(greatest);
    }
    (least.smallest(), greatest.largest())
}

fn write(row: &[f32], values: &mut [i8], least: f32, greatest: f32) -> Grid {
    let width = greatest - least;
    let usable = width > f32::MIN_POSITIVE && width < f32::MAX;
    let scale = if usable { width / 255.0 } else { 0.0 };
    let inverse = F32x4::splat(if usable { 255.0 / width } else { 0.0 });
    let shift = F32x4::splat(least);
    let lowest = F32x4::splat(-128.0);
    let mut sum = I32x4::ZERO;
    let (parts, bytes) = (row.as_chunks::<16>().0, values.as_chunks_mut::<16>().0);
    for (part, bytes) in parts.iter().zip(bytes) {
        let (quarters, _) = part.as_chunks::<4>();
        let step = |quarter: &[f32; 4]| F32x4::load(quarter).sub(shift).mul(inverse).add(lowest).round();
        let steps = [step(&quarters[0]), step(&quarters[1]), step(&quarters[2]), step(&quarters[3])];
        sum = sum.add(steps[0].add(steps[1])).add(steps[2].add(steps[3]));
        narrow(steps, bytes);
    }
    let sum = sum.lanes().into_iter().fold(0_i32, i32::wrapping_add);
    Grid { scale, offset: least + 128.0 * scale, sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_within_half_a_step() {
        let row: Vec<f32> = (0..64).map(|i| ((i * 29) % 64) as f32 * 0.37 - 4.0).collect();
        let mut rows = Rows::default();
        rows.reset(2, 64);
        rows.store(1, &row);
        let grid = rows.grids()[1];
        let bytes = &rows.values()[64..128];
        for (x, &q) in row.iter().zip(bytes) {
            assert!((q as f32 * grid.scale + grid.offset - x).abs() <= grid.scale * 0.5001);
        }
        assert_eq!(grid.sum, bytes.iter().map(|&q| i32::from(q)).sum::<i32>());
    }

    #[test]
    fn a_constant_row_is_kept_by_its_offset_alone() {
        let mut rows = Rows::default();
        rows.reset(1, 16);
        rows.store(0, &[2.5; 16]);
        let grid = rows.grids()[0];
        assert_eq!((grid.scale, grid.offset), (0.0, 2.5));
    }

    #[test]
    fn rows_that_are_no_numbers_do_not_trap() {
        let mut rows = Rows::default();
        rows.reset(1, 16);
        rows.store(0, &[f32::NAN; 16]);
        rows.store(0, &[f32::INFINITY; 16]);
    }
}
