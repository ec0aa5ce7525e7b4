//! What a call carries besides its message.

use crate::buffer::{Buffer, OutputMemory};
use crate::error::{EngineError, Reason};
use crate::spans::SpanRing;
use std::fmt;
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

impl TraceContext {
    /// Reads a `traceparent` (W3C Trace Context, level 2). None where it is not one: such a call is not traced.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.splitn(5, '-');
        let [version] = hexadecimal::<1>(parts.next()?)?;
        let trace = Self {
            trace_id: hexadecimal(parts.next()?)?,
            span_id: hexadecimal(parts.next()?)?,
            flags: hexadecimal::<1>(parts.next()?)?[0],
        };
        // Later versions may append fields; version 0 has none, and 255 is forbidden.
        let known = version != 0xff && (version != 0 || parts.next().is_none());
        (known && trace.trace_id != [0; 16] && trace.span_id != [0; 8]).then_some(trace)
    }

    /// Whether the caller wants the spans of this call.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1 && self.trace_id != [0; 16]
    }
}

fn hexadecimal<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; BYTES] = pairs.try_into().ok()?;
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Deadline, priority, cancellation, trace and output memory of one call. Cheap to clone; clones share the cancellation.
#[derive(Clone)]
pub struct CallContext {
    /// When an answer is of no use any more.
    pub deadline: Option<Instant>,
    /// Higher goes first.
    pub priority: u8,
    /// The caller's span.
    pub trace: TraceContext,
    /// Where the reply's tensors are best written; none: the heap.
    pub output: Option<Arc<dyn OutputMemory>>,
    /// Where spans go; the engine sets it.
    pub spans: Option<Arc<SpanRing>>,
    cancelled: Option<Arc<AtomicBool>>,
}

impl Default for CallContext {
    fn default() -> Self {
        Self { cancelled: Some(Arc::new(AtomicBool::new(false))), ..Self::without_cancellation() }
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CallContext")
            .field("deadline", &self.deadline)
            .field("priority", &self.priority)
            .field("trace", &self.trace)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl CallContext {
    /// A call that nobody can cancel, made without an allocation: for the shortest calls.
    pub fn without_cancellation() -> Self {
        Self {
            deadline: None,
            priority: 0,
            trace: TraceContext { trace_id: [0; 16], span_id: [0; 8], flags: 0 },
            output: None,
            spans: None,
            cancelled: None,
        }
    }

    /// What a batch of calls is worth going on with: until the last deadline, at the highest priority, in the first one's
    /// trace. Nobody cancels it, and it answers on the heap.
    pub fn together<'call>(calls: impl Iterator<Item = &'call Self>) -> Self {
        let mut together: Option<Self> = None;
        for call in calls {
            let batch = together.get_or_insert_with(|| Self {
                deadline: call.deadline,
                trace: call.trace,
                spans: call.spans.clone(),
                ..Self::without_cancellation()
            });
            batch.deadline = batch.deadline.zip(call.deadline).map(|(one, other)| one.max(other));
            batch.priority = batch.priority.max(call.priority);
        }
        together.unwrap_or_default()
    }

    /// Tells whoever works on the call that nobody waits for it any more.
    pub fn cancel(&self) {
        if let Some(cancelled) = &self.cancelled {
            cancelled.store(true, Ordering::Release);
        }
    }

    /// Whether the caller went away.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Acquire))
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

    /// Memory for `length` bytes of the reply, of any content, where the transport wants it.
    pub fn reserve(&self, length: usize) -> Buffer {
        Buffer::reserve(self.output.as_ref(), length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("valid");
        assert_eq!(trace.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(trace.span_id[7], 0xb7);
        assert!(trace.is_sampled());
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more";
        assert_eq!(TraceContext::parse(later).map(|trace| trace.is_sampled()), Some(false));
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47366-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bé-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn clones_share_the_cancellation() {
        let context = CallContext::default();
        context.clone().cancel();
        assert_eq!(context.check(Instant::now()).expect_err("cancelled").reason, Reason::Cancelled);
        let context = CallContext::without_cancellation();
        context.cancel();
        assert!(context.check(Instant::now()).is_ok());
    }

    #[test]
    fn a_deadline_is_passed_at_its_very_instant() {
        let now = Instant::now();
        let mut context = CallContext { deadline: Some(now), ..CallContext::default() };
        assert_eq!(context.check(now).expect_err("passed").reason, Reason::DeadlineExceeded);
        context.deadline = now.checked_add(std::time::Duration::from_nanos(1));
        assert!(context.check(now).is_ok());
    }
}
