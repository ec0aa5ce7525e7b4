//! Matrices of weights in the order in which the kernels read them.
//!
//! Rows go in groups of [`LANES`]: a vector holds four consecutive columns of sixteen rows, so that one instruction adds
//! four products to each of sixteen sums, and no sum is ever taken across lanes. A group is a run of stretches of one or two
//! blocks of 32 columns: first their scales as 16-bit floats (and minima, where the type has them), then their values.
//! Scales beside the values make one stream of memory, which processors fetch ahead almost three times as fast as two.
//!
//! | kind | stretch | scales of a block | values of a block |
//! |---|---|---|---|
//! | [`Kind::NibblesAbove`] | 1 block | 16 scales, 16 minima | 4 × 64 bytes: columns 8v…8v+3 in the low four bits, 8v+4…8v+7 in the high |
//! | [`Kind::NibblesAround`] | 2 blocks | 16 scales; 8 stands for zero | the same |
//! | [`Kind::BytesAbove`] | 1 block | 16 scales, 16 minima | 8 × 64 bytes of 0 to 31 |
//! | [`Kind::BytesAround`] | 2 blocks | 16 scales; 128 stands for zero | 8 × 64 bytes |
//! | [`Kind::Floats`] | 1 block | none | 32 × 16 floats |

use super::memory::SharedBuffer;
use crate::gguf::{ElementType, TensorData};
use engine_core::EngineError;
use lanes::LANES;
use lanes::half::from_half;
use std::sync::Arc;

pub use crate::shape::BLOCK;

/// How the values of a matrix are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Four bits, scale and minimum: Q4_1.
    NibblesAbove,
    /// Four bits and a scale: Q4_0.
    NibblesAround,
    /// Five bits in bytes, scale and minimum: Q5_1.
    BytesAbove,
    /// Bytes and a scale: Q8_0 and Q5_0.
    BytesAround,
    /// Floats: F32, F16, BF16.
    Floats,
}

impl Kind {
    /// The kind that holds a type's values, or none: this crate's kernels do not compute it.
    pub fn of(element_type: ElementType) -> Option<Self> {
        Some(match element_type {
            ElementType::Q4_1 => Self::NibblesAbove,
            ElementType::Q4_0 => Self::NibblesAround,
            ElementType::Q5_1 => Self::BytesAbove,
            ElementType::Q5_0 | ElementType::Q8_0 => Self::BytesAround,
            ElementType::F32 | ElementType::F16 | ElementType::Bf16 => Self::Floats,
            ElementType::Q2K | ElementType::Q3K | ElementType::Q4K | ElementType::Q5K | ElementType::Q6K => {
                return None;
            }
        })
    }

    /// Bytes of scales of one block of a group.
    pub const fn scale_bytes(self) -> usize {
        match self {
            Self::NibblesAbove | Self::BytesAbove => 4 * LANES,
            Self::NibblesAround | Self::BytesAround => 2 * LANES,
            Self::Floats => 0,
        }
    }

    /// Bytes of values of one block of a group.
    pub const fn value_bytes(self) -> usize {
        match self {
            Self::NibblesAbove | Self::NibblesAround => BLOCK * LANES / 2,
            Self::BytesAbove | Self::BytesAround => BLOCK * LANES,
            Self::Floats => BLOCK * LANES * 4,
        }
    }

    /// Blocks of a stretch: as many as make its scales whole cache lines.
    pub const fn stretch_blocks(self) -> usize {
        match self {
            Self::NibblesAbove | Self::BytesAbove | Self::Floats => 1,
            Self::NibblesAround | Self::BytesAround => 2,
        }
    }

    /// Bytes of a stretch.
    pub const fn stretch_bytes(self) -> usize {
        self.stretch_blocks() * (self.scale_bytes() + self.value_bytes())
    }

    /// Where the scales of a block begin in its group.
    #[inline(always)]
    pub const fn scales_offset(self, block: usize) -> usize {
        block / self.stretch_blocks() * self.stretch_bytes() + block % self.stretch_blocks() * self.scale_bytes()
    }

    /// Where the values of a block begin in its group.
    #[inline(always)]
    pub const fn values_offset(self, block: usize) -> usize {
        let (stretch, place) = (block / self.stretch_blocks(), block % self.stretch_blocks());
        stretch * self.stretch_bytes() + self.stretch_blocks() * self.scale_bytes() + place * self.value_bytes()
    }

    fn group_bytes(self, blocks: usize) -> usize {
        blocks.div_ceil(self.stretch_blocks()) * self.stretch_bytes()
    }

    fn has_minima(self) -> bool {
        matches!(self, Self::NibblesAbove | Self::BytesAbove)
    }
}

/// A block as the file has it: the value of a column is `scale · (quant − zero) + minimum`.
struct Block {
    scale: u16,
    minimum: u16,
    /// As the kind holds them.
    quants: [u8; BLOCK],
    floats: [f32; BLOCK],
}

/// A matrix. Rows beyond the last whole group are filled up with zeros.
#[derive(Debug)]
pub struct Weights {
    rows: usize,
    columns: usize,
    kind: Kind,
    /// Memory of all matrices of a model, one after the other.
    arena: Arc<SharedBuffer<u8>>,
    start: usize,
}

/// Memory for the matrices of a model, in the order in which steps read them.
pub struct Arena {
    memory: Arc<SharedBuffer<u8>>,
    used: usize,
}

impl Arena {
    /// Memory for `bytes`: the sum of [`Weights::bytes_of`].
    pub fn new(bytes: usize) -> Result<Self, EngineError> {
        Ok(Self { memory: Arc::new(SharedBuffer::new(bytes)?), used: 0 })
    }

    /// Puts the rows of a tensor of `[columns, rows]` in order; columns are whole blocks.
    ///
    /// # Panics
    /// Where no kind holds the tensor's type.
    pub fn pack(&mut self, tensor: TensorData<'_>, columns: usize, rows: usize) -> Weights {
        let element_type = tensor.place.element_type;
        let kind = Kind::of(element_type).expect("a type that a kind holds");
        let start = self.used;
        self.used += Weights::bytes_of(element_type, columns, rows);
        let mut weights = Weights { rows, columns, kind, arena: Arc::clone(&self.memory), start };
        let row_bytes = columns / element_type.block_elements() * element_type.block_bytes();
        for (row, bytes) in tensor.data.chunks_exact(row_bytes).take(rows).enumerate() {
            weights.pack_row(row, element_type, bytes);
        }
        weights
    }
}

impl Weights {
    /// Bytes that a matrix takes; none where no kind holds its type.
    pub fn bytes_of(element_type: ElementType, columns: usize, rows: usize) -> usize {
        Kind::of(element_type).map_or(0, |kind| rows.div_ceil(LANES) * kind.group_bytes(columns / BLOCK))
    }

    /// Blocks of a row.
    pub fn blocks(&self) -> usize {
        self.columns / BLOCK
    }

    /// Groups of rows.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// How the values are held.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        (self.groups() * self.group_bytes()) as u64
    }

    /// Where a group begins.
    pub fn group(&self, group: usize) -> *const u8 {
        assert!(group < self.groups(), "a group beyond the matrix");
        self.arena.pointer().wrapping_add(self.start + group * self.group_bytes())
    }

    /// Bytes of a group.
    pub fn group_bytes(&self) -> usize {
        self.kind.group_bytes(self.blocks())
    }

    /// The memory of a group.
    ///
    /// # Safety
    /// As for [`SharedBuffer::part`].
    #[allow(clippy::mut_from_ref, reason = "the caller answers for parts not overlapping")]
    unsafe fn group_memory(&self, group: usize) -> &mut [u8] {
        let start = self.start + group * self.group_bytes();
        // SAFETY: the caller's contract.
        unsafe { self.arena.part(start..start + self.group_bytes()) }
    }

    fn pack_row(&mut self, row: usize, element_type: ElementType, bytes: &[u8]) {
        let (group, lane) = (row / LANES, row % LANES);
        let (kind, blocks) = (self.kind, self.blocks());
        // SAFETY: `self` is borrowed mutably, and no other matrix has this part of the arena.
        let memory = unsafe { self.group_memory(group) };
        let block_bytes = bytes.len() / blocks;
        for (index, source) in bytes.chunks_exact(block_bytes).enumerate() {
            let block = read_block(element_type, source);
            put_scales(kind, &mut memory[kind.scales_offset(index)..], lane, &block);
            put_values(kind, &mut memory[kind.values_offset(index)..], lane, &block);
        }
    }

    /// The floats of a row: `target` has as many places as there are columns.
    pub fn row(&self, row: usize, target: &mut [f32]) {
        let (group, lane) = (row / LANES, row % LANES);
        assert!(group < self.groups() && target.len() == self.columns);
        // SAFETY: weights are written only while they are packed.
        let memory = unsafe { self.group_memory(group) };
        for (index, target) in target.chunks_exact_mut(BLOCK).enumerate() {
            let (scales, values) =
                (&memory[self.kind.scales_offset(index)..], &memory[self.kind.values_offset(index)..]);
            for (column, target) in target.iter_mut().enumerate() {
                *target = value_at(self.kind, scales, values, lane, column);
            }
        }
    }
}

fn half_at(scales: &[u8], index: usize) -> f32 {
    from_half(u16::from_le_bytes([scales[2 * index], scales[2 * index + 1]]))
}

fn value_at(kind: Kind, scales: &[u8], values: &[u8], lane: usize, column: usize) -> f32 {
    let byte = |column: usize| values[column / 4 * 4 * LANES + 4 * lane + column % 4];
    let nibble = || {
        let byte = values[column / 8 * 4 * LANES + 4 * lane + column % 4];
        f32::from(if column % 8 < 4 { byte & 0xf } else { byte >> 4 })
    };
    match kind {
        Kind::NibblesAbove => half_at(scales, lane) * nibble() + half_at(scales, LANES + lane),
        Kind::NibblesAround => half_at(scales, lane) * (nibble() - 8.0),
        Kind::BytesAbove => half_at(scales, lane) * f32::from(byte(column)) + half_at(scales, LANES + lane),
        Kind::BytesAround => half_at(scales, lane) * (f32::from(byte(column)) - 128.0),
        Kind::Floats => {
            let start = (column * LANES + lane) * 4;
            f32::from_le_bytes([values[start], values[start + 1], values[start + 2], values[start + 3]])
        }
    }
}

fn put_scales(kind: Kind, scales: &mut [u8], lane: usize, block: &Block) {
    if kind == Kind::Floats {
        return;
    }
    scales[2 * lane..][..2].copy_from_slice(&block.scale.to_ne_bytes());
    if kind.has_minima() {
        scales[2 * (LANES + lane)..][..2].copy_from_slice(&block.minimum.to_ne_bytes());
    }
}

fn put_values(kind: Kind, values: &mut [u8], lane: usize, block: &Block) {
    for column in 0..BLOCK {
        match kind {
            Kind::NibblesAbove | Kind::NibblesAround => {
                let shift = if column % 8 < 4 { 0 } else { 4 };
                values[column / 8 * 4 * LANES + 4 * lane + column % 4] |= block.quants[column] << shift;
            }
            Kind::BytesAbove | Kind::BytesAround => {
                values[column / 4 * 4 * LANES + 4 * lane + column % 4] = block.quants[column];
            }
            Kind::Floats => {
                values[(column * LANES + lane) * 4..][..4].copy_from_slice(&block.floats[column].to_ne_bytes());
            }
        }
    }
}

/// Reads a block of 32 columns. Nibbles of the file: byte i holds column i in its low bits and column i + 16 in its high.
fn read_block(element_type: ElementType, bytes: &[u8]) -> Block {
    let half = |position: usize| u16::from_le_bytes([bytes[position], bytes[position + 1]]);
    let nibbles = |start: usize| -> [u8; BLOCK] {
        std::array::from_fn(
            |column| if column < 16 { bytes[start + column] & 0xf } else { bytes[start + column - 16] >> 4 },
        )
    };
    let fifth_bits = |start: usize| -> [u8; BLOCK] {
        std::array::from_fn(|column| (bytes[start + column / 8] >> (column % 8) & 1) << 4)
    };
    let five_bits = |start: usize| -> [u8; BLOCK] {
        let (high, low) = (fifth_bits(start), nibbles(start + 4));
        std::array::from_fn(|column| high[column] | low[column])
    };
    let mut block = Block { scale: 0, minimum: 0, quants: [0; BLOCK], floats: [0.0; BLOCK] };
    match element_type {
        ElementType::Q4_0 => (block.scale, block.quants) = (half(0), nibbles(2)),
        ElementType::Q4_1 => (block.scale, block.minimum, block.quants) = (half(0), half(2), nibbles(4)),
        ElementType::Q5_0 => (block.scale, block.quants) = (half(0), five_bits(2).map(|quant| quant + 112)),
        ElementType::Q5_1 => (block.scale, block.minimum, block.quants) = (half(0), half(2), five_bits(4)),
        ElementType::Q8_0 => {
            block.scale = half(0);
            block.quants = std::array::from_fn(|column| bytes[2 + column] ^ 0x80);
        }
        ElementType::F32 | ElementType::F16 | ElementType::Bf16 => block.floats = read_floats(element_type, bytes),
        // No kind holds them.
        ElementType::Q2K | ElementType::Q3K | ElementType::Q4K | ElementType::Q5K | ElementType::Q6K => {}
    }
    block
}

/// Reads elements of a type of floats.
pub fn read_floats<const COUNT: usize>(element_type: ElementType, bytes: &[u8]) -> [f32; COUNT] {
    std::array::from_fn(|index| match element_type {
        ElementType::F16 => from_half(u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]])),
        ElementType::Bf16 => f32::from_le_bytes([0, 0, bytes[2 * index], bytes[2 * index + 1]]),
        _ => {
            let start = 4 * index;
            f32::from_le_bytes([bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]])
        }
    })
}
