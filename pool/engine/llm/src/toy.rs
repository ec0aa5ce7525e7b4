//! A decoder for tests whose logits depend on the tokens and positions that it reads back from the blocks it was told to use:
//! a wrong block table, a block that two sequences write, or a prefix taken for another changes what it answers.

use crate::decoder::{Decoder, DecoderShape, StepSequence};
use crate::random::Random;
use engine_core::{EngineError, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a toy did, seen from outside.
#[derive(Debug, Default)]
pub struct ToyCounts {
    pub steps: AtomicU64,
    pub tokens: AtomicU64,
    pub sequences_most: AtomicU64,
    /// Steps before it fails once; 0: never.
    pub fails_after: AtomicU64,
}

pub struct ToyDecoder {
    shape: DecoderShape,
    /// The token in each slot of each block.
    slots: Vec<Option<u32>>,
    pub copies: bool,
    pub step_time: Duration,
    pub token_time: Duration,
    pub counts: Arc<ToyCounts>,
}

impl ToyDecoder {
    pub fn new(shape: DecoderShape) -> Self {
        let slots = vec![None; shape.blocks * shape.block_tokens];
        let (step_time, token_time) = (Duration::ZERO, Duration::ZERO);
        Self { shape, slots, copies: true, step_time, token_time, counts: Arc::default() }
    }
}

/// A shape for tests.
pub fn shape(vocabulary_size: usize, context_length: usize, block_tokens: usize, blocks: usize) -> DecoderShape {
    DecoderShape { vocabulary_size, context_length, block_tokens, blocks, step_tokens_max: 24, memory_bytes: 1 }
}

/// What the toy answers after `tokens`, without any cache.
pub fn toy_logits(vocabulary_size: usize, tokens: &[u32]) -> Vec<f32> {
    let fold = |hash: u64, (position, token): (u64, &u32)| {
        (hash ^ (u64::from(*token) << 20) ^ position).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    };
    let mut random = Random::new((0..).zip(tokens).fold(1, fold), 0);
    (0..vocabulary_size).map(|_| random.unit() as f32 * 8.0).collect()
}

impl Decoder for ToyDecoder {
    fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    fn step(&mut self, sequences: &[StepSequence<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let total: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
        assert!(total <= self.shape.step_tokens_max && total > 0, "{total} tokens in a step");
        let steps = self.counts.steps.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.tokens.fetch_add(total as u64, Ordering::Relaxed);
        self.counts.sequences_most.fetch_max(sequences.len() as u64, Ordering::Relaxed);
        if steps == self.counts.fails_after.load(Ordering::Relaxed) {
            return Err(EngineError::new(Reason::Internal, "The toy was told to fail."));
        }
        let duration = self.step_time + self.token_time * total as u32;
        if !duration.is_zero() {
            std::thread::sleep(duration);
        }
        let block_tokens = self.shape.block_tokens;
        let slot = |sequence: &StepSequence<'_>, position: usize| {
            sequence.blocks[position / block_tokens] as usize * block_tokens + position % block_tokens
        };
        // All write before anyone reads, so that two that write the same block are caught.
        for sequence in sequences {
            assert_eq!(sequence.blocks.len(), (sequence.position + sequence.tokens.len()).div_ceil(block_tokens));
            for (offset, &token) in sequence.tokens.iter().enumerate() {
                self.slots[slot(sequence, sequence.position + offset)] = Some(token);
            }
        }
        logits.clear();
        for sequence in sequences.iter().filter(|sequence| sequence.wants_logits) {
            let end = sequence.position + sequence.tokens.len();
            let tokens: Option<Vec<u32>> = (0..end).map(|position| self.slots[slot(sequence, position)]).collect();
            let tokens = tokens.expect("a position was read that nobody wrote");
            logits.extend(toy_logits(self.shape.vocabulary_size, &tokens));
        }
        Ok(())
    }

    fn copy_block(&mut self, from: u32, to: u32) -> Result<(), EngineError> {
        let (from, to) = (from as usize * self.shape.block_tokens, to as usize * self.shape.block_tokens);
        self.slots.copy_within(from..from + self.shape.block_tokens, to);
        Ok(())
    }

    fn copies_blocks(&self) -> bool {
        self.copies
    }
}
