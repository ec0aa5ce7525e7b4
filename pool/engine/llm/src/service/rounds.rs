//! The thread that owns the decoder: round after round it asks the scheduler for a step, computes it, chooses tokens and
//! sends them. The lock on the scheduler is held only between computing, so that a request is taken in or refused at once,
//! however long a step takes.

use super::ServiceCounts;
use super::generation::Generation;
use super::language::Language;
use super::pace::Pace;
use crate::decoder::{Decoder, StepSequence};
use crate::sampling::LogProbabilities;
use crate::scheduler::{Chunk, Fork, Plan, Scheduler, SequenceId};
use contract::v1::GenerateResponse;
use engine_core::{EngineError, Reason};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the thread sleeps where sequences wait and none can run; that is not to happen, and must not burn a core.
const PAUSE: Duration = Duration::from_millis(1);

/// What callers and the thread share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
    pub(super) counts: ServiceCounts,
}

pub(super) struct State {
    pub(super) scheduler: Scheduler,
    /// Generations that the thread has not seen yet, with their sequences.
    pub(super) arrivals: Vec<(Vec<SequenceId>, Generation)>,
    pub(super) is_stopping: bool,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A generation's number here.
type Key = u64;

/// The thread's own state.
pub(super) struct Rounds {
    shared: Arc<Shared>,
    decoder: Box<dyn Decoder>,
    language: Arc<Language>,
    step_target: Duration,
    pace: Pace,
    next_key: Key,
    generations: BTreeMap<Key, Generation>,
    owners: FxHashMap<SequenceId, Key>,
    logits: Vec<f32>,
    row: Vec<f32>,
    probabilities: LogProbabilities,
}

/// What a sequence does after a step.
struct Outcome {
    sequence: SequenceId,
    key: Key,
    token: u32,
    response: Option<GenerateResponse>,
    has_ended: bool,
}

impl Rounds {
    pub(super) fn new(
        shared: Arc<Shared>,
        decoder: Box<dyn Decoder>,
        language: Arc<Language>,
        step_target: Duration,
    ) -> Self {
        Self {
            shared,
            decoder,
            language,
            step_target,
            pace: Pace::default(),
            next_key: 0,
            generations: BTreeMap::new(),
            owners: FxHashMap::default(),
            logits: Vec::new(),
            row: Vec::new(),
            probabilities: LogProbabilities::default(),
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            // A panic is a fault in here or in a sink. The generations that run fail; the next ones find a fresh start.
            match catch_unwind(AssertUnwindSafe(|| self.round())) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    self.fail_all(&EngineError::new(Reason::Internal, "The model failed during this generation."))
                }
            }
        }
    }

    /// One step; false where it was told to stop.
    fn round(&mut self) -> bool {
        let Some((plan, now)) = self.next_plan() else {
            self.fail_all(&EngineError::new(Reason::Unavailable, "The model is being unloaded."));
            return false;
        };
        self.end_expired(&plan, now);
        if plan.chunks.is_empty() {
            return true;
        }
        let result = self.compute(&plan);
        let elapsed = now.elapsed();
        if let Err(fault) = result {
            self.fail(&plan, &fault);
            return true;
        }
        let outcomes = self.choose(&plan, elapsed);
        self.send(outcomes);
        true
    }

    /// Waits until there is something to do, and plans it; none where the thread is to stop.
    fn next_plan(&mut self) -> Option<(Plan, Instant)> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        while state.scheduler.is_idle() && state.arrivals.is_empty() && !state.is_stopping {
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        for (sequences, generation) in state.arrivals.drain(..) {
            self.owners.extend(sequences.into_iter().map(|sequence| (sequence, self.next_key)));
            self.generations.insert(self.next_key, generation);
            self.next_key += 1;
        }
        if state.is_stopping {
            return None;
        }
        let now = Instant::now();
        let cancelled = self.remove_cancelled(&mut state.scheduler, now);
        state.scheduler.set_prompt_allowance(self.pace.prompt_allowance(self.step_target));
        let plan = state.scheduler.plan(now);
        let is_stuck = plan.chunks.is_empty() && plan.expired.is_empty() && !state.scheduler.is_idle();
        drop(state);
        for mut generation in cancelled {
            generation.end(Err(EngineError::new(Reason::Cancelled, "The call was cancelled.")), now);
        }
        if is_stuck {
            std::thread::sleep(PAUSE);
        }
        Some((plan, now))
    }

    fn remove_cancelled(&mut self, scheduler: &mut Scheduler, now: Instant) -> Vec<Generation> {
        let is_cancelled = |generation: &Generation| generation.call.is_cancelled();
        let keys: Vec<Key> =
            self.generations.iter().filter(|(_, generation)| is_cancelled(generation)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.forget(key, scheduler, now)).collect()
    }

    /// Removes a generation and all its sequences.
    fn forget(&mut self, key: Key, scheduler: &mut Scheduler, now: Instant) -> Option<Generation> {
        self.owners.retain(|sequence, owner| {
            let is_its_own = *owner == key;
            if is_its_own {
                scheduler.remove(*sequence, now);
            }
            !is_its_own
        });
        self.generations.remove(&key)
    }

    /// All choices of a generation have one deadline: when one is late, so are the others.
    fn end_expired(&mut self, plan: &Plan, now: Instant) {
        for sequence in &plan.expired {
            let Some(key) = self.owners.get(sequence).copied() else { continue };
            let generation = self.forget(key, &mut self.shared.clone().lock().scheduler, now);
            if let Some(mut generation) = generation {
                generation.end_at_deadline(now);
            }
        }
    }

    fn compute(&mut self, plan: &Plan) -> Result<(), EngineError> {
        let sequences: Vec<StepSequence<'_>> = plan.chunks.iter().map(step_sequence).collect();
        self.decoder.step(&sequences, &mut self.logits)
    }

    /// The decoder could not compute the step: its sequences fail, the others go on.
    fn fail(&mut self, plan: &Plan, fault: &EngineError) {
        let now = Instant::now();
        for chunk in &plan.chunks {
            let Some(key) = self.owners.get(&chunk.sequence).copied() else { continue };
            let generation = self.forget(key, &mut self.shared.clone().lock().scheduler, now);
            if let Some(mut generation) = generation {
                generation.end(Err(fault.clone()), now);
            }
        }
    }

    /// All generations fail, and the scheduler begins anew: after a panic nobody knows what it holds.
    fn fail_all(&mut self, fault: &EngineError) {
        let now = Instant::now();
        let mut generations: Vec<Generation> = std::mem::take(&mut self.generations).into_values().collect();
        self.owners.clear();
        let mut state = self.shared.lock();
        generations.extend(state.arrivals.drain(..).map(|(_, generation)| generation));
        state.scheduler.clear();
        drop(state);
        for mut generation in generations {
            // A sink that panicked once may do so again.
            let _ = catch_unwind(AssertUnwindSafe(|| generation.end(Err(fault.clone()), now)));
        }
    }

    /// Reports the step and chooses a token for each sequence that has logits, and for each choice that begins there.
    fn choose(&mut self, plan: &Plan, elapsed: Duration) -> Vec<Outcome> {
        let prompt_tokens: usize = plan.prompts().map(|chunk| chunk.tokens.len()).sum();
        self.pace.observe(prompt_tokens, plan.chunks.len() - plan.prompts().count(), elapsed);
        let now = Instant::now();
        let forks = self.report(plan, elapsed);
        for copy in forks.values().flatten().filter_map(|fork| fork.copy) {
            if let Err(fault) = self.decoder.copy_block(copy.from, copy.to) {
                self.fail(plan, &fault);
                return Vec::new();
            }
        }
        self.begin_generations(plan, now - elapsed);
        let logits = std::mem::take(&mut self.logits);
        let rows = logits.chunks(self.decoder.shape().vocabulary_size);
        let mut outcomes = Vec::new();
        for (chunk, row) in plan.chunks.iter().filter(|chunk| chunk.wants_logits).zip(rows) {
            let forks = forks.get(&chunk.sequence).into_iter().flatten().map(|fork| fork.sequence);
            for sequence in [chunk.sequence].into_iter().chain(forks) {
                outcomes.extend(self.choose_one(sequence, row, now));
            }
        }
        self.logits = logits;
        outcomes
    }

    fn report(&mut self, plan: &Plan, elapsed: Duration) -> BTreeMap<SequenceId, Vec<Fork>> {
        let mut state = self.shared.lock();
        state.scheduler.advance(plan, elapsed);
        let with_logits = plan.chunks.iter().filter(|chunk| chunk.wants_logits).map(|chunk| chunk.sequence);
        with_logits.map(|sequence| (sequence, state.scheduler.fork(sequence))).collect()
    }

    fn begin_generations(&mut self, plan: &Plan, begun: Instant) {
        for chunk in &plan.chunks {
            let key = self.owners.get(&chunk.sequence);
            if let Some(generation) = key.and_then(|key| self.generations.get_mut(key)) {
                generation.begin(chunk.position, begun);
            }
        }
    }

    fn choose_one(&mut self, sequence: SequenceId, row: &[f32], now: Instant) -> Option<Outcome> {
        let key = *self.owners.get(&sequence)?;
        let generation = self.generations.get_mut(&key)?;
        let rules = generation.rules.clone();
        // Rows may be longer than the vocabulary: what lies behind it is padding.
        self.row.clear();
        self.row.extend_from_slice(&row[..self.language.tokenizer.size().min(row.len())]);
        let choice = generation.choice(sequence)?;
        match choice.advance(&mut self.row, &rules, &self.language.tokenizer, &mut self.probabilities) {
            Ok(progress) => {
                if generation.count_token(now) {
                    self.shared.counts.prompt_tokens.fetch_add(generation.prompt_tokens() as u64, Ordering::Relaxed);
                }
                self.shared.counts.generated_tokens.fetch_add(1, Ordering::Relaxed);
                let (token, response, has_ended) = (progress.token, progress.response, progress.has_ended);
                Some(Outcome { sequence, key, token, response, has_ended })
            }
            Err(fault) => {
                let generation = self.forget(key, &mut self.shared.clone().lock().scheduler, now);
                generation?.end(Err(fault), now);
                None
            }
        }
    }

    /// Goes on with the tokens that were chosen: first the scheduler, so that blocks are free when a caller learns that its
    /// answer is complete, then the listeners.
    fn send(&mut self, outcomes: Vec<Outcome>) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        for outcome in &outcomes {
            match outcome.has_ended {
                true => state.scheduler.remove(outcome.sequence, now),
                false => state.scheduler.push_token(outcome.sequence, outcome.token),
            }
        }
        drop(state);
        for outcome in outcomes {
            if outcome.has_ended {
                self.owners.remove(&outcome.sequence);
            }
            let Some(generation) = self.generations.get_mut(&outcome.key) else { continue };
            if let Some(response) = outcome.response {
                generation.send(outcome.sequence, response, now);
            }
            if generation.has_ended() {
                self.forget(outcome.key, &mut self.shared.clone().lock().scheduler, now);
            }
        }
    }
}

fn step_sequence(chunk: &Chunk) -> StepSequence<'_> {
    let Chunk { tokens, position, blocks, wants_logits, .. } = chunk;
    StepSequence { tokens, position: *position, blocks, wants_logits: *wants_logits }
}
