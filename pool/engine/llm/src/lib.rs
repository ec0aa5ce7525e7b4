//! Language models: computing them on a CPU, and serving them to many callers at once.
//!
//! | module | holds |
//! |---|---|
//! | [`decoder`] | the seam between the two halves |
//! | [`shape`] | lengths and angles of llama models, for whoever computes them |
//! | [`gguf`], [`cpu`] | computing: the weights file, quantised products, attention over a paged cache |
//! | [`tokenizer`], [`template`], [`tools`], [`sampling`], [`constraint`] | text to tokens and back, and the choice of a token |
//! | [`blocks`], [`scheduler`], [`service`] | serving: the cache's blocks and prefixes, continuous batching, the queue |

pub mod blocks;
pub mod constraint;
pub mod cpu;
pub mod decoder;
pub mod gguf;
pub mod random;
pub mod sampling;
pub mod scheduler;
pub mod service;
pub mod shape;
pub mod stop;
pub mod template;
pub mod tokenizer;
pub mod tools;
#[cfg(test)]
mod toy;

pub use decoder::{Decoder, DecoderShape, StepSequence};
pub use service::{Language, LanguageModel, ServiceOptions, open};
