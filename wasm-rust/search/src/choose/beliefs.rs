//! What AB-MCTS-A believes of each subtree, kept between decisions: most of a tree does not change from one to the next.
//! What is found here equals what would be computed, so it is no part of the search's state.

use crate::posterior::{Posterior, Spread};
use crate::tree::Node;

/// A belief and the counts that it was made for. Scores are only ever added, so counts tell one state from another.
#[derive(Clone, Copy, Debug)]
struct Entry {
    spread: Spread,
    /// One over the scale: a comparison has no time for a division.
    inverse: f64,
    count: u32,
    pending: u32,
}

/// No subtree has these counts.
const NOTHING: Entry =
    Entry { spread: Spread { mean: 0.0, scale: 0.0, freedom: 0.0 }, inverse: 0.0, count: u32::MAX, pending: 0 };

/// Beliefs by node.
#[derive(Clone, Debug, Default)]
pub(super) struct Beliefs {
    entries: Vec<Entry>,
}

impl Beliefs {
    /// Of a complete node's subtree, with one over its scale; for the Gaussian family.
    #[inline]
    pub fn of(&mut self, posterior: &Posterior, number: u32, node: &Node) -> (Spread, f64) {
        if self.entries.len() <= number as usize {
            self.entries.resize(number as usize + 1, NOTHING);
        }
        let entry = &mut self.entries[number as usize];
        if (entry.count, entry.pending) != (node.below.count, node.below.pending) {
            let spread = posterior.spread(&node.subtree());
            *entry =
                Entry { spread, inverse: 1.0 / spread.scale, count: node.below.count, pending: node.below.pending };
        }
        (entry.spread, entry.inverse)
    }
}
