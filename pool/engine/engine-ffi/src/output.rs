//! Memory for large replies, kept from one to the next: the system clears each fresh page as it is touched, which for
//! megabytes takes longer than to write them.

use engine_core::buffer::{OutputMemory, Segment};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Smaller replies are the heap's affair, which keeps what it has.
pub const BYTES_MIN: usize = 256 << 10;
/// Free memory that is kept, at most.
pub const KEPT_BYTES_MAX: usize = 64 << 20;
/// A piece is taken for a reply where it is no longer than so many times the reply.
const SPARE_FACTOR: usize = 2;

/// Pieces that no reply uses at present. The allocator aligns blocks of this length to 16 bytes.
#[derive(Default)]
struct Free {
    /// The one that was given back last is at the end, and is still in the processor's caches.
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Free {
    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let fits = |piece: &Vec<u8>| piece.len() >= length && piece.len() <= length.saturating_mul(SPARE_FACTOR);
        let index = self.pieces.iter().rposition(fits)?;
        let piece = self.pieces.remove(index);
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Keeps a piece; those given back longest ago make room for it.
    fn give(&mut self, piece: Vec<u8>) {
        if piece.len() > KEPT_BYTES_MAX {
            return;
        }
        let mut too_many = 0;
        self.bytes += piece.len();
        while self.bytes > KEPT_BYTES_MAX {
            self.bytes -= self.pieces[too_many].len();
            too_many += 1;
        }
        self.pieces.drain(..too_many);
        self.pieces.push(piece);
    }
}

/// The memory of one engine.
#[derive(Default)]
pub struct Output(Arc<Mutex<Free>>);

fn lock(free: &Mutex<Free>) -> MutexGuard<'_, Free> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OutputMemory for Output {
    fn reserve(&self, length: usize) -> Option<Box<dyn Segment>> {
        if length < BYTES_MIN {
            return None;
        }
        let piece = lock(&self.0).take(length).unwrap_or_else(|| vec![0; length]);
        Some(Box::new(Piece { bytes: piece, length, home: Arc::downgrade(&self.0) }))
    }
}

/// Memory of one reply; goes back when the reply is released, unless its engine is gone by then.
struct Piece {
    bytes: Vec<u8>,
    length: usize,
    home: Weak<Mutex<Free>>,
}

impl Segment for Piece {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            lock(&home).give(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(output: &Output) -> (usize, usize) {
        let free = lock(&output.0);
        assert_eq!(free.bytes, free.pieces.iter().map(Vec::len).sum::<usize>());
        (free.pieces.len(), free.bytes)
    }

    #[test]
    fn a_piece_is_used_again_for_what_fits_and_for_nothing_much_smaller() {
        let output = Output::default();
        let mut first = output.reserve(1 << 20).expect("large enough");
        first.bytes_mut().fill(7);
        let address = first.bytes().as_ptr();
        drop(first);
        assert_eq!(kept(&output), (1, 1 << 20));
        let small = output.reserve(BYTES_MIN).expect("large enough");
        assert_ne!(small.bytes().as_ptr(), address);
        let again = output.reserve((1 << 20) - 5).expect("large enough");
        assert_eq!((again.bytes().as_ptr(), again.bytes().len()), (address, (1 << 20) - 5));
        assert_eq!(kept(&output), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let output = Output::default();
        let pieces: Vec<_> = (0..5_usize).map(|index| output.reserve((16 << 20) + index)).collect();
        drop(pieces);
        let (count, bytes) = kept(&output);
        assert_eq!(count, 3);
        assert!(bytes <= KEPT_BYTES_MAX);
        assert_eq!(lock(&output.0).pieces.last().map(Vec::len), Some((16 << 20) + 4));
        drop(output.reserve(KEPT_BYTES_MAX + 1));
        assert_eq!(kept(&output), (count, bytes), "a piece beyond the bound is not kept, and drives nothing out");
    }

    #[test]
    fn small_replies_are_left_to_the_heap() {
        assert!(Output::default().reserve(BYTES_MIN - 1).is_none());
    }

    #[test]
    fn a_piece_outlives_its_engine() {
        let output = Output::default();
        let mut piece = output.reserve(BYTES_MIN).expect("large enough");
        drop(output);
        piece.bytes_mut()[BYTES_MIN - 1] = 1;
        assert_eq!(piece.bytes().len(), BYTES_MIN);
    }
}
