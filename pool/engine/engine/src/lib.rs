//! The engine as the transports see it: operations with a header and a payload in, replies out. This is where backends are
//! put together; `engine-ffi` and `engine-worker` only carry calls to it.

use contract::engine::{Operation, Status};
use engine_core::{CallContext, EngineError, GenerateSink, Tensor};
use std::path::PathBuf;

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
    /// Deadline, priority, cancellation, trace.
    pub context: CallContext,
    /// The encoded message.
    pub header: &'data [u8],
    /// The segments.
    pub payload: &'data [&'data [u8]],
}

/// The payload of a reply.
pub enum ReplyPayload {
    /// The call's own segments, unchanged (ECHO).
    Echo,
    /// Tensors' data, one segment each.
    Tensors(Vec<Tensor>),
}

/// A reply.
pub struct OutgoingReply {
    /// How it went.
    pub status: Status,
    /// The encoded message; an `ErrorDetail` where the status is not OK.
    pub header: Vec<u8>,
    /// The segments.
    pub payload: ReplyPayload,
}

/// All models of one process, and the way to them.
pub struct Engine {}

impl Engine {
    /// Opens the repository and begins to load what shall be loaded; returns at once.
    pub fn open(config: EngineConfig) -> Result<Self, EngineError> {
        let _ = config;
        Ok(Self {})
    }

    /// Answers a call on this thread.
    pub fn call(&self, call: &IncomingCall<'_>) -> OutgoingReply {
        let _ = call;
        todo!("the crate's owner")
    }

    /// Begins a generation (operation GENERATE; `header` is a GenerateRequest) and returns; the sink gets the rest.
    pub fn generate(
        &self,
        context: CallContext,
        header: &[u8],
        sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        let _ = (context, header, sink);
        todo!("the crate's owner")
    }

    /// Refuses new calls; those that run go on.
    pub fn drain(&self) {}
}
