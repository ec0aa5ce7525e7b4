//! The engine behind shared memory: one server, which started this process, made the memory, and ends it.
//!
//! Life of a call: [`dispatch`] takes its slot from the call queue and, where it may last, lets another thread watch the
//! queue meanwhile; [`calls`] checks the slot and borrows header and segments where they lie; the engine answers into
//! [`reply_memory`]; [`replies`] puts a slot into the reply queue and wakes the server. Generations answer through [`sink`].

mod calls;
mod dispatch;
mod memory;
mod parent;
mod replies;
mod reply_memory;
mod sink;

use engine::{Engine, EngineConfig};
use std::sync::Arc;

/// File descriptors that the server passes on, in this order.
pub mod descriptors {
    /// A socket: one line from us when we begin, and its end means that the server is gone.
    pub const PARENT: i32 = 3;
    /// The control memory.
    pub const CONTROL: i32 = 4;
    /// The request arena.
    pub const REQUESTS: i32 = 5;
    /// The reply arena.
    pub const REPLIES: i32 = 6;
    /// An eventfd that wakes the server.
    pub const WAKE: i32 = 7;
}

/// Serves until the server closes its end. An error is a sentence.
pub fn serve(config: EngineConfig) -> Result<(), String> {
    parent::die_with_parent();
    let mut parent = parent::Parent::inherit().map_err(|error| format!("The server's socket is unusable: {error}."))?;
    let begun = begin(config);
    parent.announce(begun.as_ref().map(|_| ()).map_err(String::as_str));
    let dispatcher = begun?;
    parent.watch();
    dispatcher.run()
}

fn begin(config: EngineConfig) -> Result<Arc<dispatch::Dispatcher>, String> {
    let memory = memory::Memory::inherit()?;
    let engine = Engine::open(config).map_err(|error| error.message)?;
    dispatch::Dispatcher::new(Arc::new(engine), memory)
}
