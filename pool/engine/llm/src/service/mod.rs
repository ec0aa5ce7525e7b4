//! A language model that answers many callers at once: requests in, pieces of text out.
//!
//! A caller's own thread checks its request, renders the conversation, cuts it into tokens and compiles its schema; then the
//! scheduler takes it in or refuses it, at once. One thread owns the decoder and does the rest. It calls sinks directly:
//! they must not block, as [`GenerateSink`] says.
//!
//! | module | holds |
//! |---|---|
//! | `request` | checking, on the caller's thread |
//! | `rounds` | the thread: step after step |
//! | `generation`, `choice` | a request while it is answered; one choice of it |
//! | `pace` | how much of a prompt goes beside streams |
//! | `language` | tokenizer, template and constraints of a model |

mod choice;
mod generation;
mod language;
mod open;
mod pace;
mod request;
mod rounds;
#[cfg(test)]
mod tests;

pub use language::Language;
pub use open::open;

use crate::blocks::PrefixHasher;
use crate::decoder::{Decoder, DecoderShape};
use crate::scheduler::{Scheduler, SchedulerOptions};
use contract::engine::EngineStats;
use contract::v1::{FinishReason, GenerateRequest, GenerateResponse, TokenizeRequest, TokenizeResponse, Usage};
use engine_core::{CallContext, Capability, EngineError, GenerateSink, Model, ModelDescription, Reason};
use generation::Generation;
use request::Prepared;
use rounds::{Rounds, Shared, State};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a text to be cut into tokens, at most.
pub const TOKENIZE_BYTES_MAX: usize = 4 << 20;

/// Bounds of a service.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The name of the backend that the decoder belongs to.
    pub backend: &'static str,
    /// Sequences that generate at once, at most.
    pub running_max: usize,
    /// Sequences that wait, at most; more are refused at once.
    pub waiting_max: usize,
    /// Tokens of all prompts that wait, at most.
    pub waiting_tokens_max: usize,
    /// What a level of priority is worth in time of arrival.
    pub priority_head_start: Duration,
    /// How long a step is to last at most while sequences generate; prompts are cut so that it does.
    pub step_target: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            backend: "native",
            running_max: 32,
            waiting_max: 256,
            waiting_tokens_max: 1 << 18,
            priority_head_start: Duration::from_secs(10),
            step_target: Duration::from_millis(60),
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
struct ServiceCounts {
    prompt_tokens: AtomicU64,
    generated_tokens: AtomicU64,
}

/// A served language model.
pub struct LanguageModel {
    description: ModelDescription,
    language: Arc<Language>,
    shared: Arc<Shared>,
    length_max: usize,
    waiting_max: usize,
    seeds: RandomState,
    next_seed: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LanguageModel {
    /// Begins to serve `decoder` on a thread of its own.
    ///
    /// # Errors
    /// `ModelNotReady` where tokenizer and decoder do not belong together, or there is no thread to be had.
    pub fn start(decoder: Box<dyn Decoder>, language: Language, options: &ServiceOptions) -> Result<Self, EngineError> {
        let shape = decoder.shape().clone();
        check_shape(&shape, &language)?;
        let scheduler = Scheduler::new(
            scheduler_options(&shape, options, decoder.copies_blocks()),
            PrefixHasher::default(),
            Instant::now(),
        );
        let length_max = scheduler.length_max();
        let state = State { scheduler, arrivals: Vec::new(), is_stopping: false };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), counts: ServiceCounts::default() });
        let language = Arc::new(language);
        let rounds = Rounds::new(Arc::clone(&shared), decoder, Arc::clone(&language), options.step_target);
        let thread = std::thread::Builder::new()
            .name("llm".to_owned())
            .spawn(move || rounds.run())
            .map_err(|fault| EngineError::new(Reason::ModelNotReady, format!("No thread for the model: {fault}")))?;
        Ok(Self {
            description: describe(&shape, options, length_max),
            language,
            shared,
            length_max,
            waiting_max: options.waiting_max,
            seeds: RandomState::new(),
            next_seed: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A seed of chance: the standard library's hash keys come from the system's source of randomness.
    fn seed(&self) -> u64 {
        self.seeds.hash_one(self.next_seed.fetch_add(1, Ordering::Relaxed))
    }
}

fn check_shape(shape: &DecoderShape, language: &Language) -> Result<(), EngineError> {
    let size = language.tokenizer.size();
    let refuse = |message: String| Err(EngineError::new(Reason::ModelNotReady, message));
    if shape.vocabulary_size < size {
        return refuse(format!("The tokenizer has {size} tokens, the model {} logits.", shape.vocabulary_size));
    }
    if shape.block_tokens == 0 || shape.blocks == 0 || shape.step_tokens_max < 2 || shape.context_length < 2 {
        return refuse("The decoder has no room for a sequence.".to_owned());
    }
    Ok(())
}

fn scheduler_options(shape: &DecoderShape, options: &ServiceOptions, copies_blocks: bool) -> SchedulerOptions {
    SchedulerOptions {
        context_length: shape.context_length,
        block_tokens: shape.block_tokens,
        blocks: shape.blocks,
        step_tokens_max: shape.step_tokens_max,
        // A step has room for a prompt's token beside all that generate.
        running_max: options.running_max.clamp(1, shape.step_tokens_max - 1),
        waiting_max: options.waiting_max,
        waiting_tokens_max: options.waiting_tokens_max,
        priority_head_start: options.priority_head_start,
        copies_blocks,
    }
}

fn describe(shape: &DecoderShape, options: &ServiceOptions, length_max: usize) -> ModelDescription {
    ModelDescription {
        backend: options.backend,
        capabilities: vec![Capability::Generate],
        memory_bytes: shape.memory_bytes,
        context_length: length_max as u32,
        ..ModelDescription::default()
    }
}

impl Model for LanguageModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn tokenize(&self, request: &TokenizeRequest) -> Result<TokenizeResponse, EngineError> {
        if request.text.len() > TOKENIZE_BYTES_MAX {
            let message = format!("A text has at most {TOKENIZE_BYTES_MAX} bytes.");
            return Err(EngineError::invalid("text", message));
        }
        let tokenizer = &self.language.tokenizer;
        let ids = tokenizer.encode_prompt(&request.text);
        let pieces = ids.iter().map(|&id| tokenizer.piece(id).to_vec()).collect();
        Ok(TokenizeResponse { ids, pieces })
    }

    fn generate(
        &self,
        call: CallContext,
        request: GenerateRequest,
        sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        call.check(Instant::now())?;
        let prepared = request::prepare(&request, &call, &self.language, self.length_max, self.seed())?;
        let name = (request.model, request.version);
        if prepared.rules.tokens_max == 0 {
            return answer_nothing(prepared, name, sink);
        }
        let mut state = self.shared.lock();
        if state.is_stopping {
            return Err(EngineError::new(Reason::Unavailable, "The model is being unloaded."));
        }
        let now = Instant::now();
        let ids = state.scheduler.submit(&prepared.sequences, now)?;
        let generation = Generation::new(prepared, &ids, call, sink, name, now);
        state.arrivals.push((ids, generation));
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn add_stats(&self, stats: &mut EngineStats) {
        let state = self.shared.lock();
        let (used, total) = state.scheduler.block_usage();
        let counts = state.scheduler.counts();
        stats.running += state.scheduler.running() as u32;
        stats.waiting += state.scheduler.waiting() as u32;
        drop(state);
        stats.waiting_max += self.waiting_max as u32;
        stats.kv_blocks += total as u64;
        stats.kv_blocks_used += used as u64;
        stats.prompt_tokens += self.shared.counts.prompt_tokens.load(Ordering::Relaxed);
        stats.generated_tokens += self.shared.counts.generated_tokens.load(Ordering::Relaxed);
        stats.prefix_cache_queries += counts.prefix_queries;
        stats.prefix_cache_hits += counts.prefix_hits;
        stats.preemptions += counts.preemptions;
    }

    fn stop(&self) {
        self.shared.lock().is_stopping = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A sink may stop the model from its own thread, which cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // It catches panics itself; one that comes through has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Drop for LanguageModel {
    fn drop(&mut self) {
        self.stop();
    }
}

/// No tokens were wanted, or the prompt leaves no room for any: the answer is there already.
fn answer_nothing(
    prepared: Prepared,
    (model, version): (String, String),
    mut sink: Box<dyn GenerateSink>,
) -> Result<(), EngineError> {
    let count = prepared.choices.len() as u32;
    let usage = Usage { prompt_tokens: prepared.sequences.prompt.len() as u32, ..Usage::default() };
    for index in 0..count {
        let mut response = GenerateResponse { index, ..GenerateResponse::default() };
        response.set_finish_reason(FinishReason::Length);
        if index == 0 {
            response.text = prepared.echo.clone().unwrap_or_default();
            (response.model, response.version) = (model.clone(), version.clone());
        }
        response.usage = (index + 1 == count).then_some(usage);
        sink.send(response)?;
    }
    sink.end(Ok(()));
    Ok(())
}
