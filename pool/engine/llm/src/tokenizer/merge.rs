//! Byte-pair encoding (Sennrich, Haddow and Birch 2016): of all neighbouring pairs in a word, the one that was learnt first
//! is merged, the leftmost where it stands twice, until none is left.

use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longer words go through a heap: the plain search is faster on words as they are, but quadratic.
const PLAIN_SYMBOLS_MAX: usize = 64;
const NONE: u32 = u32::MAX;

/// What merging a pair gives.
#[derive(Debug, Clone, Copy)]
struct Merge {
    /// Lower was learnt earlier, and goes first.
    rank: u32,
    /// The token that the two become.
    token: u32,
}

/// The pairs that a model merges.
#[derive(Debug, Default)]
pub struct Merges {
    merges: FxHashMap<(u32, u32), Merge>,
}

impl Merges {
    /// Adds a pair; pairs are added in the order in which they were learnt.
    pub fn insert(&mut self, left: u32, right: u32, token: u32) {
        let rank = self.merges.len() as u32;
        self.merges.entry((left, right)).or_insert(Merge { rank, token });
    }

    fn find(&self, left: u32, right: u32) -> Option<Merge> {
        self.merges.get(&(left, right)).copied()
    }

    /// Merges in `symbols`, the tokens of one word's bytes, as far as it goes.
    pub fn apply(&self, symbols: &mut Vec<u32>) {
        if symbols.len() <= PLAIN_SYMBOLS_MAX {
            self.apply_plainly(symbols);
        } else {
            self.apply_with_heap(symbols);
        }
    }

    fn apply_plainly(&self, symbols: &mut Vec<u32>) {
        // Of each symbol, the merge with the one after it.
        let mut merges: [Option<Merge>; PLAIN_SYMBOLS_MAX] = [None; PLAIN_SYMBOLS_MAX];
        for (merge, pair) in merges.iter_mut().zip(symbols.windows(2)) {
            *merge = self.find(pair[0], pair[1]);
        }
        let mut length = symbols.len();
        loop {
            let candidates = merges[..length.saturating_sub(1)].iter().enumerate();
            let Some((_, at, token)) =
                candidates.filter_map(|(at, merge)| merge.map(|found| (found.rank, at, found.token))).min()
            else {
                break;
            };
            symbols.copy_within(at + 2..length, at + 1);
            merges.copy_within(at + 1..length, at);
            symbols[at] = token;
            length -= 1;
            merges[at] = if at + 1 < length { self.find(token, symbols[at + 1]) } else { None };
            if at > 0 {
                merges[at - 1] = self.find(symbols[at - 1], token);
            }
        }
        symbols.truncate(length);
    }

    /// The same in O(n log n): a linked list of symbols, and a heap of pairs whose stale entries are skipped.
    fn apply_with_heap(&self, symbols: &mut Vec<u32>) {
        let count = symbols.len();
        let mut next: Vec<u32> = (1..=count as u32).collect();
        let mut previous: Vec<u32> = (0..count as u32).map(|at| at.wrapping_sub(1)).collect();
        next[count - 1] = NONE;
        let mut heap = BinaryHeap::with_capacity(count);
        let push = |heap: &mut BinaryHeap<_>, symbols: &[u32], at: u32, after: u32| {
            let (left, right) = (symbols[at as usize], symbols[after as usize]);
            if let Some(merge) = self.find(left, right) {
                heap.push(Reverse((merge.rank, at, after, left, right, merge.token)));
            }
        };
        for at in 0..count as u32 - 1 {
            push(&mut heap, symbols, at, at + 1);
        }
        while let Some(Reverse((_, at, after, left, right, token))) = heap.pop() {
            let stands = next[at as usize] == after && symbols[at as usize] == left && symbols[after as usize] == right;
            if !stands {
                continue;
            }
            symbols[at as usize] = token;
            symbols[after as usize] = NONE;
            let following = next[after as usize];
            next[at as usize] = following;
            if following != NONE {
                previous[following as usize] = at;
                push(&mut heap, symbols, at, following);
            }
            let before = previous[at as usize];
            if before != NONE {
                push(&mut heap, symbols, before, at);
            }
        }
        symbols.retain(|&symbol| symbol != NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What the definition says, word for word.
    fn twin(merges: &Merges, symbols: &mut Vec<u32>) {
        let best = |symbols: &[u32]| {
            let pairs = symbols.windows(2).enumerate();
            pairs.filter_map(|(at, pair)| merges.find(pair[0], pair[1]).map(|m| (m.rank, at, m.token))).min()
        };
        while let Some((_, at, token)) = best(symbols) {
            symbols.splice(at..at + 2, [token]);
        }
    }

    #[test]
    fn both_ways_merge_as_the_definition_says() {
        let seed = 7;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        for _ in 0..400 {
            let mut merges = Merges::default();
            for token in 4..4 + random.below(40) as u32 {
                let part = |random: &mut Random| random.below(u64::from(token)) as u32;
                let (left, right) = (part(&mut random), part(&mut random));
                merges.insert(left, right, token);
            }
            let word: Vec<u32> = (0..random.below(PLAIN_SYMBOLS_MAX as u64)).map(|_| random.below(4) as u32).collect();
            let (mut plain, mut heap, mut expected) = (word.clone(), word.clone(), word);
            twin(&merges, &mut expected);
            merges.apply_plainly(&mut plain);
            assert_eq!(plain, expected);
            if heap.len() > 1 {
                merges.apply_with_heap(&mut heap);
                assert_eq!(heap, expected);
            }
        }
    }
}
