//! The arithmetic, written once on [`lanes`].
//!
//! Every function here is unsafe for the reasons told there, and takes pointers for which its callers in
//! [`super::step`] answer: a part that a unit of work writes is written and read by no other unit of the same phase.

pub mod attention;
pub mod elementwise;
pub mod product;
pub mod quantise;
