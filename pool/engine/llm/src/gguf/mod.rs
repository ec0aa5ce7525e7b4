//! Weights files in GGUF (versions 2 and 3, little-endian): a header of metadata and tensor names, and the tensors' data,
//! which stays in the mapped file. Format: the specification `docs/gguf.md` of the ggml project.
//!
//! A file is data from outside. Whatever its bytes are, reading ends with a value or an error; no count in it makes the
//! reader allocate more than a small multiple of the file's own size.
//!
//! | module | holds |
//! |---|---|
//! | [`metadata`] | keys and values: shape of the model, tokenizer, chat template |
//! | [`tensor`] | element types, and the place of each tensor |
//! | `cursor` | checked reading |

mod cursor;
mod header;
pub mod metadata;
pub mod tensor;
#[cfg(test)]
pub(crate) mod writer;

pub use metadata::{Metadata, Value};
pub use tensor::{ElementType, TensorData, TensorPlace};

use engine_core::{EngineError, Reason};
use memmap2::Mmap;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// An opened weights file.
///
/// ```no_run
/// # fn main() -> Result<(), engine_core::EngineError> {
/// let file = llm::gguf::Gguf::open(std::path::Path::new("model.gguf"))?;
/// let tokens: &[String] = file.metadata().texts("tokenizer.ggml.tokens")?;
/// let template: Option<&str> = file.metadata().optional_text("tokenizer.chat_template")?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Gguf {
    bytes: Bytes,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorPlace>,
}

/// Where the file's bytes lie.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Gguf {
    /// Maps the file and reads its header. The file must not be changed or cut while it is open: replace it by renaming
    /// another over it.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let unreadable = |error: std::io::Error| fault(format!("cannot be opened: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the mapping is read-only and private; that nobody cuts the file meanwhile is the documented condition,
        // the same that every reader of mapped weights sets.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Self::new(Bytes::Mapped(map))
    }

    /// Reads a file that is in memory already.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, EngineError> {
        Self::new(Bytes::Owned(bytes))
    }

    fn new(bytes: Bytes) -> Result<Self, EngineError> {
        let (metadata, tensors) = header::read(bytes.as_slice())?;
        Ok(Self { bytes, metadata, tensors })
    }

    /// Keys and values.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Names and places of all tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorPlace)> {
        self.tensors.iter().map(|(name, place)| (name.as_str(), place))
    }

    /// The tensor of that name, if there is one.
    pub fn optional_tensor(&self, name: &str) -> Option<TensorData<'_>> {
        let place = self.tensors.get(name)?;
        let data = self.bytes.as_slice().get(place.bytes.clone())?;
        Some(TensorData { place, data })
    }

    /// The tensor of that name, or an error that names it.
    pub fn tensor(&self, name: &str) -> Result<TensorData<'_>, EngineError> {
        self.optional_tensor(name).ok_or_else(|| fault(format!("has no tensor \"{name}\".")))
    }

    /// Tells the system that the pages read so far may go; they come back from the file when they are read again.
    pub fn release_pages(&self) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &self.bytes {
            // SAFETY: dropping pages of a read-only mapping of a file changes no content.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

/// An error about the file; `what` goes on from "The weights file".
pub fn fault(what: impl std::fmt::Display) -> EngineError {
    EngineError::new(Reason::ModelNotReady, format!("The weights file {what}"))
}

#[cfg(test)]
mod tests;
