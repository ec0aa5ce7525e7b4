//! Monte Carlo tree search with a fixed width: every node gets the same number of children from each arm; among full
//! nodes the way down follows the upper confidence bound, weighted by the softmax of the siblings' own scores.

use super::{Choice, View, greatest};
use crate::mathematics::{exp, ln};
use crate::statistics::Statistics;
use crate::tree::ROOT;

const CHILDREN_EACH: u32 = 2;

/// The next trial.
pub(super) fn choose(view: View) -> Option<Choice> {
    let children_each = view.options.children_each.unwrap_or(CHILDREN_EACH);
    let mut parent = ROOT;
    loop {
        if let Some(arm) = view.short_arm(parent, children_each) {
            return Some(Choice { parent, arm });
        }
        match best_child(view, parent) {
            Some(child) => parent = child,
            // All children are on their way: a batch that large gets more of them than its width.
            None => return view.rarest_arm(parent).map(|(arm, _)| Choice { parent, arm }),
        }
    }
}

fn visits(statistics: &Statistics) -> f64 {
    f64::from(statistics.count + statistics.pending)
}

fn best_child(view: View, parent: u32) -> Option<u32> {
    let siblings = view.tree.complete_children(parent);
    let (count, exponentials) = siblings.fold((0, 0.0), |(count, sum), (_, child)| (count + 1, sum + exp(child.score)));
    let above = visits(&view.tree.node(parent).below) + f64::from(u8::from(parent != ROOT));
    let logarithm = ln(above.max(1.0));
    let bound = |(_, child): (u32, &crate::tree::Node)| {
        let subtree = child.subtree();
        let prior = if count < 2 { 1.0 } else { exp(child.score) / exponentials };
        let pending = f64::from(subtree.pending) * view.options.pending_share * subtree.mean();
        let value = (subtree.total() + pending) / visits(&subtree);
        value + view.options.exploration * prior * (logarithm / visits(&subtree)).sqrt()
    };
    let best = greatest(view.tree.complete_children(parent).map(bound))?;
    view.tree.complete_children(parent).nth(best).map(|(child, _)| child)
}
