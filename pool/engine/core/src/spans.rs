//! Spans: what the engine did for a call that is traced, and when. They wait in a bounded ring until the server's exporter
//! takes them with the operation STATS.

use crate::call::{CallContext, TraceContext};
use contract::engine::EngineSpan;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Spans that a ring holds, at most; the oldest go first.
pub const SPANS_MAX: usize = 4096;

/// Attributes of one span, at most; more are left out.
pub const ATTRIBUTES_MAX: usize = 16;

/// Where ended spans wait.
pub struct SpanRing {
    ended: Mutex<VecDeque<EngineSpan>>,
    capacity: usize,
    dropped: AtomicU64,
    next_id: AtomicU64,
    origin: Instant,
    origin_unix_ns: u64,
}

impl SpanRing {
    /// A ring for [`SPANS_MAX`] spans. `seed` makes the spans' ids differ from those of other processes.
    pub fn new(seed: u64, now: Instant, wall_clock: SystemTime) -> Self {
        Self::with_capacity(SPANS_MAX, seed, now, wall_clock)
    }

    /// A ring for `capacity` spans, at least one.
    pub fn with_capacity(capacity: usize, seed: u64, now: Instant, wall_clock: SystemTime) -> Self {
        let since_epoch = wall_clock.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            ended: Mutex::new(VecDeque::new()),
            capacity: capacity.max(1),
            dropped: AtomicU64::new(0),
            next_id: AtomicU64::new(seed),
            origin: now,
            origin_unix_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Takes all spans that have ended, oldest first.
    pub fn drain(&self) -> Vec<EngineSpan> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Spans dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, span: EngineSpan) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() == self.capacity {
            ended.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        ended.push_back(span);
    }

    fn unix_ns(&self, instant: Instant) -> u64 {
        let nanoseconds = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        match instant.checked_duration_since(self.origin) {
            Some(after) => self.origin_unix_ns.saturating_add(nanoseconds(after)),
            None => self.origin_unix_ns.saturating_sub(nanoseconds(self.origin.duration_since(instant))),
        }
    }

    /// An id that is not zero and looks random: SplitMix64 (Steele, Lea, Flood 2014) over a counter.
    fn new_id(&self) -> [u8; 8] {
        let mut mixed = self.next_id.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).max(1).to_be_bytes()
    }
}

/// A span that runs; it ends, and is recorded, when it is dropped. Of a call that is not traced it is nothing and costs
/// nothing.
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Running>>);

struct Running {
    ring: Arc<SpanRing>,
    parent: TraceContext,
    id: [u8; 8],
    name: &'static str,
    start: Instant,
    attributes: BTreeMap<String, String>,
}

impl Span {
    /// Says something about what was done. Nothing is computed where the call is not traced.
    pub fn attribute<V: ToString>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(running) = &mut self.0
            && running.attributes.len() < ATTRIBUTES_MAX
        {
            running.attributes.insert(key.to_owned(), value().to_string());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            let Running { ring, parent, id, name, start, attributes } = *running;
            ring.push(ended(&ring, parent, id, name, (start, Instant::now()), attributes));
        }
    }
}

fn ended(
    ring: &SpanRing,
    parent: TraceContext,
    id: [u8; 8],
    name: &str,
    (start, end): (Instant, Instant),
    attributes: BTreeMap<String, String>,
) -> EngineSpan {
    EngineSpan {
        trace_id: parent.trace_id.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent.span_id.to_vec(),
        name: name.to_owned(),
        start_ns: ring.unix_ns(start),
        end_ns: ring.unix_ns(end),
        attributes,
    }
}

impl CallContext {
    /// The ring that takes this call's spans, if the call is traced.
    fn ring(&self) -> Option<&Arc<SpanRing>> {
        self.trace.is_sampled().then_some(self.spans.as_ref()).flatten()
    }

    /// Whether spans of this call are recorded.
    pub fn is_traced(&self) -> bool {
        self.ring().is_some()
    }

    /// Begins a span, such as `prefill`, that ends when it is dropped.
    pub fn span(&self, name: &'static str) -> Span {
        Span(self.ring().map(|ring| {
            Box::new(Running {
                id: ring.new_id(),
                ring: Arc::clone(ring),
                parent: self.trace,
                name,
                start: Instant::now(),
                attributes: BTreeMap::new(),
            })
        }))
    }

    /// Begins a span, and gives a context whose spans lie inside it.
    pub fn enter(&self, name: &'static str) -> (Self, Span) {
        let span = self.span(name);
        let mut inner = self.clone();
        if let Some(running) = &span.0 {
            inner.trace.span_id = running.id;
        }
        (inner, span)
    }

    /// Records a span after the fact, for those who learn of its start and end later, such as a scheduler.
    pub fn record_span(&self, name: &str, start: Instant, end: Instant, attributes: &[(&str, &dyn ToString)]) {
        if let Some(ring) = self.ring() {
            let attributes = attributes
                .iter()
                .take(ATTRIBUTES_MAX)
                .map(|(key, value)| ((*key).to_owned(), value.to_string()))
                .collect();
            ring.push(ended(ring, self.trace, ring.new_id(), name, (start, end), attributes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn traced(capacity: usize) -> (CallContext, Arc<SpanRing>) {
        let wall_clock = UNIX_EPOCH + Duration::from_secs(1_000);
        let ring = Arc::new(SpanRing::with_capacity(capacity, 7, Instant::now(), wall_clock));
        let mut context = CallContext::default();
        context.trace = TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 };
        context.spans = Some(Arc::clone(&ring));
        (context, ring)
    }

    #[test]
    fn spans_nest_and_carry_the_callers_trace() {
        let (context, ring) = traced(8);
        {
            let (inner, mut outer_span) = context.enter("call");
            outer_span.attribute("model", || "m");
            drop(inner.span("queue"));
        }
        let spans = ring.drain();
        let [queue, call] = spans.as_slice() else { panic!("two spans, not {}", spans.len()) };
        assert_eq!((queue.name.as_str(), call.name.as_str()), ("queue", "call"));
        assert_eq!(call.parent_span_id, [2; 8]);
        assert_eq!(queue.parent_span_id, call.span_id);
        assert_eq!(queue.trace_id, [1; 16]);
        assert!(call.start_ns <= queue.start_ns && queue.start_ns <= queue.end_ns && queue.end_ns <= call.end_ns);
        assert!(call.start_ns >= 1_000_000_000_000, "times are the wall clock's");
        assert_eq!(call.attributes.get("model").map(String::as_str), Some("m"));
        assert!(ring.drain().is_empty());
    }

    #[test]
    fn the_ring_drops_the_oldest_and_counts() {
        let (context, ring) = traced(3);
        let now = Instant::now();
        for name in ["a", "b", "c", "d", "e"] {
            context.record_span(name, now, now, &[("n", &1)]);
        }
        let names: Vec<_> = ring.drain().into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["c", "d", "e"]);
        assert_eq!(ring.dropped(), 2);
    }

    #[test]
    fn a_call_that_is_not_sampled_records_nothing() {
        let (mut context, ring) = traced(3);
        context.trace.flags = 0;
        drop(context.span("a"));
        context.record_span("b", Instant::now(), Instant::now(), &[]);
        assert!(ring.drain().is_empty() && !context.is_traced());
    }
}
