//! A library's panic turned into an error. Libraries of classic learning assert on data that they cannot handle; a call
//! with such data must fail alone.

use engine_core::{EngineError, Reason};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`, which belongs to `library`; a panic becomes `Internal`. What `work` may have left half done must not be
/// used afterwards: callers pass only values that are dropped on error, or read alone.
pub fn guarded<T>(library: &str, work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(EngineError::new(Reason::Internal, format!("The library {library} gave up on this data.")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let error = guarded::<()>("example", || panic!("on purpose")).unwrap_err();
        assert_eq!(error.reason, Reason::Internal);
        assert_eq!(guarded("example", || Ok(3)).unwrap(), 3);
    }
}
