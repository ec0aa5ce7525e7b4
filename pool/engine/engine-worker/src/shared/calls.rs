//! A call's slot, checked, and its header and segments where they lie.

use contract::engine::Operation;
use engine_core::call::TraceContext;
use engine_core::{CallContext, EngineError};
use ring::layout::{CALL_PIECES, CallSlot, HEADER_BYTES_MAX, Piece, SEGMENTS_MAX};
use ring::region::Region;
use std::time::{Duration, Instant};

/// The operation of a slot.
pub fn operation(slot: &CallSlot) -> Result<Operation, EngineError> {
    i32::try_from(slot.operation)
        .ok()
        .and_then(|number| Operation::try_from(number).ok())
        .filter(|operation| *operation != Operation::Unspecified)
        .ok_or_else(|| EngineError::invalid("operation", format!("There is no operation {}.", slot.operation)))
}

/// Whether a call is so short that the thread that took it does it before it looks for the next one.
pub fn is_short(operation: Operation, slot: &CallSlot) -> bool {
    /// A sum over this many bytes takes some 30 µs, about what waking another thread would.
    const SHORT_BYTES_MAX: u64 = 2 << 20;
    match operation {
        Operation::Echo | Operation::Hello | Operation::Stats => true,
        Operation::Sum => slot.segment_count == 1 && slot.pieces[0].length <= SHORT_BYTES_MAX,
        _ => false,
    }
}

/// Deadline, priority and trace of a slot; one that can be cancelled where the call may last.
pub fn context(slot: &CallSlot, is_short: bool, now: Instant) -> CallContext {
    let mut context = if is_short { CallContext::without_cancellation() } else { CallContext::default() };
    if slot.deadline_ns > 0 {
        context.deadline = now.checked_add(Duration::from_nanos(slot.deadline_ns));
    }
    context.priority = slot.priority.min(255) as u8;
    context.trace = TraceContext { trace_id: slot.trace_id, span_id: slot.span_id, flags: slot.trace_flags };
    context
}

/// Room for the segments of most calls, without an allocation.
pub type FewSegments<'data> = [&'data [u8]; CALL_PIECES];

/// Header and segments of a call, where they lie in the request arena. `few` holds the segments where they fit.
pub fn borrow<'data, 'few>(
    requests: &'data Region,
    slot: &CallSlot,
    few: &'few mut FewSegments<'data>,
    many: &'few mut Vec<&'data [u8]>,
) -> Result<(&'data [u8], &'few [&'data [u8]]), EngineError> {
    if slot.header_length > HEADER_BYTES_MAX || slot.segment_count > SEGMENTS_MAX {
        return Err(outside("header"));
    }
    let header = Piece { offset: slot.header_offset, length: u64::from(slot.header_length) };
    let header = bytes(requests, header)?;
    let count = slot.segment_count as usize;
    if count <= CALL_PIECES {
        for (segment, piece) in few.iter_mut().zip(&slot.pieces[..count]) {
            *segment = bytes(requests, *piece)?;
        }
        return Ok((header, &few[..count]));
    }
    let table = Piece { offset: slot.table_offset, length: (count * size_of::<Piece>()) as u64 };
    for entry in bytes(requests, table)?.as_chunks::<16>().0 {
        let (offset, length) = entry.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        many.push(bytes(requests, Piece { offset: number(offset), length: number(length) })?);
    }
    Ok((header, many))
}

fn bytes(requests: &Region, piece: Piece) -> Result<&[u8], EngineError> {
    // SAFETY: by the protocol the server keeps header and segments as they are until the call's last reply, and this
    // process cannot write the request arena at all.
    unsafe { requests.slice(piece) }.ok_or_else(|| outside("payload"))
}

fn outside(what: &str) -> EngineError {
    EngineError::invalid(what, "A part of the call lies outside the shared memory, or is longer than a call may be.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::region::{Access, memory_for_tests};

    fn slot() -> CallSlot {
        CallSlot {
            call: 1,
            operation: Operation::Sum as u32,
            priority: 0,
            deadline_ns: 0,
            header_offset: 0,
            header_length: 0,
            segment_count: 0,
            table_offset: 0,
            trace_id: [0; 16],
            span_id: [0; 8],
            trace_flags: 0,
            padding: [0; 7],
            pieces: [Piece::default(); CALL_PIECES],
        }
    }

    #[test]
    fn a_call_that_points_outside_the_arena_is_refused() {
        let requests = Region::map(memory_for_tests(1 << 20).unwrap(), Access::Read).unwrap();
        let piece = |offset, length| Piece { offset, length };
        let mut slots = vec![
            CallSlot { header_offset: u64::MAX, header_length: 1, ..slot() },
            CallSlot { header_offset: 0, header_length: u32::MAX, ..slot() },
            CallSlot { segment_count: SEGMENTS_MAX + 1, ..slot() },
            CallSlot { segment_count: 12, table_offset: (1 << 20) - 8, ..slot() },
            CallSlot { segment_count: u32::MAX, table_offset: u64::MAX, ..slot() },
        ];
        for outside in [piece(1 << 20, 1), piece(u64::MAX, u64::MAX), piece(1, u64::MAX), piece(0, (1 << 20) + 1)] {
            slots.push(CallSlot { segment_count: 1, pieces: [outside; CALL_PIECES], ..slot() });
        }
        for slot in slots {
            let (mut few, mut many) = ([&[][..]; CALL_PIECES], Vec::new());
            let error = borrow(&requests, &slot, &mut few, &mut many).expect_err("outside");
            assert_eq!(error.reason, engine_core::Reason::InvalidArgument, "{slot:?}");
        }
    }

    #[test]
    fn an_operation_that_is_none_is_refused() {
        for number in [0, 14, 999, u32::MAX] {
            assert!(operation(&CallSlot { operation: number, ..slot() }).is_err(), "{number}");
        }
    }
}
