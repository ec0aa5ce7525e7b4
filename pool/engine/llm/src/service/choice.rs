//! One choice of a generation: from logits to text.

use crate::constraint::Constraint;
use crate::sampling::{LogProbabilities, Sampler, TokenProbability};
use crate::stop::StopFilter;
use crate::tokenizer::{Detokenizer, Tokenizer};
use contract::v1::{FinishReason, GenerateResponse, TokenLogprob, token_logprob::Top};
use engine_core::EngineError;

/// What all choices of a generation have in common.
#[derive(Debug, Clone)]
pub(super) struct ChoiceRules {
    /// Tokens generated at most; 1 or more.
    pub(super) tokens_max: usize,
    /// Log-probabilities wanted, and of how many of the likeliest.
    pub(super) top_log_probabilities: Option<usize>,
    /// Whether the token that ends a text does not end it.
    pub(super) ignores_end: bool,
}

/// Where a choice is.
#[derive(Debug)]
pub(super) struct Choice {
    index: u32,
    sampler: Sampler,
    constraint: Option<Constraint>,
    detokenizer: Detokenizer,
    stop: StopFilter,
    /// Tokens so far, the one that ended it included.
    generated: usize,
    /// What was not sent yet: tokens whose text is held back.
    ids: Vec<u32>,
    log_probabilities: Vec<TokenLogprob>,
}

/// What a token brought.
#[derive(Debug)]
pub(super) struct Progress {
    /// The token, to go on from.
    pub(super) token: u32,
    /// A message, where there is something to say.
    pub(super) response: Option<GenerateResponse>,
    /// Whether the choice has ended.
    pub(super) has_ended: bool,
}

impl Choice {
    pub(super) fn new(index: u32, sampler: Sampler, constraint: Option<Constraint>, stop: StopFilter) -> Self {
        Self {
            index,
            sampler,
            constraint,
            detokenizer: Detokenizer::default(),
            stop,
            generated: 0,
            ids: Vec::new(),
            log_probabilities: Vec::new(),
        }
    }

    /// Chooses the next token from `logits`, which are changed on the way.
    pub(super) fn advance(
        &mut self,
        logits: &mut [f32],
        rules: &ChoiceRules,
        tokenizer: &Tokenizer,
        probabilities: &mut LogProbabilities,
    ) -> Result<Progress, EngineError> {
        if rules.top_log_probabilities.is_some() {
            probabilities.take(logits);
        }
        let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
        let token = self.sampler.choose(logits, mask)?;
        self.generated += 1;
        // A constraint lets the end come only where the text is complete; nothing can follow.
        let may_end = !rules.ignores_end || self.constraint.is_some();
        if may_end && tokenizer.ends().contains(&token) {
            return Ok(Progress { token, response: Some(self.end(FinishReason::Stop)), has_ended: true });
        }
        let is_complete = self.constraint.as_mut().map_or(Ok(false), |constraint| constraint.push(token))?;
        self.ids.push(token);
        if let Some(count) = rules.top_log_probabilities {
            self.log_probabilities.push(log_probability(token, count, tokenizer, probabilities));
        }
        let mut piece = String::new();
        self.detokenizer.push(tokenizer.visible_piece(token), &mut piece);
        let (text, is_stopped) = self.stop.push(&piece);
        let finish = match () {
            () if is_stopped || is_complete => Some(FinishReason::Stop),
            () if self.generated >= rules.tokens_max => Some(FinishReason::Length),
            () => None,
        };
        let response = match finish {
            Some(reason) if is_stopped => Some(self.message(text, reason)),
            Some(reason) => {
                let mut last = self.end(reason);
                last.text.insert_str(0, &text);
                Some(last)
            }
            None => (!text.is_empty()).then(|| self.message(text, FinishReason::Unspecified)),
        };
        Ok(Progress { token, response, has_ended: finish.is_some() })
    }

    /// The last message of the choice, with all that was held back.
    pub(super) fn end(&mut self, reason: FinishReason) -> GenerateResponse {
        let mut rest = String::new();
        self.detokenizer.finish(&mut rest);
        let (mut text, is_stopped) = self.stop.push(&rest);
        text.push_str(&self.stop.finish());
        self.message(text, if is_stopped { FinishReason::Stop } else { reason })
    }

    fn message(&mut self, text: String, reason: FinishReason) -> GenerateResponse {
        GenerateResponse {
            index: self.index,
            text,
            ids: std::mem::take(&mut self.ids),
            logprobs: std::mem::take(&mut self.log_probabilities),
            finish_reason: reason.into(),
            ..GenerateResponse::default()
        }
    }
}

fn log_probability(token: u32, count: usize, tokenizer: &Tokenizer, probabilities: &LogProbabilities) -> TokenLogprob {
    let piece = |token| tokenizer.piece(token).to_vec();
    let top =
        |TokenProbability { token, log_probability }| Top { id: token, piece: piece(token), logprob: log_probability };
    TokenLogprob {
        id: token,
        piece: piece(token),
        logprob: probabilities.of(token).log_probability,
        top: probabilities.top(count).into_iter().map(top).collect(),
    }
}
