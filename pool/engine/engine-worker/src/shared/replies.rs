//! The way back: replies into the reply queue, the server woken. Who computes tokens must not wait for the server; what
//! finds no room is kept in an outbox, which a thread of its own empties.

use super::reply_memory::{ReplyMemory, ReplySegment};
use contract::engine::Status;
use engine::{OutgoingReply, ReplyPayload};
use engine_core::buffer::{Buffer, Segment};
use ring::layout::{Piece, REPLY_ECHO, REPLY_LAST, REPLY_PIECES, REPLY_WORD, ReplySlot, SEGMENTS_MAX, control};
use ring::queue::Writer;
use ring::region::Region;
use ring::wake;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a finished reply waits for memory before it becomes OVERLOADED.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often who waits for room in the queue looks by itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The writing end of the reply queue and what waits for it.
pub struct Replies {
    memory: Arc<ReplyMemory>,
    control: Arc<Region>,
    wake: OwnedFd,
    queue: Mutex<Writer<ReplySlot>>,
    outbox: Mutex<VecDeque<Waiting>>,
    outbox_filled: Condvar,
}

/// A piece of a stream that found no room.
struct Waiting {
    call: u64,
    status: Status,
    header: Vec<u8>,
    is_last: bool,
    pending: Arc<AtomicUsize>,
}

impl Replies {
    /// Replies into `queue`.
    pub fn new(memory: Arc<ReplyMemory>, control: Arc<Region>, wake: OwnedFd, queue: Writer<ReplySlot>) -> Self {
        let (queue, outbox) = (Mutex::new(queue), Mutex::new(VecDeque::new()));
        Self { memory, control, wake, queue, outbox, outbox_filled: Condvar::new() }
    }

    /// Sends the one reply to a call. Waits for room.
    pub fn send(&self, call: u64, reply: OutgoingReply) {
        let deadline = Instant::now() + MEMORY_WAIT_MAX;
        let slot = self.place(call, reply, deadline).unwrap_or_else(|| ReplySlot {
            status: Status::Overloaded as u32,
            flags: REPLY_LAST,
            ..empty_slot(call)
        });
        self.push_waiting(slot);
    }

    /// Sends one of many replies to a call, in order and without waiting. `pending` counts those of this call that wait.
    pub fn send_piece(&self, call: u64, status: Status, header: Vec<u8>, is_last: bool, pending: &Arc<AtomicUsize>) {
        // Only this call's pieces must keep their order, and only one thread at a time sends them.
        if pending.load(Ordering::Acquire) == 0
            && let Some(slot) = self.place_piece(call, status, &header, is_last)
        {
            if self.push(slot) {
                return;
            }
            self.take_back(slot);
        }
        pending.fetch_add(1, Ordering::AcqRel);
        self.outbox().push_back(Waiting { call, status, header, is_last, pending: pending.clone() });
        self.outbox_filled.notify_one();
    }

    /// Empties the outbox for ever; runs on a thread of its own.
    pub fn run_outbox(&self) {
        loop {
            let mut outbox = self.outbox();
            while outbox.is_empty() {
                outbox = self.outbox_filled.wait(outbox).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(waiting) = outbox.pop_front() else { continue };
            drop(outbox);
            let slot = loop {
                let deadline = Instant::now() + MEMORY_WAIT_MAX;
                match self.place_header(&waiting.header, deadline) {
                    Some(header) => break piece_slot(waiting.call, waiting.status, header, waiting.is_last),
                    // The server reads streams as they come and bounds them; it will release something.
                    None => continue,
                }
            };
            self.push_waiting(slot);
            waiting.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn outbox(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_piece(&self, call: u64, status: Status, header: &[u8], is_last: bool) -> Option<ReplySlot> {
        let header = self.place_header(header, Instant::now())?;
        Some(piece_slot(call, status, header, is_last))
    }

    fn place_header(&self, header: &[u8], deadline: Instant) -> Option<Piece> {
        if header.is_empty() {
            return Some(Piece::default());
        }
        Some(self.copy(header, deadline)?.hand_over())
    }

    fn copy(&self, bytes: &[u8], deadline: Instant) -> Option<ReplySegment> {
        let mut segment = self.memory.take_until(bytes.len(), deadline)?;
        segment.bytes_mut().copy_from_slice(bytes);
        Some(segment)
    }

    /// Puts a reply into the arena, as far as it is not there yet. None where there is no room.
    fn place(&self, call: u64, reply: OutgoingReply, deadline: Instant) -> Option<ReplySlot> {
        let header = match reply.header.as_slice() {
            [] => None,
            bytes => Some(self.copy(bytes, deadline)?),
        };
        let mut slot = ReplySlot { status: reply.status as u32, flags: REPLY_LAST, ..empty_slot(call) };
        let tensors = match reply.payload {
            ReplyPayload::Echo => {
                slot.flags |= REPLY_ECHO;
                Vec::new()
            }
            ReplyPayload::Word(word) => {
                slot.flags |= REPLY_WORD;
                slot.word = word;
                Vec::new()
            }
            ReplyPayload::Tensors(tensors) => tensors,
        };
        if tensors.len() > SEGMENTS_MAX as usize {
            return None;
        }
        // Nothing is handed over before all of it has a place: a drop gives it back.
        let mut segments = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            segments.push(self.settle(tensor.data, deadline, &mut slot.bytes_copied)?);
        }
        let table = match segments.len() {
            0..=REPLY_PIECES => None,
            many => Some(self.memory.take_until(many * size_of::<Piece>(), deadline)?),
        };
        slot.segment_count = segments.len() as u32;
        if let Some(header) = header {
            let piece = header.hand_over();
            (slot.header_offset, slot.header_length) = (piece.offset, piece.length as u32);
        }
        let pieces: Vec<Piece> =
            segments.into_iter().map(|segment| segment.map_or(Piece::default(), ReplySegment::hand_over)).collect();
        match table {
            None => slot.pieces[..pieces.len()].copy_from_slice(&pieces),
            Some(mut table) => {
                for (entry, piece) in table.bytes_mut().as_chunks_mut::<16>().0.iter_mut().zip(&pieces) {
                    entry[..8].copy_from_slice(&piece.offset.to_le_bytes());
                    entry[8..].copy_from_slice(&piece.length.to_le_bytes());
                }
                slot.table_offset = table.hand_over().offset;
            }
        }
        Some(slot)
    }

    /// The tensor's bytes in the arena: where a backend wrote them, or as a copy, which is counted. Empty ones need none.
    fn settle(&self, data: Buffer, deadline: Instant, copied: &mut u64) -> Option<Option<ReplySegment>> {
        if data.is_empty() {
            return Some(None);
        }
        match data.into_segment::<ReplySegment>() {
            Ok(segment) => Some(Some(*segment)),
            Err(data) => {
                *copied += data.len() as u64;
                self.copy(&data, deadline).map(Some)
            }
        }
    }

    /// Appends a slot and wakes the server; false where the queue is full.
    fn push(&self, slot: ReplySlot) -> bool {
        match self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(slot) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => super::dispatch::end("The server spoiled the reply queue."),
        }
        if self.control.word(control::REPLIES_SLEEPERS).swap(0, Ordering::SeqCst) != 0 {
            // It fails only where the server is gone, and then we are about to be ended.
            let _ = wake::signal(self.wake.as_fd());
        }
        true
    }

    fn push_waiting(&self, slot: ReplySlot) {
        let head = self.control.word(control::REPLIES_HEAD);
        let blocked = self.control.word(control::REPLIES_BLOCKED);
        loop {
            let seen = head.load(Ordering::SeqCst);
            if self.push(slot) {
                return;
            }
            blocked.fetch_add(1, Ordering::SeqCst);
            wake::wait(head, seen, LOOK_INTERVAL);
            blocked.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn take_back(&self, slot: ReplySlot) {
        if slot.header_length > 0 {
            self.memory.take_back(slot.header_offset);
        }
    }
}

fn piece_slot(call: u64, status: Status, header: Piece, is_last: bool) -> ReplySlot {
    ReplySlot {
        status: status as u32,
        flags: if is_last { REPLY_LAST } else { 0 },
        header_offset: header.offset,
        header_length: header.length as u32,
        ..empty_slot(call)
    }
}

fn empty_slot(call: u64) -> ReplySlot {
    ReplySlot {
        call,
        status: 0,
        flags: 0,
        header_offset: 0,
        header_length: 0,
        segment_count: 0,
        bytes_copied: 0,
        table_offset: 0,
        word: [0; 8],
        padding: [0; 8],
        pieces: [Piece::default(); REPLY_PIECES],
    }
}
