//! A buddy allocator (Knowlton 1965) over an arena whose books lie in private memory: blocks are powers of two, a free block
//! joins its equal neighbour. It knows offsets only; the memory itself is the caller's.

use crate::layout::Piece;
use std::collections::{BTreeSet, HashMap};

/// The smallest block, in bytes: a cache line twice over, so that neighbours never share one.
pub const BLOCK_BYTES_MIN: u64 = 128;
/// Memory is given back to the system in chunks of this many bytes.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// The books of an arena.
pub struct Arena {
    /// Free blocks by order (bytes = [`BLOCK_BYTES_MIN`] << order), lowest offset first, which keeps touched memory dense.
    free: Vec<BTreeSet<u64>>,
    /// Order of each taken block.
    taken: HashMap<u64, u32>,
    bytes_taken: u64,
    /// Chunks that may have pages behind them.
    touched: Vec<bool>,
    touched_count: u64,
    /// Touched chunks that may stay when they are free.
    chunks_kept: u64,
}

impl Arena {
    /// An arena of `bytes` (a power of two), which keeps up to `bytes_kept` of free memory warm.
    pub fn new(bytes: u64, bytes_kept: u64) -> Option<Self> {
        if !bytes.is_power_of_two() || bytes < CHUNK_BYTES {
            return None;
        }
        let top = (bytes / BLOCK_BYTES_MIN).ilog2();
        let mut free = vec![BTreeSet::new(); top as usize + 1];
        free[top as usize].insert(0);
        let touched = vec![false; (bytes / CHUNK_BYTES) as usize];
        let chunks_kept = bytes_kept / CHUNK_BYTES;
        Some(Self { free, taken: HashMap::new(), bytes_taken: 0, touched, touched_count: 0, chunks_kept })
    }

    /// Bytes of blocks that are taken.
    pub fn bytes_taken(&self) -> u64 {
        self.bytes_taken
    }

    /// Takes `length` bytes; `None` where no block is free.
    pub fn take(&mut self, length: u64) -> Option<u64> {
        let blocks = length.max(1).div_ceil(BLOCK_BYTES_MIN).checked_next_power_of_two()?;
        let order = blocks.ilog2() as usize;
        let found = (order..self.free.len()).find(|&order| !self.free[order].is_empty())?;
        let offset = self.free[found].pop_first()?;
        for split in (order..found).rev() {
            self.free[split].insert(offset + (BLOCK_BYTES_MIN << split));
        }
        self.taken.insert(offset, order as u32);
        let bytes = BLOCK_BYTES_MIN << order;
        self.bytes_taken += bytes;
        self.touch(offset, bytes);
        Some(offset)
    }

    fn touch(&mut self, offset: u64, bytes: u64) {
        for chunk in offset / CHUNK_BYTES..=(offset + bytes - 1) / CHUNK_BYTES {
            self.touched_count += u64::from(!std::mem::replace(&mut self.touched[chunk as usize], true));
        }
    }

    /// Gives a block back; false where none is taken at that offset. What the caller should return to the system, if there
    /// is more free memory than is kept warm, is written to `cold`; it must do so before the next [`Self::take`].
    pub fn give(&mut self, offset: u64, cold: &mut Vec<Piece>) -> bool {
        let Some(order) = self.taken.remove(&offset) else { return false };
        self.bytes_taken -= BLOCK_BYTES_MIN << order;
        let (offset, order) = self.join(offset, order as usize);
        self.free[order].insert(offset);
        let bytes = BLOCK_BYTES_MIN << order;
        if bytes >= CHUNK_BYTES {
            self.cool(offset, bytes, cold);
        }
        true
    }

    fn join(&mut self, mut offset: u64, mut order: usize) -> (u64, usize) {
        while order + 1 < self.free.len() {
            let buddy = offset ^ (BLOCK_BYTES_MIN << order);
            if !self.free[order].remove(&buddy) {
                break;
            }
            offset = offset.min(buddy);
            order += 1;
        }
        (offset, order)
    }

    fn cool(&mut self, offset: u64, bytes: u64, cold: &mut Vec<Piece>) {
        // From the end: low offsets are taken first, so these stay warm.
        for chunk in (offset / CHUNK_BYTES..(offset + bytes) / CHUNK_BYTES).rev() {
            if self.touched_count <= self.chunks_kept + self.bytes_taken.div_ceil(CHUNK_BYTES) {
                return;
            }
            if std::mem::replace(&mut self.touched[chunk as usize], false) {
                self.touched_count -= 1;
                cold.push(Piece { offset: chunk * CHUNK_BYTES, length: CHUNK_BYTES });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARENA: u64 = 16 << 20;

    /// xorshift64* (Vigna 2016).
    fn random(state: &mut u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    #[test]
    fn blocks_never_overlap_and_all_come_back() {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
        println!("seed {seed}");
        let (mut state, mut cold) = (seed, Vec::new());
        let mut arena = Arena::new(ARENA, 0).unwrap();
        let mut held: Vec<Piece> = Vec::new();
        for _ in 0..20_000 {
            if random(&mut state).is_multiple_of(2) {
                let length = 1 + random(&mut state) % (1 << (random(&mut state) % 21));
                let Some(offset) = arena.take(length) else { continue };
                let piece = Piece { offset, length };
                assert!(offset + length <= ARENA);
                let apart = |other: &Piece| {
                    other.offset + other.length <= piece.offset || piece.offset + piece.length <= other.offset
                };
                assert!(held.iter().all(apart), "{piece:?} overlaps");
                held.push(piece);
            } else if !held.is_empty() {
                let piece = held.swap_remove((random(&mut state) % held.len() as u64) as usize);
                assert!(arena.give(piece.offset, &mut cold));
            }
        }
        for piece in held {
            assert!(arena.give(piece.offset, &mut cold));
        }
        assert_eq!((arena.bytes_taken(), arena.touched_count), (0, 0));
        assert_eq!(arena.take(ARENA), Some(0), "everything has joined again");
    }

    #[test]
    fn what_was_not_taken_cannot_be_given_back() {
        let (mut arena, mut cold) = (Arena::new(ARENA, 0).unwrap(), Vec::new());
        let offset = arena.take(5000).unwrap();
        for wrong in [offset + 1, offset + 128, u64::MAX, ARENA] {
            assert!(!arena.give(wrong, &mut cold));
        }
        assert!(arena.give(offset, &mut cold));
        assert!(!arena.give(offset, &mut cold), "not twice");
    }

    #[test]
    fn a_full_arena_refuses() {
        let mut arena = Arena::new(ARENA, 0).unwrap();
        assert_eq!(arena.take(ARENA + 1), None);
        assert_eq!(arena.take(u64::MAX), None);
        assert!(arena.take(ARENA).is_some());
        assert_eq!(arena.take(1), None);
    }

    #[test]
    fn free_memory_beyond_what_is_kept_warm_goes_back_to_the_system() {
        let (mut arena, mut cold) = (Arena::new(ARENA, 2 << 20).unwrap(), Vec::new());
        let offset = arena.take(8 << 20).unwrap();
        assert!(arena.give(offset, &mut cold));
        assert_eq!(cold.len(), 6);
        assert!(cold.iter().all(|piece| piece.offset >= 2 << 20));
    }
}
