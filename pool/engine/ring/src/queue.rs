//! A queue of fixed slots in shared memory, with one writer and one reader (Lamport 1983). Head and tail count slots ever
//! read and written, modulo 2³².

use crate::region::Region;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The other side wrote what a queue cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

/// Where a queue lies.
pub struct Queue<Slot> {
    region: Arc<Region>,
    tail: usize,
    head: usize,
    slots: usize,
    slot_count: u32,
    kind: PhantomData<Slot>,
}

impl<Slot: Copy> Queue<Slot> {
    /// A queue of `slot_count` slots (a power of two) at `slots`, with its counters at `tail` and `head`.
    pub fn new(region: Arc<Region>, tail: usize, head: usize, slots: usize, slot_count: u32) -> Option<Self> {
        let end = slots.checked_add(slot_count as usize * size_of::<Slot>())?;
        let fits = slot_count.is_power_of_two() && slot_count <= crate::layout::SLOTS_MAX && end <= region.length();
        fits.then_some(Self { region, tail, head, slots, slot_count, kind: PhantomData })
    }

    /// Slots ever written; changes wake the reader.
    pub fn tail(&self) -> &AtomicU32 {
        self.region.word(self.tail)
    }

    /// Slots ever read; changes wake the writer.
    pub fn head(&self) -> &AtomicU32 {
        self.region.word(self.head)
    }

    fn offset(&self, index: u32) -> usize {
        self.slots + (index & (self.slot_count - 1)) as usize * size_of::<Slot>()
    }
}

/// The writing end.
pub struct Writer<Slot> {
    queue: Queue<Slot>,
    // Ours alone: what the peer makes of the shared word does not matter.
    tail: u32,
}

impl<Slot: Copy> Writer<Slot> {
    /// Takes the writing end.
    pub fn new(queue: Queue<Slot>) -> Self {
        let tail = queue.tail().load(Ordering::Acquire);
        Self { queue, tail }
    }

    /// The queue's words, for sleeping.
    pub fn queue(&self) -> &Queue<Slot> {
        &self.queue
    }

    /// Appends a slot; false where there is no room.
    pub fn push(&mut self, slot: Slot) -> Result<bool, Corrupt> {
        let used = self.tail.wrapping_sub(self.queue.head().load(Ordering::Acquire));
        if used > self.queue.slot_count {
            return Err(Corrupt);
        }
        if used == self.queue.slot_count {
            return Ok(false);
        }
        if !self.queue.region.write(self.queue.offset(self.tail), slot) {
            return Err(Corrupt);
        }
        self.tail = self.tail.wrapping_add(1);
        // SeqCst, and the same where sleepers are counted: either the sleeper sees the slot, or we see the sleeper.
        self.queue.tail().store(self.tail, Ordering::SeqCst);
        Ok(true)
    }
}

/// The reading end.
pub struct Reader<Slot> {
    queue: Queue<Slot>,
    head: u32,
}

impl<Slot: Copy> Reader<Slot> {
    /// Takes the reading end.
    pub fn new(queue: Queue<Slot>) -> Self {
        let head = queue.head().load(Ordering::Acquire);
        Self { queue, head }
    }

    /// The queue's words, for sleeping.
    pub fn queue(&self) -> &Queue<Slot> {
        &self.queue
    }

    /// Slots ever read: while the tail equals this, the queue is empty.
    pub fn position(&self) -> u32 {
        self.head
    }

    /// Whether a slot is there to be taken, or the queue is spoiled, as [`Self::pop`] then tells.
    pub fn is_filled(&self) -> bool {
        self.queue.tail().load(Ordering::Acquire) != self.head
    }

    /// Takes the next slot, if there is one.
    pub fn pop(&mut self) -> Result<Option<Slot>, Corrupt> {
        let filled = self.queue.tail().load(Ordering::SeqCst).wrapping_sub(self.head);
        if filled == 0 {
            return Ok(None);
        }
        if filled > self.queue.slot_count {
            return Err(Corrupt);
        }
        let slot = self.queue.region.read(self.queue.offset(self.head)).ok_or(Corrupt)?;
        self.head = self.head.wrapping_add(1);
        self.queue.head().store(self.head, Ordering::SeqCst);
        Ok(Some(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::{Access, memory_for_tests};

    fn ends(slot_count: u32) -> (Arc<Region>, Writer<u64>, Reader<u64>) {
        let region = Arc::new(Region::map(memory_for_tests(8192).unwrap(), Access::ReadWrite).unwrap());
        let queue = || Queue::new(region.clone(), 0, 64, 128, slot_count).unwrap();
        (region.clone(), Writer::new(queue()), Reader::new(queue()))
    }

    #[test]
    fn slots_come_out_in_order_and_a_full_queue_refuses() {
        let (_region, mut writer, mut reader) = ends(4);
        for round in 0..1000_u64 {
            for slot in 0..4 {
                assert_eq!(writer.push(round * 4 + slot), Ok(true));
            }
            assert_eq!(writer.push(0), Ok(false));
            for slot in 0..4 {
                assert_eq!(reader.pop(), Ok(Some(round * 4 + slot)));
            }
            assert_eq!(reader.pop(), Ok(None));
        }
    }

    #[test]
    fn counters_run_over_the_end_of_32_bits() {
        let (region, _, _) = ends(4);
        for offset in [0, 64] {
            region.word(offset).store(u32::MAX - 1, Ordering::SeqCst);
        }
        let queue = || Queue::new(region.clone(), 0, 64, 128, 4).unwrap();
        let (mut writer, mut reader) = (Writer::new(queue()), Reader::new(queue()));
        for slot in 0..16_u64 {
            assert_eq!(writer.push(slot), Ok(true));
            assert_eq!(reader.pop(), Ok(Some(slot)));
        }
    }

    #[test]
    fn counters_that_a_queue_cannot_have_are_refused() {
        let (region, mut writer, mut reader) = ends(4);
        region.word(0).store(5, Ordering::SeqCst);
        assert_eq!(reader.pop(), Err(Corrupt));
        region.word(64).store(1, Ordering::SeqCst);
        assert_eq!(writer.push(1), Err(Corrupt));
    }

    #[test]
    fn a_queue_that_does_not_fit_is_refused() {
        let (region, _, _) = ends(4);
        for slot_count in [0, 3, 4096, 1 << 17] {
            assert!(Queue::<u64>::new(region.clone(), 0, 64, 128, slot_count).is_none(), "{slot_count}");
        }
    }
}
