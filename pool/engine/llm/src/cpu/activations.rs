//! What weights are multiplied with: rows of 8-bit values, 32 of which share a scale.

use super::memory::{Number, SharedBuffer};
use super::weights::BLOCK;
use engine_core::EngineError;

/// What the kernels need of a block besides its values `quant`: the row's floats are `scale · quant`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct BlockScale {
    /// Rounded to a 16-bit float, as llama.cpp does, so that both choose the same tokens.
    pub scale: f32,
    /// `scale · Σ quant`, rounded likewise; minima of weights are multiplied with it.
    pub weighted_sum: f32,
    /// `Σ quant`.
    pub sum: i32,
    /// Keeps blocks at 16 bytes.
    pub unused: u32,
}

impl Number for BlockScale {}

/// Rows of quantised values, and of the floats they stand for where floats are multiplied.
#[derive(Debug)]
pub struct Activations {
    columns: usize,
    quants: SharedBuffer<i8>,
    scales: SharedBuffer<BlockScale>,
    floats: SharedBuffer<f32>,
}

impl Activations {
    /// Rows of zeros. `keep_floats`: some matrix that they are multiplied with holds floats.
    pub fn new(rows: usize, columns: usize, keep_floats: bool) -> Result<Self, EngineError> {
        Ok(Self {
            columns,
            quants: SharedBuffer::new(rows * columns)?,
            scales: SharedBuffer::new(rows * columns / BLOCK)?,
            floats: SharedBuffer::new(if keep_floats { rows * columns } else { 0 })?,
        })
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether floats are kept besides.
    pub fn keeps_floats(&self) -> bool {
        self.floats.len() > 0
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.quants.bytes() + self.scales.bytes() + self.floats.bytes()
    }

    /// The quantised values from a row and column on.
    pub fn quants(&self, row: usize, column: usize) -> *mut i8 {
        self.quants.pointer().wrapping_add(row * self.columns + column)
    }

    /// The scales from a row and column on.
    pub fn scales(&self, row: usize, column: usize) -> *mut BlockScale {
        self.scales.pointer().wrapping_add((row * self.columns + column) / BLOCK)
    }

    /// The floats from a row and column on; only where they are kept.
    pub fn floats(&self, row: usize, column: usize) -> *mut f32 {
        self.floats.pointer().wrapping_add(row * self.columns + column)
    }
}
