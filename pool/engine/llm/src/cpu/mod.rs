//! Llama-architecture models on the CPU: 4- and 8-bit weights times 8-bit activations with the processor's own vector
//! instructions, and attention over a paged cache.
//!
//! ```no_run
//! # fn main() -> Result<(), engine_core::EngineError> {
//! let file = llm::gguf::Gguf::open(std::path::Path::new("model.gguf"))?;
//! let options = llm::cpu::CpuOptions { threads: 2, ..Default::default() };
//! let mut decoder: Box<dyn llm::Decoder> = llm::cpu::open(&file, &options)?;
//! let mut logits = Vec::new();
//! let prompt = llm::StepSequence { tokens: &[1, 2, 3], position: 0, blocks: &[0], wants_logits: true };
//! decoder.step(&[prompt], &mut logits)?;
//! assert_eq!(logits.len(), decoder.shape().vocabulary_size);
//! # Ok(()) }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `model`, `weights` | the model, and matrices in the kernels' order |
//! | `activations`, `memory` | what steps write |
//! | `kernels`, `path` | the arithmetic, on vectors of sixteen [`lanes`], and its choice by processor |
//! | `step`, `team` | a step in phases, and the threads that work through it |
//! | `llama` | the [`Decoder`] |

mod activations;
#[cfg(test)]
mod example;
mod kernels;
mod llama;
mod memory;
mod model;
mod path;
mod step;
mod team;
#[cfg(test)]
mod tests;
mod weights;

pub use lanes::Instructions;

use crate::Decoder;
use crate::gguf::Gguf;
use engine_core::EngineError;

/// Opens the model in `file`, which may be closed afterwards: the weights are copied in the kernels' order.
pub fn open(file: &Gguf, options: &CpuOptions) -> Result<Box<dyn Decoder>, EngineError> {
    Ok(Box::new(llama::Llama::open(file, options)?))
}

/// Instructions that this processor has and there is a path for, the best last.
pub fn available_instructions() -> Vec<Instructions> {
    lanes::available()
}

/// How a model is opened.
#[derive(Debug, Clone)]
pub struct CpuOptions {
    /// Threads that compute, the caller's among them; 1 to 256. More than the machine has cores makes it slower.
    pub threads: usize,
    /// Bytes for keys and values of all sequences together. SmolLM2-135M takes 23,040 bytes a token.
    pub cache_bytes: u64,
    /// Tokens whose keys and values one block holds: 16, 32, 48, … up to 512.
    pub block_tokens: usize,
    /// Tokens of one step at most, of all sequences together; prompts longer than this are given in chunks.
    pub step_tokens_max: usize,
    /// Tokens of context, if fewer than the model has.
    pub context_length_max: Option<usize>,
    /// Instructions to use; `None`: the best that this processor has.
    pub instructions: Option<Instructions>,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            cache_bytes: 512 << 20,
            block_tokens: 32,
            step_tokens_max: 512,
            context_length_max: None,
            instructions: None,
        }
    }
}
