//! The choice of the next token from a model's logits.
//!
//! In this order, as vLLM has it: the constraint's mask, penalties, logit bias, temperature, min-p, top-k, top-p. What each
//! of the last three leaves is scaled to 1 again before the next. With temperature 0 the likeliest token after mask,
//! penalties and bias is taken, the one with the lowest id where two are equal; nothing is left to chance.

mod distribution;
mod log_probabilities;
mod settings;

pub use distribution::argmax;
pub use log_probabilities::{LogProbabilities, TOP_MAX, TokenProbability};
pub use settings::{LOGIT_BIAS_MAX, SamplingSettings};

use crate::random::Random;
use distribution::{Candidates, exponentials};
use engine_core::{EngineError, Reason};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// One bit a token, lowest first in each word; a token without its bit must not come.
pub type Mask = [u32];

/// Chooses the tokens of one choice of a generation.
#[derive(Debug)]
pub struct Sampler {
    settings: Arc<SamplingSettings>,
    random: Random,
    /// How often each token was generated so far.
    counts: FxHashMap<u32, u32>,
    /// Tokens of the prompt, where repeating them is penalised.
    prompt: FxHashSet<u32>,
    scratch: Candidates,
}

impl Sampler {
    /// The sampler of choice `index` after `prompt`.
    pub fn new(settings: Arc<SamplingSettings>, index: u32, prompt: &[u32]) -> Self {
        let random = Random::new(settings.seed, u64::from(index));
        let prompt =
            if settings.repetition_penalty == 1.0 { FxHashSet::default() } else { prompt.iter().copied().collect() };
        Self { settings, random, counts: FxHashMap::default(), prompt, scratch: Candidates::default() }
    }

    /// The next token. Changes `logits` on the way.
    ///
    /// # Errors
    /// `Internal` where no logit is a finite number: the model's fault, not the caller's.
    pub fn choose(&mut self, logits: &mut [f32], mask: Option<&Mask>) -> Result<u32, EngineError> {
        if let Some(mask) = mask {
            apply_mask(logits, mask);
        }
        self.penalise(logits);
        for &(token, bias) in &self.settings.logit_bias {
            logits[token as usize] += bias;
        }
        let best = argmax(logits)
            .ok_or_else(|| EngineError::new(Reason::Internal, "The model gave no token that may come next."))?;
        let token = if self.settings.temperature == 0.0 { best } else { self.draw(logits, best) };
        *self.counts.entry(token).or_insert(0) += 1;
        Ok(token)
    }

    /// Presence and frequency penalties as OpenAI defines them, of generated tokens; the repetition penalty of CTRL, of the
    /// prompt's too.
    fn penalise(&self, logits: &mut [f32]) {
        let settings = &self.settings;
        if settings.repetition_penalty != 1.0 {
            let generated = self.counts.keys().filter(|token| !self.prompt.contains(token));
            for &token in self.prompt.iter().chain(generated) {
                let Some(logit) = logits.get_mut(token as usize) else { continue };
                let factor = settings.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
            }
        }
        if settings.presence_penalty != 0.0 || settings.frequency_penalty != 0.0 {
            for (&token, &count) in &self.counts {
                logits[token as usize] -= settings.presence_penalty + settings.frequency_penalty * count as f32;
            }
        }
    }

    fn draw(&mut self, logits: &[f32], best: u32) -> u32 {
        let settings = &self.settings;
        let chance = self.random.unit();
        let total = exponentials(logits, logits[best as usize], 1.0 / settings.temperature, &mut self.scratch.weights);
        if settings.is_unrestricted() {
            return self.scratch.pick_of_all(chance * total).unwrap_or(best);
        }
        self.scratch.restrict(settings.min_p, settings.top_k, settings.top_p, total);
        self.scratch.pick(chance).unwrap_or(best)
    }
}

fn apply_mask(logits: &mut [f32], mask: &Mask) {
    for (logits, word) in logits.chunks_mut(32).zip(mask.iter().chain(std::iter::repeat(&0))) {
        match *word {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            word => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
