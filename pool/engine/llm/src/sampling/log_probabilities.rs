//! Log-probabilities as vLLM reports them by default: of the model's own distribution, before mask, penalties, bias and
//! temperature. A token that only a bias made possible therefore shows how unlikely the model held it.

use super::distribution::log_sum;

/// Likeliest tokens that may be asked for, at most.
pub const TOP_MAX: usize = 20;

/// A token and the logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenProbability {
    /// The token.
    pub token: u32,
    /// 0 or below.
    pub log_probability: f32,
}

/// The model's distribution at one place.
#[derive(Debug, Default)]
pub struct LogProbabilities {
    logits: Vec<f32>,
    log_sum: f64,
    scratch: Vec<f32>,
}

impl LogProbabilities {
    /// Takes the distribution of `logits`, which may be changed afterwards.
    pub fn take(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.log_sum = log_sum(logits, &mut self.scratch);
    }

    /// Of one token.
    pub fn of(&self, token: u32) -> TokenProbability {
        let logit = self.logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        TokenProbability { token, log_probability: (f64::from(logit) - self.log_sum) as f32 }
    }

    /// Of the `count` likeliest, likeliest first.
    pub fn top(&self, count: usize) -> Vec<TokenProbability> {
        let mut top: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
        let mut least = f32::NEG_INFINITY;
        for (&logit, token) in self.logits.iter().zip(0..) {
            // Nearly every token fails here.
            if top.len() == count && logit <= least || logit.is_nan() || count == 0 {
                continue;
            }
            let place = top.partition_point(|kept| kept.0 >= logit);
            top.insert(place, (logit, token));
            top.truncate(count);
            least = top.last().map_or(f32::NEG_INFINITY, |kept| kept.0);
        }
        top.into_iter().map(|(_, token)| self.of(token)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_probabilities_sum_to_one() {
        let mut probabilities = LogProbabilities::default();
        probabilities.take(&[0.0, 2.0, f32::NAN, 1.0, 2.0]);
        let tokens: Vec<u32> = probabilities.top(3).iter().map(|top| top.token).collect();
        assert_eq!(tokens, [1, 4, 3]);
        let sum: f64 = [0, 1, 3, 4].iter().map(|&token| f64::from(probabilities.of(token).log_probability).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert!(probabilities.top(0).is_empty());
        assert_eq!(probabilities.top(20).len(), 4);
    }
}
