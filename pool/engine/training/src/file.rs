//! The file of a trained model.
//!
//! | bytes | are |
//! |---|---|
//! | 8 | `TRLTABLE` |
//! | 4 | version of the format, 1 |
//! | 4 | CRC-32 of all bytes from the next field on |
//! | 4 | length of the header |
//! | 8 | length of the body |
//! | … | the header: MessagePack |
//! | … | the body: what the algorithm wrote |
//!
//! Numbers are little-endian. A damaged file is an error that names what is wrong; lengths are compared with the file's own
//! before anything is allocated by them.

use crate::scaling::Scaling;
use engine_core::{EngineError, Reason};
use std::path::Path;

/// Bytes of a file, at most.
pub const FILE_BYTES_MAX: u64 = 2 << 30;
/// Bytes of a header, at most.
pub const HEADER_BYTES_MAX: usize = 16 << 20;
/// Version of the format.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"TRLTABLE";
const START_BYTES: usize = 28;

/// What must be known of a trained model besides its body.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The backend that trained it.
    pub backend: String,
    /// The algorithm in the backend's table.
    pub algorithm: String,
    /// Columns of `features`.
    pub columns: usize,
    /// How the caller names the classes; empty where there are none.
    pub classes: Vec<i64>,
    /// What was done to the columns first.
    pub scaling: Option<Scaling>,
}

/// The file's bytes.
pub fn encode(header: &Header, body: &[u8]) -> Result<Vec<u8>, EngineError> {
    let header = rmp_serde::to_vec_named(header).map_err(|error| {
        EngineError::new(Reason::Internal, format!("The model's header cannot be written: {error}."))
    })?;
    let mut checked = Vec::with_capacity(12 + header.len() + body.len());
    checked.extend_from_slice(&(header.len() as u32).to_le_bytes());
    checked.extend_from_slice(&(body.len() as u64).to_le_bytes());
    checked.extend_from_slice(&header);
    checked.extend_from_slice(body);
    let mut bytes = Vec::with_capacity(16 + checked.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    bytes.extend_from_slice(&checked);
    Ok(bytes)
}

/// Header and body of the file's bytes.
pub fn decode(bytes: &[u8]) -> Result<(Header, &[u8]), EngineError> {
    let start = bytes.first_chunk::<START_BYTES>().ok_or_else(|| damaged("is too short"))?;
    if &start[..8] != MAGIC {
        return Err(damaged("is not one: its first bytes differ"));
    }
    let version = u32_at(start, 8);
    if version != FORMAT_VERSION {
        return Err(damaged(&format!("has the format {version}; this engine reads {FORMAT_VERSION}")));
    }
    let header_length = u32_at(start, 16) as usize;
    let body_length = u64::from(u32_at(start, 20)) | u64::from(u32_at(start, 24)) << 32;
    let rest = &bytes[START_BYTES..];
    if header_length > HEADER_BYTES_MAX || (header_length as u64).checked_add(body_length) != Some(rest.len() as u64) {
        return Err(damaged("has another length than it says"));
    }
    if crc32fast::hash(&bytes[16..]) != u32_at(start, 12) {
        return Err(damaged("has a wrong checksum"));
    }
    let (header, body) = rest.split_at(header_length);
    let header: Header = rmp_serde::from_slice(header)
        .map_err(|error| damaged(&format!("has a header that cannot be read: {error}")))?;
    Ok((header, body))
}

/// Writes the file.
pub fn write(path: &Path, header: &Header, body: &[u8]) -> Result<(), EngineError> {
    let bytes = encode(header, body)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("The trained model has {} bytes; at most {FILE_BYTES_MAX} are kept.", bytes.len());
        return Err(EngineError::new(Reason::MemoryExceeded, message));
    }
    std::fs::write(path, bytes)
        .map_err(|error| EngineError::new(Reason::Internal, format!("The trained model cannot be written: {error}.")))
}

/// Reads the file's bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    let unreadable = |error: std::io::Error| damaged(&format!("cannot be read: {error}"));
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(damaged(&format!("has {length} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    std::fs::read(path).map_err(unreadable)
}

fn u32_at(bytes: &[u8; START_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn damaged(what: &str) -> EngineError {
    EngineError::new(Reason::ModelNotReady, format!("The file of the trained model {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Header, Vec<u8>) {
        let header = Header {
            backend: "example".into(),
            algorithm: "none".into(),
            columns: 3,
            classes: vec![-1, 4],
            scaling: Some(Scaling { means: vec![0.1, 0.2, 0.3], deviations: vec![1.0, 2.0, 3.0] }),
        };
        (header, (0..=255).collect())
    }

    #[test]
    fn what_is_written_is_read() {
        let (header, body) = example();
        let bytes = encode(&header, &body).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (header, body.as_slice()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_an_error() {
        let (header, body) = example();
        let bytes = encode(&header, &body).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged).unwrap_err().reason, Reason::ModelNotReady, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
