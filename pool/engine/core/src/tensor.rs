//! Tensors, borrowed from a caller's memory and owned.

use crate::buffer::{Buffer, bytes_of, numbers_of_mut};
use crate::call::CallContext;
use crate::error::EngineError;

/// Element types, as Open Inference v2 names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DataType {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl DataType {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// Such as `FP32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|data_type| data_type.name() == name)
    }

    /// Bytes an element; 0 for BYTES, whose elements differ.
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => 2,
            Self::Uint32 | Self::Int32 | Self::Fp32 => 4,
            Self::Uint64 | Self::Int64 | Self::Fp64 => 8,
            Self::Bytes => 0,
        }
    }
}

/// Dimensions of a tensor, at most.
pub const DIMENSIONS_MAX: usize = 16;

/// Elements of a shape, or why it is none.
pub fn element_count(name: &str, shape: &[i64]) -> Result<usize, EngineError> {
    if shape.len() > DIMENSIONS_MAX {
        return Err(EngineError::invalid(name, format!("A tensor has at most {DIMENSIONS_MAX} dimensions.")));
    }
    shape.iter().try_fold(1_usize, |product, &length| {
        usize::try_from(length)
            .ok()
            .and_then(|length| product.checked_mul(length))
            .ok_or_else(|| EngineError::invalid(name, "A shape's lengths are 0 or more, and their product is a size."))
    })
}

/// A tensor that lies in the caller's memory, which may have any alignment.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'data> {
    /// Its name in the request.
    pub name: &'data str,
    /// Type of the elements.
    pub data_type: DataType,
    /// Row-major.
    pub shape: &'data [i64],
    /// Little-endian.
    pub data: &'data [u8],
}

impl<'data> TensorView<'data> {
    /// A view of `data`, which must be as long as type and shape say; elements of BYTES are walked.
    pub fn new(
        name: &'data str,
        data_type: DataType,
        shape: &'data [i64],
        data: &'data [u8],
    ) -> Result<Self, EngineError> {
        let elements = element_count(name, shape)?;
        let view = Self { name, data_type, shape, data };
        let fits = match data_type {
            DataType::Bytes => {
                view.byte_strings().try_fold(0_usize, |count, item| item.map(|_| count + 1))? == elements
            }
            _ => elements.checked_mul(data_type.size()) == Some(data.len()),
        };
        if fits {
            return Ok(view);
        }
        let message = format!(
            "The data of \"{name}\" has {} bytes, which are not {elements} elements of {}.",
            data.len(),
            data_type.name()
        );
        Err(EngineError::invalid(name, message))
    }

    /// The elements of a BYTES tensor: a 32-bit length and that many bytes each.
    pub fn byte_strings(&self) -> impl Iterator<Item = Result<&'data [u8], EngineError>> + use<'data> {
        let name = self.name;
        let mut rest = self.data;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let item = rest
                .split_first_chunk::<4>()
                .and_then(|(length, after)| after.split_at_checked(u32::from_le_bytes(*length) as usize));
            let Some((bytes, after)) = item else {
                rest = &[];
                return Some(Err(EngineError::invalid(name, "A string of the tensor is longer than its data.")));
            };
            rest = after;
            Some(Ok(bytes))
        })
    }

    /// The elements as floats, where the type is FP32, FP64 or an integer of up to 64 bits. Copies.
    pub fn to_f64(&self) -> Result<Vec<f64>, EngineError> {
        fn each<const SIZE: usize>(data: &[u8], read: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
            data.as_chunks::<SIZE>().0.iter().map(|bytes| read(*bytes)).collect()
        }
        let data = self.data;
        Ok(match self.data_type {
            DataType::Fp32 => each(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
            DataType::Fp64 => each(data, f64::from_le_bytes),
            DataType::Bool | DataType::Uint8 => each(data, |[byte]: [u8; 1]| f64::from(byte)),
            DataType::Int8 => each(data, |bytes| f64::from(i8::from_le_bytes(bytes))),
            DataType::Uint16 => each(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
            DataType::Int16 => each(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
            DataType::Uint32 => each(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
            DataType::Int32 => each(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
            DataType::Uint64 => each(data, |bytes| u64::from_le_bytes(bytes) as f64),
            DataType::Int64 => each(data, |bytes| i64::from_le_bytes(bytes) as f64),
            DataType::Fp16 | DataType::Bf16 | DataType::Bytes => {
                let message = format!("{} cannot be read as numbers here; send FP32.", self.data_type.name());
                return Err(EngineError::invalid(self.name, message));
            }
        })
    }
}

/// A tensor of our own.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name in the reply.
    pub name: String,
    /// Type of the elements.
    pub data_type: DataType,
    /// Row-major.
    pub shape: Vec<i64>,
    /// Little-endian. A [`Buffer`] reads and writes like a slice, and may lie in the transport's memory: make it with the
    /// functions below, or with [`CallContext::reserve`], rather than from a vector of your own.
    pub data: Buffer,
}

impl Tensor {
    /// A tensor of FP32. Copies; [`Tensor::fill_f32`] writes where the transport wants it.
    pub fn from_f32(name: impl Into<String>, shape: Vec<i64>, values: &[f32]) -> Self {
        Self { name: name.into(), data_type: DataType::Fp32, shape, data: Buffer::from(values.to_vec()) }
    }

    /// A tensor of FP64. Copies.
    pub fn from_f64(name: impl Into<String>, shape: Vec<i64>, values: &[f64]) -> Self {
        Self { name: name.into(), data_type: DataType::Fp64, shape, data: Buffer::from(values.to_vec()) }
    }

    /// A tensor of INT64. Copies.
    pub fn from_i64(name: impl Into<String>, shape: Vec<i64>, values: &[i64]) -> Self {
        Self { name: name.into(), data_type: DataType::Int64, shape, data: Buffer::from(values.to_vec()) }
    }

    /// A tensor whose bytes are copied once, into the memory that the call's transport wants.
    pub fn copy_into(
        call: &CallContext,
        name: impl Into<String>,
        data_type: DataType,
        shape: Vec<i64>,
        bytes: &[u8],
    ) -> Self {
        Self { name: name.into(), data_type, shape, data: Buffer::copy_into(call.output.as_ref(), bytes) }
    }

    /// A tensor of FP32 with `length` elements that `fill` writes, all of them, in the memory that the call's transport
    /// wants.
    pub fn fill_f32(
        call: &CallContext,
        name: impl Into<String>,
        shape: Vec<i64>,
        length: usize,
        fill: impl FnOnce(&mut [f32]),
    ) -> Self {
        let mut data = call.reserve(length * size_of::<f32>());
        match numbers_of_mut::<f32>(&mut data) {
            Some(values) => fill(values),
            None => {
                let mut values = vec![0.0; length];
                fill(&mut values);
                data.copy_from_slice(bytes_of(&values));
            }
        }
        Self { name: name.into(), data_type: DataType::Fp32, shape, data }
    }

    /// The same, borrowed.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { name: &self.name, data_type: self.data_type, shape: &self.shape, data: &self.data }
    }
}
