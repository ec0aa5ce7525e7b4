//! How fast the node is, from what it just did, for the answer to "would this request be served in time?".

use std::time::Duration;

/// What is left of an observation after each further one.
const DECAY: f64 = 0.97;
/// Weight that must have come together before anything is estimated from it.
const TRUSTED_SECONDS: f64 = 0.02;

/// Decaying sums; a quotient of two is a moving average that weighs by size.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    prompt_tokens: f64,
    prompt_seconds: f64,
    ended: f64,
    ended_seconds: f64,
}

impl Rates {
    /// A step computed `prompt_tokens` of prompts in `elapsed`, beside whatever else was in it.
    pub(super) fn observe_step(&mut self, prompt_tokens: usize, elapsed: Duration) {
        if prompt_tokens > 0 {
            self.prompt_tokens = self.prompt_tokens * DECAY + prompt_tokens as f64;
            self.prompt_seconds = self.prompt_seconds * DECAY + elapsed.as_secs_f64();
        }
    }

    /// A sequence held its blocks for `elapsed`.
    pub(super) fn observe_end(&mut self, elapsed: Duration) {
        self.ended = self.ended * DECAY + 1.0;
        self.ended_seconds = self.ended_seconds * DECAY + elapsed.as_secs_f64();
    }

    /// How long `tokens` of prompts take; zero while nothing is known.
    pub(super) fn prompt_time(&self, tokens: usize) -> Duration {
        if self.prompt_seconds < TRUSTED_SECONDS {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(tokens as f64 * self.prompt_seconds / self.prompt_tokens)
    }

    /// How long a sequence holds its blocks; zero while nothing is known.
    pub(super) fn sequence_time(&self) -> Duration {
        if self.ended == 0.0 { Duration::ZERO } else { Duration::from_secs_f64(self.ended_seconds / self.ended) }
    }
}
