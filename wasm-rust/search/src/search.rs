//! The search itself: one state, changed by events alone.

use crate::arms::{Arm, Arms, Cost};
use crate::choose::{Memory, View, choose};
use crate::error::SearchError;
use crate::event::{Event, Outcome, Trial};
use crate::options::{BATCH_MAX, INTEGER_MAX, NODES_MAX, Options};
use crate::posterior::Posterior;
use crate::random::Random;
use crate::statistics::Statistics;
use crate::stop::{Progress, StopReason, reason};
use crate::tree::{Node, ROOT, Status, Tree};

/// A search over answers. See the crate's documentation for how to use it.
#[derive(Clone, Debug)]
pub struct Search {
    pub(crate) options: Options,
    pub(crate) random: Random,
    pub(crate) arms: Arms,
    pub(crate) tree: Tree,
    pub(crate) memory: Memory,
    posterior: Posterior,
    spent: Cost,
    failures: u32,
    best: Option<u32>,
    /// Complete trials that were asked after the best one.
    since_best: u32,
}

/// What is known of one node.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// Its number; 0 is the root.
    pub id: u32,
    /// The node that it refines; none for the root.
    pub parent: Option<u32>,
    /// The arm that made it; none for the root.
    pub arm: Option<u32>,
    /// Steps from the root.
    pub depth: u32,
    /// Where it is in its life.
    pub status: Status,
    /// Its score, where it has one.
    pub score: Option<f64>,
    /// Scores of its subtree, its own among them.
    pub visits: u32,
    /// Their mean; 0 where there is none.
    pub mean: f64,
    /// Complete children.
    pub children: u32,
    /// Open trials of its subtree.
    pub open: u32,
    /// What it cost.
    pub cost: Cost,
    /// When it was asked, in milliseconds.
    pub asked_at: u64,
    /// When it ended, in milliseconds; 0 while it is open.
    pub ended_at: u64,
}

impl Search {
    /// A search that has not begun.
    pub fn new(options: Options) -> Result<Self, SearchError> {
        options.validate()?;
        let mut arms = Arms::default();
        for _ in 0..options.arms {
            arms.add(None)?;
        }
        let (random, memory) = (Random::from_seed(options.seed), Memory::new(&options));
        Ok(Self::from_parts(options, random, arms, Tree::default(), memory))
    }

    /// A search with a tree. What follows from it is counted.
    pub(crate) fn from_parts(options: Options, random: Random, arms: Arms, tree: Tree, memory: Memory) -> Self {
        let posterior = Posterior::of(&options);
        let (spent, failures, best, since_best) = (Cost::default(), 0, None, 0);
        let mut search = Self { options, random, arms, tree, memory, posterior, spent, failures, best, since_best };
        for (_, node) in search.tree.trials() {
            search.spent = search.spent.plus(&node.cost);
            search.failures += u32::from(matches!(node.status, Status::Failed | Status::Expired));
        }
        let scores = search.tree.trials().filter(|(_, node)| node.is_complete()).map(|(id, node)| (id, node.score));
        search.best = scores
            .min_by(|(one, score), (other, higher)| higher.total_cmp(score).then(one.cmp(other)))
            .map(|best| best.0);
        search.since_best = search.count_since_best();
        search
    }

    /// Applies an event. Where it is refused, nothing has changed.
    pub fn apply(&mut self, event: &Event) -> Result<Outcome, SearchError> {
        match *event {
            Event::Ask { count, now } => self.ask(count, now).map(Outcome::Asked),
            Event::Tell { trial, score, ref cost, now } => self.tell(trial, score, *cost, now).map(recorded),
            Event::Fail { trial, ref cost, now } => self.fail(trial, *cost, now).map(recorded),
            Event::Expire { now } => self.expire(now).map(Outcome::Expired),
            Event::AddArm { prior_mean } => self.add_arm(prior_mean).map(Outcome::ArmAdded),
            Event::RemoveArm { arm } => self.remove_arm(arm).map(|()| Outcome::Recorded),
        }
    }

    /// Gives up to `count` trials to carry out, 1 to [`BATCH_MAX`]. Trials that are open are known to the choice, so that
    /// a batch does not pile onto one node. Fewer come where the budget ends, where a rule says stop, or where the
    /// algorithm needs results first (tree of thoughts, best-first, sequential refinement); none only in these cases.
    pub fn ask(&mut self, count: u32, now: u64) -> Result<Vec<Trial>, SearchError> {
        if !(1..=BATCH_MAX).contains(&count) {
            return Err(SearchError::CountOutOfRange(count));
        }
        check_time(now)?;
        if self.arms.active_count() == 0 {
            return Err(SearchError::ArmsMissing);
        }
        if self.tree.len() + count as usize > NODES_MAX {
            return Err(SearchError::TreeFull);
        }
        let mut trials = Vec::with_capacity(count as usize);
        while trials.len() < count as usize && self.stop_reason(now).is_none() {
            match self.next_trial(now) {
                Some(trial) => trials.push(trial),
                None => break,
            }
        }
        Ok(trials)
    }

    fn next_trial(&mut self, now: u64) -> Option<Trial> {
        let view = View {
            options: &self.options,
            posterior: &self.posterior,
            tree: &self.tree,
            arms: &self.arms,
            best_score: self.best.map_or(0.0, |best| self.tree.node(best).score),
        };
        let choice = choose(view, &mut self.memory, &mut self.random)?;
        let deadline = match self.options.trial_timeout_ms {
            0 => 0,
            timeout => now + timeout,
        };
        let id = self.tree.open(choice.parent, choice.arm as u16, now, deadline);
        self.arms.open(choice.arm);
        Some(Trial { id, parent: choice.parent, arm: choice.arm })
    }

    /// Takes a trial's score: true where it is new, false where the trial had one before, which stays. Scores may come in
    /// any order, and late: an expired trial still takes its score. One that is no number in [0, 1] leaves it open.
    pub fn tell(&mut self, trial: u32, score: f64, cost: Cost, now: u64) -> Result<bool, SearchError> {
        let status = self.status_of(trial)?;
        check_time(now)?;
        check_cost(&cost)?;
        match status {
            Status::Complete => return Ok(false),
            Status::Failed => return Err(SearchError::TrialFailed(trial)),
            Status::Open | Status::Expired => {}
        }
        if !(0.0..=1.0).contains(&score) {
            return Err(SearchError::ScoreInvalid(score));
        }
        self.leave(trial, status);
        let node = self.tree.node_mut(trial);
        // Minus zero is zero, and must not be told from it by its bits.
        node.score = score + 0.0;
        let arm = u32::from(node.arm);
        self.end(trial, Status::Complete, cost, now);
        self.tree.count_score(trial);
        self.arms.score(arm, score);
        self.memory.score(&self.tree, trial);
        self.note_best(trial);
        Ok(true)
    }

    /// Takes note that a trial's call failed: true where that is new. Nothing of it counts but what it cost.
    pub fn fail(&mut self, trial: u32, cost: Cost, now: u64) -> Result<bool, SearchError> {
        let status = self.status_of(trial)?;
        check_time(now)?;
        check_cost(&cost)?;
        if matches!(status, Status::Complete | Status::Failed) {
            return Ok(false);
        }
        self.leave(trial, status);
        self.end(trial, Status::Failed, cost, now);
        self.failures += 1;
        Ok(true)
    }

    /// Gives up all open trials whose deadline is not after `now`, and names them.
    pub fn expire(&mut self, now: u64) -> Result<Vec<u32>, SearchError> {
        check_time(now)?;
        let late = |node: &Node| node.status == Status::Open && node.deadline != 0 && node.deadline <= now;
        let expired: Vec<u32> = self.open_trials().into_iter().filter(|&trial| late(self.tree.node(trial))).collect();
        for &trial in &expired {
            self.leave(trial, Status::Open);
            self.end(trial, Status::Expired, Cost::default(), now);
            self.failures += 1;
        }
        Ok(expired)
    }

    /// Adds an arm and gives its number. `prior_mean` is the mean score expected of it before any is seen.
    pub fn add_arm(&mut self, prior_mean: Option<f64>) -> Result<u32, SearchError> {
        self.arms.add(prior_mean)
    }

    /// Takes an arm out of the choice. Its answers stay, and may be refined by others; its open trials may be told.
    pub fn remove_arm(&mut self, arm: u32) -> Result<(), SearchError> {
        self.arms.remove(arm)
    }

    /// Why no more trials are given; none while some are.
    pub fn stop_reason(&self, now: u64) -> Option<StopReason> {
        let root = &self.tree.node(ROOT).below;
        let progress = Progress {
            live: root.count + root.pending,
            failures: self.failures,
            spent: self.spent,
            best_score: self.best.map(|best| self.tree.node(best).score),
            expected_gain: self.expected_gain(),
        };
        reason(&self.options.stop, &progress, now)
    }

    /// What one more trial may be expected to gain at most, in score: the room above the best score, times the chance
    /// by Laplace's rule of succession that a trial beats it, when the last k asked did not: (1 − best) / (k + 2).
    pub fn expected_gain(&self) -> f64 {
        let best = self.best.map_or(0.0, |best| self.tree.node(best).score);
        (1.0 - best) / (f64::from(self.since_best) + 2.0)
    }

    /// The best `count` answers, best first; of equal ones the one asked first.
    pub fn top(&self, count: usize) -> Vec<NodeSummary> {
        let mut complete: Vec<(u32, f64)> =
            self.tree.trials().filter(|(_, node)| node.is_complete()).map(|(id, node)| (id, node.score)).collect();
        complete.sort_unstable_by(|(one, score), (other, higher)| higher.total_cmp(score).then(one.cmp(other)));
        complete.into_iter().take(count).map(|(id, _)| self.summarise(id)).collect()
    }

    /// What is known of a node; of the root for 0.
    pub fn statistics(&self, node: u32) -> Result<NodeSummary, SearchError> {
        self.tree.find(node).map(|_| self.summarise(node)).ok_or(SearchError::TrialUnknown(node))
    }

    /// Trials without an end, in the order of asking.
    pub fn open_trials(&self) -> Vec<u32> {
        let mut left = self.tree.node(ROOT).below.pending;
        let mut open = Vec::with_capacity(left as usize);
        for (trial, node) in self.tree.trials().rev() {
            if left == 0 {
                break;
            }
            if node.status == Status::Open {
                open.push(trial);
                left -= 1;
            }
        }
        open.reverse();
        open
    }

    /// Trials asked, whatever became of them.
    pub fn trials(&self) -> u32 {
        self.tree.len() as u32 - 1
    }

    /// All that was spent.
    pub fn spent(&self) -> Cost {
        self.spent
    }

    /// The options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Bytes that the tree's nodes take.
    pub fn bytes(&self) -> usize {
        self.tree.bytes()
    }

    /// Mean score and number of scores of an arm.
    pub fn arm_statistics(&self, arm: u32) -> Result<(f64, u32), SearchError> {
        let Arm { statistics, .. } = self.arms.all().get(arm as usize).ok_or(SearchError::ArmUnknown(arm))?;
        Ok((statistics.mean(), statistics.count))
    }

    fn status_of(&self, trial: u32) -> Result<Status, SearchError> {
        match self.tree.find(trial) {
            Some(node) if trial != ROOT => Ok(node.status),
            _ => Err(SearchError::TrialUnknown(trial)),
        }
    }

    /// Takes a trial out of the counts of the status that it leaves.
    fn leave(&mut self, trial: u32, status: Status) {
        match status {
            Status::Open => {
                self.tree.uncount_open(trial);
                self.arms.close(u32::from(self.tree.node(trial).arm));
            }
            Status::Expired => self.failures -= 1,
            Status::Complete | Status::Failed => {}
        }
    }

    fn end(&mut self, trial: u32, status: Status, cost: Cost, now: u64) {
        let node = self.tree.node_mut(trial);
        (node.status, node.cost, node.ended_at) = (status, cost, now);
        self.spent = self.spent.plus(&cost);
        let arm = u32::from(node.arm);
        self.arms.spend(arm, &cost);
    }

    fn note_best(&mut self, trial: u32) {
        let rank = |trial: u32| (self.tree.node(trial).score.to_bits(), std::cmp::Reverse(trial));
        match self.best {
            Some(best) if rank(best) > rank(trial) => self.since_best += u32::from(trial > best),
            _ => {
                self.best = Some(trial);
                self.since_best = self.count_since_best();
            }
        }
    }

    /// The new best is among the last that were asked, mostly, so there are few to count.
    fn count_since_best(&self) -> u32 {
        let Some(best) = self.best else { return 0 };
        let later = self.tree.trials().rev().take_while(|&(trial, _)| trial > best);
        later.filter(|(_, node)| node.is_complete()).count() as u32
    }

    fn summarise(&self, id: u32) -> NodeSummary {
        let node = self.tree.node(id);
        let is_root = id == ROOT;
        let has_score = node.is_complete() && !is_root;
        let own = if has_score { Statistics::of(node.score) } else { Statistics::default() };
        let subtree = node.below.with(&own);
        NodeSummary {
            id,
            parent: (!is_root).then_some(node.parent),
            arm: (!is_root).then_some(u32::from(node.arm)),
            depth: node.depth,
            status: node.status,
            score: has_score.then_some(node.score),
            visits: subtree.count,
            mean: subtree.mean(),
            children: node.children.count,
            open: subtree.pending + u32::from(node.status == Status::Open),
            cost: node.cost,
            asked_at: node.asked_at,
            ended_at: node.ended_at,
        }
    }
}

fn recorded(is_new: bool) -> Outcome {
    if is_new { Outcome::Recorded } else { Outcome::Known }
}

pub(crate) fn check_time(now: u64) -> Result<(), SearchError> {
    if now <= INTEGER_MAX { Ok(()) } else { Err(SearchError::EventInvalid("the time is out of its range".into())) }
}

pub(crate) fn check_cost(cost: &Cost) -> Result<(), SearchError> {
    let greatest = cost.tokens.max(cost.money_micros).max(cost.time_ms);
    if greatest <= INTEGER_MAX { Ok(()) } else { Err(SearchError::EventInvalid("the cost is out of its range".into())) }
}
