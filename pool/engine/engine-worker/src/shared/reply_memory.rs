//! The reply arena: who computes a reply writes it where the server reads it.

use engine_core::buffer::{OutputMemory, Segment};
use ring::arena::Arena;
use ring::layout::{Piece, ReleaseSlot, control};
use ring::queue::Reader;
use ring::region::Region;
use ring::wake;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Free memory of the reply arena that stays with this process, in bytes.
const BYTES_KEPT: u64 = 64 << 20;
/// How often who waits for memory looks by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The arena and its books.
pub struct ReplyMemory {
    region: Arc<Region>,
    control: Arc<Region>,
    books: Mutex<Books>,
}

struct Books {
    arena: Arena,
    /// Blocks that the server reads: it may release these, and no others.
    handed: HashSet<u64>,
    releases: Reader<ReleaseSlot>,
    cold: Vec<Piece>,
}

impl ReplyMemory {
    /// None where the arena's length is not a power of two.
    pub fn new(region: Arc<Region>, control: Arc<Region>, releases: Reader<ReleaseSlot>) -> Option<Self> {
        let arena = Arena::new(region.length() as u64, BYTES_KEPT)?;
        let books = Books { arena, handed: HashSet::new(), releases, cold: Vec::new() };
        Some(Self { region, control, books: Mutex::new(books) })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what the server has released.
    pub fn collect(&self) {
        self.collect_into(&mut self.books());
    }

    fn collect_into(&self, books: &mut Books) {
        // A queue that the server spoiled is met by the reader of calls, which ends the process.
        while let Ok(Some(offset)) = books.releases.pop() {
            if books.handed.remove(&offset) {
                books.arena.give(offset, &mut books.cold);
            }
        }
        self.cool(books);
    }

    fn cool(&self, books: &mut Books) {
        for piece in books.cold.drain(..) {
            // Refused: the pages stay, which costs memory and nothing else.
            let _ = self.region.give_back(piece);
        }
    }

    /// A piece of `length` bytes, if there is room now.
    pub fn take(self: &Arc<Self>, length: usize) -> Option<ReplySegment> {
        let mut books = self.books();
        self.collect_into(&mut books);
        let offset = books.arena.take(length as u64)?;
        drop(books);
        let piece = Piece { offset, length: length as u64 };
        let start = self.region.pointer(piece)?;
        Some(ReplySegment { memory: Some(self.clone()), start, piece })
    }

    /// As [`Self::take`]; waits until `deadline` for the server to release something.
    pub fn take_until(self: &Arc<Self>, length: usize, deadline: Instant) -> Option<ReplySegment> {
        let sleepers = self.control.word(control::RELEASES_SLEEPERS);
        let tail = self.control.word(control::RELEASES_TAIL);
        loop {
            let seen = tail.load(Ordering::SeqCst);
            if let Some(segment) = self.take(length) {
                return Some(segment);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            sleepers.fetch_add(1, Ordering::SeqCst);
            wake::wait(tail, seen, left.min(LOOK_INTERVAL));
            sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Takes back a piece that was handed over, but which the server was never told of.
    pub fn take_back(&self, offset: u64) {
        if self.books().handed.remove(&offset) {
            self.give(offset);
        }
    }

    fn give(&self, offset: u64) {
        let mut books = self.books();
        let Books { arena, cold, .. } = &mut *books;
        arena.give(offset, cold);
        self.cool(&mut books);
    }
}

/// As backends take it.
pub struct Output(pub Arc<ReplyMemory>);

impl OutputMemory for Output {
    fn reserve(&self, length: usize) -> Option<Box<dyn Segment>> {
        self.0.take(length).map(|segment| Box::new(segment) as Box<dyn Segment>)
    }
}

/// A piece of the reply arena that is ours until it is handed to the server.
pub struct ReplySegment {
    /// None once it was handed over.
    memory: Option<Arc<ReplyMemory>>,
    start: *mut u8,
    piece: Piece,
}

// SAFETY: the block is this segment's alone; the pointer stays valid while `memory` holds the mapping.
unsafe impl Send for ReplySegment {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for ReplySegment {}

impl ReplySegment {
    /// Gives the piece to the server, which releases it.
    pub fn hand_over(mut self) -> Piece {
        if let Some(memory) = self.memory.take() {
            memory.books().handed.insert(self.piece.offset);
        }
        self.piece
    }
}

impl Segment for ReplySegment {
    fn bytes(&self) -> &[u8] {
        // SAFETY: a block of the mapping that only this segment uses until it is handed over, which consumes it.
        unsafe { std::slice::from_raw_parts(self.start, self.piece.length as usize) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the borrow of self is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.piece.length as usize) }
    }
}

impl Drop for ReplySegment {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            memory.give(self.piece.offset);
        }
    }
}
