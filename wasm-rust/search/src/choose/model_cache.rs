//! Solved models, so that a batch of decisions on one state of the tree solves each node's model once. What is found
//! here equals what would be computed, so the cache is no part of the search's state.

use crate::mixed::MixedModel;

/// Models kept. Each takes 14 kB.
const MODELS_MAX: usize = 64;

#[derive(Clone, Debug)]
struct Entry {
    key: (u32, u32),
    version: u32,
    used: u64,
    model: MixedModel,
}

/// The models that were used last.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelCache {
    entries: Vec<Entry>,
    uses: u64,
}

impl ModelCache {
    /// The model of a key. A version stands for the data: scores are only ever added, so their count tells one state
    /// from another.
    pub fn get(&mut self, key: (u32, u32), version: u32, solve: impl FnOnce() -> MixedModel) -> &MixedModel {
        self.uses += 1;
        let found = self.entries.iter().position(|entry| entry.key == key);
        let place = match found {
            Some(place) => {
                if self.entries[place].version != version {
                    self.entries[place].model = solve();
                    self.entries[place].version = version;
                }
                place
            }
            None => self.put(Entry { key, version, used: 0, model: solve() }),
        };
        self.entries[place].used = self.uses;
        &self.entries[place].model
    }

    /// Puts an entry where there is room, or where the one lies that was not used for longest.
    fn put(&mut self, entry: Entry) -> usize {
        if self.entries.len() < MODELS_MAX {
            self.entries.push(entry);
            return self.entries.len() - 1;
        }
        let oldest = (0..MODELS_MAX).min_by_key(|&place| self.entries[place].used).unwrap_or(0);
        self.entries[oldest] = entry;
        oldest
    }
}
