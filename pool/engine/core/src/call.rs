//! What a call carries besides its message.

use crate::error::{EngineError, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// W3C trace context of the caller's span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// All zeros: not traced.
    pub trace_id: [u8; 16],
    /// The parent of spans made here.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

/// Deadline, priority, cancellation and trace of one call. Cheap to clone; clones share the cancellation.
#[derive(Debug, Clone, Default)]
pub struct CallContext {
    /// When an answer is of no use any more.
    pub deadline: Option<Instant>,
    /// Higher goes first.
    pub priority: u8,
    /// The caller's span.
    pub trace: TraceContext,
    cancelled: Arc<AtomicBool>,
}

impl CallContext {
    /// Tells whoever works on the call that nobody waits for it any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether the caller went away.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Fails where the call is not worth going on with at `now`.
    pub fn check(&self, now: Instant) -> Result<(), EngineError> {
        if self.is_cancelled() {
            return Err(EngineError::new(Reason::Cancelled, "The call was cancelled."));
        }
        match self.deadline {
            Some(deadline) if now >= deadline => {
                Err(EngineError::new(Reason::DeadlineExceeded, "The deadline passed before the answer was there."))
            }
            _ => Ok(()),
        }
    }
}
