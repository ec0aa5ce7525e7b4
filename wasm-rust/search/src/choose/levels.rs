//! Tree of thoughts, breadth first: one answer to begin with, then the best few of each level get their children, and a
//! level is judged when all of it is there.

use super::{Choice, Memory, View};
use crate::tree::ROOT;

const CHILDREN: u32 = 5;

/// The next trial; none while a level waits for its scores.
pub(super) fn choose(view: View, memory: &mut Memory) -> Option<Choice> {
    if let Some(choice) = widen(view, memory.frontier()) {
        return Some(choice);
    }
    if view.pending() > 0 {
        return None;
    }
    let next = best_of_next_level(view, memory.frontier());
    memory.set_frontier(next);
    widen(view, memory.frontier())
}

fn widen(view: View, frontier: &[u32]) -> Option<Choice> {
    frontier.iter().find_map(|&parent| short_arm(view, parent).map(|arm| Choice { parent, arm }))
}

fn short_arm(view: View, node: u32) -> Option<u32> {
    if node == ROOT {
        let live = view.tree.children(ROOT).any(|(_, child)| child.is_live());
        return if live { None } else { view.arms.active().next().map(|(arm, _)| arm) };
    }
    let children = view.options.children_each.unwrap_or(CHILDREN);
    view.short_arm(node, (children / view.arms.active_count()).max(1))
}

fn best_of_next_level(view: View, frontier: &[u32]) -> Vec<u32> {
    let mut level: Vec<(u32, f64)> = frontier
        .iter()
        .flat_map(|&parent| view.tree.complete_children(parent).map(|(child, state)| (child, state.score)))
        .collect();
    level.sort_by(|(one, score), (other, higher)| higher.total_cmp(score).then(one.cmp(other)));
    level.into_iter().take(view.options.breadth as usize).map(|(node, _)| node).collect()
}
