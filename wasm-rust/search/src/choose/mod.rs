//! Which node is expanded next, and by which arm: one file an algorithm. Each decides from a [`View`] of the search and
//! its random source; what they keep beside that ([`Memory`]) either follows from the tree or is the frontier.

mod abmcts_a;
mod abmcts_m;
mod arm_rule;
mod beliefs;
mod best_first;
mod levels;
mod mcts;
mod memory;
mod model_cache;
mod tallies;

pub(crate) use memory::Memory;

use crate::arms::Arms;
use crate::options::{Algorithm, Options};
use crate::posterior::Posterior;
use crate::random::Random;
use crate::statistics::Statistics;
use crate::tree::{ROOT, Tree};

/// What a decision sees of the search.
#[derive(Clone, Copy)]
pub(crate) struct View<'search> {
    pub options: &'search Options,
    pub posterior: &'search Posterior,
    pub tree: &'search Tree,
    pub arms: &'search Arms,
    /// The best score so far; 0 where there is none.
    pub best_score: f64,
}

impl View<'_> {
    /// Trials whose scores have not come.
    fn pending(&self) -> u32 {
        self.tree.node(ROOT).below.pending
    }

    /// The active arm with the fewest live children at a node, and how many it has.
    fn rarest_arm(&self, node: u32) -> Option<(u32, u32)> {
        let mut counts = vec![0u32; self.arms.all().len()];
        self.tree.children(node).filter(|(_, child)| child.is_live()).for_each(|(_, child)| {
            counts[usize::from(child.arm)] += 1;
        });
        self.arms.active().map(|(arm, _)| (arm, counts[arm as usize])).min_by_key(|&(arm, count)| (count, arm))
    }

    /// The rarest arm, where it has fewer live children at a node than each should get.
    fn short_arm(&self, node: u32, children_each: u32) -> Option<u32> {
        self.rarest_arm(node).filter(|&(_, count)| count < children_each).map(|(arm, _)| arm)
    }
}

/// A trial to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub parent: u32,
    pub arm: u32,
}

/// The decision at one node on the way down.
enum Move {
    Expand(u32),
    Descend(u32),
}

/// The next trial; none where results must come first. There must be an active arm.
pub(crate) fn choose(view: View, memory: &mut Memory, random: &mut Random) -> Option<Choice> {
    match view.options.algorithm {
        Algorithm::AbmctsA => Some(abmcts_a::choose(view, memory, random)),
        Algorithm::AbmctsM => Some(abmcts_m::choose(view, memory, random)),
        Algorithm::Mcts => mcts::choose(view),
        Algorithm::TreeOfThoughts => levels::choose(view, memory),
        Algorithm::BestFirst => best_first::choose(view, memory),
        Algorithm::RepeatedSampling => Some(Choice { parent: ROOT, arm: arm_rule::choose(view, random) }),
        Algorithm::SequentialRefinement => refine_latest(view, memory, random),
    }
}

fn refine_latest(view: View, memory: &Memory, random: &mut Random) -> Option<Choice> {
    (view.pending() == 0).then(|| Choice { parent: memory.latest(), arm: arm_rule::choose(view, random) })
}

/// The index of the greatest value; the first of equal ones.
fn greatest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, value) in values.enumerate() {
        if best.is_none_or(|(_, greatest)| value > greatest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

/// A node's children by the arm that made them.
#[derive(Clone, Copy, Debug, Default)]
struct ArmHere {
    /// Their own scores.
    children: Statistics,
    /// Their own scores and all below them.
    subtrees: Statistics,
}

/// What each arm has done at a node, by the arm's number.
fn arms_here(view: View, node: u32) -> Vec<ArmHere> {
    let mut here = vec![ArmHere::default(); view.arms.all().len()];
    for (_, child) in view.tree.children(node) {
        let arm = &mut here[usize::from(child.arm)];
        let own = match child.is_complete() {
            true => Statistics::of(child.score),
            false => Statistics::default().with_pending(u32::from(child.is_live())),
        };
        arm.children = arm.children.with(&own);
        arm.subtrees = arm.subtrees.with(&own).with(&child.below);
    }
    here
}
