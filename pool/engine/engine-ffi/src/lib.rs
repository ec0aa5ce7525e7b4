//! The engine as a static library over a small C ABI, which `include/treeline_engine.h` describes. Payloads are read where the
//! caller has them, replies where the engine has them.
//!
//! | module | holds |
//! |---|---|
//! | [`abi`] | the structures that both sides share |
//! | [`memory`] | what a reply holds until it is released |
//! | [`output`] | memory of large replies, used again |
//! | [`completions`] | replies of generations, for one thread that polls |
//! | [`exports`] | the functions of the header; nothing but conversions |

pub mod abi;
pub mod completions;
pub mod exports;
pub mod memory;
pub mod output;
