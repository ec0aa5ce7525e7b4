//! Llama-architecture models with candle's tensors: quantised matrices times rows of floats, and attention over a paged cache.
//!
//! Matrices stay as the file stores them; rows of activations, keys and values are 32-bit floats. All sequences of a step go
//! through the matrices together, one row a token; attention looks at each sequence by itself. What a sequence gets does not
//! depend on the others of its step, but where candle has other products for one row than for several: for Q6_K and matrices of
//! floats on processors, and on GPUs. There the last bits differ, and 8-bit activations may be rounded otherwise for it.
//!
//! | module | holds |
//! |---|---|
//! | `weights` | the file's tensors on the device |
//! | `matrix` | one of its matrices, and what it is held as |
//! | `cache` | keys and values in blocks |
//! | `rows` | where the tokens of a step stand, and which keys they see |
//! | `attention` | what the tokens of a step take from those before them |

mod attention;
mod cache;
mod matrix;
mod rows;
#[cfg(test)]
mod tests;
mod weights;

use crate::fault::while_computing;
use cache::LayerCache;
use candle_core::{Device, Module, Result, Tensor};
use candle_nn::ops::rms_norm;
use engine_core::{EngineError, Reason};
use llm::gguf::Gguf;
use llm::shape::Shape;
use llm::{Decoder, DecoderShape, StepSequence};
use rows::Rows;
use std::ops::RangeInclusive;
use weights::{Layer, Weights};

/// Tokens of a block of the cache.
const BLOCK_TOKENS: RangeInclusive<usize> = 1..=512;
/// Tokens of a step.
const STEP_TOKENS: RangeInclusive<usize> = 1..=8192;

/// How a model is opened.
#[derive(Debug, Clone)]
pub struct CandleOptions {
    /// Where it is computed.
    pub device: Device,
    /// Bytes of the device's memory for keys and values of all sequences together. SmolLM2-135M takes 46,080 bytes a token.
    pub cache_bytes: u64,
    /// Tokens whose keys and values one block holds, 1 to 512.
    pub block_tokens: usize,
    /// Tokens of one step at most, of all sequences together, 1 to 8192; longer prompts are given in chunks.
    pub step_tokens_max: usize,
    /// Tokens of context, if fewer than the model has.
    pub context_length_max: Option<usize>,
}

impl Default for CandleOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            cache_bytes: 512 << 20,
            block_tokens: 32,
            step_tokens_max: 512,
            context_length_max: None,
        }
    }
}

/// Opens the model in `file`, which may be closed afterwards: the weights are copied to the device.
///
/// # Errors
/// `ModelNotReady` where the file is not of a model that is computed here, `MemoryExceeded` where the cache has no room,
/// `InvalidArgument` where an option is out of its range.
pub fn open(file: &Gguf, options: &CandleOptions) -> std::result::Result<Box<dyn Decoder>, EngineError> {
    check("block_tokens", options.block_tokens, &BLOCK_TOKENS)?;
    check("step_tokens_max", options.step_tokens_max, &STEP_TOKENS)?;
    let lengths = Shape::read(file)?;
    let context = options.context_length_max.unwrap_or(usize::MAX).clamp(1, lengths.context);
    let weights = Weights::read(file, &lengths, context, &options.device)?;
    let blocks = cache::blocks(&lengths, options)?;
    let cache = cache::allocate(&lengths, blocks, options)?;
    let shape = DecoderShape {
        vocabulary_size: lengths.vocabulary,
        context_length: context,
        block_tokens: options.block_tokens,
        blocks,
        step_tokens_max: options.step_tokens_max,
        memory_bytes: weights.bytes() + blocks as u64 * cache::block_bytes(&lengths, options.block_tokens),
    };
    Ok(Box::new(Llama { lengths, shape, weights, cache, device: options.device.clone() }))
}

fn check(name: &str, value: usize, range: &RangeInclusive<usize>) -> std::result::Result<(), EngineError> {
    if range.contains(&value) {
        return Ok(());
    }
    let message = format!("{name} is {value}, but goes from {} to {}.", range.start(), range.end());
    Err(EngineError::invalid(name, message))
}

/// A model on its device.
struct Llama {
    lengths: Shape,
    shape: DecoderShape,
    weights: Weights,
    /// One a layer.
    cache: Vec<LayerCache>,
    device: Device,
}

impl Llama {
    fn compute(&self, sequences: &[StepSequence<'_>]) -> Result<Vec<f32>> {
        let rows = Rows::lay_out(sequences, &self.lengths, &self.shape, &self.device)?;
        let turns = self.weights.turns(&rows.positions)?;
        let mut state = self.weights.embedding.rows(&rows.tokens)?;
        for (layer, cache) in self.weights.layers.iter().zip(&self.cache) {
            let normal = self.normalise(&state, &layer.attention_norm)?;
            let attended = attention::attend(&normal, layer, cache, &turns, &rows, &self.lengths)?;
            state = (state + layer.output.forward(&attended)?)?;
            let normal = self.normalise(&state, &layer.feed_norm)?;
            state = (state + feed_forward(&normal, layer)?)?;
        }
        match &rows.wanted {
            None => Ok(Vec::new()),
            Some(wanted) => self.logits(&state.index_select(wanted, 0)?),
        }
    }

    fn normalise(&self, state: &Tensor, factors: &Tensor) -> Result<Tensor> {
        rms_norm(state, factors, self.lengths.epsilon)
    }

    fn logits(&self, state: &Tensor) -> Result<Vec<f32>> {
        let normal = self.normalise(state, &self.weights.output_norm)?;
        self.weights.output.forward(&normal)?.flatten_all()?.to_vec1()
    }
}

/// The network that opens what passes it by a gate (Shazeer 2020, "GLU Variants Improve Transformer").
fn feed_forward(normal: &Tensor, layer: &Layer) -> Result<Tensor> {
    let open = (layer.gate.forward(normal)?.silu()? * layer.up.forward(normal)?)?;
    layer.down.forward(&open)
}

impl Decoder for Llama {
    fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    fn step(&mut self, sequences: &[StepSequence<'_>], logits: &mut Vec<f32>) -> std::result::Result<(), EngineError> {
        self.shape.check_step(sequences)?;
        *logits = self.compute(sequences).map_err(while_computing)?;
        Ok(())
    }

    fn copies_blocks(&self) -> bool {
        true
    }

    fn copy_block(&mut self, from: u32, to: u32) -> std::result::Result<(), EngineError> {
        if from.max(to) as usize >= self.shape.blocks {
            let message = format!("Blocks {from} and {to} of {}.", self.shape.blocks);
            return Err(EngineError::new(Reason::Internal, message));
        }
        if from == to {
            return Ok(());
        }
        self.cache.iter().try_for_each(|cache| cache.copy(from as usize, to as usize)).map_err(while_computing)
    }
}
