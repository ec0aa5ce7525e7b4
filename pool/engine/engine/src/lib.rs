//! The engine as the transports see it: operations with a header and a payload in, replies out. This is where backends are
//! put together; `engine-ffi` and `engine-worker` only carry calls to it.

mod backends;
mod counters;
mod identity;
mod operations;
mod sum;

use contract::engine::{Operation, Status};
use counters::Counters;
use engine_core::repository::{Repository, RepositorySettings, UNLOAD_WAIT_MAX};
use engine_core::spans::SpanRing;
use engine_core::{Backend, CallContext, EngineError, GenerateSink, Reason, Tensor};
use prost::Message;
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

/// How an engine is opened; JSON in the C ABI and on the worker's command line.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// The model repository; empty: none, and so no models.
    pub repository: PathBuf,
    /// Bytes that loaded models may hold together.
    pub memory_bytes_max: u64,
    /// Threads for computing; 0: as many as the machine has.
    pub threads: usize,
    /// The model cache, for files that manifests name `cache:…`.
    pub model_directory: PathBuf,
    /// Models to load at the start, besides those whose manifest says so; `name` or `name:version`.
    pub load: Vec<String>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            repository: PathBuf::from("models"),
            model_directory: model_directory(std::env::var_os(MODEL_DIRECTORY_VARIABLE), std::env::home_dir()),
            memory_bytes_max: 8 << 30,
            threads: 0,
            load: Vec::new(),
        }
    }
}

/// The environment's name of the model cache.
pub const MODEL_DIRECTORY_VARIABLE: &str = "TREELINE_MODEL_DIRECTORY";

/// The model cache: as the environment says, or `~/.cache/treeline/models`.
fn model_directory(configured: Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    configured
        .filter(|folder| !folder.is_empty())
        .map_or_else(|| home.unwrap_or_default().join(".cache/treeline/models"), PathBuf::from)
}

impl EngineConfig {
    fn repository_settings(self) -> RepositorySettings {
        let machine = || std::thread::available_parallelism().map_or(1, usize::from);
        RepositorySettings {
            folder: self.repository,
            cache: self.model_directory,
            memory_bytes_max: self.memory_bytes_max,
            threads: if self.threads == 0 { machine() } else { self.threads },
            unload_wait_max: UNLOAD_WAIT_MAX,
            load: self.load,
        }
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
    /// A payload alone.
    fn at_once(payload: ReplyPayload) -> Self {
        Self { status: Status::Ok, header: Vec::new(), payload }
    }

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
    repository: Arc<Repository>,
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
        let seed = RandomState::new().hash_one(std::process::id());
        Ok(Self {
            repository: Repository::open(config.repository_settings(), backends)?,
            counters: Arc::default(),
            spans: Arc::new(SpanRing::new(seed, Instant::now(), SystemTime::now())),
            draining: AtomicBool::new(false),
        })
    }

    /// Answers a call on this thread. ECHO and SUM allocate nothing.
    pub fn call(&self, call: &IncomingCall<'_>) -> OutgoingReply {
        match call.operation {
            Operation::Echo => {
                self.echo();
                OutgoingReply::at_once(ReplyPayload::Echo)
            }
            Operation::Sum => match call.payload {
                [segment] => OutgoingReply::at_once(ReplyPayload::Word(self.sum(segment))),
                segments => OutgoingReply::failure(&EngineError::invalid(
                    "payload",
                    format!("SUM takes one segment, not {}.", segments.len()),
                )),
            },
            _ => operations::answer(self, call).unwrap_or_else(|error| OutgoingReply::failure(&error)),
        }
    }

    /// ECHO alone, for a transport's shortest way: counts the call, whose segments are the answer. Never panics.
    pub fn echo(&self) {
        self.counters.count();
    }

    /// SUM alone: the sum of all bytes, little-endian. Never panics.
    pub fn sum(&self, segment: &[u8]) -> [u8; 8] {
        self.counters.count();
        sum::sum(segment).to_le_bytes()
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

    /// The call, with its spans recorded here.
    fn recorded(&self, context: &CallContext) -> CallContext {
        let mut recorded = context.clone();
        recorded.spans = Some(Arc::clone(&self.spans));
        recorded
    }

    /// Fails once the engine drains.
    fn accept(&self) -> Result<(), EngineError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(EngineError::new(Reason::Unavailable, "The engine is stopping and takes no new calls."));
        }
        Ok(())
    }
}

/// Unloads all models; calls that still run have the time that an unload gives them.
impl Drop for Engine {
    fn drop(&mut self) {
        self.repository.stop();
    }
}
