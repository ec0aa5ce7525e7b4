//! The seam between serving (who runs next, which token is chosen) and computing (what the model thinks of it). The CPU
//! kernels of this crate implement [`Decoder`], and so does candle, on CPU and CUDA, in the crate `backend-candle`.

use engine_core::{EngineError, Reason};

/// What serving must know of a model.
#[derive(Debug, Clone)]
pub struct DecoderShape {
    /// Logits a token.
    pub vocabulary_size: usize,
    /// Tokens of context, of prompt and answer together.
    pub context_length: usize,
    /// Tokens whose keys and values one block of the cache holds.
    pub block_tokens: usize,
    /// Blocks of the cache; numbers of blocks are below this.
    pub blocks: usize,
    /// Tokens of one step, of all sequences together, at most.
    pub step_tokens_max: usize,
    /// Bytes of weights and cache.
    pub memory_bytes: u64,
}

impl DecoderShape {
    /// What serving got wrong, if it did: decoders read and write without looking.
    ///
    /// # Errors
    /// `Internal` where a step is not as [`Decoder::step`] wants it, `InvalidArgument` where there is no such token.
    pub fn check_step(&self, sequences: &[StepSequence<'_>]) -> Result<(), EngineError> {
        let fault = |message: String| Err(EngineError::new(Reason::Internal, message));
        let tokens: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
        if tokens > self.step_tokens_max {
            return fault(format!("A step of {tokens} tokens; {} are the most.", self.step_tokens_max));
        }
        for sequence in sequences {
            let end = sequence.position.saturating_add(sequence.tokens.len());
            if sequence.tokens.is_empty() || end > self.context_length {
                return fault(format!("Tokens up to position {end}, with a context of {}.", self.context_length));
            }
            if sequence.blocks.len() < end.div_ceil(self.block_tokens) {
                return fault(format!("{} blocks do not hold {end} tokens.", sequence.blocks.len()));
            }
            if let Some(block) = sequence.blocks.iter().find(|block| **block as usize >= self.blocks) {
                return fault(format!("Block {block} of {}.", self.blocks));
            }
            if let Some(token) = sequence.tokens.iter().find(|token| **token as usize >= self.vocabulary_size) {
                return Err(EngineError::invalid("tokens", format!("The vocabulary has no token {token}.")));
            }
        }
        Ok(())
    }
}

/// One sequence's part of a step: a chunk of its prompt, or the one token chosen last.
#[derive(Debug, Clone, Copy)]
pub struct StepSequence<'step> {
    /// Tokens to compute, at least one.
    pub tokens: &'step [u32],
    /// Position of the first of them; keys and values of all before are in the blocks.
    pub position: usize,
    /// Blocks of the cache for positions 0, `block_tokens`, 2·`block_tokens`, …, up to the last token of this step.
    /// Blocks may be shared with other sequences where they hold the same prefix; those are only read.
    pub blocks: &'step [u32],
    /// Whether the logits after the last token are wanted.
    pub wants_logits: bool,
}

/// Computes steps. One thread calls it; it may use more inside.
pub trait Decoder: Send {
    /// What it is.
    fn shape(&self) -> &DecoderShape;

    /// Computes the step, writes the new keys and values into the blocks, and the logits of those sequences that want
    /// them, in order, one row of `vocabulary_size` each, into `logits`. The result of a sequence does not depend on
    /// which others are in the step.
    fn step(&mut self, sequences: &[StepSequence<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError>;

    /// Whether [`Self::copy_block`] works. Where it does not, choices that share a prompt compute its last tokens again.
    fn copies_blocks(&self) -> bool {
        false
    }

    /// Copies the keys and values of block `from`, as far as they were written, to block `to`. Called between steps, where
    /// [`Self::copies_blocks`] says so.
    fn copy_block(&mut self, from: u32, to: u32) -> Result<(), EngineError> {
        let message = format!("This decoder cannot copy block {from} to {to}.");
        Err(EngineError::new(Reason::Internal, message))
    }
}
