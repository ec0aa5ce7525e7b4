//! One request while it is answered: its choices, its times, and whoever listens.

use super::choice::{Choice, ChoiceRules};
use super::request::Prepared;
use crate::scheduler::SequenceId;
use contract::v1::{FinishReason, GenerateResponse, Usage};
use engine_core::{CallContext, EngineError, GenerateSink, Reason};
use std::time::{Duration, Instant};

/// A request that was taken in.
pub(super) struct Generation {
    pub(super) call: CallContext,
    /// Taken when the generation has ended.
    sink: Option<Box<dyn GenerateSink>>,
    /// None once it has ended.
    choices: Vec<(SequenceId, Option<Choice>)>,
    pub(super) rules: ChoiceRules,
    echo: Option<String>,
    /// Model and version, until the first message took them along.
    name: Option<(String, String)>,
    prompt_tokens: usize,
    cached_tokens: usize,
    generated: usize,
    submitted: Instant,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
}

impl Generation {
    pub(super) fn new(
        prepared: Prepared,
        ids: &[SequenceId],
        call: CallContext,
        sink: Box<dyn GenerateSink>,
        name: (String, String),
        now: Instant,
    ) -> Self {
        Self {
            call,
            sink: Some(sink),
            choices: ids.iter().copied().zip(prepared.choices.into_iter().map(Some)).collect(),
            rules: prepared.rules,
            echo: prepared.echo,
            name: Some(name),
            prompt_tokens: prepared.sequences.prompt.len(),
            cached_tokens: 0,
            generated: 0,
            submitted: now,
            admitted: None,
            first_token: None,
        }
    }

    /// Sequences of choices that have not ended.
    pub(super) fn sequences(&self) -> impl Iterator<Item = SequenceId> {
        self.choices.iter().filter(|(_, choice)| choice.is_some()).map(|(id, _)| *id)
    }

    pub(super) fn choice(&mut self, id: SequenceId) -> Option<&mut Choice> {
        self.choices.iter_mut().find(|(sequence, _)| *sequence == id)?.1.as_mut()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.sink.is_none()
    }

    pub(super) fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// The first step that computes something of it begins, after a prefix of `cached` tokens.
    pub(super) fn begin(&mut self, cached: usize, now: Instant) {
        if self.admitted.is_none() {
            self.admitted = Some(now);
            self.cached_tokens = cached;
        }
    }

    /// A token was chosen; true at the first.
    pub(super) fn count_token(&mut self, now: Instant) -> bool {
        self.generated += 1;
        let is_first = self.first_token.is_none();
        self.first_token.get_or_insert(now);
        is_first
    }

    /// Sends a message; where it ends the last choice, the usage goes along and the generation has ended. So it has where
    /// nobody listens any more.
    pub(super) fn send(&mut self, id: SequenceId, mut response: GenerateResponse, now: Instant) {
        if let Some((model, version)) = self.name.take() {
            (response.model, response.version) = (model, version);
        }
        if response.index == 0
            && let Some(echo) = self.echo.take()
        {
            response.text.insert_str(0, &echo);
        }
        let is_last_of_choice = response.finish_reason() != FinishReason::Unspecified;
        if is_last_of_choice && let Some((_, choice)) = self.choices.iter_mut().find(|(sequence, _)| *sequence == id) {
            *choice = None;
        }
        let is_last = self.sequences().next().is_none();
        if is_last {
            response.usage = Some(self.usage(now));
        }
        let Some(sink) = &mut self.sink else { return };
        match sink.send(response) {
            Err(fault) => self.end(Err(fault), now),
            Ok(()) if is_last => self.end(Ok(()), now),
            Ok(()) => {}
        }
    }

    /// Ends it with what there is: as an answer that was cut where something was generated, as an error where nothing was.
    pub(super) fn end_at_deadline(&mut self, now: Instant) {
        if self.generated == 0 {
            let message = "The deadline passed before the answer was there.";
            return self.end(Err(EngineError::new(Reason::DeadlineExceeded, message)), now);
        }
        let ids: Vec<SequenceId> = self.sequences().collect();
        for id in ids {
            if let Some(last) = self.choice(id).map(|choice| choice.end(FinishReason::Deadline)) {
                self.send(id, last, now);
            }
        }
    }

    /// Ends it; only the first end counts.
    pub(super) fn end(&mut self, result: Result<(), EngineError>, now: Instant) {
        if let Some(sink) = self.sink.take() {
            self.choices.clear();
            self.record_spans(now);
            sink.end(result);
        }
    }

    fn usage(&self, now: Instant) -> Usage {
        let admitted = self.admitted.unwrap_or(now);
        let first_token = self.first_token.unwrap_or(now);
        Usage {
            prompt_tokens: self.prompt_tokens as u32,
            completion_tokens: self.generated as u32,
            cached_tokens: self.cached_tokens as u32,
            queue_ns: nanoseconds(admitted - self.submitted),
            prefill_ns: nanoseconds(first_token - admitted),
            decode_ns: nanoseconds(now - first_token),
        }
    }

    fn record_spans(&self, now: Instant) {
        let admitted = self.admitted.unwrap_or(now);
        self.call.record_span("queue", self.submitted, admitted, &[]);
        if self.admitted.is_none() {
            return;
        }
        let first_token = self.first_token.unwrap_or(now);
        let prompt: [(&str, &dyn ToString); 2] =
            [("prompt_tokens", &self.prompt_tokens), ("cached_tokens", &self.cached_tokens)];
        self.call.record_span("prefill", admitted, first_token, &prompt);
        if self.first_token.is_some() {
            self.call.record_span("decode", first_token, now, &[("completion_tokens", &self.generated)]);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
