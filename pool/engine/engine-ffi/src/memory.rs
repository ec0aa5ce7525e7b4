//! What a reply holds until it is released.

use crate::abi::{Bytes, REPLY_ECHO, REPLY_WORD, Reply};
use engine::{OutgoingReply, ReplyPayload};
use engine_core::Tensor;
use std::ffi::c_void;

/// Header, tensors, and the table of segments that points into them.
pub struct Memory {
    header: Vec<u8>,
    // Held for `segments`, which points into them; tensors do not move their bytes when they are moved.
    _tensors: Vec<Tensor>,
    segments: Vec<Bytes>,
}

impl Memory {
    /// Memory of a header alone.
    pub fn of_header(header: Vec<u8>) -> Self {
        Self { header, _tensors: Vec::new(), segments: Vec::new() }
    }

    /// The header's bytes; good until the release.
    pub fn header(&self) -> Bytes {
        Bytes::of(&self.header)
    }

    /// Hands the memory out, to be given back by [`release`].
    pub fn into_raw(self: Box<Self>) -> *mut c_void {
        Box::into_raw(self).cast()
    }
}

/// Gives memory back.
///
/// # Safety
/// `memory` must come from [`Memory::into_raw`], once, or be null.
pub unsafe fn release(memory: *mut c_void) {
    if !memory.is_null() {
        // SAFETY: made by `into_raw`, and given back once.
        drop(unsafe { Box::from_raw(memory.cast::<Memory>()) });
    }
}

/// A reply in the caller's structure. Nothing is copied; where there is nothing to hold, nothing is allocated.
pub fn reply(outgoing: OutgoingReply) -> Reply {
    let mut reply = Reply::empty(outgoing.status as u32);
    let tensors = match outgoing.payload {
        ReplyPayload::Echo => {
            reply.flags = REPLY_ECHO;
            Vec::new()
        }
        ReplyPayload::Word(word) => {
            reply.flags = REPLY_WORD;
            reply.word = word;
            Vec::new()
        }
        ReplyPayload::Tensors(tensors) => tensors,
    };
    if outgoing.header.is_empty() && tensors.is_empty() {
        return reply;
    }
    let segments = tensors.iter().map(|tensor| Bytes::of(&tensor.data)).collect();
    let memory = Box::new(Memory { header: outgoing.header, _tensors: tensors, segments });
    reply.header = memory.header();
    (reply.segments, reply.segment_count) = (memory.segments.as_ptr(), memory.segments.len());
    reply.memory = memory.into_raw();
    reply
}
