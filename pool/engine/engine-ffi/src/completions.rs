//! Replies of generations. Whichever thread computes a token puts it here; one thread of the caller takes them in batches,
//! so that a thousand streams do not hold a thousand threads.

use crate::abi::Event;
use crate::memory::Memory;
use contract::engine::Status;
use contract::v1::GenerateResponse;
use engine_core::{EngineError, GenerateSink, Reason};
use prost::Message;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Replies of one stream that wait to be polled, at most; the generation is cancelled beyond that.
pub const PENDING_MAX: usize = 16_384;

struct Completion {
    stream: u64,
    status: Status,
    is_last: bool,
    header: Vec<u8>,
    pending: Arc<AtomicUsize>,
}

/// The queue of one engine.
#[derive(Default)]
pub struct Completions {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Completion>,
    is_woken: bool,
}

impl Completions {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, completion: Completion) {
        let mut queue = self.lock();
        queue.waiting.push_back(completion);
        // Who polls sleeps only while the queue is empty.
        if queue.waiting.len() == 1 {
            drop(queue);
            self.filled.notify_one();
        }
    }

    /// Lets a poll that waits return.
    pub fn wake(&self) {
        self.lock().is_woken = true;
        self.filled.notify_all();
    }

    /// Takes up to `most` events; waits for the first one until `timeout` has passed.
    pub fn poll(&self, most: usize, timeout: Duration) -> impl Iterator<Item = Event> + use<> {
        let queue = self.lock();
        let (mut queue, _) = self
            .filled
            .wait_timeout_while(queue, timeout, |queue| queue.waiting.is_empty() && !queue.is_woken)
            .unwrap_or_else(PoisonError::into_inner);
        queue.is_woken = false;
        let count = most.min(queue.waiting.len());
        let taken: Vec<Completion> = queue.waiting.drain(..count).collect();
        drop(queue);
        taken.into_iter().map(Completion::into_event)
    }
}

impl Completion {
    fn into_event(self) -> Event {
        self.pending.fetch_sub(1, Ordering::Relaxed);
        let mut event = Event {
            stream: self.stream,
            status: self.status as u32,
            last: u32::from(self.is_last),
            header: crate::abi::Bytes::EMPTY,
            memory: std::ptr::null_mut(),
        };
        if !self.header.is_empty() {
            let memory = Box::new(Memory::of_header(self.header));
            event.header = memory.header();
            event.memory = memory.into_raw();
        }
        event
    }
}

/// The sink of one generation.
pub struct Sink {
    completions: Arc<Completions>,
    stream: u64,
    pending: Arc<AtomicUsize>,
}

impl Sink {
    /// Into `completions`, under the caller's number.
    pub fn new(completions: Arc<Completions>, stream: u64) -> Self {
        Self { completions, stream, pending: Arc::default() }
    }

    fn push(&self, status: Status, is_last: bool, header: Vec<u8>) {
        let pending = self.pending.clone();
        pending.fetch_add(1, Ordering::Relaxed);
        self.completions.push(Completion { stream: self.stream, status, is_last, header, pending });
    }
}

impl GenerateSink for Sink {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        if self.pending.load(Ordering::Relaxed) >= PENDING_MAX {
            return Err(EngineError::new(Reason::Cancelled, "The text was not read as fast as it came."));
        }
        self.push(Status::Ok, false, response.encode_to_vec());
        Ok(())
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        match result {
            Ok(()) => self.push(Status::Ok, true, Vec::new()),
            Err(error) => self.push(error.status(), true, error.detail().encode_to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(completions: &Completions, most: usize) -> Vec<(u64, u32)> {
        let events = completions.poll(most, Duration::ZERO);
        events
            .map(|event| {
                // SAFETY: the event's own, once.
                unsafe { crate::memory::release(event.memory) };
                (event.stream, event.last)
            })
            .collect()
    }

    #[test]
    fn events_come_in_batches_in_the_order_in_which_they_were_sent() {
        let completions = Arc::new(Completions::default());
        let mut sinks: Vec<_> = (0..3).map(|stream| Sink::new(completions.clone(), stream)).collect();
        for sink in &mut sinks {
            sink.send(GenerateResponse { text: "a".to_owned(), ..Default::default() }).unwrap();
        }
        for sink in sinks {
            Box::new(sink).end(Ok(()));
        }
        assert_eq!(drain(&completions, 4), [(0, 0), (1, 0), (2, 0), (0, 1)]);
        assert_eq!(drain(&completions, 4), [(1, 1), (2, 1)]);
    }

    #[test]
    fn a_stream_that_nobody_reads_is_refused_at_its_bound_and_still_ends() {
        let completions = Arc::new(Completions::default());
        let mut sink = Sink::new(completions.clone(), 7);
        for _ in 0..PENDING_MAX {
            sink.send(GenerateResponse::default()).unwrap();
        }
        assert_eq!(sink.send(GenerateResponse::default()).unwrap_err().reason, Reason::Cancelled);
        Box::new(sink).end(Ok(()));
        assert_eq!(drain(&completions, usize::MAX).last(), Some(&(7, 1)));
    }

    #[test]
    fn a_poll_that_waits_returns_when_it_is_woken() {
        let completions = Arc::new(Completions::default());
        let waiting = completions.clone();
        let poll = std::thread::spawn(move || waiting.poll(1, Duration::from_secs(60)).count());
        completions.wake();
        assert_eq!(poll.join().unwrap(), 0);
    }
}
