//! How often each score, rounded to a hundredth, stands below each node: to see where a subtree has gone stale.

use crate::options::Pruning;
use crate::tree::{Node, ROOT, Tree};

/// Counts by node. A node without descendants takes no more than an empty list.
#[derive(Clone, Debug)]
pub(super) struct Tallies {
    enabled: bool,
    /// By node: rounded score and count, in ascending order of score.
    below: Vec<Vec<(u8, u32)>>,
}

impl Tallies {
    pub fn new(enabled: bool) -> Self {
        Self { enabled, below: Vec::new() }
    }

    /// Counts a new score at all nodes above it but the root.
    pub fn score(&mut self, tree: &Tree, number: u32) {
        if !self.enabled {
            return;
        }
        let rounded = rounded(tree.node(number).score);
        for ancestor in tree.ancestors(number).filter(|&ancestor| ancestor != ROOT) {
            self.count(ancestor, rounded);
        }
    }

    fn count(&mut self, node: u32, rounded: u8) {
        if self.below.len() <= node as usize {
            self.below.resize(node as usize + 1, Vec::new());
        }
        let counts = &mut self.below[node as usize];
        match counts.binary_search_by_key(&rounded, |&(score, _)| score) {
            Ok(place) => counts[place].1 += 1,
            Err(place) => counts.insert(place, (rounded, 1)),
        }
    }

    /// Whether most scores of a complete node's subtree, its own among them, are the same.
    pub fn is_stale(&self, pruning: &Pruning, number: u32, node: &Node) -> bool {
        let size = node.below.count + 1;
        if !self.enabled || size < pruning.nodes_least {
            return false;
        }
        let own = rounded(node.score);
        let counts = self.below.get(number as usize).map_or(&[][..], Vec::as_slice);
        let most = counts.iter().map(|&(score, count)| count + u32::from(score == own)).max().unwrap_or(1);
        f64::from(most) >= pruning.same_share * f64::from(size)
    }
}

fn rounded(score: f64) -> u8 {
    (score * 100.0 + 0.5) as u8
}
