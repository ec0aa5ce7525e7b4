//! What a generation gives, on its way to the server.

use super::dispatch::Dispatcher;
use contract::engine::Status;
use contract::v1::GenerateResponse;
use engine_core::{EngineError, GenerateSink, Reason};
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pieces of one stream that wait for a slow server, at most; the generation is cancelled beyond that.
pub const PENDING_MAX: usize = 16_384;

/// The sink of one call.
pub struct Sink {
    dispatcher: Arc<Dispatcher>,
    call: u64,
    pending: Arc<AtomicUsize>,
}

impl Sink {
    /// Sends to the server as replies to `call`.
    pub fn new(dispatcher: Arc<Dispatcher>, call: u64) -> Self {
        Self { dispatcher, call, pending: Arc::new(AtomicUsize::new(0)) }
    }
}

impl GenerateSink for Sink {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        if self.pending.load(Ordering::Acquire) >= PENDING_MAX {
            return Err(EngineError::new(Reason::Cancelled, "The text was not read as fast as it came."));
        }
        self.dispatcher.replies().send_piece(self.call, Status::Ok, response.encode_to_vec(), false, &self.pending);
        Ok(())
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        self.dispatcher.forget(self.call);
        let (status, header) = match result {
            Ok(()) => (Status::Ok, Vec::new()),
            Err(error) => (error.status(), error.detail().encode_to_vec()),
        };
        self.dispatcher.replies().send_piece(self.call, status, header, true, &self.pending);
    }
}
