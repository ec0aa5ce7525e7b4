//! Text embeddings for a small, shared, single-threaded place: an isolate at the edge.
//!
//! The crate is pure: it does no I/O, reads no clock and draws no random number. The same input gives the same bits on
//! every host, natively and in WebAssembly, with relaxed and with plain SIMD.
//!
//! | module | holds |
//! |---|---|
//! | [`tokenizer`] | BERT's WordPiece: text to token ids |
//! | [`bert`] | the int8 MiniLM encoder |
//! | [`static_model`] | one vector a token, averaged: an answer in microseconds |
//! | [`backend`] | the seam that every kind of model stands behind, and how a file becomes one |
//! | [`file`] | the `.tlm` model file: reading and writing |
//! | [`similarity`] | comparing embeddings |
//! | [`kernels`] | the arithmetic: SIMD lanes, int8 matrix products, attention, normalisation |
//! | [`safetensors`], [`quantise`], [`distil`] | the tools that make model files; never loaded by the edge |

#![warn(missing_docs)]

pub mod backend;
pub mod bert;
pub mod distil;
pub mod error;
pub mod file;
pub mod kernels;
pub mod quantise;
pub mod safetensors;
pub mod similarity;
pub mod static_model;
pub mod tokenizer;

pub use backend::{Backend, Batch, ModelInfo, ModelKind};
pub use error::InferenceError;
