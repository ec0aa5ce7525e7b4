//! Reading safetensors: a JSON header that names tensors, then their bytes.

use crate::error::InferenceError;
use serde_json::Value;

/// A longer header is refused.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// A safetensors file in memory.
pub struct Safetensors<'a> {
    header: Value,
    data: &'a [u8],
}

impl<'a> Safetensors<'a> {
    /// Reads the header.
    pub fn open(bytes: &'a [u8]) -> Result<Self, InferenceError> {
        let length = bytes.first_chunk::<8>().map(|eight| u64::from_le_bytes(*eight));
        let length = length.filter(|&length| length <= HEADER_BYTES_MAX).ok_or_else(|| invalid("no header"))?;
        let (header, data) =
            bytes[8..].split_at_checked(length as usize).ok_or_else(|| invalid("the header is cut"))?;
        let header = serde_json::from_slice(header).map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { header, data })
    }

    /// The floats of tensor `name`, which must have `shape`.
    pub fn f32s(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferenceError> {
        let entry = self.header.get(name).ok_or_else(|| invalid(&format!("no tensor {name}")))?;
        if entry["dtype"] != "F32" {
            return Err(invalid(&format!("{name} is not of 32-bit floats")));
        }
        if numbers(&entry["shape"]) != shape {
            return Err(invalid(&format!("{name} has another shape than {shape:?}")));
        }
        let bytes = match numbers(&entry["data_offsets"])[..] {
            [start, end] => self.data.get(start..end),
            _ => None,
        };
        let bytes = bytes.filter(|bytes| bytes.len() == shape.iter().product::<usize>() * 4);
        let bytes = bytes.ok_or_else(|| invalid(&format!("{name} lies outside the file")))?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect())
    }
}

fn numbers(value: &Value) -> Vec<usize> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| item.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX))
        .collect()
}

fn invalid(what: &str) -> InferenceError {
    InferenceError::SourceInvalid(format!("safetensors: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn a_tensor_is_read_with_its_shape_checked() {
        let bytes = file(r#"{"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#, &[0, 0, 128, 63, 0, 0, 0, 64]);
        let source = Safetensors::open(&bytes).expect("good");
        assert_eq!(source.f32s("a", &[2, 1]), Ok(vec![1.0, 2.0]));
        assert!(source.f32s("a", &[1, 2]).is_err() && source.f32s("b", &[1]).is_err());
    }

    #[test]
    fn bad_headers_and_offsets_are_errors() {
        for bytes in [vec![], vec![255; 16], file("{", b""), file("[]", b"")[..9].to_vec()] {
            assert!(Safetensors::open(&bytes).is_err());
        }
        let outside = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, &[0; 8]);
        assert!(Safetensors::open(&outside).expect("header is good").f32s("a", &[2]).is_err());
    }
}
