//! The shortest calls allocate nothing. Alone in its process, since it counts all of it.

mod support;

use contract::engine::Operation;
use engine::IncomingCall;
use engine_core::CallContext;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::*;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn echo_and_sum_allocate_nothing() {
    let folder = Folder::new();
    let engine = open(&folder);
    let segment = [7; 64];
    let payload = [segment.as_slice()];
    for operation in [Operation::Echo, Operation::Sum] {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        for _ in 0..1000 {
            let context = CallContext::without_cancellation();
            engine.call(&IncomingCall { operation, context, header: &[], payload: &payload });
        }
        // The test's own runner has a thread, which may allocate once or twice meanwhile.
        let allocations = ALLOCATIONS.load(Ordering::SeqCst) - before;
        assert!(allocations < 10, "{operation:?}: {allocations} allocations in 1000 calls");
    }
}
