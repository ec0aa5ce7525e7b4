//! AB-MCTS-M: at each node the mixed model over its children draws one score for each child and one for a new child,
//! and the greatest is followed. Children whose subtrees have gone stale, most of their scores being equal, are left.

use super::{ArmHere, Choice, Memory, Move, View, arm_rule, arms_here};
use crate::mixed::{Groups, MixedModel};
use crate::options::Strategy;
use crate::random::Random;
use crate::tree::ROOT;

/// A model over all arms' children together.
const ALL_ARMS: u32 = u32::MAX;

/// The next trial.
pub(super) fn choose(view: View, memory: &mut Memory, random: &mut Random) -> Choice {
    let mut parent = ROOT;
    loop {
        match decide(view, memory, parent, random) {
            Move::Expand(arm) => return Choice { parent, arm },
            Move::Descend(child) => parent = child,
        }
    }
}

fn decide(view: View, memory: &mut Memory, node: u32, random: &mut Random) -> Move {
    match view.options.strategy {
        Strategy::Bandit | Strategy::Ucb => place_first(view, memory, node, random),
        Strategy::Stack | Strategy::AlgorithmTwo => arms_compete(view, memory, node, random),
    }
}

fn place_first(view: View, memory: &mut Memory, node: u32, random: &mut Random) -> Move {
    match best_place(view, memory, node, random) {
        Some(child) => Move::Descend(child),
        None => Move::Expand(arm_rule::choose_mixed(view, memory, random)),
    }
}

/// The child to go on from, or none to make a new one. A new one must have the greatest draw of all; where a stale
/// child has it, the best of the other children follows.
fn best_place(view: View, memory: &mut Memory, node: u32, random: &mut Random) -> Option<u32> {
    let here = view.tree.node(node);
    if here.children.count == 0 {
        return None;
    }
    let share = view.options.pending_share;
    let (model, tallies) = model_of(view, memory, node, ALL_ARMS);
    let widen = model.draw_new(here.children.pending, share, random);
    let (mut greatest, mut best): (f64, Option<(u32, f64)>) = (widen, None);
    for (child, state) in view.tree.complete_children(node) {
        let draw = model.draw_known(&state.subtree(), share, random);
        greatest = greatest.max(draw);
        let better = best.is_none_or(|(_, best)| draw > best);
        if better && !tallies.is_stale(&view.options.pruning, child, state) {
            best = Some((child, draw));
        }
    }
    if greatest > widen { best.map(|(child, _)| child) } else { None }
}

/// The model of a node's children, or of one arm's, from the cache where nothing has come since.
fn model_of<'memory>(
    view: View,
    memory: &'memory mut Memory,
    node: u32,
    arm: u32,
) -> (&'memory MixedModel, &'memory super::tallies::Tallies) {
    let version = view.tree.node(node).below.count;
    let Memory { models, tallies, .. } = memory;
    let model = models.get((node, arm), version, || {
        let mut groups = Groups::default();
        for (_, child) in view.tree.complete_children(node) {
            if arm == ALL_ARMS || arm == u32::from(child.arm) {
                groups.add(&child.subtree());
            }
        }
        MixedModel::solve(&view.options.mixed, &groups)
    });
    (model, tallies)
}

/// One model an arm over the children that it made; all children and one new child of each arm compete.
fn arms_compete(view: View, memory: &mut Memory, node: u32, random: &mut Random) -> Move {
    let here = arms_here(view, node);
    let mut best: Option<(Move, f64)> = None;
    for (number, arm) in here.iter().enumerate() {
        let offer = best_of_arm(view, memory, node, (number as u32, arm), random);
        if let Some((step, draw)) = offer
            && best.as_ref().is_none_or(|&(_, greatest)| draw > greatest)
        {
            best = Some((step, draw));
        }
    }
    match best {
        Some((step, _)) => step,
        None => Move::Expand(arm_rule::choose_mixed(view, memory, random)),
    }
}

fn best_of_arm(
    view: View,
    memory: &mut Memory,
    node: u32,
    (arm, here): (u32, &ArmHere),
    random: &mut Random,
) -> Option<(Move, f64)> {
    let active = view.arms.all()[arm as usize].active;
    if !active && here.children.count == 0 {
        return None;
    }
    let share = view.options.pending_share;
    let (model, tallies) = model_of(view, memory, node, arm);
    let mut best: Option<(Move, f64)> = None;
    if active {
        best = Some((Move::Expand(arm), model.draw_new(here.children.pending, share, random)));
    }
    for (child, state) in view.tree.complete_children(node) {
        if u32::from(state.arm) != arm || tallies.is_stale(&view.options.pruning, child, state) {
            continue;
        }
        let draw = model.draw_known(&state.subtree(), share, random);
        if best.as_ref().is_none_or(|&(_, greatest)| draw > greatest) {
            best = Some((Move::Descend(child), draw));
        }
    }
    best
}
