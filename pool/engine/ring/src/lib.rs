//! Calls and replies in shared memory: the worker's side of the boundary between the server (Go, package `engine/shm`)
//! and an engine in a process of its own. It knows bytes, offsets and wake-ups, and nothing of models.
//!
//! Three pieces of memory, each a memfd that the server made, sized and sealed against growing and shrinking:
//!
//! | memory | server | worker | holds |
//! |---|---|---|---|
//! | control | reads, writes | reads, writes | versions, and three queues: calls, replies, releases |
//! | request arena | writes | reads | headers and payloads of calls; one for all workers |
//! | reply arena | reads | writes | headers and payloads of replies, until the server releases them |
//!
//! Who writes an arena keeps its books privately ([`arena`]), so a broken peer cannot spoil them. A peer may write
//! anything into the queues: each slot is copied out once, and every offset and length is checked before use.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | where everything lies; the same numbers as in the server's `layout.go` |
//! | [`region`] | mapped memory, and checked access to it |
//! | [`queue`] | a queue of fixed slots with one reader and one writer |
//! | [`arena`] | a buddy allocator (Knowlton 1965) whose books are private |
//! | [`wake`] | futex and eventfd |
//! | [`patience`] | watching for a moment before sleeping |

pub mod arena;
pub mod layout;
pub mod patience;
pub mod queue;
pub mod region;
pub mod wake;
