//! What STATS counts of the engine itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Calls since the start, and those that run.
#[derive(Default)]
pub struct Counters {
    calls: AtomicU64,
    running: AtomicU32,
}

impl Counters {
    /// Counts a call that is answered at once.
    pub fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call, and that it runs until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> RunningCall {
        self.count();
        self.running.fetch_add(1, Ordering::Relaxed);
        RunningCall(Arc::clone(self))
    }

    /// Calls since the start.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }
}

/// A call that runs.
pub struct RunningCall(Arc<Counters>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
