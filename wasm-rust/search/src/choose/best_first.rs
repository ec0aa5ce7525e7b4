//! Best first: the best answer that was never refined gets its children; of equal ones the shallower, then the older.

use super::{Choice, Memory, View};

const CHILDREN_EACH: u32 = 2;

/// The next trial; none where all that could be expanded is on its way.
pub(super) fn choose(view: View, memory: &mut Memory) -> Option<Choice> {
    let children_each = view.options.children_each.unwrap_or(CHILDREN_EACH);
    loop {
        for &parent in memory.frontier() {
            if let Some(arm) = view.short_arm(parent, children_each) {
                return Some(Choice { parent, arm });
            }
        }
        let next = memory.take_best_leaf()?;
        memory.set_frontier(vec![next]);
    }
}
