//! Sleeping until the other process has done something: futexes for threads of the worker, an eventfd for the server,
//! whose runtime waits for file descriptors without holding a thread.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` is `seen`, for `timeout` at most. May return early; the caller looks again.
pub fn wait(word: &AtomicU32, seen: u32, timeout: Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: `word` outlives the call and `time` is a valid timespec; FUTEX_WAIT only reads both. Not the PRIVATE kind:
    // the other process wakes us.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const time) };
}

/// Wakes up to `threads` that sleep on `word`, in any process.
pub fn wake(word: &AtomicU32, threads: i32) {
    // SAFETY: FUTEX_WAKE uses the address alone.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, threads) };
}

/// Adds 1 to an eventfd, which wakes who polls it.
pub fn signal(eventfd: BorrowedFd<'_>) -> io::Result<()> {
    let one = 1_u64;
    loop {
        // SAFETY: eight bytes of a live integer.
        let written = unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        if written == 8 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            // The counter is at its end, so the reader has been woken already.
            io::ErrorKind::WouldBlock => return Ok(()),
            _ => return Err(error),
        }
    }
}
