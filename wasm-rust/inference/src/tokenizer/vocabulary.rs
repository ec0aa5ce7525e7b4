//! The vocabulary as a hash table: which pieces of text are tokens.

use crate::error::InferenceError;

/// More tokens than any model here has.
const TOKENS_MAX: usize = 1 << 20;
/// What a piece inside a word begins with in the vocabulary's text.
const CONTINUATION: &[u8] = b"##";
/// Where hashing starts for the first piece of a word, and for the others.
const SEEDS: [u32; 2] = [0x9e37_79b9, 0x85eb_ca6b];

/// All tokens, by their text.
pub(super) struct Vocabulary {
    text: Vec<u8>,
    /// Where each token's text starts, without its continuation mark; a token ends where the next line starts.
    entries: Vec<Entry>,
    /// Open addressing with linear steps: 0 for a free slot, else id + 1. Its length is a power of two.
    slots: Vec<u32>,
    /// Bytes of the longest token.
    longest: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    length: u16,
    continuation: bool,
}

impl Vocabulary {
    /// Reads one token a line.
    pub(super) fn parse(text: &str) -> Result<Self, InferenceError> {
        let mut found = Self { text: text.as_bytes().to_vec(), entries: Vec::new(), slots: Vec::new(), longest: 1 };
        let mut start = 0;
        for line in text.split_terminator('\n') {
            found.add_entry(start, line.as_bytes())?;
            start += line.len() + 1;
        }
        if found.entries.is_empty() {
            return Err(InferenceError::ModelCorrupt("the vocabulary is empty"));
        }
        found.fill_slots();
        Ok(found)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The id of a whole token that may open a word.
    pub(super) fn find_first(&self, piece: &[u8]) -> Option<u32> {
        let hash = piece.iter().fold(SEEDS[0], |hash, &byte| step(hash, byte));
        self.find(piece, false, hash)
    }

    /// The longest token that `word` starts with, and its bytes.
    pub(super) fn longest_first(&self, word: &[u8]) -> Option<(u32, usize)> {
        self.longest(word, false)
    }

    /// The longest token that the rest of a word starts with, and its bytes.
    pub(super) fn longest_next(&self, rest: &[u8]) -> Option<(u32, usize)> {
        self.longest(rest, true)
    }

    fn longest(&self, text: &[u8], continuation: bool) -> Option<(u32, usize)> {
        const HASHES_MAX: usize = 64;
        let mut hashes = [0; HASHES_MAX];
        let length = text.len().min(self.longest).min(HASHES_MAX);
        let mut hash = SEEDS[usize::from(continuation)];
        for (place, &byte) in hashes.iter_mut().zip(&text[..length]) {
            hash = step(hash, byte);
            *place = hash;
        }
        (1..=length)
            .rev()
            .find_map(|length| Some((self.find(&text[..length], continuation, hashes[length - 1])?, length)))
    }

    fn find(&self, piece: &[u8], continuation: bool, hash: u32) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = spread(hash) as usize & mask;
        while let Some(id) = self.slots[slot].checked_sub(1) {
            let entry = self.entries[id as usize];
            let start = entry.start as usize;
            if entry.continuation == continuation && &self.text[start..start + usize::from(entry.length)] == piece {
                return Some(id);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    fn add_entry(&mut self, start: usize, line: &[u8]) -> Result<(), InferenceError> {
        let continuation = line.len() > CONTINUATION.len() && line.starts_with(CONTINUATION);
        let skipped = if continuation { CONTINUATION.len() } else { 0 };
        let length = line.len() - skipped;
        if self.entries.len() == TOKENS_MAX || length > 63 {
            return Err(InferenceError::ModelCorrupt("the vocabulary has too many or too long tokens"));
        }
        let start = u32::try_from(start + skipped).map_err(|_| InferenceError::ModelCorrupt("vocabulary size"))?;
        self.longest = self.longest.max(length);
        self.entries.push(Entry { start, length: length as u16, continuation });
        Ok(())
    }

    /// At most half of the slots are used, so a search always meets a free one. The first of equal tokens wins.
    fn fill_slots(&mut self) {
        self.slots = vec![0; (self.entries.len() * 2).next_power_of_two()];
        let mask = self.slots.len() - 1;
        for (id, entry) in self.entries.iter().enumerate() {
            let piece = &self.text[entry.start as usize..][..usize::from(entry.length)];
            let hash = piece.iter().fold(SEEDS[usize::from(entry.continuation)], |hash, &byte| step(hash, byte));
            let mut slot = spread(hash) as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = id as u32 + 1;
        }
    }
}

/// One byte of the FNV-1a hash.
fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

/// Brings the hash's well-mixed high bits down to where slots are chosen.
fn spread(hash: u32) -> u32 {
    hash ^ (hash >> 15)
}
