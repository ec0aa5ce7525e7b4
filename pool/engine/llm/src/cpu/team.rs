//! A few threads that work through the phases of a job together.
//!
//! A phase is over when its units are done, whichever threads did them: a thread that the system put aside holds up the
//! others only while it has a unit in hand. Threads wait by spinning for some microseconds, since that is how long a
//! phase takes, then let others run, then sleep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Threads of a team, at most.
pub const THREADS_MAX: usize = 256;
/// Looks at the shared word before a thread lets others run, some 20 µs.
const SPINS: u32 = 600;
/// Times that it lets others run before it sleeps.
const YIELDS: u32 = 60;

/// Work in phases, one after the other, each of units in any order and at once.
pub trait Job: Sync {
    /// Phases, at least one.
    fn phases(&self) -> usize;
    /// Units of a phase, below 2³¹; may be 0.
    fn units(&self, phase: usize) -> usize;
    /// Does a unit. `worker` is below the team's threads, and no other thread's at the time.
    fn run(&self, phase: usize, unit: usize, worker: usize);
}

/// A team; the thread that calls [`Team::run`] is one of it.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// On a cache line of its own, so that waiting for one does not slow writing the other.
#[repr(align(128))]
#[derive(Default)]
struct Apart<T>(T);

/// A job by address; valid from the begin of [`Team::run`] to its end.
type JobPointer = *const dyn Job;

#[derive(Default)]
struct Shared {
    /// Units of the phase in the upper half, the next of them in the lower; all given out when that is not below.
    claim: Apart<AtomicU64>,
    done: Apart<AtomicU32>,
    phase: AtomicUsize,
    finished: AtomicBool,
    failed: AtomicBool,
    stopped: AtomicBool,
    /// Where the job's pointer lies, on the stack of [`Team::run`].
    job: AtomicPtr<JobPointer>,
    sleepers: AtomicU32,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Some unit of the job panicked; its result is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

impl Team {
    /// A team of `threads`, from 1 to [`THREADS_MAX`], the caller's included.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let mut team = Self { shared: Arc::default(), workers: Vec::new() };
        for worker in 1..threads.clamp(1, THREADS_MAX) {
            let shared = Arc::clone(&team.shared);
            let builder = std::thread::Builder::new().name(format!("compute-{worker}"));
            team.workers.push(builder.spawn(move || shared.work(worker))?);
        }
        Ok(team)
    }

    /// Threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Works through the job; returns when all of it is done.
    pub fn run(&mut self, job: &dyn Job) -> Result<(), Panicked> {
        let shared = &*self.shared;
        // SAFETY: only the lifetime is changed. The pointer is used only for units that were claimed and are not done,
        // and this function returns after all are.
        let mut pointer: JobPointer = unsafe { std::mem::transmute::<NonNull<dyn Job + '_>, JobPointer>(job.into()) };
        shared.failed.store(false, Ordering::Relaxed);
        shared.finished.store(false, Ordering::Relaxed);
        shared.job.store(&raw mut pointer, Ordering::Release);
        shared.advance(job, 0, 0);
        while !shared.finished.load(Ordering::Acquire) {
            if !shared.work_on_unit(0) {
                shared.wait(|| shared.finished.load(Ordering::SeqCst));
            }
        }
        if shared.failed.load(Ordering::Relaxed) { Err(Panicked) } else { Ok(()) }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, worker: usize) {
        while !self.stopped.load(Ordering::Acquire) {
            if !self.work_on_unit(worker) {
                self.wait(|| self.stopped.load(Ordering::SeqCst));
            }
        }
    }

    fn has_unit(claim: u64) -> bool {
        (claim & u64::from(u32::MAX)) < claim >> 32
    }

    /// Takes a unit and does it; false where none is to be had.
    fn work_on_unit(&self, worker: usize) -> bool {
        if !Self::has_unit(self.claim.0.load(Ordering::Acquire)) {
            return false;
        }
        let claim = self.claim.0.fetch_add(1, Ordering::AcqRel);
        if !Self::has_unit(claim) {
            return false;
        }
        // From here to the count of units done, the phase cannot end, so its number and the job stay what they are.
        let phase = self.phase.load(Ordering::Relaxed);
        // SAFETY: see above; `Team::run` set the pointer before it gave out units.
        let job = unsafe { &**self.job.load(Ordering::Relaxed) };
        self.run_unit(job, phase, (claim & u64::from(u32::MAX)) as usize, worker);
        let units = (claim >> 32) as u32;
        if self.done.0.fetch_add(1, Ordering::AcqRel) + 1 == units {
            self.advance(job, phase + 1, worker);
        }
        true
    }

    fn run_unit(&self, job: &dyn Job, phase: usize, unit: usize, worker: usize) {
        if catch_unwind(AssertUnwindSafe(|| job.run(phase, unit, worker))).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    /// Gives out the units of the next phase that has several; does those of single units on the way.
    fn advance(&self, job: &dyn Job, first: usize, worker: usize) {
        for phase in first..job.phases() {
            match job.units(phase) {
                0 => {}
                1 => self.run_unit(job, phase, 0, worker),
                units => {
                    self.phase.store(phase, Ordering::Relaxed);
                    self.done.0.store(0, Ordering::Relaxed);
                    self.claim.0.store((units as u64) << 32, Ordering::SeqCst);
                    self.wake_sleepers();
                    return;
                }
            }
        }
        self.finished.store(true, Ordering::SeqCst);
        self.wake_sleepers();
    }

    /// Returns when there may be a unit to take, or `over` holds.
    fn wait(&self, over: impl Fn() -> bool) {
        let ready = || Self::has_unit(self.claim.0.load(Ordering::SeqCst)) || over();
        for _ in 0..SPINS {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if ready() {
                return;
            }
            std::thread::yield_now();
        }
        // Whoever gives out units looks for sleepers after that; a sleeper looks for units after it said that it sleeps.
        // One of the two sees the other.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        while !ready() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each phase adds to each cell what the phase before left in the next cell.
    struct Relay {
        phases: usize,
        cells: Vec<[AtomicU64; 2]>,
    }

    impl Job for Relay {
        fn phases(&self) -> usize {
            self.phases
        }
        fn units(&self, phase: usize) -> usize {
            // Phases of no unit and of a single one lie between the others.
            match phase % 7 {
                3 => 0,
                5 => 1,
                _ => self.cells.len(),
            }
        }
        fn run(&self, phase: usize, unit: usize, _: usize) {
            let step = |cell: usize| {
                let next = self.cells[(cell + 1) % self.cells.len()][phase % 2].load(Ordering::Relaxed);
                let own = self.cells[cell][phase % 2].load(Ordering::Relaxed);
                self.cells[cell][(phase + 1) % 2].store(own.wrapping_mul(3).wrapping_add(next), Ordering::Relaxed);
            };
            match phase % 7 {
                5 => (0..self.cells.len()).for_each(step),
                _ => step(unit),
            }
        }
    }

    fn relay(phases: usize) -> Relay {
        Relay { phases, cells: (0..9).map(|cell| [AtomicU64::new(cell), AtomicU64::new(0)]).collect() }
    }

    fn values(relay: &Relay) -> Vec<u64> {
        relay.cells.iter().flat_map(|cell| cell.iter().map(|value| value.load(Ordering::Relaxed))).collect()
    }

    #[test]
    fn any_number_of_threads_gives_what_one_gives_phase_after_phase() {
        let mut alone = Team::new(1).unwrap();
        for threads in [2, 3, 8] {
            let mut team = Team::new(threads).unwrap();
            for phases in (1..400).step_by(13) {
                let (expected, found) = (relay(phases), relay(phases));
                alone.run(&expected).unwrap();
                team.run(&found).unwrap();
                assert_eq!(values(&found), values(&expected), "{threads} threads, {phases} phases");
            }
        }
    }

    #[test]
    fn a_job_after_the_threads_fell_asleep_wakes_them() {
        let mut team = Team::new(3).unwrap();
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let (expected, found) = (relay(50), relay(50));
            Team::new(1).unwrap().run(&expected).unwrap();
            team.run(&found).unwrap();
            assert_eq!(values(&found), values(&expected));
        }
    }

    #[test]
    fn a_unit_that_panics_fails_the_job_and_not_the_team() {
        struct Faulty;
        impl Job for Faulty {
            fn phases(&self) -> usize {
                2
            }
            fn units(&self, _: usize) -> usize {
                10
            }
            fn run(&self, _: usize, unit: usize, _: usize) {
                assert_ne!(unit, 7, "on purpose");
            }
        }
        let mut team = Team::new(2).unwrap();
        assert_eq!(team.run(&Faulty), Err(Panicked));
        assert_eq!(team.run(&relay(9)), Ok(()));
    }
}
