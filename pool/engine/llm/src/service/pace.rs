//! How many tokens of prompts go beside sequences that generate, so that their streams do not falter.

use std::time::Duration;

/// Tokens of prompts beside streams, at least: with fewer, a prompt would take for ever where streams alone fill the time.
const ALLOWANCE_MIN: usize = 16;
/// Before anything was measured.
const ALLOWANCE_FIRST: usize = 64;
/// Weight of each new measurement.
const NEW_SHARE: f64 = 0.2;
/// Fewer tokens of prompts say too little about their cost.
const MEASURED_TOKENS_MIN: usize = 8;

/// What steps cost lately.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// A step in which all sequences generate.
    decoding_seconds: Option<f64>,
    /// A token of a prompt.
    prompt_token_seconds: Option<f64>,
}

impl Pace {
    /// A step took `elapsed`, with `prompt_tokens` of prompts in it and `decoding` sequences that generate.
    pub fn observe(&mut self, prompt_tokens: usize, decoding: usize, elapsed: Duration) {
        let elapsed = elapsed.as_secs_f64();
        if prompt_tokens == 0 {
            mix(&mut self.decoding_seconds, elapsed);
        } else if prompt_tokens >= MEASURED_TOKENS_MIN {
            let decoding = if decoding > 0 { self.decoding_seconds.unwrap_or(0.0) } else { 0.0 };
            mix(&mut self.prompt_token_seconds, (elapsed - decoding).max(elapsed / 10.0) / prompt_tokens as f64);
        }
    }

    /// Tokens of prompts with which a step lasts about `target`.
    pub fn prompt_allowance(&self, target: Duration) -> usize {
        let Some(token_seconds) = self.prompt_token_seconds else { return ALLOWANCE_FIRST };
        let left = target.as_secs_f64() - self.decoding_seconds.unwrap_or(0.0);
        ((left / token_seconds) as usize).max(ALLOWANCE_MIN)
    }
}

fn mix(average: &mut Option<f64>, value: f64) {
    *average = Some(average.map_or(value, |average| average + NEW_SHARE * (value - average)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_allowance_fills_the_time_that_streams_leave() {
        let mut pace = Pace::default();
        assert_eq!(pace.prompt_allowance(50 * MILLISECOND), ALLOWANCE_FIRST);
        for _ in 0..100 {
            pace.observe(0, 4, 10 * MILLISECOND);
            pace.observe(20, 4, 30 * MILLISECOND);
        }
        // 10 ms for the streams, 1 ms a token.
        assert!((39..=41).contains(&pace.prompt_allowance(50 * MILLISECOND)));
        assert_eq!(pace.prompt_allowance(MILLISECOND), ALLOWANCE_MIN);
    }

    #[test]
    fn few_tokens_of_a_prompt_say_nothing_about_its_cost() {
        let mut pace = Pace::default();
        pace.observe(MEASURED_TOKENS_MIN - 1, 1, 100 * MILLISECOND);
        assert_eq!(pace.prompt_allowance(50 * MILLISECOND), ALLOWANCE_FIRST);
    }
}
