//! Element types of tensors, and where each tensor lies.

use super::fault;
use engine_core::EngineError;
use std::ops::Range;

/// Dimensions of a tensor, at most.
pub const DIMENSIONS_MAX: usize = 4;

/// How elements are stored. Quantised types hold blocks of elements that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ElementType {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Bf16,
}

impl ElementType {
    const NUMBERED: [(u32, Self); 13] = [
        (0, Self::F32),
        (1, Self::F16),
        (2, Self::Q4_0),
        (3, Self::Q4_1),
        (6, Self::Q5_0),
        (7, Self::Q5_1),
        (8, Self::Q8_0),
        (10, Self::Q2K),
        (11, Self::Q3K),
        (12, Self::Q4K),
        (13, Self::Q5K),
        (14, Self::Q6K),
        (30, Self::Bf16),
    ];

    pub(super) fn from_number(number: u32, tensor: &str) -> Result<Self, EngineError> {
        let found = Self::NUMBERED.iter().find(|(known, _)| *known == number);
        found.map(|(_, element_type)| *element_type).ok_or_else(|| {
            fault(format!(
                "stores \"{tensor}\" as type {number}; known are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K."
            ))
        })
    }

    /// Elements of a block.
    pub fn block_elements(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }
}

/// What a tensor is and where its data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    /// How elements are stored.
    pub element_type: ElementType,
    /// Lengths, the innermost first: a matrix of rows has `[columns, rows]`.
    pub dimensions: Vec<usize>,
    /// Bytes of the file; within it.
    pub bytes: Range<usize>,
}

impl TensorPlace {
    pub(super) fn new(
        name: &str,
        dimensions: Vec<usize>,
        element_type: ElementType,
        data_start: usize,
        offset: u64,
        file_bytes: usize,
    ) -> Result<Self, EngineError> {
        if dimensions.first().is_none_or(|columns| columns % element_type.block_elements() != 0) {
            return Err(fault(format!("has a tensor \"{name}\" whose rows are no whole blocks.")));
        }
        let bytes = Self::bytes(&dimensions, element_type, data_start, offset).filter(|bytes| bytes.end <= file_bytes);
        match bytes {
            Some(bytes) => Ok(Self { element_type, dimensions, bytes }),
            None => Err(fault(format!("ends before its tensor \"{name}\" does: it was cut, or is damaged."))),
        }
    }

    fn bytes(dimensions: &[usize], element_type: ElementType, data_start: usize, offset: u64) -> Option<Range<usize>> {
        let elements = dimensions.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))?;
        let length = (elements / element_type.block_elements()).checked_mul(element_type.block_bytes())?;
        let start = data_start.checked_add(usize::try_from(offset).ok()?)?;
        Some(start..start.checked_add(length)?)
    }
}

/// A tensor's data in the file.
#[derive(Debug, Clone, Copy)]
pub struct TensorData<'file> {
    /// What it is.
    pub place: &'file TensorPlace,
    /// As stored, of any alignment.
    pub data: &'file [u8],
}
