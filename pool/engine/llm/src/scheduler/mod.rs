//! Who runs next. A pure state machine: time is passed in, nothing blocks, nothing computes.
//!
//! Each round the caller asks for a [`Plan`], computes it, reports it with [`Scheduler::advance`], and adds the tokens that
//! were chosen. All sequences that generate take part in every step with one token each (continuous batching: Yu et al.
//! 2022, "Orca"); prompts fill the rest of the step in chunks (Agrawal et al. 2023, "Sarathi"), so that a long prompt does
//! not stop the streams of others.
//!
//! When blocks run out, the youngest sequence of the lowest priority gives all of its blocks back and is computed again
//! later, from its prompt and what it generated.

mod plan;
mod rates;
mod sequence;
#[cfg(test)]
mod tests;

pub use plan::{BlockCopy, Chunk, Fork, Plan};
pub use sequence::SequenceId;

use crate::blocks::{Blocks, PrefixHasher};
use engine_core::{EngineError, Reason};
use rates::Rates;
use sequence::{Order, Sequence};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Choices of one request, at most.
pub const CHOICES_MAX: u32 = 16;

/// Bounds of a scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Tokens of prompt and answer together, at most.
    pub context_length: usize,
    /// Tokens whose keys and values one block holds; 1 or more.
    pub block_tokens: usize,
    /// Blocks of the cache.
    pub blocks: usize,
    /// Tokens of one step, at most.
    pub step_tokens_max: usize,
    /// Sequences in one step, at most; no more than `step_tokens_max`.
    pub running_max: usize,
    /// Sequences that wait, at most; more are refused.
    pub waiting_max: usize,
    /// Tokens of the prompts that wait, at most; more are refused unless nothing waits.
    pub waiting_tokens_max: usize,
    /// What a level of priority is worth in time of arrival.
    pub priority_head_start: Duration,
    /// Whether the decoder can copy blocks, so that choices share the computing of their whole prompt.
    pub copies_blocks: bool,
}

/// What came in.
#[derive(Debug, Clone)]
pub struct SequenceRequest {
    /// Tokens, at least one.
    pub prompt: Vec<u32>,
    /// Sequences with this prompt, 1 to [`CHOICES_MAX`].
    pub choices: u32,
    /// Higher goes first.
    pub priority: u8,
    /// When it is of no use any more.
    pub deadline: Option<Instant>,
    /// Sequences with different salts share no prefix.
    pub salt: String,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedulerCounts {
    /// Times that a sequence had to give its blocks back.
    pub preemptions: u64,
    /// Tokens looked up in the cache of prefixes.
    pub prefix_queries: u64,
    /// Of those, found.
    pub prefix_hits: u64,
    /// Sequences refused because too many waited, or the wait would have been too long.
    pub refused: u64,
    /// Sequences whose deadline passed.
    pub expired: u64,
}

/// The sequences of one decoder.
#[derive(Debug)]
pub struct Scheduler {
    options: SchedulerOptions,
    epoch: Instant,
    blocks: Blocks,
    hasher: PrefixHasher,
    next_id: u64,
    /// By their order.
    waiting: BTreeMap<Order, Sequence>,
    /// By their order.
    running: Vec<Sequence>,
    /// Further choices, which wait until their first one's prompt is computed; by that one's id.
    held: BTreeMap<SequenceId, Vec<Sequence>>,
    /// Tokens of prompts beside sequences that generate, a step.
    prompt_allowance: usize,
    rates: Rates,
    counts: SchedulerCounts,
}

impl Scheduler {
    /// A scheduler without sequences. `hasher` has keys of chance.
    pub fn new(options: SchedulerOptions, hasher: PrefixHasher, now: Instant) -> Self {
        Self {
            epoch: now,
            blocks: Blocks::new(options.blocks),
            hasher,
            next_id: 0,
            waiting: BTreeMap::new(),
            running: Vec::new(),
            held: BTreeMap::new(),
            prompt_allowance: options.step_tokens_max,
            rates: Rates::default(),
            counts: SchedulerCounts::default(),
            options,
        }
    }

    /// Takes a request in; its sequences, one a choice.
    ///
    /// # Errors
    /// `InvalidArgument` for a prompt that can never fit, `DeadlineExceeded` where the deadline has passed, `Overloaded`
    /// where too much waits already, or so much that the request would still wait at its deadline.
    pub fn submit(&mut self, request: &SequenceRequest, now: Instant) -> Result<Vec<SequenceId>, EngineError> {
        self.check_prompt(request)?;
        if request.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(EngineError::new(Reason::DeadlineExceeded, "The deadline passed before the request came in."));
        }
        let order = |id| {
            let since_epoch = now.saturating_duration_since(self.epoch);
            Order::new(id, since_epoch, request.priority, self.options.priority_head_start)
        };
        let ids = (self.next_id..).map(SequenceId).take(request.choices as usize);
        let root = self.hasher.root(&request.salt);
        let sequence = |id| Sequence::new(id, order(id), request.deadline, request.prompt.clone(), root);
        let mut sequences: Vec<Sequence> = ids.map(sequence).collect();
        if let Err(refusal) = self.check_load(request, sequences[0].order, now) {
            self.counts.refused += sequences.len() as u64;
            return Err(refusal);
        }
        self.next_id += sequences.len() as u64;
        let ids = sequences.iter().map(|sequence| sequence.id).collect();
        let first = sequences.remove(0);
        if !sequences.is_empty() {
            self.held.insert(first.id, sequences);
        }
        self.waiting.insert(first.order, first);
        Ok(ids)
    }

    fn check_prompt(&self, request: &SequenceRequest) -> Result<(), EngineError> {
        let length = request.prompt.len();
        if length == 0 {
            return Err(EngineError::invalid("prompt", "The prompt has no tokens."));
        }
        if length >= self.length_max() {
            let message = format!(
                "The prompt has {length} tokens; the model takes {} tokens of prompt and answer together.",
                self.length_max()
            );
            return Err(EngineError::invalid("prompt", message));
        }
        if request.choices == 0 || request.choices > CHOICES_MAX {
            return Err(EngineError::invalid("n", format!("A request has 1 to {CHOICES_MAX} choices.")));
        }
        Ok(())
    }

    /// Tokens of a sequence, prompt and answer together, at most.
    pub fn length_max(&self) -> usize {
        self.options.context_length.min(self.options.blocks * self.options.block_tokens)
    }

    fn check_load(&self, request: &SequenceRequest, order: Order, now: Instant) -> Result<(), EngineError> {
        let overloaded = |message: String| Err(EngineError::new(Reason::Overloaded, message));
        let waiting = self.waiting();
        if waiting + request.choices as usize > self.options.waiting_max {
            return overloaded(format!("{waiting} sequences wait already; try again later."));
        }
        let waiting_tokens: usize = self.waiting.values().map(Sequence::remaining).sum();
        if waiting > 0 && waiting_tokens + request.prompt.len() > self.options.waiting_tokens_max {
            return overloaded(format!("Prompts of {waiting_tokens} tokens wait already; try again later."));
        }
        let delay = self.expected_delay(order);
        if request.deadline.is_some_and(|deadline| now + delay >= deadline) {
            let message = format!("The queue is {:.1} s long, and the deadline is sooner.", delay.as_secs_f64());
            return overloaded(message);
        }
        Ok(())
    }

    /// How long a sequence of that order would wait until its prompt is begun, by what was measured lately.
    fn expected_delay(&self, order: Order) -> Duration {
        let ahead = self.waiting.range(..order).map(|(_, sequence)| sequence);
        let (count, tokens) = ahead.fold((0, 0), |(count, tokens), next| (count + 1, tokens + next.remaining()));
        let begun: usize = self.running.iter().filter(|next| !next.is_decoding()).map(Sequence::remaining).sum();
        let places = self.options.running_max.saturating_sub(self.running.len());
        let rounds = (count + 1_usize).saturating_sub(places).div_ceil(self.options.running_max);
        self.rates.prompt_time(begun + tokens) + self.rates.sequence_time() * rounds as u32
    }

    /// Sets how many tokens of prompts a step takes beside sequences that generate: at least 1, at most what a step takes.
    pub fn set_prompt_allowance(&mut self, tokens: usize) {
        self.prompt_allowance = tokens.clamp(1, self.options.step_tokens_max);
    }

    /// The next token of a sequence was chosen.
    pub fn push_token(&mut self, id: SequenceId, token: u32) {
        if let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == id) {
            sequence.tokens.push(token);
        }
    }

    /// A sequence has ended, for whatever reason, and gives its blocks back. Its further choices go on without it.
    pub fn remove(&mut self, id: SequenceId, now: Instant) {
        if let Some(place) = self.running.iter().position(|sequence| sequence.id == id) {
            let sequence = self.running.remove(place);
            self.blocks.release(&sequence.blocks);
            if let Some(admitted) = sequence.admitted {
                self.rates.observe_end(now.saturating_duration_since(admitted));
            }
        }
        self.waiting.retain(|_, sequence| sequence.id != id);
        self.held.values_mut().for_each(|sequences| sequences.retain(|sequence| sequence.id != id));
        self.held.retain(|_, sequences| !sequences.is_empty());
        for orphan in self.held.remove(&id).into_iter().flatten() {
            self.waiting.insert(orphan.order, orphan);
        }
    }

    /// Forgets all sequences, and what the blocks hold. Counts go on.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.running.clear();
        self.held.clear();
        self.blocks = Blocks::new(self.options.blocks);
    }

    /// Sequences that have blocks.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Sequences that wait for blocks.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.held.values().map(Vec::len).sum::<usize>()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Blocks that sequences hold, and blocks in all.
    pub fn block_usage(&self) -> (usize, usize) {
        (self.blocks.used(), self.blocks.total())
    }

    /// Counts since the start.
    pub fn counts(&self) -> SchedulerCounts {
        self.counts
    }
}
