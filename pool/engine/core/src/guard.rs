//! The wall around other people's code: a panic inside a backend fails one call, not the process.

use crate::error::{EngineError, Reason};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; a panic in it becomes [`Reason::Internal`]. What it touched must be fit for use afterwards: locks are taken
/// with their poison ignored, and a model that panicked goes on with its next call.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        // The panic's own words went to standard error; they may hold what a client must not see.
        Err(EngineError::new(Reason::Internal, "The model failed unexpectedly during this call."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_error_and_a_result_stays_what_it_is() {
        let error = guarded::<()>(|| panic!("secret")).expect_err("panicked");
        assert_eq!(error.reason, Reason::Internal);
        assert!(!error.message.contains("secret"));
        assert_eq!(guarded(|| Ok(3)), Ok(3));
    }
}
