//! The account of memory: what all loaded models hold together stays under a limit.

use crate::error::{EngineError, Reason};
use crate::locks::lock;
use std::sync::{Arc, Mutex};

/// How much may be held, and how much is.
pub struct Ledger {
    bytes_max: u64,
    bytes: Mutex<u64>,
}

impl Ledger {
    /// An empty account with a limit.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: Mutex::new(0) })
    }

    /// Bytes reserved now.
    pub fn bytes(&self) -> u64 {
        *lock(&self.bytes)
    }

    /// The limit.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Reserves memory for `model`, or says which figures stand against it.
    pub fn reserve(self: &Arc<Self>, model: &str, bytes: u64) -> Result<Reservation, EngineError> {
        let mut reservation = Reservation { ledger: Arc::clone(self), bytes: 0 };
        reservation.resize(model, bytes)?;
        Ok(reservation)
    }
}

/// Reserved memory; given back when dropped.
pub struct Reservation {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Reservation {
    /// Bytes reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the reservation larger or smaller; one that does not fit stays what it was.
    pub fn resize(&mut self, model: &str, bytes: u64) -> Result<(), EngineError> {
        let mut held = lock(&self.ledger.bytes);
        let others = *held - self.bytes;
        match others.checked_add(bytes).filter(|sum| *sum <= self.ledger.bytes_max) {
            Some(sum) => *held = sum,
            None => {
                let message = format!(
                    "The model \"{model}\" needs {bytes} bytes; {others} of {} are held by other models.",
                    self.ledger.bytes_max
                );
                return Err(EngineError::new(Reason::MemoryExceeded, message));
            }
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *lock(&self.ledger.bytes) -= self.bytes;
    }
}

/// Gives freed memory back to the system. The allocator of glibc keeps what lies below memory that is still in use, which
/// after a large model can be most of it.
pub fn give_freed_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes a number, may be called at any time from any thread, and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Largest free piece at the end of a thread's heap that the allocator may keep, and least size of an allocation with a
/// mapping of its own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: libc::c_int = 4 << 20;

/// Tells the allocator to give large memory back when it is freed. By itself the one of glibc raises both limits to what
/// was freed last, up to 64 MB for each thread's heap, and [`give_freed_memory_back`] does not reach the ends of those.
pub fn keep_little_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes two numbers, and may be called at any time from any thread.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES_MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_that_does_not_fit_names_the_figures_and_changes_nothing() {
        let ledger = Ledger::new(100);
        let first = ledger.reserve("a", 60).expect("fits");
        let error = ledger.reserve("b", 41).err().expect("does not fit");
        assert_eq!(error.reason, Reason::MemoryExceeded);
        assert_eq!(error.message, "The model \"b\" needs 41 bytes; 60 of 100 are held by other models.");
        assert!(ledger.reserve("b", u64::MAX).is_err());
        let mut second = ledger.reserve("b", 40).expect("fits exactly");
        assert!(second.resize("b", 41).is_err());
        assert_eq!((second.bytes(), ledger.bytes()), (40, 100));
        second.resize("b", 10).expect("smaller fits");
        assert_eq!(ledger.bytes(), 70);
        drop(first);
        assert_eq!(ledger.bytes(), 10);
        drop(second);
        assert_eq!(ledger.bytes(), 0);
    }
}
