//! A generation's sink that keeps the model from being unloaded, and that is always ended.

use super::loaded::Lease;
use crate::backend::GenerateSink;
use crate::error::{EngineError, Reason};
use crate::locks::lock;
use contract::v1::{GenerateRequest, GenerateResponse};
use std::sync::{Arc, Mutex};

use crate::call::CallContext;

/// Begins a generation with a leased model. Whatever the backend does, a generation that began is ended once, and one that
/// did not begin never reaches the sink. `until_end` is dropped when it ends: what counts it, or times it.
pub fn generate(
    lease: Lease,
    call: CallContext,
    request: GenerateRequest,
    sink: Box<dyn GenerateSink>,
    until_end: impl Send + 'static,
) -> Result<(), EngineError> {
    let start = Arc::new(Mutex::new(Start::default()));
    let model = Arc::clone(lease.model());
    let leased = Box::new(LeasedSink { sink: Some(sink), start: Arc::clone(&start), _until_end: (until_end, lease) });
    let result = crate::guard::guarded(|| model.generate(call, request, leased));
    let mut start = lock(&start);
    start.begun = true;
    match (start.orphan.take(), &result) {
        (Some(orphan), Ok(())) => orphan.end(Err(abandoned())),
        // The caller learns it from the result.
        (Some(_), Err(_)) | (None, _) => {}
    }
    result
}

fn abandoned() -> EngineError {
    EngineError::new(Reason::Internal, "The model gave the generation up without a reason.")
}

/// What happened to the sink while `Model::generate` ran.
#[derive(Default)]
struct Start {
    begun: bool,
    orphan: Option<Box<dyn GenerateSink>>,
}

struct LeasedSink<U> {
    sink: Option<Box<dyn GenerateSink>>,
    start: Arc<Mutex<Start>>,
    _until_end: (U, Lease),
}

impl<U: Send> GenerateSink for LeasedSink<U> {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        match &mut self.sink {
            Some(sink) => sink.send(response),
            None => Err(abandoned()),
        }
    }

    fn end(mut self: Box<Self>, result: Result<(), EngineError>) {
        if let Some(sink) = self.sink.take() {
            sink.end(result);
        }
    }
}

/// A backend whose thread died drops the sink without a word; its caller must not wait for ever.
impl<U> Drop for LeasedSink<U> {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            let mut start = lock(&self.start);
            if start.begun {
                drop(start);
                sink.end(Err(abandoned()));
            } else {
                start.orphan = Some(sink);
            }
        }
    }
}
