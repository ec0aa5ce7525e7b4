//! The engine as the transports see it: operations with a header and a payload in, replies out. This is where backends are
//! put together; `engine-ffi` and `engine-worker` only carry calls to it.

mod backends;
mod counters;
mod identity;
mod operations;
mod sum;

use contract::engine::{Operation, Status};
use counters::Counters;
use engine_core::spans::SpanRing;
use engine_core::{Backend, CallContext, EngineError, GenerateSink, Reason, Tensor};
use prost::Message;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

/// How an engine is opened; JSON in the C ABI and on the worker's command line.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// The model repository.
    pub repository: PathBuf,
    /// Bytes that loaded models may hold together.
    pub memory_bytes_max: u64,
    /// Threads for computing; 0: as many as the machine has.
    pub threads: usize,
    /// Models to load at the start, besides those whose manifest says so; `name` or `name:version`.
    pub load: Vec<String>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { repository: PathBuf::from("models"), memory_bytes_max: 8 << 30, threads: 0, load: Vec::new() }
    }
}

/// A call with one reply, as it lies in the transport's memory.
pub struct IncomingCall<'data> {
    /// What to do; anything but GENERATE.
    pub operation: Operation,
    /// Deadline, priority, cancellation, trace, and the memory for the reply.
    pub context: CallContext,
    /// The encoded message.
    pub header: &'data [u8],
    /// The segments.
    pub payload: &'data [&'data [u8]],
}

/// The payload of a reply.
#[derive(Debug)]
pub enum ReplyPayload {
    /// The call's own segments, unchanged (ECHO).
    Echo,
    /// One segment of eight bytes (SUM).
    Word([u8; 8]),
    /// Tensors' data, one segment each; none at all where the operation answers with a header alone.
    Tensors(Vec<Tensor>),
}

/// A reply.
#[derive(Debug)]
pub struct OutgoingReply {
    /// How it went.
    pub status: Status,
    /// The encoded message; an `ErrorDetail` where the status is not OK.
    pub header: Vec<u8>,
    /// The segments.
    pub payload: ReplyPayload,
}

impl OutgoingReply {
    /// A header and tensors' data.
    fn answer(header: &impl Message, tensors: Vec<Tensor>) -> Self {
        Self { status: Status::Ok, header: header.encode_to_vec(), payload: ReplyPayload::Tensors(tensors) }
    }

    /// A failure.
    pub fn failure(error: &EngineError) -> Self {
        let payload = ReplyPayload::Tensors(Vec::new());
        Self { status: error.status(), header: error.detail().encode_to_vec(), payload }
    }
}

/// All models of one process, and the way to them.
pub struct Engine {
    backends: Vec<Arc<dyn Backend>>,
    counters: Arc<Counters>,
    spans: Arc<SpanRing>,
    draining: AtomicBool,
}

impl Engine {
    /// Opens the repository and begins to load what shall be loaded; returns at once.
    pub fn open(config: EngineConfig) -> Result<Self, EngineError> {
        Self::with_backends(config, backends::compiled_in())
    }

    /// The same, with backends of the caller's choice.
    pub fn with_backends(config: EngineConfig, backends: Vec<Arc<dyn Backend>>) -> Result<Self, EngineError> {
        let _ = config;
        let seed = RandomState::new().hash_one(std::process::id());
        Ok(Self {
            backends,
            counters: Arc::default(),
            spans: Arc::new(SpanRing::new(seed, Instant::now(), SystemTime::now())),
            draining: AtomicBool::new(false),
        })
    }

    /// Answers a call on this thread. ECHO and SUM allocate nothing.
    pub fn call(&self, call: &IncomingCall<'_>) -> OutgoingReply {
        match call.operation {
            Operation::Echo => self.answer_at_once(ReplyPayload::Echo),
            Operation::Sum => match call.payload {
                [segment] => self.answer_at_once(ReplyPayload::Word(sum::sum(segment).to_le_bytes())),
                segments => OutgoingReply::failure(&EngineError::invalid(
                    "payload",
                    format!("SUM takes one segment, not {}.", segments.len()),
                )),
            },
            _ => operations::answer(self, call).unwrap_or_else(|error| OutgoingReply::failure(&error)),
        }
    }

    /// Begins a generation (operation GENERATE; `header` is a GenerateRequest) and returns; the sink gets the rest.
    pub fn generate(
        &self,
        context: CallContext,
        header: &[u8],
        sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        operations::generate(self, context, header, sink)
    }

    /// Refuses new work; calls that run go on, and questions about the engine itself are still answered.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn answer_at_once(&self, payload: ReplyPayload) -> OutgoingReply {
        self.counters.count();
        OutgoingReply { status: Status::Ok, header: Vec::new(), payload }
    }

    /// Fails once the engine drains.
    fn accept(&self) -> Result<(), EngineError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(EngineError::new(Reason::Unavailable, "The engine is stopping and takes no new calls."));
        }
        Ok(())
    }
}
