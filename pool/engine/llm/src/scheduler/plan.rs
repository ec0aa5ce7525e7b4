//! The next step: which sequences take part, with which tokens.

use super::sequence::Sequence;
use super::{Scheduler, SequenceId};
use std::time::{Duration, Instant};

/// A prompt whose computing would take longer than its deadline leaves, even at this many times the speed that was measured,
/// is not begun.
const SPEED_DOUBT: u32 = 2;

/// One sequence's part of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Whose.
    pub sequence: SequenceId,
    /// Tokens to compute.
    pub tokens: Vec<u32>,
    /// Position of the first. Of a sequence's first chunk, this is the length of the prefix that was found in the cache.
    pub position: usize,
    /// Blocks from position 0 to the last token.
    pub blocks: Vec<u32>,
    /// Whether the next token is to be chosen after this.
    pub wants_logits: bool,
    /// Whether it is the token chosen last, and no part of a prompt.
    pub is_decoding: bool,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Empty: there is nothing to compute.
    pub chunks: Vec<Chunk>,
    /// Sequences whose deadline passed, or cannot be met. They are gone already.
    pub expired: Vec<SequenceId>,
}

impl Plan {
    /// The parts of prompts.
    pub fn prompts(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter().filter(|chunk| !chunk.is_decoding)
    }
}

/// Keys and values that are to be copied before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    /// Block that is read.
    pub from: u32,
    /// Block that is written.
    pub to: u32,
}

/// A further choice that begins where the first one's prompt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The new sequence, whose next token is chosen from the first one's logits.
    pub sequence: SequenceId,
    /// The prompt's last block, where it is not full and so will be written by both.
    pub copy: Option<BlockCopy>,
}

impl Scheduler {
    /// The next step. It must be computed and reported by [`Self::advance`] before the next is asked for.
    pub fn plan(&mut self, now: Instant) -> Plan {
        let mut plan = Plan { chunks: Vec::new(), expired: self.expire(now) };
        let decoding = self.plan_decoding(&mut plan);
        let budget = self.options.step_tokens_max - decoding;
        let budget = if decoding > 0 { budget.min(self.prompt_allowance) } else { budget };
        self.admit(budget, now, &mut plan.expired);
        self.plan_prompts(budget, &mut plan);
        plan
    }

    fn expire(&mut self, now: Instant) -> Vec<SequenceId> {
        let held = self.held.values().flatten();
        let all = self.waiting.values().chain(&self.running).chain(held);
        let expired: Vec<SequenceId> = all.filter(|next| next.has_passed(now)).map(|next| next.id).collect();
        for &id in &expired {
            self.remove(id, now);
        }
        self.counts.expired += expired.len() as u64;
        expired
    }

    /// One token of each sequence that generates, the first in order first; the number of them.
    fn plan_decoding(&mut self, plan: &mut Plan) -> usize {
        let mut place = 0;
        while place < self.running.len() {
            if self.running[place].is_decoding() {
                if !self.make_room(place) {
                    // It was the last in order itself.
                    continue;
                }
                plan.chunks.push(self.chunk(place, 1));
            }
            place += 1;
        }
        plan.chunks.len()
    }

    /// Gives the sequence at `place` a block for its next token, taking blocks from the last in order where none is free.
    /// False where it was itself the last, and waits again.
    fn make_room(&mut self, place: usize) -> bool {
        if self.running[place].computed < self.running[place].blocks.len() * self.options.block_tokens {
            return true;
        }
        loop {
            if let Some(block) = self.blocks.take() {
                self.running[place].blocks.push(block);
                return true;
            }
            self.preempt_last();
            if place == self.running.len() {
                return false;
            }
        }
    }

    fn preempt_last(&mut self) {
        if let Some(mut last) = self.running.pop() {
            self.blocks.release(&last.blocks);
            last.blocks.clear();
            last.computed = 0;
            last.is_begun = false;
            self.counts.preemptions += 1;
            self.waiting.insert(last.order, last);
        }
    }

    /// Lets sequences in, first in order, while there are places, blocks, and room for their prompts in the step. A long
    /// prompt counts for half a step at most, so that short ones behind it are let in too.
    fn admit(&mut self, budget: usize, now: Instant, expired: &mut Vec<SequenceId>) {
        let weight = |sequence: &Sequence| sequence.remaining().min(budget.div_ceil(2));
        let mut wanted: usize = self.running.iter().filter(|next| !next.is_decoding()).map(weight).sum();
        while wanted < budget && self.running.len() < self.options.running_max {
            let Some((_, mut sequence)) = self.waiting.pop_first() else { return };
            if !self.give_blocks(&mut sequence) {
                self.waiting.insert(sequence.order, sequence);
                return;
            }
            if self.is_hopeless(&sequence, now) {
                self.blocks.release(&sequence.blocks);
                expired.push(sequence.id);
                self.counts.expired += 1;
                self.remove(sequence.id, now);
                continue;
            }
            sequence.admitted.get_or_insert(now);
            wanted += weight(&sequence);
            self.insert_running(sequence);
        }
    }

    fn is_hopeless(&self, sequence: &Sequence, now: Instant) -> bool {
        let needed: Duration = self.rates.prompt_time(sequence.remaining()) / SPEED_DOUBT;
        sequence.deadline.is_some_and(|deadline| now + needed >= deadline)
    }

    fn insert_running(&mut self, sequence: Sequence) {
        let place = self.running.partition_point(|next| next.order < sequence.order);
        self.running.insert(place, sequence);
    }

    /// Blocks for all tokens of a waiting sequence, those of a prefix that is still there first; false and nothing done where
    /// there are too few. One more for each sequence that runs stays free, or the next step would have to preempt.
    fn give_blocks(&mut self, sequence: &mut Sequence) -> bool {
        let block_tokens = self.options.block_tokens;
        let (found, idle) = self.find_prefix(sequence);
        let needed = sequence.tokens.len().div_ceil(block_tokens) - found.len();
        if needed + idle + self.running.len() > self.blocks.free() {
            return false;
        }
        self.counts.prefix_queries += sequence.tokens.len() as u64;
        self.counts.prefix_hits += (found.len() * block_tokens) as u64;
        sequence.computed = found.len() * block_tokens;
        found.iter().for_each(|&block| self.blocks.share(block));
        sequence.blocks = found;
        sequence.blocks.extend((0..needed).map_while(|_| self.blocks.take()));
        true
    }

    /// The blocks of the longest prefix that can be found, and how many of them nobody holds. At least one token is left to
    /// compute, since its logits are wanted.
    fn find_prefix(&mut self, sequence: &mut Sequence) -> (Vec<u32>, usize) {
        let block_tokens = self.options.block_tokens;
        let (mut found, mut idle) = (Vec::new(), 0);
        for index in 0..(sequence.tokens.len() - 1) / block_tokens {
            let hash = sequence.hash(index, block_tokens, &self.hasher);
            let Some((block, is_idle)) = self.blocks.find(&hash) else { break };
            found.push(block);
            idle += usize::from(is_idle);
        }
        (found, idle)
    }

    /// Chunks of prompts. While another prompt is behind, each takes at most half of what is left; what remains then goes to
    /// the first in order.
    fn plan_prompts(&mut self, budget: usize, plan: &mut Plan) {
        let is_prompt = |place: &usize| !self.running[*place].is_decoding() && self.running[*place].remaining() > 0;
        let places: Vec<usize> = (0..self.running.len()).filter(is_prompt).collect();
        let mut left = budget;
        let mut shares = vec![0; places.len()];
        for (index, &place) in places.iter().enumerate() {
            let is_last = index + 1 == places.len();
            shares[index] = self.running[place].remaining().min(if is_last { left } else { left.div_ceil(2) });
            left -= shares[index];
        }
        for (share, &place) in shares.iter_mut().zip(&places) {
            let more = (self.running[place].remaining() - *share).min(left);
            *share += more;
            left -= more;
        }
        let chunks = places.iter().zip(&shares).filter(|(_, share)| **share > 0);
        plan.chunks.extend(chunks.map(|(&place, &share)| self.chunk(place, share)));
    }

    fn chunk(&self, place: usize, length: usize) -> Chunk {
        let sequence = &self.running[place];
        let end = sequence.computed + length;
        Chunk {
            sequence: sequence.id,
            tokens: sequence.tokens[sequence.computed..end].to_vec(),
            position: sequence.computed,
            blocks: sequence.blocks[..end.div_ceil(self.options.block_tokens)].to_vec(),
            wants_logits: end == sequence.tokens.len(),
            is_decoding: sequence.is_decoding(),
        }
    }

    /// The step was computed, in `elapsed`. Blocks that it filled can be found from now on.
    pub fn advance(&mut self, plan: &Plan, elapsed: Duration) {
        let block_tokens = self.options.block_tokens;
        for chunk in &plan.chunks {
            let Some(sequence) = self.running.iter_mut().find(|next| next.id == chunk.sequence) else { continue };
            let before = sequence.computed / block_tokens;
            sequence.computed = chunk.position + chunk.tokens.len();
            sequence.is_begun |= chunk.wants_logits;
            for index in before..sequence.computed / block_tokens {
                let hash = sequence.hash(index, block_tokens, &self.hasher);
                self.blocks.publish(sequence.blocks[index], hash);
            }
        }
        self.rates.observe_step(plan.prompts().map(|chunk| chunk.tokens.len()).sum(), elapsed);
    }

    /// Lets the further choices of `id` go on from its prompt, which was computed just now. To be called before the first
    /// token of `id` is added. Choices for which there is no place or block wait, and will find the prompt's full blocks.
    pub fn fork(&mut self, id: SequenceId) -> Vec<Fork> {
        let Some(held) = self.held.remove(&id) else { return Vec::new() };
        let mut forks = Vec::new();
        for sequence in held {
            forks.extend(self.fork_one(id, sequence));
        }
        forks
    }

    fn fork_one(&mut self, from: SequenceId, mut sequence: Sequence) -> Option<Fork> {
        let Some(first) = self.running.iter().find(|next| next.id == from) else { return self.put_off(sequence) };
        let is_full = first.computed.is_multiple_of(self.options.block_tokens);
        let has_room = self.running.len() < self.options.running_max && self.blocks.free() > self.running.len();
        if !self.options.copies_blocks || !has_room {
            return self.put_off(sequence);
        }
        sequence.computed = first.computed;
        sequence.is_begun = true;
        sequence.admitted = first.admitted;
        sequence.blocks = first.blocks[..first.computed / self.options.block_tokens].to_vec();
        sequence.blocks.iter().for_each(|&block| self.blocks.share(block));
        let mut copy = None;
        if !is_full {
            let source = first.blocks[sequence.blocks.len()];
            let Some(to) = self.blocks.take() else { return self.put_off(sequence) };
            sequence.blocks.push(to);
            copy = Some(BlockCopy { from: source, to });
        }
        let fork = Fork { sequence: sequence.id, copy };
        self.insert_running(sequence);
        Some(fork)
    }

    /// Lets a sequence wait that cannot go on from another's prompt now.
    fn put_off(&mut self, sequence: Sequence) -> Option<Fork> {
        self.waiting.insert(sequence.order, sequence);
        None
    }
}
