//! A sequence: a prompt and what was generated after it.

use crate::blocks::{PrefixHash, PrefixHasher};
use std::time::{Duration, Instant};

/// Numbers sequences in the order of their arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// The place of a sequence among all: lower goes first, and keeps its blocks longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    virtual_arrival_ns: i128,
    id: SequenceId,
}

impl Order {
    /// A higher priority goes first as if it had arrived `head_start` earlier a level. So nobody waits for ever: after that
    /// time even a stream of more urgent requests lets it pass.
    pub(super) fn new(id: SequenceId, since_epoch: Duration, priority: u8, head_start: Duration) -> Self {
        let lead = head_start.as_nanos() as i128 * i128::from(priority);
        Self { virtual_arrival_ns: since_epoch.as_nanos() as i128 - lead, id }
    }
}

/// What the scheduler knows of a sequence.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    pub(super) order: Order,
    pub(super) deadline: Option<Instant>,
    /// The prompt, and what was generated.
    pub(super) tokens: Vec<u32>,
    /// Tokens whose keys and values are in the blocks.
    pub(super) computed: usize,
    pub(super) blocks: Vec<u32>,
    root: PrefixHash,
    /// Of each full block, as far as they were needed.
    hashes: Vec<PrefixHash>,
    /// Whether all its tokens were computed once since it has blocks.
    pub(super) is_begun: bool,
    /// When it was given its blocks.
    pub(super) admitted: Option<Instant>,
}

impl Sequence {
    pub(super) fn new(
        id: SequenceId,
        order: Order,
        deadline: Option<Instant>,
        tokens: Vec<u32>,
        root: PrefixHash,
    ) -> Self {
        let (blocks, hashes) = (Vec::new(), Vec::new());
        Self { id, order, deadline, tokens, computed: 0, blocks, root, hashes, is_begun: false, admitted: None }
    }

    /// Tokens that are still to be computed before the next one can be chosen.
    pub(super) fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether all but the token chosen last is computed.
    pub(super) fn is_decoding(&self) -> bool {
        self.is_begun && self.remaining() == 1
    }

    /// The hash of the full block `index`.
    pub(super) fn hash(&mut self, index: usize, block_tokens: usize, hasher: &PrefixHasher) -> PrefixHash {
        while self.hashes.len() <= index {
            let before = self.hashes.last().copied().unwrap_or(self.root);
            let start = self.hashes.len() * block_tokens;
            self.hashes.push(hasher.chain(before, &self.tokens[start..start + block_tokens]));
        }
        self.hashes[index]
    }

    pub(super) fn has_passed(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }
}
