//! The server that started us: we tell it that we begin, and end when it does.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Our end of the socket to the server.
pub struct Parent {
    socket: UnixStream,
}

impl Parent {
    /// From the socket that the server passed on.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Tells how the start went: `ready`, or the sentence why not, in one line.
    pub fn announce(&mut self, begun: Result<(), &str>) {
        let line = match begun {
            Ok(()) => "ready\n".to_owned(),
            Err(sentence) => format!("{}\n", sentence.replace('\n', " ")),
        };
        // A server that is gone does not read it, and its end is seen by `watch`.
        let _ = self.socket.write_all(line.as_bytes());
    }

    /// Ends the process when the server has closed its end, which it does once it waits for no call any more, or when it
    /// has died. Should it be killed, the system kills us too (see [`die_with_parent`]).
    pub fn watch(mut self) {
        let wait = move || {
            while matches!(self.socket.read(&mut [0; 64]), Ok(read) if read > 0) {}
            // SAFETY: always sound. Not `exit`: its handlers would take libraries away from threads that compute.
            unsafe { libc::_exit(0) };
        };
        std::thread::Builder::new().name("parent".to_owned()).spawn(wait).expect("a thread at the start");
    }
}

/// Asks the system to kill this process when the thread that started it ends.
pub fn die_with_parent() {
    // SAFETY: prctl with constants.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}
