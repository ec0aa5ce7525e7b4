//! Several calls answered as one: a model that computes eight rows in little more than the time of one gains from taking
//! them together.
//!
//! There is no thread of its own. The first call leads: it runs on its caller's thread, at once and in place where nobody
//! else is there. Calls that come while as many batches run as may run at once wait; when a batch ends, the next of them
//! leads, and takes along whoever fits. A leader may also wait a little for others (`wait_us`), which makes batches of calls
//! that come nearly at once, and makes a lone call slower by as much.
//!
//! A batch that fails is done again call by call, so that one bad call does not fail the others. A call that waits leaves at
//! its deadline or when it is cancelled, and one too many is refused at once.

mod embeddings;
mod order;
mod tensors;

pub use embeddings::{EmbeddingWork, rows as embedding_rows};
pub use tensors::{TensorInput, TensorWork, rows as tensor_rows};

use crate::call::CallContext;
use crate::error::{EngineError, Reason};
use crate::guard::guarded;
use crate::locks::lock;
use crate::repository::manifest::BatchingSettings;
use contract::engine::EngineStats;
use order::{Place, best_first};
use std::cell::LazyCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a waiting call looks whether it was cancelled.
const CANCELLATION_INTERVAL: Duration = Duration::from_millis(20);

/// Work that can be done for several calls at once.
pub trait BatchWork: Send + Sync {
    /// What one call brings; its own, since it may outlive the call.
    type Input: Send;
    /// What one call gets.
    type Output: Send;

    /// Whether the two may be in one batch.
    fn fits(&self, left: &Self::Input, right: &Self::Input) -> bool;

    /// Does the work for one call.
    fn run_one(&self, call: &CallContext, input: &Self::Input) -> Result<Self::Output, EngineError>;

    /// Does the work for several calls, that fit each other; one output each, in order. `batch` is worth going on with as
    /// long as any of them is.
    fn run_many(
        &self,
        batch: &CallContext,
        calls: &[(&CallContext, &Self::Input)],
    ) -> Result<Vec<Self::Output>, EngineError>;
}

/// Puts calls together.
pub struct Batcher<W: BatchWork> {
    work: W,
    settings: BatchingSettings,
    state: Mutex<State<W>>,
    arrived: Condvar,
    batches: AtomicU64,
    calls: AtomicU64,
}

struct State<W: BatchWork> {
    /// Calls that wait, in the order that they came in.
    waiting: Vec<Arc<Slot<W>>>,
    /// Calls that lead, [`BatchingSettings::parallel`] at most.
    leading: usize,
    /// Those of them that still wait for others.
    gathering: usize,
}

/// A call that waits.
struct Slot<W: BatchWork> {
    call: CallContext,
    rows: usize,
    since: Instant,
    turn: Mutex<Turn<W>>,
    changed: Condvar,
}

/// What a waiting call is to do.
enum Turn<W: BatchWork> {
    /// Wait.
    Waits(W::Input),
    /// A leader took it along; wait for the answer.
    Taken,
    /// Lead.
    Leads(W::Input),
    /// Take the answer.
    Answered(Result<W::Output, EngineError>),
}

/// Calls taken along by a leader.
type Company<W> = Vec<(Arc<Slot<W>>, <W as BatchWork>::Input)>;

impl<W: BatchWork> Batcher<W> {
    /// Puts calls of this work together.
    pub fn new(work: W, settings: BatchingSettings) -> Self {
        Self {
            work,
            settings,
            state: Mutex::new(State { waiting: Vec::new(), leading: 0, gathering: 0 }),
            arrived: Condvar::new(),
            batches: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    /// Answers a call of `rows` rows; more than a batch takes is always a call on its own. `alone` does the work where the
    /// input lies, for a call that meets no other; `input` makes the input that others can take along.
    pub fn call(
        &self,
        call: &CallContext,
        rows: usize,
        alone: impl FnOnce() -> Result<W::Output, EngineError>,
        input: impl FnOnce() -> W::Input,
    ) -> Result<W::Output, EngineError> {
        let since = Instant::now();
        let mut state = lock(&self.state);
        if state.leading < self.settings.parallel && state.gathering == 0 {
            state.leading += 1;
            drop(state);
            return self.lead(Leadership(self), (call, rows, since), alone, &LazyCell::new(input));
        }
        self.check_room(&state)?;
        drop(state);
        // The copy is made outside the lock.
        let turn = Mutex::new(Turn::Waits(input()));
        let slot = Arc::new(Slot { call: call.clone(), rows, since, turn, changed: Condvar::new() });
        self.enqueue(&slot)?;
        self.wait(&slot)
    }

    /// Rows of one batch, at most.
    pub fn size_max(&self) -> usize {
        self.settings.size_max
    }

    /// Adds calls that wait and may wait, and batches since the start.
    pub fn add_stats(&self, stats: &mut EngineStats) {
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        stats.waiting = stats.waiting.saturating_add(count(lock(&self.state).waiting.len()));
        stats.waiting_max = stats.waiting_max.saturating_add(count(self.settings.queue_max));
        stats.batches += self.batches.load(Ordering::Relaxed);
        stats.batched_calls += self.calls.load(Ordering::Relaxed);
    }

    fn check_room(&self, state: &State<W>) -> Result<(), EngineError> {
        if state.waiting.len() < self.settings.queue_max {
            return Ok(());
        }
        let message = format!("{} calls wait for this model already; try again later.", state.waiting.len());
        Err(EngineError::new(Reason::Overloaded, message))
    }

    fn enqueue(&self, slot: &Arc<Slot<W>>) -> Result<(), EngineError> {
        let mut state = lock(&self.state);
        self.check_room(&state)?;
        state.waiting.push(Arc::clone(slot));
        // The last leader may have left while the input was copied.
        self.promote(&mut state);
        if state.gathering > 0 {
            self.arrived.notify_all();
        }
        Ok(())
    }

    /// Waits for the call's turn, or its answer.
    fn wait(&self, slot: &Arc<Slot<W>>) -> Result<W::Output, EngineError> {
        let mut turn = lock(&slot.turn);
        loop {
            match std::mem::replace(&mut *turn, Turn::Taken) {
                Turn::Answered(result) => return result,
                Turn::Leads(input) => {
                    drop(turn);
                    return self.lead_after_waiting(slot, input);
                }
                waits => *turn = waits,
            }
            let now = Instant::now();
            if let Err(error) = slot.call.check(now) {
                drop(turn);
                return self.leave(slot, error);
            }
            let until_deadline = slot.call.deadline.map_or(CANCELLATION_INTERVAL, |deadline| deadline - now);
            let (woken, _) = slot
                .changed
                .wait_timeout(turn, until_deadline.min(CANCELLATION_INTERVAL))
                .unwrap_or_else(PoisonError::into_inner);
            turn = woken;
        }
    }

    /// Leaves the queue before the answer. Where the call was to lead, the next one leads.
    fn leave(&self, slot: &Arc<Slot<W>>, error: EngineError) -> Result<W::Output, EngineError> {
        lock(&self.state).waiting.retain(|other| !Arc::ptr_eq(other, slot));
        match std::mem::replace(&mut *lock(&slot.turn), Turn::Taken) {
            Turn::Answered(result) => result,
            Turn::Leads(_) => {
                drop(Leadership(self));
                Err(error)
            }
            Turn::Waits(_) | Turn::Taken => Err(error),
        }
    }

    fn lead_after_waiting(&self, slot: &Arc<Slot<W>>, input: W::Input) -> Result<W::Output, EngineError> {
        slot.call.record_span("queue", slot.since, Instant::now(), &[]);
        let input = LazyCell::new(move || input);
        let alone = || self.work.run_one(&slot.call, &input);
        self.lead(Leadership(self), (&slot.call, slot.rows, slot.since), alone, &input)
    }

    /// Gathers others, does the work, answers them, and lets the next lead.
    fn lead<F: FnOnce() -> W::Input>(
        &self,
        _leadership: Leadership<'_, W>,
        (call, rows, since): (&CallContext, usize, Instant),
        alone: impl FnOnce() -> Result<W::Output, EngineError>,
        input: &LazyCell<W::Input, F>,
    ) -> Result<W::Output, EngineError> {
        let room = self.settings.size_max.saturating_sub(rows);
        let company = if room > 0 { self.gather(room, call, since, input) } else { Vec::new() };
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(1 + company.len() as u64, Ordering::Relaxed);
        if company.is_empty() {
            return call.check(Instant::now()).and_then(|()| guarded(alone));
        }
        self.run_together(call, input, company)
    }

    /// Waits for others as long as the settings say, and takes along who fits into `room` rows.
    fn gather<F: FnOnce() -> W::Input>(
        &self,
        room: usize,
        call: &CallContext,
        since: Instant,
        input: &LazyCell<W::Input, F>,
    ) -> Company<W> {
        let until = since + Duration::from_micros(self.settings.wait_us);
        let mut state = lock(&self.state);
        state.gathering += 1;
        loop {
            let now = Instant::now();
            let rows = state.waiting.iter().fold(0_usize, |rows, slot| rows.saturating_add(slot.rows));
            if rows >= room || now >= until || call.check(now).is_err() {
                break;
            }
            let wait = (until - now).min(CANCELLATION_INTERVAL);
            (state, _) = self.arrived.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        }
        state.gathering -= 1;
        let company = self.take_along(&mut state, room, input);
        self.promote(&mut state);
        company
    }

    fn take_along<F: FnOnce() -> W::Input>(
        &self,
        state: &mut State<W>,
        mut room: usize,
        input: &LazyCell<W::Input, F>,
    ) -> Company<W> {
        let mut company = Vec::new();
        for slot in state.best_first(Instant::now()) {
            let mut turn = lock(&slot.turn);
            let Turn::Waits(other) = &*turn else { continue };
            if !self.work.fits(input, other) {
                continue;
            }
            // Smaller ones behind it do not overtake it: it could wait for ever.
            if slot.rows > room {
                break;
            }
            room -= slot.rows;
            if let Turn::Waits(other) = std::mem::replace(&mut *turn, Turn::Taken) {
                drop(turn);
                company.push((slot, other));
            }
        }
        state.waiting.retain(|slot| !company.iter().any(|(taken, _)| Arc::ptr_eq(taken, slot)));
        company
    }

    /// Lets those who wait lead, as many as may lead.
    fn promote(&self, state: &mut State<W>) {
        while state.leading < self.settings.parallel && state.gathering == 0 {
            let Some(slot) = state.best_first(Instant::now()).into_iter().next() else { return };
            state.waiting.retain(|other| !Arc::ptr_eq(other, &slot));
            let mut turn = lock(&slot.turn);
            match std::mem::replace(&mut *turn, Turn::Taken) {
                Turn::Waits(input) => {
                    *turn = Turn::Leads(input);
                    state.leading += 1;
                    slot.changed.notify_one();
                }
                other => *turn = other,
            }
        }
    }

    fn run_together(
        &self,
        call: &CallContext,
        input: &W::Input,
        company: Company<W>,
    ) -> Result<W::Output, EngineError> {
        let start = Instant::now();
        for (slot, _) in &company {
            slot.call.record_span("queue", slot.since, start, &[("batched_calls", &(company.len() + 1))]);
        }
        let calls: Vec<_> =
            std::iter::once((call, input)).chain(company.iter().map(|(slot, input)| (&slot.call, input))).collect();
        let batch = CallContext::together(calls.iter().map(|(call, _)| *call));
        let together =
            guarded(|| self.work.run_many(&batch, &calls)).ok().filter(|outputs| outputs.len() == calls.len());
        let Some(outputs) = together else { return self.run_singly(call, input, &company) };
        let mut outputs = outputs.into_iter();
        let mine = outputs.next();
        for ((slot, _), output) in company.iter().zip(outputs) {
            slot.answer(Ok(output));
        }
        mine.ok_or_else(|| EngineError::new(Reason::Internal, "A batch had no answer for its first call."))
    }

    /// Does the work again, call by call: the fault may be one call's alone.
    fn run_singly(&self, call: &CallContext, input: &W::Input, company: &Company<W>) -> Result<W::Output, EngineError> {
        let run = |call: &CallContext, input: &W::Input| {
            call.check(Instant::now()).and_then(|()| guarded(|| self.work.run_one(call, input)))
        };
        for (slot, input) in company {
            slot.answer(run(&slot.call, input));
        }
        run(call, input)
    }
}

impl<W: BatchWork> State<W> {
    /// Calls that wait and are still worth answering, first to go first.
    fn best_first(&self, now: Instant) -> Vec<Arc<Slot<W>>> {
        let worth: Vec<_> = self.waiting.iter().filter(|slot| slot.call.check(now).is_ok()).collect();
        let places = worth.iter().map(|slot| Place { priority: slot.call.priority, since: slot.since });
        best_first(places, now).into_iter().map(|index| Arc::clone(worth[index])).collect()
    }
}

impl<W: BatchWork> Slot<W> {
    fn answer(&self, result: Result<W::Output, EngineError>) {
        *lock(&self.turn) = Turn::Answered(result);
        self.changed.notify_one();
    }
}

/// One of the places to lead; whoever waits gets it when it is dropped.
struct Leadership<'batcher, W: BatchWork>(&'batcher Batcher<W>);

impl<W: BatchWork> Drop for Leadership<'_, W> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.leading -= 1;
        self.0.promote(&mut state);
    }
}
