//! Checked little-endian reading.

use super::fault;
use engine_core::EngineError;

/// Bytes of one text, at most; the longest known are chat templates of some 10 KB.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// A place in the file that only moves forward.
pub struct Cursor<'file> {
    bytes: &'file [u8],
    position: usize,
}

impl<'file> Cursor<'file> {
    pub fn new(bytes: &'file [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub fn take(&mut self, count: usize) -> Result<&'file [u8], EngineError> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..count).ok_or_else(|| fault("ends in the middle of its header."))?;
        self.position += count;
        Ok(taken)
    }

    pub fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], EngineError> {
        let mut array = [0; SIZE];
        array.copy_from_slice(self.take(SIZE)?);
        Ok(array)
    }

    pub fn u32(&mut self) -> Result<u32, EngineError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, EngineError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of things of which each takes at least `item_bytes` of the file, and of which there are at most `max`.
    pub fn count(&mut self, what: &str, item_bytes: usize, max: usize) -> Result<usize, EngineError> {
        let count = self.u64()?;
        let fits = usize::try_from(count).ok().filter(|&count| count <= max && count <= self.remaining() / item_bytes);
        fits.ok_or_else(|| fault(format!("says that it has {count} {what}, which it cannot hold.")))
    }

    pub fn text(&mut self) -> Result<&'file str, EngineError> {
        let length = self.count("bytes in a text", 1, TEXT_BYTES_MAX)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| fault("has a text that is not UTF-8."))
    }
}
