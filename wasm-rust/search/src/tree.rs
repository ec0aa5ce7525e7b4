//! The tree: one block of small nodes, which name one another by number. A trial is a node from the moment it is asked,
//! so what is pending has its place, and children stand in the order of asking whatever the order of answers. Nothing
//! here calls itself, so depth and width are bounded by memory alone.

use crate::arms::Cost;
use crate::statistics::Statistics;

/// The root's number. It is the problem itself: it has no answer, no score and no arm.
pub const ROOT: u32 = 0;
/// No node.
pub(crate) const NONE: u32 = u32::MAX;

/// Where a trial is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Status {
    /// Asked, without a score yet.
    Open = 0,
    /// It has its score.
    Complete = 1,
    /// The call failed; no score will come.
    Failed = 2,
    /// Its time ran out. A score that comes late is still taken.
    Expired = 3,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// All complete descendants, and how many are open.
    pub below: Statistics,
    /// The complete children's own scores, and how many children are open.
    pub children: Statistics,
    /// Its own score; 0 before it is complete.
    pub score: f64,
    /// What it has cost.
    pub cost: Cost,
    /// When it was asked, in milliseconds.
    pub asked_at: u64,
    /// When it got its status, in milliseconds; 0 while it is open.
    pub ended_at: u64,
    /// When it expires, in milliseconds; 0 for never.
    pub deadline: u64,
    /// The node that it refines.
    pub parent: u32,
    /// Steps from the root.
    pub depth: u32,
    first_child: u32,
    last_child: u32,
    next_sibling: u32,
    /// The arm that made it.
    pub arm: u16,
    /// Where it is in its life.
    pub status: Status,
}

impl Node {
    fn new(parent: u32, depth: u32, arm: u16) -> Self {
        Self {
            below: Statistics::default(),
            children: Statistics::default(),
            score: 0.0,
            cost: Cost::default(),
            asked_at: 0,
            ended_at: 0,
            deadline: 0,
            parent,
            depth,
            first_child: NONE,
            last_child: NONE,
            next_sibling: NONE,
            arm,
            status: Status::Open,
        }
    }

    /// Its own score and all below: what is known of its subtree. Of a complete node.
    #[inline]
    pub fn subtree(&self) -> Statistics {
        self.below.with(&Statistics::of(self.score))
    }

    /// Whether it has its score.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.status == Status::Complete
    }

    /// Whether it has its score or may still get it in time.
    pub fn is_live(&self) -> bool {
        matches!(self.status, Status::Open | Status::Complete)
    }
}

/// The nodes.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        let mut root = Node::new(NONE, 0, 0);
        root.status = Status::Complete;
        Self { nodes: vec![root] }
    }
}

impl Tree {
    /// Nodes, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node that there is. Numbers from outside go through [`Tree::find`].
    #[inline]
    pub fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    /// A node, where there is one of that number.
    pub fn find(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    /// All trials, with their numbers.
    pub fn trials(&self) -> impl DoubleEndedIterator<Item = (u32, &Node)> {
        self.nodes.iter().enumerate().skip(1).map(|(number, node)| (number as u32, node))
    }

    /// A node's children, in the order of asking, whatever became of them.
    #[inline]
    pub fn children(&self, parent: u32) -> Children<'_> {
        Children { tree: self, next: self.node(parent).first_child }
    }

    /// A node's children that have their scores.
    #[inline]
    pub fn complete_children(&self, parent: u32) -> impl Iterator<Item = (u32, &Node)> {
        self.children(parent).filter(|(_, node)| node.is_complete())
    }

    /// Adds an open trial and gives its number.
    pub(crate) fn open(&mut self, parent: u32, arm: u16, asked_at: u64, deadline: u64) -> u32 {
        let number = self.append(parent, arm);
        let node = &mut self.nodes[number as usize];
        (node.asked_at, node.deadline) = (asked_at, deadline);
        self.count_open(number);
        number
    }

    /// Adds a node at the end of its parent's children, counted nowhere yet.
    pub(crate) fn append(&mut self, parent: u32, arm: u16) -> u32 {
        let number = self.nodes.len() as u32;
        let depth = self.node(parent).depth + 1;
        self.nodes.push(Node::new(parent, depth, arm));
        let elder = std::mem::replace(&mut self.nodes[parent as usize].last_child, number);
        match elder {
            NONE => self.nodes[parent as usize].first_child = number,
            elder => self.nodes[elder as usize].next_sibling = number,
        }
        number
    }

    pub(crate) fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.nodes[number as usize]
    }

    /// Counts an open trial at all nodes above it.
    pub(crate) fn count_open(&mut self, number: u32) {
        let parent = self.node(number).parent;
        self.nodes[parent as usize].children.pending += 1;
        self.for_each_above(number, |node| node.below.pending += 1);
    }

    /// The trial is open no more.
    pub(crate) fn uncount_open(&mut self, number: u32) {
        let parent = self.node(number).parent;
        self.nodes[parent as usize].children.pending -= 1;
        self.for_each_above(number, |node| node.below.pending -= 1);
    }

    /// Counts a complete trial's score at all nodes above it.
    pub(crate) fn count_score(&mut self, number: u32) {
        let Node { parent, score, .. } = *self.node(number);
        let one = Statistics::of(score);
        let children = &mut self.nodes[parent as usize].children;
        *children = children.with(&one);
        self.for_each_above(number, |node| node.below = node.below.with(&one));
    }

    /// Counts all nodes at those above them, from nothing: children have greater numbers than their parents, so one pass
    /// from the last to the first has each node's sum ready when it is needed.
    pub(crate) fn recount(&mut self) {
        for number in (1..self.nodes.len()).rev() {
            let node = &self.nodes[number];
            let own = match node.status {
                Status::Complete => Statistics::of(node.score),
                Status::Open => Statistics::default().with_pending(1),
                Status::Failed | Status::Expired => Statistics::default(),
            };
            let (parent, subtree) = (node.parent, own.with(&node.below));
            let parent = &mut self.nodes[parent as usize];
            parent.children = parent.children.with(&own);
            parent.below = parent.below.with(&subtree);
        }
    }

    /// From the parent up to the root.
    fn for_each_above(&mut self, number: u32, mut change: impl FnMut(&mut Node)) {
        let mut above = self.node(number).parent;
        while above != NONE {
            let node = &mut self.nodes[above as usize];
            change(node);
            above = node.parent;
        }
    }

    /// From a node's parent up to the root, as numbers.
    pub fn ancestors(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let above = |number: u32| Some(self.node(number).parent).filter(|&parent| parent != NONE);
        std::iter::successors(above(number), move |&ancestor| above(ancestor))
    }

    /// Bytes that the nodes take.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }
}

/// Walks the children of a node.
pub struct Children<'tree> {
    tree: &'tree Tree,
    next: u32,
}

impl<'tree> Iterator for Children<'tree> {
    type Item = (u32, &'tree Node);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == NONE {
            return None;
        }
        let number = self.next;
        let node = self.tree.node(number);
        self.next = node.next_sibling;
        Some((number, node))
    }
}
