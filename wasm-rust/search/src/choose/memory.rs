//! What the algorithms keep between decisions. All but the frontier follows from the tree, and is built again when a
//! snapshot is loaded.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::beliefs::Beliefs;
use super::model_cache::ModelCache;
use super::tallies::Tallies;
use crate::options::{Algorithm, Options};
use crate::tree::{Node, ROOT, Tree};

/// A complete node that was never expanded, in the order of best first. Scores are not negative, so their bits are in
/// the order of their values.
type Leaf = (Reverse<u64>, u32, u32);

/// Kept between decisions.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(super) beliefs: Beliefs,
    pub(super) models: ModelCache,
    pub(super) tallies: Tallies,
    frontier: Vec<u32>,
    leaves: Option<BTreeSet<Leaf>>,
    latest: u32,
}

impl Memory {
    /// For an empty tree.
    pub fn new(options: &Options) -> Self {
        let stales = options.algorithm == Algorithm::AbmctsM && options.pruning.enabled;
        Self {
            beliefs: Beliefs::default(),
            models: ModelCache::default(),
            tallies: Tallies::new(stales),
            frontier: vec![ROOT],
            leaves: (options.algorithm == Algorithm::BestFirst).then(BTreeSet::new),
            latest: ROOT,
        }
    }

    /// For a tree that was loaded, with the frontier that it had.
    pub fn restore(options: &Options, tree: &Tree, frontier: Vec<u32>) -> Self {
        let mut memory = Self::new(options);
        memory.frontier = frontier;
        for (number, node) in tree.trials().filter(|(_, node)| node.is_complete()) {
            memory.score(tree, number);
            let expanded = memory.frontier.contains(&number) || tree.children(number).next().is_some();
            if let Some(leaves) = memory.leaves.as_mut().filter(|_| expanded) {
                leaves.remove(&leaf(number, node));
            }
        }
        memory
    }

    /// Takes note of a trial that has become complete.
    pub fn score(&mut self, tree: &Tree, number: u32) {
        self.latest = self.latest.max(number);
        self.tallies.score(tree, number);
        if let Some(leaves) = &mut self.leaves {
            leaves.insert(leaf(number, tree.node(number)));
        }
    }

    /// The nodes that are being expanded.
    pub fn frontier(&self) -> &[u32] {
        &self.frontier
    }

    pub(super) fn set_frontier(&mut self, frontier: Vec<u32>) {
        self.frontier = frontier;
    }

    pub(super) fn take_best_leaf(&mut self) -> Option<u32> {
        self.leaves.as_mut()?.pop_first().map(|(_, _, number)| number)
    }

    /// The complete trial that was asked last; the root where there is none.
    pub(super) fn latest(&self) -> u32 {
        self.latest
    }
}

fn leaf(number: u32, node: &Node) -> Leaf {
    (Reverse(node.score.to_bits()), node.depth, number)
}
