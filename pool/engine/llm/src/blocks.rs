//! Who holds which block of the key-value cache (Kwon et al. 2023, "Efficient Memory Management for Large Language Model
//! Serving with PagedAttention").
//!
//! A block that is full is known by the hash of all tokens up to its end, chained block by block, and found again by a
//! sequence that begins with the same tokens. When its last holder lets go, it stays findable until it is needed: the block
//! that was let go longest ago is taken first, and of a chain the end before the beginning.

use rustc_hash::FxHashMap;
use std::hash::{BuildHasher, RandomState};

/// Identifies the tokens from a sequence's start to a block's end.
pub type PrefixHash = [u64; 2];

/// Hashes prefixes with two independent keys of chance: nobody can search for two prefixes that meet, and that they do so by
/// accident has a probability of 2⁻⁶⁸ among 2³⁰ blocks.
#[derive(Debug, Clone, Default)]
pub struct PrefixHasher {
    keys: [RandomState; 2],
}

impl PrefixHasher {
    /// What a sequence's first block is chained to: callers with different salts share no blocks.
    pub fn root(&self, salt: &str) -> PrefixHash {
        self.keys.each_ref().map(|key| key.hash_one(salt))
    }

    /// The hash of the block of `tokens` after the prefix `before`.
    pub fn chain(&self, before: PrefixHash, tokens: &[u32]) -> PrefixHash {
        self.keys.each_ref().map(|key| key.hash_one((before, tokens)))
    }
}

const NONE: u32 = u32::MAX;

/// All blocks of a cache. Numbers of blocks that come in are those that it gave out.
#[derive(Debug)]
pub struct Blocks {
    /// How many sequences hold each block.
    holders: Vec<u32>,
    /// What each full block is known by.
    hashes: Vec<Option<PrefixHash>>,
    by_hash: FxHashMap<PrefixHash, u32>,
    free: FreeList,
}

impl Blocks {
    /// `count` blocks, all free.
    pub fn new(count: usize) -> Self {
        let mut free = FreeList::new(count);
        (0..count as u32).for_each(|block| free.push_back(block));
        Self { holders: vec![0; count], hashes: vec![None; count], by_hash: FxHashMap::default(), free }
    }

    /// Blocks in all.
    pub fn total(&self) -> usize {
        self.holders.len()
    }

    /// Blocks that can be taken, those that can still be found among them.
    pub fn free(&self) -> usize {
        self.free.length
    }

    /// Blocks that sequences hold.
    pub fn used(&self) -> usize {
        self.total() - self.free()
    }

    /// A block of its own for a sequence, or none where all are held. What it held before is forgotten.
    pub fn take(&mut self) -> Option<u32> {
        let block = self.free.first()?;
        self.free.remove(block);
        if let Some(hash) = self.hashes[block as usize].take() {
            self.by_hash.remove(&hash);
        }
        self.holders[block as usize] = 1;
        Some(block)
    }

    /// The block known by `hash`, without holding it, and whether it is free.
    pub fn find(&self, hash: &PrefixHash) -> Option<(u32, bool)> {
        let block = *self.by_hash.get(hash)?;
        Some((block, self.holders[block as usize] == 0))
    }

    /// One more sequence holds `block`, which was found or is held already.
    pub fn share(&mut self, block: u32) {
        if self.holders[block as usize] == 0 {
            self.free.remove(block);
        }
        self.holders[block as usize] += 1;
    }

    /// Makes a full block that is held findable. Where another block is known by the same hash, that one stays.
    pub fn publish(&mut self, block: u32, hash: PrefixHash) {
        if self.hashes[block as usize].is_none() && !self.by_hash.contains_key(&hash) {
            self.hashes[block as usize] = Some(hash);
            self.by_hash.insert(hash, block);
        }
    }

    /// One sequence lets go of its blocks, given in the sequence's order.
    pub fn release(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            let holders = &mut self.holders[block as usize];
            *holders -= 1;
            if *holders > 0 {
                continue;
            }
            // A block that nobody can find is of no use to anyone: it goes first.
            match self.hashes[block as usize] {
                Some(_) => self.free.push_back(block),
                None => self.free.push_front(block),
            }
        }
    }
}

/// Free blocks in the order in which they are taken; each can be removed at once, wherever it stands.
#[derive(Debug)]
struct FreeList {
    /// Of each block; at the index after the last, of the ring's own head.
    next: Vec<u32>,
    previous: Vec<u32>,
    length: usize,
}

impl FreeList {
    fn new(count: usize) -> Self {
        let head = count as u32;
        let mut links = vec![NONE; count + 1];
        links[count] = head;
        Self { next: links.clone(), previous: links, length: 0 }
    }

    fn head(&self) -> u32 {
        self.next.len() as u32 - 1
    }

    fn first(&self) -> Option<u32> {
        let first = self.next[self.head() as usize];
        (first != self.head()).then_some(first)
    }

    fn insert_between(&mut self, before: u32, block: u32, after: u32) {
        self.next[before as usize] = block;
        self.previous[block as usize] = before;
        self.next[block as usize] = after;
        self.previous[after as usize] = block;
        self.length += 1;
    }

    fn push_back(&mut self, block: u32) {
        let head = self.head();
        self.insert_between(self.previous[head as usize], block, head);
    }

    fn push_front(&mut self, block: u32) {
        let head = self.head();
        self.insert_between(head, block, self.next[head as usize]);
    }

    fn remove(&mut self, block: u32) {
        let (before, after) = (self.previous[block as usize], self.next[block as usize]);
        self.next[before as usize] = after;
        self.previous[after as usize] = before;
        self.length -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The same, slowly: a list of free blocks in their order.
    struct Twin {
        holders: Vec<u32>,
        hashes: Vec<Option<PrefixHash>>,
        free: Vec<u32>,
    }

    impl Twin {
        fn find(&self, hash: &PrefixHash) -> Option<u32> {
            self.hashes.iter().position(|known| known.as_ref() == Some(hash)).map(|block| block as u32)
        }

        fn take(&mut self) -> Option<u32> {
            if self.free.is_empty() {
                return None;
            }
            let block = self.free.remove(0);
            self.hashes[block as usize] = None;
            self.holders[block as usize] = 1;
            Some(block)
        }

        fn share(&mut self, block: u32) {
            self.free.retain(|&free| free != block);
            self.holders[block as usize] += 1;
        }

        fn publish(&mut self, block: u32, hash: PrefixHash) {
            if self.hashes[block as usize].is_none() && self.find(&hash).is_none() {
                self.hashes[block as usize] = Some(hash);
            }
        }

        fn release(&mut self, blocks: &[u32]) {
            for &block in blocks.iter().rev() {
                self.holders[block as usize] -= 1;
                if self.holders[block as usize] == 0 {
                    let place = if self.hashes[block as usize].is_some() { self.free.len() } else { 0 };
                    self.free.insert(place, block);
                }
            }
        }
    }

    #[test]
    fn blocks_behave_as_the_slow_twin_whatever_is_done() {
        const COUNT: usize = 12;
        for seed in 0..40 {
            println!("seed {seed}");
            let mut random = Random::new(seed, 0);
            let mut blocks = Blocks::new(COUNT);
            let mut twin =
                Twin { holders: vec![0; COUNT], hashes: vec![None; COUNT], free: (0..COUNT as u32).collect() };
            let mut sequences: Vec<Vec<u32>> = vec![Vec::new(); 4];
            for _ in 0..500 {
                let sequence = random.below(4) as usize;
                let hash = [random.below(10), 0];
                match random.below(5) {
                    0 | 1 => {
                        let taken = blocks.take();
                        assert_eq!(taken, twin.take());
                        sequences[sequence].extend(taken);
                    }
                    2 => {
                        let found = blocks.find(&hash);
                        assert_eq!(found.map(|found| found.0), twin.find(&hash));
                        let Some((block, is_free)) = found else { continue };
                        assert_eq!(is_free, twin.holders[block as usize] == 0);
                        blocks.share(block);
                        twin.share(block);
                        sequences[sequence].push(block);
                    }
                    3 => {
                        let Some(&block) = sequences[sequence].last() else { continue };
                        blocks.publish(block, hash);
                        twin.publish(block, hash);
                    }
                    _ => {
                        let held = std::mem::take(&mut sequences[sequence]);
                        blocks.release(&held);
                        twin.release(&held);
                    }
                }
                assert_eq!(blocks.holders, twin.holders);
                assert_eq!(blocks.hashes, twin.hashes);
                assert_eq!(blocks.free(), twin.free.len());
                assert_eq!(blocks.used(), twin.holders.iter().filter(|&&holders| holders > 0).count());
            }
        }
    }

    #[test]
    fn a_prefix_is_lost_from_its_end() {
        let mut blocks = Blocks::new(3);
        let hasher = PrefixHasher::default();
        let first = hasher.chain(hasher.root(""), &[1, 2]);
        let second = hasher.chain(first, &[3, 4]);
        let held = [blocks.take().expect("free"), blocks.take().expect("free")];
        blocks.publish(held[0], first);
        blocks.publish(held[1], second);
        blocks.release(&held);
        blocks.take();
        assert!(blocks.find(&first).is_some() && blocks.find(&second).is_some());
        blocks.take();
        assert!(blocks.find(&first).is_some() && blocks.find(&second).is_none());
    }

    #[test]
    fn hashes_differ_by_salt_order_and_prefix() {
        let hasher = PrefixHasher::default();
        let root = hasher.root("");
        assert_ne!(root, hasher.root("salt"));
        assert_eq!(hasher.chain(root, &[1, 2]), hasher.chain(root, &[1, 2]));
        assert_ne!(hasher.chain(root, &[1, 2]), hasher.chain(root, &[2, 1]));
        assert_ne!(hasher.chain(hasher.chain(root, &[1]), &[2]), hasher.chain(root, &[1, 2]));
    }
}
