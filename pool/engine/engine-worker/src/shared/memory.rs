//! The three pieces of memory that the server made, and whether both sides mean the same by them.

use super::descriptors;
use contract::{ABI_VERSION, CONTRACT_HASH};
use ring::layout::{self, CallSlot, ReleaseSlot, ReplySlot, control};
use ring::queue::{Queue, Reader, Writer};
use ring::region::{Access, Region};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;

/// What lies in shared memory.
pub struct Memory {
    /// Words that both sides change.
    pub control: Arc<Region>,
    /// Headers and payloads of calls; read alone.
    pub requests: Arc<Region>,
    /// Headers and payloads of replies.
    pub replies: Arc<Region>,
    /// Calls from the server.
    pub call_reader: Reader<CallSlot>,
    /// Replies to the server.
    pub reply_writer: Writer<ReplySlot>,
    /// Pieces of the reply arena that the server has done with.
    pub release_reader: Reader<ReleaseSlot>,
    /// Wakes the server.
    pub wake: OwnedFd,
}

impl Memory {
    /// Takes the memory that the server passed on.
    pub fn inherit() -> Result<Self, String> {
        let [control, requests, replies, wake] =
            [descriptors::CONTROL, descriptors::REQUESTS, descriptors::REPLIES, descriptors::WAKE].map(inherited);
        Self::open(control?, requests?, replies?, wake?)
    }

    /// Maps the memory and checks that the server was built from the same contract.
    pub fn open(control: OwnedFd, requests: OwnedFd, replies: OwnedFd, wake: OwnedFd) -> Result<Self, String> {
        let map = |file, access| {
            Region::map(file, access).map(Arc::new).map_err(|error| format!("Shared memory cannot be mapped: {error}."))
        };
        let control = map(control, Access::ReadWrite)?;
        check_versions(&control)?;
        let requests = map(requests, Access::Read)?;
        let replies = map(replies, Access::ReadWrite)?;
        let lengths = [(control::REQUEST_BYTES, &requests), (control::REPLY_BYTES, &replies)];
        if lengths.iter().any(|(word, region)| control.read_u64(*word) != Some(region.length() as u64)) {
            return Err("An arena is not as long as the control memory says.".to_owned());
        }
        Self::with_queues(control, requests, replies, wake)
            .ok_or_else(|| "The queues do not fit the control memory.".to_owned())
    }

    fn with_queues(control: Arc<Region>, requests: Arc<Region>, replies: Arc<Region>, wake: OwnedFd) -> Option<Self> {
        let [calls, answers, releases] = [control::CALL_SLOTS, control::REPLY_SLOTS, control::RELEASE_SLOTS]
            .map(|word| control.read_u32(word).filter(|slots| *slots <= layout::SLOTS_MAX));
        let (calls, answers, releases) = (calls?, answers?, releases?);
        let reply_slots = control::QUEUES + calls as usize * size_of::<CallSlot>();
        let release_slots = reply_slots + answers as usize * size_of::<ReplySlot>();
        let memory = control.clone();
        let call_queue = Queue::new(memory.clone(), control::CALLS_TAIL, control::CALLS_HEAD, control::QUEUES, calls)?;
        let reply_queue =
            Queue::new(memory.clone(), control::REPLIES_TAIL, control::REPLIES_HEAD, reply_slots, answers)?;
        let release_queue =
            Queue::new(memory, control::RELEASES_TAIL, control::RELEASES_HEAD, release_slots, releases)?;
        Some(Self {
            control,
            requests,
            replies,
            call_reader: Reader::new(call_queue),
            reply_writer: Writer::new(reply_queue),
            release_reader: Reader::new(release_queue),
            wake,
        })
    }
}

fn check_versions(control: &Region) -> Result<(), String> {
    if control.length() < control::QUEUES || control.read_u64(control::MAGIC) != Some(layout::MAGIC) {
        return Err("What the server passed on is no control memory.".to_owned());
    }
    let version = control.read_u32(control::ABI_VERSION).unwrap_or_default();
    let hash = control.read_bytes::<16>(control::CONTRACT_HASH).unwrap_or_default();
    if version == ABI_VERSION && hash == CONTRACT_HASH.as_bytes() {
        return Ok(());
    }
    let hash = String::from_utf8_lossy(&hash);
    Err(contract_mismatch(version, &hash))
}

/// The sentence with which both sides refuse each other.
pub fn contract_mismatch(version: u32, hash: &str) -> String {
    format!(
        "The server was built with ABI version {version} and contract {hash}, the engine with ABI version {ABI_VERSION} and \
         contract {CONTRACT_HASH}: build both from the same sources."
    )
}

fn inherited(descriptor: i32) -> Result<OwnedFd, String> {
    // SAFETY: fcntl looks at the descriptor and changes its flags alone. It must not leak into processes of ours.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(format!("File descriptor {descriptor} was not passed on: this program is started by the server."));
    }
    // SAFETY: open (just seen), passed to us by the server, and taken here alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

impl super::parent::Parent {
    /// Takes the socket that the server passed on.
    pub fn inherit() -> std::io::Result<Self> {
        let socket = inherited(descriptors::PARENT).map_err(std::io::Error::other)?;
        Ok(Self::new(socket.into()))
    }
}
