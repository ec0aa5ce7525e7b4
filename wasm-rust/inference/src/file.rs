//! The `.tlm` model file: one block of bytes that is used as it is, without unpacking.
//!
//! ```text
//! 0   magic            8 bytes  "TREELINE"
//! 8   version          u32      1
//! 12  kind             u32      1 = BERT encoder, 2 = static vectors
//! 16  section count    u32      at most 256
//! 20  (zero)           u32
//! 24  file length      u64      bytes, all of it
//! 32  content checksum u64      of everything from the first section's offset to the end
//! 40  header checksum  u64      of bytes 0..40 and of the section table
//! 48  (zero)          16 bytes
//! 64  section table             64 bytes each: name (48 bytes, zero padded), offset u64, length u64
//! …   sections                  each begins at a multiple of 64; gaps are zero
//! ```
//!
//! All numbers are little-endian. A section is named for what it holds and is an array of one type; which sections a
//! kind of model has is written in that model's module. The section `metadata` is text, `name value` a line.

use crate::error::InferenceError;
use std::mem::MaybeUninit;

/// Alignment of sections, in the file and in memory, in bytes.
pub const ALIGNMENT: usize = 64;
/// A larger file is refused before any memory is taken for it.
pub const FILE_BYTES_MAX: usize = 64 << 20;
const MAGIC: &[u8; 8] = b"TREELINE";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 64;
const NAME: usize = 48;
const SECTIONS_MAX: usize = 256;

/// Bytes at an aligned address, to be filled piece by piece. Memory is taken at once but not written before its bytes
/// come: zeroing 22 MiB first would be a tenth of a cold start.
pub struct Buffer {
    /// `start` bytes of filling up to an aligned address, then what was written. Never grows beyond its first capacity,
    /// so its bytes never move.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Takes memory for `length` bytes.
    pub fn new(length: usize) -> Result<Self, InferenceError> {
        if length > FILE_BYTES_MAX {
            return Err(InferenceError::ModelTooLarge { bytes: length, bytes_max: FILE_BYTES_MAX });
        }
        let mut memory = Vec::with_capacity(length + ALIGNMENT);
        let address = memory.as_ptr() as usize;
        let start = address.next_multiple_of(ALIGNMENT) - address;
        memory.resize(start, 0);
        Ok(Self { memory, start, length })
    }

    /// A buffer that holds `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InferenceError> {
        let mut buffer = Self::new(bytes.len())?;
        buffer.write(bytes.len(), |place| place.write_copy_of_slice(bytes))?;
        Ok(buffer)
    }

    /// Lets `fill` write the next `count` bytes. It gets them as they are and returns them as bytes, which is its proof
    /// that it has written them all.
    pub fn write(
        &mut self,
        count: usize,
        fill: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> &'a mut [u8],
    ) -> Result<(), InferenceError> {
        let written = self.written();
        let end = written.saturating_add(count);
        if end > self.length {
            return Err(InferenceError::ModelTooLarge { bytes: end, bytes_max: self.length });
        }
        let place = &mut self.memory.spare_capacity_mut()[..count];
        let address = place.as_ptr().cast::<u8>();
        let filled = fill(place);
        if (filled.as_ptr(), filled.len()) == (address, count) {
            // SAFETY: `fill` returned these very bytes as initialised ones, and they lie within the capacity.
            unsafe { self.memory.set_len(self.start + end) };
        }
        Ok(())
    }

    /// Bytes in all, written or not.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.memory.len() - self.start
    }

    /// The bytes written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }
}

/// Where a section's bytes are. Only [`File`] makes these, inside its own bytes.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    offset: usize,
    length: usize,
}

/// A model file that has been checked.
pub struct File {
    buffer: Buffer,
    kind: u32,
    sections: Vec<(String, Section)>,
}

impl File {
    /// Checks a buffer: length, version, header, every section's place, and the checksum over all content.
    pub fn open(buffer: Buffer) -> Result<Self, InferenceError> {
        let bytes = buffer.bytes();
        let truncated = |expected| InferenceError::ModelTruncated { expected, actual: bytes.len() };
        if bytes.len() != buffer.length {
            return Err(truncated(buffer.length));
        }
        if bytes.len() < HEADER {
            return Err(truncated(HEADER));
        }
        if &bytes[..8] != MAGIC {
            return Err(InferenceError::ModelCorrupt("it does not begin as a model file does"));
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(InferenceError::ModelUnsupported("another version"));
        }
        let count = u32_at(bytes, 16) as usize;
        if count > SECTIONS_MAX {
            return Err(InferenceError::ModelCorrupt("too many sections"));
        }
        let table_end = HEADER + count * ENTRY;
        if bytes.len() < table_end {
            return Err(truncated(table_end));
        }
        if header_checksum(bytes, table_end) != u64_at(bytes, 40) {
            return Err(InferenceError::ModelCorrupt("the header's checksum differs"));
        }
        let length = usize::try_from(u64_at(bytes, 24)).unwrap_or(usize::MAX);
        match length.cmp(&bytes.len()) {
            std::cmp::Ordering::Greater => return Err(truncated(length)),
            std::cmp::Ordering::Less => return Err(InferenceError::ModelCorrupt("bytes after its end")),
            std::cmp::Ordering::Equal => {}
        }
        let sections = read_table(&bytes[HEADER..table_end], length)?;
        if content_checksum(&bytes[table_end..]) != u64_at(bytes, 32) {
            return Err(InferenceError::ModelCorrupt("the content's checksum differs"));
        }
        let kind = u32_at(bytes, 12);
        Ok(Self { buffer, kind, sections })
    }

    /// The model's kind, as in the header.
    pub fn kind(&self) -> u32 {
        self.kind
    }

    /// Bytes of the file.
    pub fn length(&self) -> usize {
        self.buffer.length
    }

    /// The section `name`, which must hold `count` values of `size` bytes.
    pub fn section(&self, name: &str, count: usize, size: usize) -> Result<Section, InferenceError> {
        let section = self.find(name)?;
        if count.checked_mul(size) != Some(section.length) {
            return Err(InferenceError::ModelCorrupt("a section has another length than its model needs"));
        }
        Ok(section)
    }

    /// The bytes of a section.
    pub fn u8s(&self, section: Section) -> &[u8] {
        &self.buffer.bytes()[section.offset..section.offset + section.length]
    }

    /// The bytes of a section, as signed numbers.
    pub fn i8s(&self, section: Section) -> &[i8] {
        let bytes = self.u8s(section);
        // SAFETY: i8 has the size and alignment of u8, and every bit pattern is a value.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }

    /// The floats of a section.
    pub fn f32s(&self, section: Section) -> &[f32] {
        let bytes = self.u8s(section);
        // SAFETY: a section begins at a multiple of 64 in a buffer aligned to 64, and every bit pattern is a float.
        // wasm and the native hosts are little-endian, as the file is.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / 4) }
    }

    /// The section `name` as text.
    pub fn text(&self, name: &str) -> Result<&str, InferenceError> {
        std::str::from_utf8(self.u8s(self.find(name)?)).map_err(|_| InferenceError::ModelCorrupt("text is not UTF-8"))
    }

    /// The value of `key` in the metadata.
    pub fn metadata(&self, key: &str) -> Result<&str, InferenceError> {
        let lines = self.text("metadata")?.lines();
        lines
            .filter_map(|line| line.split_once(' '))
            .find_map(|(name, value)| (name == key).then_some(value))
            .ok_or(InferenceError::ModelCorrupt("metadata lacks a value"))
    }

    /// The value of `key` in the metadata as a number of 1 to `most`.
    pub fn number(&self, key: &str, most: usize) -> Result<usize, InferenceError> {
        let value = self.metadata(key)?.parse::<usize>().ok();
        value.filter(|value| (1..=most).contains(value)).ok_or(InferenceError::ModelCorrupt("a number is out of range"))
    }

    fn find(&self, name: &str) -> Result<Section, InferenceError> {
        let found = self.sections.iter().find(|(known, _)| known == name);
        found.map(|(_, section)| *section).ok_or(InferenceError::ModelCorrupt("a section is missing"))
    }
}

fn read_table(table: &[u8], file_length: usize) -> Result<Vec<(String, Section)>, InferenceError> {
    let corrupt = || InferenceError::ModelCorrupt("a section's place is impossible");
    let (entries, _) = table.as_chunks::<ENTRY>();
    let mut end = HEADER + table.len();
    let mut sections = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = std::str::from_utf8(&entry[..NAME]).map_err(|_| corrupt())?.trim_end_matches('\0');
        let offset = usize::try_from(u64_at(entry, NAME)).map_err(|_| corrupt())?;
        let length = usize::try_from(u64_at(entry, NAME + 8)).map_err(|_| corrupt())?;
        let past = offset.checked_add(length).filter(|&past| past <= file_length).ok_or_else(corrupt)?;
        if offset < end || !offset.is_multiple_of(ALIGNMENT) {
            return Err(corrupt());
        }
        end = past;
        sections.push((name.to_owned(), Section { offset, length }));
    }
    Ok(sections)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// FNV-1a (64 bits) over the header without its own checksum, and over the section table.
fn header_checksum(bytes: &[u8], table_end: usize) -> u64 {
    let covered = bytes[..40].iter().chain(&bytes[48..table_end]);
    covered.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A fast checksum against damage (not against malice): sixteen FNV-like 32-bit sums side by side, folded at the end.
/// A step is a bijection of the sum, so one changed word always changes the result.
fn content_checksum(bytes: &[u8]) -> u64 {
    const LANES: usize = 16;
    const PRIME: u32 = 0x9e37_79b1;
    let mut sums: [u32; LANES] = std::array::from_fn(|lane| lane as u32 + 1);
    let (blocks, rest) = bytes.as_chunks::<{ LANES * 4 }>();
    let mut last = [0; LANES * 4];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain(std::iter::once(&last)) {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<4>().0) {
            *sum = (*sum ^ u32::from_le_bytes(*word)).wrapping_mul(PRIME);
        }
    }
    sums.iter().fold(bytes.len() as u64, |hash, &sum| (hash ^ u64::from(sum)).wrapping_mul(0x0100_0000_01b3))
}

/// Puts a model file together.
pub struct Writer {
    kind: u32,
    metadata: String,
    sections: Vec<(String, Vec<u8>)>,
}

impl Writer {
    /// An empty file of the given kind.
    pub fn new(kind: u32) -> Self {
        Self { kind, metadata: String::new(), sections: Vec::new() }
    }

    /// Adds a line of metadata.
    pub fn metadata(&mut self, key: &str, value: &str) {
        self.metadata.push_str(&format!("{key} {value}\n"));
    }

    /// Adds a section of bytes.
    pub fn u8s(&mut self, name: &str, bytes: Vec<u8>) {
        debug_assert!(name.len() <= NAME);
        self.sections.push((name.to_owned(), bytes));
    }

    /// Adds a section of floats.
    pub fn f32s(&mut self, name: &str, values: &[f32]) {
        self.u8s(name, values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }

    /// The file's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let metadata = std::mem::take(&mut self.metadata).into_bytes();
        self.sections.insert(0, ("metadata".to_owned(), metadata));
        let table_end = HEADER + self.sections.len() * ENTRY;
        let mut bytes = vec![0; table_end];
        for (index, (name, content)) in self.sections.iter().enumerate() {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            let entry = HEADER + index * ENTRY;
            bytes[entry..entry + name.len()].copy_from_slice(name.as_bytes());
            let place = [bytes.len() as u64, content.len() as u64].map(u64::to_le_bytes).concat();
            bytes[entry + NAME..entry + ENTRY].copy_from_slice(&place);
            bytes.extend_from_slice(content);
        }
        let content = content_checksum(&bytes[table_end..]);
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.sections.len() as u32).to_le_bytes());
        let length = bytes.len() as u64;
        bytes[24..32].copy_from_slice(&length.to_le_bytes());
        bytes[32..40].copy_from_slice(&content.to_le_bytes());
        let header = header_checksum(&bytes, table_end);
        bytes[40..48].copy_from_slice(&header.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Vec<u8> {
        let mut writer = Writer::new(2);
        writer.metadata("name", "small one");
        writer.f32s("numbers", &[1.0, -2.5]);
        writer.u8s("bytes", (0..100).collect());
        writer.finish()
    }

    fn open(bytes: &[u8]) -> Result<File, InferenceError> {
        File::open(Buffer::from_bytes(bytes)?)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let file = open(&small()).expect("a good file opens");
        assert_eq!(file.kind(), 2);
        assert_eq!(file.metadata("name"), Ok("small one"));
        assert_eq!(file.f32s(file.section("numbers", 2, 4).expect("present")), [1.0, -2.5]);
        assert_eq!(file.u8s(file.section("bytes", 100, 1).expect("present"))[99], 99);
        assert!(file.section("bytes", 99, 1).is_err() && file.section("absent", 0, 1).is_err());
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_refused() {
        let good = small();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(open(&bad).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_file_cut_short_or_made_longer_is_refused() {
        let good = small();
        for length in 0..good.len() {
            assert!(open(&good[..length]).is_err(), "{length} bytes");
        }
        assert!(open(&[good, vec![0]].concat()).is_err());
    }

    #[test]
    fn sections_with_a_valid_checksum_but_impossible_places_are_refused() {
        for (at, value) in [(NAME, 0_u64), (NAME, 65), (NAME, u64::MAX - 63), (NAME + 8, u64::MAX), (NAME + 8, 1 << 20)]
        {
            let mut bad = small();
            bad[HEADER + at..HEADER + at + 8].copy_from_slice(&value.to_le_bytes());
            let checksum = header_checksum(&bad, HEADER + 3 * ENTRY);
            bad[40..48].copy_from_slice(&checksum.to_le_bytes());
            assert!(matches!(open(&bad), Err(InferenceError::ModelCorrupt(_))), "{value} at {at}");
        }
    }

    #[test]
    fn more_bytes_than_announced_are_refused() {
        let mut buffer = Buffer::new(10).expect("small");
        assert!(buffer.write(8, |place| place.write_copy_of_slice(&[1; 8])).is_ok());
        assert!(buffer.write(3, |place| place.write_copy_of_slice(&[1; 3])).is_err());
        assert_eq!((buffer.written(), buffer.bytes()), (8, &[1; 8][..]));
        assert!(matches!(File::open(buffer), Err(InferenceError::ModelTruncated { expected: 10, actual: 8 })));
        assert!(matches!(Buffer::new(FILE_BYTES_MAX + 1), Err(InferenceError::ModelTooLarge { .. })));
    }
}
