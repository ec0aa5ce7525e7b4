//! Fits on threads of their own. A library's fit is often one call that nothing ends early; the caller must have its error
//! as soon as it gives up or its deadline passes, all the same. What such a fit gives later is dropped.

use crate::guard::guarded;
use engine_core::{CallContext, EngineError, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Fits of one backend that compute at the same time, at most: those that nobody waits for any more among them.
pub const FITS_MAX: usize = 4;
/// How often a caller that waits looks whether its call was cancelled.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The fits of one backend.
#[derive(Default)]
pub struct Fits {
    running: Arc<AtomicUsize>,
}

/// One of the [`FITS_MAX`]; free again when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Fits {
    /// Runs `work`, which belongs to `library`, on a thread of its own, and waits for as long as `call` does. Fails at once
    /// with `Overloaded` where [`FITS_MAX`] compute already; a panic in `work` is `Internal`.
    pub fn run<T: Send + 'static>(
        &self,
        library: &'static str,
        call: &CallContext,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        call.check(Instant::now())?;
        let place = self.take_place(library)?;
        // Room for the one result, so that the thread never waits for a caller that went away.
        let (sender, results) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name(format!("fit {library}"))
            .spawn(move || {
                let result = guarded(library, work);
                drop(place);
                // Nobody may listen any more.
                let _ = sender.send(result);
            })
            .map_err(|error| {
                EngineError::new(Reason::Overloaded, format!("There is no thread to train on: {error}."))
            })?;
        wait(call, &results)
    }

    fn take_place(&self, library: &str) -> Result<Place, EngineError> {
        let one_more = |running: usize| (running < FITS_MAX).then_some(running + 1);
        match self.running.try_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(Place(Arc::clone(&self.running))),
            Err(_) => {
                let message = format!("{library} computes {FITS_MAX} trainings already, as many as it does at once.");
                Err(EngineError::new(Reason::Overloaded, message))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn wait<T>(call: &CallContext, results: &Receiver<Result<T, EngineError>>) -> Result<T, EngineError> {
    loop {
        let now = Instant::now();
        call.check(now)?;
        let left = call.deadline.map_or(LOOK_INTERVAL, |deadline| deadline.saturating_duration_since(now));
        match results.recv_timeout(left.min(LOOK_INTERVAL)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(EngineError::new(Reason::Internal, "The training ended without a result."));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins a fit that lasts until the sender is dropped, on behalf of a call that is cancelled once it runs.
    fn abandoned(fits: &Fits) -> mpsc::Sender<()> {
        let (hold, held) = mpsc::channel::<()>();
        let call = CallContext::default();
        let cancelled = call.clone();
        let result = fits.run("example", &call, move || {
            cancelled.cancel();
            let _ = held.recv();
            Ok(())
        });
        assert_eq!(result.expect_err("cancelled").reason, Reason::Cancelled);
        hold
    }

    #[test]
    fn a_result_and_a_panic_reach_the_caller() {
        let fits = Fits::default();
        assert_eq!(fits.run("example", &CallContext::default(), || Ok(3)), Ok(3));
        let panicked = fits.run::<()>("example", &CallContext::default(), || panic!("on purpose"));
        assert_eq!(panicked.expect_err("panicked").reason, Reason::Internal);
    }

    #[test]
    fn a_caller_whose_deadline_passes_does_not_wait_for_the_fit() {
        let (hold, held) = mpsc::channel::<()>();
        let mut call = CallContext::default();
        call.deadline = Some(Instant::now() + Duration::from_millis(30));
        let result = Fits::default().run("example", &call, move || held.recv().map_err(|_| unreachable()));
        // The fit still waits for this; had the caller waited for the fit, nobody would ever come here.
        drop(hold);
        assert_eq!(result.expect_err("late").reason, Reason::DeadlineExceeded);
    }

    fn unreachable() -> EngineError {
        EngineError::new(Reason::Internal, "The fit was waited for.")
    }

    #[test]
    fn fits_that_nobody_waits_for_hold_their_places_until_they_end() {
        let fits = Fits::default();
        let held: Vec<_> = (0..FITS_MAX).map(|_| abandoned(&fits)).collect();
        let refused = fits.run("example", &CallContext::default(), || Ok(()));
        assert_eq!(refused.expect_err("full").reason, Reason::Overloaded);
        drop(held);
        while fits.running.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(fits.run("example", &CallContext::default(), || Ok(1)), Ok(1));
    }

    #[test]
    fn a_call_that_is_over_begins_no_fit() {
        let call = CallContext::default();
        call.cancel();
        let result = Fits::default().run::<()>("example", &call, || panic!("it must not begin"));
        assert_eq!(result.expect_err("cancelled").reason, Reason::Cancelled);
    }
}
