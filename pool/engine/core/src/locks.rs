//! Locks whose data stay fit for use when a holder panics: each change is made whole before anything that may fail.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock, held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
