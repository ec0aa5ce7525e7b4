//! Where everything lies in the control memory. Little-endian, naturally aligned. `layout.go` of the server has the same
//! numbers, and `contract::ABI_VERSION` is raised when one of them changes.

/// First eight bytes of a control memory.
pub const MAGIC: u64 = u64::from_le_bytes(*b"TREERING");

/// Offsets in the control memory's first page. Words that one side writes often lie on cache lines of their own.
pub mod control {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// `contract::ABI_VERSION` of the server.
    pub const ABI_VERSION: usize = 8;
    /// Slots of the call queue; a power of two.
    pub const CALL_SLOTS: usize = 12;
    /// Slots of the reply queue; a power of two.
    pub const REPLY_SLOTS: usize = 16;
    /// Slots of the release queue; a power of two.
    pub const RELEASE_SLOTS: usize = 20;
    /// `contract::CONTRACT_HASH` of the server, 16 hexadecimal digits.
    pub const CONTRACT_HASH: usize = 24;
    /// Bytes of the request arena.
    pub const REQUEST_BYTES: usize = 40;
    /// Bytes of the reply arena.
    pub const REPLY_BYTES: usize = 48;
    /// Slots written by the server, ever; a futex word.
    pub const CALLS_TAIL: usize = 128;
    /// Slots read by the worker, ever.
    pub const CALLS_HEAD: usize = 192;
    /// Worker threads that sleep on `CALLS_TAIL`.
    pub const CALLS_SLEEPERS: usize = 256;
    /// Slots written by the worker, ever.
    pub const REPLIES_TAIL: usize = 320;
    /// Slots read by the server, ever; a futex word.
    pub const REPLIES_HEAD: usize = 384;
    /// 1 while the server sleeps and wants the eventfd written.
    pub const REPLIES_SLEEPERS: usize = 448;
    /// Worker threads that sleep on `REPLIES_HEAD` until there is room.
    pub const REPLIES_BLOCKED: usize = 512;
    /// Slots written by the server, ever; a futex word.
    pub const RELEASES_TAIL: usize = 576;
    /// Slots read by the worker, ever.
    pub const RELEASES_HEAD: usize = 640;
    /// Worker threads that sleep on `RELEASES_TAIL` until memory comes back.
    pub const RELEASES_SLEEPERS: usize = 704;
    /// The call queue begins here, then the reply queue, then the release queue.
    pub const QUEUES: usize = 4096;
}

/// Slots of a queue, at most.
pub const SLOTS_MAX: u32 = 1 << 16;
/// Bytes of an arena, at most.
pub const ARENA_BYTES_MAX: u64 = 1 << 36;
/// Segments of a call or a reply, at most.
pub const SEGMENTS_MAX: u32 = 1024;
/// Bytes of a header, at most.
pub const HEADER_BYTES_MAX: u32 = 16 << 20;
/// Operation number of a slot that cancels the call of that number; far from `Operation` of the contract.
pub const OPERATION_CANCEL: u32 = 0xffff_0001;

/// A piece of an arena.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Piece {
    /// From the arena's start.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// Segments that a call's slot names itself; of more, the table lies in the arena.
pub const CALL_PIECES: usize = 11;
/// Segments that a reply's slot names itself.
pub const REPLY_PIECES: usize = 12;

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct CallSlot {
    /// The server's number of the call; comes back in its replies.
    pub call: u64,
    /// `Operation` of the contract, or [`OPERATION_CANCEL`].
    pub operation: u32,
    /// 0 to 255.
    pub priority: u32,
    /// Nanoseconds from now until nobody waits any more; 0: no end.
    pub deadline_ns: u64,
    /// The header, in the request arena.
    pub header_offset: u64,
    /// In bytes.
    pub header_length: u32,
    /// Segments of the payload.
    pub segment_count: u32,
    /// Table of [`Piece`]s in the request arena, where there are more than [`CALL_PIECES`] segments.
    pub table_offset: u64,
    /// Trace context; zeros: not traced.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub trace_flags: u8,
    /// Zeros.
    pub padding: [u8; 7],
    /// The segments, where the slot holds all of them.
    pub pieces: [Piece; CALL_PIECES],
}

/// No further reply to this call follows.
pub const REPLY_LAST: u32 = 1;
/// The payload is the call's own.
pub const REPLY_ECHO: u32 = 2;
/// The payload is one segment, the eight bytes of `word`.
pub const REPLY_WORD: u32 = 4;

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct ReplySlot {
    /// Number of the call.
    pub call: u64,
    /// `Status` of the contract.
    pub status: u32,
    /// [`REPLY_LAST`], [`REPLY_ECHO`].
    pub flags: u32,
    /// The header, in the reply arena.
    pub header_offset: u64,
    /// In bytes.
    pub header_length: u32,
    /// Segments of the payload.
    pub segment_count: u32,
    /// Bytes of payload that the worker had to copy.
    pub bytes_copied: u64,
    /// Table of [`Piece`]s in the reply arena, where there are more than [`REPLY_PIECES`] segments.
    pub table_offset: u64,
    /// The payload of a reply with [`REPLY_WORD`].
    pub word: [u8; 8],
    /// Zeros.
    pub padding: [u8; 8],
    /// The segments, where the slot holds all of them.
    pub pieces: [Piece; REPLY_PIECES],
}

/// Offset of a piece of the reply arena that the server has done with.
pub type ReleaseSlot = u64;

const _: () = {
    assert!(size_of::<Piece>() == 16);
    assert!(size_of::<CallSlot>() == 256);
    assert!(size_of::<ReplySlot>() == 256);
    assert!(std::mem::offset_of!(CallSlot, pieces) == 80);
    assert!(std::mem::offset_of!(ReplySlot, pieces) == 64);
    assert!(cfg!(target_endian = "little"), "the layout is little-endian");
};

/// Bytes of a control memory with queues of these lengths.
pub fn control_bytes(call_slots: u32, reply_slots: u32, release_slots: u32) -> usize {
    control::QUEUES
        + call_slots as usize * size_of::<CallSlot>()
        + reply_slots as usize * size_of::<ReplySlot>()
        + release_slots as usize * size_of::<ReleaseSlot>()
}
