//! Tensors to ONNX Runtime's values and back.

use crate::outlet::Outlet;
use engine_core::{CallContext, DataType, EngineError, Reason, Tensor, TensorView};
use half::{bf16, f16};
use ort::memory::MemoryInfo;
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Shape, Tensor as Value, TensorRefMut};
use std::borrow::Cow;
use std::fmt::Debug;

/// Memory that ONNX Runtime reads an input from: the caller's where it is aligned, else a copy.
pub enum Aligned<'data> {
    /// The caller's.
    Borrowed(&'data [u8]),
    /// A copy in words of 8 bytes, the widest element; the second is the length in bytes.
    Copied(Vec<u64>),
}

impl<'data> Aligned<'data> {
    /// The elements of `tensor`, aligned as its type needs.
    pub fn of(tensor: &TensorView<'data>) -> Self {
        let size = tensor.data_type.size().max(1);
        if !tensor.data.is_empty() && tensor.data.as_ptr().addr().is_multiple_of(size) {
            return Self::Borrowed(tensor.data);
        }
        // One word at least, so that the pointer of an empty tensor is one that can be read.
        let mut words = vec![0_u64; tensor.data.len().div_ceil(8).max(1)];
        for (word, bytes) in words.iter_mut().zip(tensor.data.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        Self::Copied(words)
    }

    /// Whether the caller's memory is used.
    pub fn is_borrowed(&self) -> bool {
        matches!(self, Self::Borrowed(_))
    }

    fn pointer(&self) -> *const u8 {
        match self {
            Self::Borrowed(bytes) => bytes.as_ptr(),
            Self::Copied(words) => words.as_ptr().cast(),
        }
    }
}

/// The value of a checked input, over the memory of `aligned`, which holds the elements of `tensor`.
pub fn input<'value>(
    tensor: &TensorView<'_>,
    aligned: &'value Aligned<'_>,
) -> Result<SessionInputValue<'value>, EngineError> {
    match tensor.data_type {
        DataType::Bool => {
            if tensor.data.iter().any(|byte| *byte > 1) {
                return Err(EngineError::invalid(tensor.name, "The elements of a BOOL tensor are 0 or 1."));
            }
            numbers::<bool>(tensor, aligned)
        }
        DataType::Uint8 => numbers::<u8>(tensor, aligned),
        DataType::Uint16 => numbers::<u16>(tensor, aligned),
        DataType::Uint32 => numbers::<u32>(tensor, aligned),
        DataType::Uint64 => numbers::<u64>(tensor, aligned),
        DataType::Int8 => numbers::<i8>(tensor, aligned),
        DataType::Int16 => numbers::<i16>(tensor, aligned),
        DataType::Int32 => numbers::<i32>(tensor, aligned),
        DataType::Int64 => numbers::<i64>(tensor, aligned),
        DataType::Fp16 => numbers::<f16>(tensor, aligned),
        DataType::Bf16 => numbers::<bf16>(tensor, aligned),
        DataType::Fp32 => numbers::<f32>(tensor, aligned),
        DataType::Fp64 => numbers::<f64>(tensor, aligned),
        DataType::Bytes => strings(tensor),
    }
}

fn numbers<'value, T: PrimitiveTensorElementType + Debug + 'static>(
    tensor: &TensorView<'_>,
    aligned: &'value Aligned<'_>,
) -> Result<SessionInputValue<'value>, EngineError> {
    let shape = Shape::new(tensor.shape.iter().copied());
    let pointer = aligned.pointer().cast_mut().cast();
    // SAFETY: `aligned` holds as many elements as type and shape say, since a TensorView is checked when it is made, and is
    // aligned for them. It is borrowed for as long as the value lives, and ONNX Runtime only reads inputs.
    let value = unsafe { TensorRefMut::<T>::from_raw(MemoryInfo::default(), pointer, shape) };
    Ok(value.map_err(|error| refused(tensor.name, &error))?.into())
}

/// Strings are copied: ONNX Runtime keeps its own, in UTF-8 and ended by a zero.
fn strings(tensor: &TensorView<'_>) -> Result<SessionInputValue<'static>, EngineError> {
    let readable = |bytes: Result<&[u8], EngineError>| {
        let text = std::str::from_utf8(bytes?).ok().filter(|text| !text.contains('\0'));
        text.map(str::to_owned)
            .ok_or_else(|| EngineError::invalid(tensor.name, "ONNX takes strings of UTF-8 without zero bytes."))
    };
    let texts = tensor.byte_strings().map(readable).collect::<Result<Vec<String>, EngineError>>()?;
    let value = Value::from_string_array((tensor.shape.to_vec(), texts.as_slice()));
    Ok(value.map_err(|error| refused(tensor.name, &error))?.into())
}

/// The tensor of an output, copied once into the memory that the call's transport wants.
pub fn output(call: &CallContext, outlet: &Outlet, value: &DynValue) -> Result<Tensor, EngineError> {
    let name = outlet.name.as_str();
    match outlet.data_type {
        DataType::Bool => copy::<bool>(call, outlet, value),
        DataType::Uint8 => copy::<u8>(call, outlet, value),
        DataType::Uint16 => copy::<u16>(call, outlet, value),
        DataType::Uint32 => copy::<u32>(call, outlet, value),
        DataType::Uint64 => copy::<u64>(call, outlet, value),
        DataType::Int8 => copy::<i8>(call, outlet, value),
        DataType::Int16 => copy::<i16>(call, outlet, value),
        DataType::Int32 => copy::<i32>(call, outlet, value),
        DataType::Int64 => copy::<i64>(call, outlet, value),
        DataType::Fp16 => copy::<f16>(call, outlet, value),
        DataType::Bf16 => copy::<bf16>(call, outlet, value),
        DataType::Fp32 => copy::<f32>(call, outlet, value),
        DataType::Fp64 => copy::<f64>(call, outlet, value),
        DataType::Bytes => {
            let (shape, texts) = value.try_extract_strings().map_err(|error| unreadable(name, &error))?;
            let bytes = framed(&texts)?;
            Ok(Tensor::copy_into(call, name, DataType::Bytes, shape.to_vec(), &bytes))
        }
    }
}

fn copy<T: PrimitiveTensorElementType>(
    call: &CallContext,
    outlet: &Outlet,
    value: &DynValue,
) -> Result<Tensor, EngineError> {
    let (shape, elements) = value.try_extract_tensor::<T>().map_err(|error| unreadable(&outlet.name, &error))?;
    // SAFETY: the elements are numbers, or bools of one byte, without padding; any of them can be read as bytes.
    let bytes = unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), size_of_val(elements)) };
    Ok(Tensor::copy_into(call, &outlet.name, outlet.data_type, shape.to_vec(), bytes))
}

/// As the protocol has strings: a 32-bit length and the bytes.
fn framed(texts: &[String]) -> Result<Cow<'static, [u8]>, EngineError> {
    let mut bytes = Vec::with_capacity(texts.iter().map(|text| 4 + text.len()).sum());
    for text in texts {
        let length = u32::try_from(text.len())
            .map_err(|_| EngineError::new(Reason::Internal, "A string of the model's output has over 4 GiB."))?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(Cow::Owned(bytes))
}

fn refused(name: &str, error: &ort::Error) -> EngineError {
    EngineError::invalid(name, format!("ONNX Runtime refuses \"{name}\": {}.", error.message()))
}

fn unreadable(name: &str, error: &ort::Error) -> EngineError {
    EngineError::new(Reason::Internal, format!("The output \"{name}\" is unreadable: {}.", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_memory_is_borrowed_and_other_memory_copied() {
        let words = [1_u64, 2, 3];
        // SAFETY: 24 bytes of numbers.
        let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), 24) };
        let view = |data, shape| TensorView { name: "x", data_type: DataType::Fp32, shape, data };
        assert!(Aligned::of(&view(&bytes[4..12], &[2])).is_borrowed());
        let copied = Aligned::of(&view(&bytes[1..9], &[2]));
        let Aligned::Copied(words) = &copied else { panic!("a copy was expected") };
        assert_eq!(words[0].to_ne_bytes(), bytes[1..9]);
        assert!(!Aligned::of(&view(&[], &[0])).is_borrowed());
    }
}
