//! The structures of `treeline_engine.h`.

use engine_core::call::TraceContext;
use engine_core::{CallContext, EngineError};
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// Segments of a call, at most.
pub const SEGMENTS_MAX: usize = 1024;
/// Events of one poll, at most.
pub const EVENTS_MAX: usize = 256;

/// Bytes in the memory of whoever made them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Bytes {
    /// May be null where `length` is 0.
    pub data: *const u8,
    /// In bytes.
    pub length: usize,
}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Self = Self { data: std::ptr::null(), length: 0 };

    /// The bytes of a slice.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::EMPTY } else { Self { data: bytes.as_ptr(), length: bytes.len() } }
    }

    /// # Safety
    /// `data` must point to `length` bytes that nobody writes as long as the slice lives; it may be null where `length` is 0.
    pub unsafe fn as_slice<'data>(self) -> &'data [u8] {
        if self.data.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }
}

/// `treeline_call`.
#[repr(C)]
pub struct Call {
    /// The encoded message.
    pub header: Bytes,
    /// The payload.
    pub segments: *const Bytes,
    /// Segments of it.
    pub segment_count: usize,
    /// `Operation` of the contract.
    pub operation: u32,
    /// 0 to 255.
    pub priority: u32,
    /// Nanoseconds from now; 0: none.
    pub deadline_ns: u64,
    /// Zeros: not traced.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub trace_flags: u8,
    /// Unused.
    pub padding: [u8; 7],
}

impl Call {
    /// # Safety
    /// `segments` must point to `segment_count` entries whose bytes nobody writes as long as the slices live.
    pub unsafe fn payload<'data>(&self) -> Result<Vec<&'data [u8]>, EngineError> {
        if self.segment_count > SEGMENTS_MAX {
            let message = format!("A call has at most {SEGMENTS_MAX} segments.");
            return Err(EngineError::invalid("payload", message));
        }
        if self.segments.is_null() || self.segment_count == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: by the caller's promise.
        let segments = unsafe { std::slice::from_raw_parts(self.segments, self.segment_count) };
        // SAFETY: the same promise for each.
        Ok(segments.iter().map(|segment| unsafe { segment.as_slice() }).collect())
    }

    /// Deadline, priority and trace go over `context`.
    pub fn apply_to(&self, context: &mut CallContext, now: Instant) {
        if self.deadline_ns > 0 {
            context.deadline = now.checked_add(Duration::from_nanos(self.deadline_ns));
        }
        context.priority = self.priority.min(255) as u8;
        context.trace = TraceContext { trace_id: self.trace_id, span_id: self.span_id, flags: self.trace_flags };
    }
}

/// The payload of the reply is the call's own.
pub const REPLY_ECHO: u32 = 1;
/// The payload of the reply is `word`.
pub const REPLY_WORD: u32 = 2;

/// `treeline_reply`.
#[repr(C)]
pub struct Reply {
    /// `Status` of the contract.
    pub status: u32,
    /// `REPLY_…`.
    pub flags: u32,
    /// See [`REPLY_WORD`].
    pub word: [u8; 8],
    /// The encoded message.
    pub header: Bytes,
    /// The payload.
    pub segments: *const Bytes,
    /// Segments of it.
    pub segment_count: usize,
    /// What `treeline_memory_release` gives back; null: nothing.
    pub memory: *mut c_void,
}

impl Reply {
    /// A reply without header and payload.
    pub fn empty(status: u32) -> Self {
        Self {
            status,
            flags: 0,
            word: [0; 8],
            header: Bytes::EMPTY,
            segments: std::ptr::null(),
            segment_count: 0,
            memory: std::ptr::null_mut(),
        }
    }
}

/// `treeline_event`.
#[repr(C)]
pub struct Event {
    /// The caller's number of the generation.
    pub stream: u64,
    /// `Status` of the contract.
    pub status: u32,
    /// 1: nothing follows.
    pub last: u32,
    /// The encoded message.
    pub header: Bytes,
    /// What `treeline_memory_release` gives back; null: nothing.
    pub memory: *mut c_void,
}

const _: () = {
    assert!(size_of::<Bytes>() == 16);
    assert!(size_of::<Call>() == 80);
    assert!(size_of::<Reply>() == 56);
    assert!(size_of::<Event>() == 40);
};
