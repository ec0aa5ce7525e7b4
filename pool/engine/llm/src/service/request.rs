//! A request as it came, checked and made into what a generation needs. All of this is work for the caller's thread.

use super::choice::{Choice, ChoiceRules};
use super::language::Language;
use crate::constraint::Constraint;
use crate::sampling::{Sampler, SamplingSettings, TOP_MAX};
use crate::scheduler::{CHOICES_MAX, SequenceRequest};
use crate::stop::StopFilter;
use contract::v1::GenerateRequest;
use engine_core::{CallContext, EngineError, Reason};
use std::sync::Arc;

/// Bytes of a cache salt, at most.
const SALT_BYTES_MAX: usize = 256;

/// A checked request.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) sequences: SequenceRequest,
    /// One a sequence.
    pub(super) choices: Vec<Choice>,
    pub(super) rules: ChoiceRules,
    /// The prompt's text, where it is to be sent back.
    pub(super) echo: Option<String>,
}

/// The prompt's tokens, and its text where that is wanted.
struct Prompt {
    tokens: Vec<u32>,
    text: String,
}

/// Checks `request`. `length_max` bounds prompt and answer together; `seed` is taken where the request has none.
pub(super) fn prepare(
    request: &GenerateRequest,
    call: &CallContext,
    language: &Language,
    length_max: usize,
    seed: u64,
) -> Result<Prepared, EngineError> {
    let count = check_choices(request)?;
    let priority = check_priority(request, call)?;
    let settings = SamplingSettings::new(request.sampling.as_ref(), language.tokenizer.size(), seed)?;
    let stop = StopFilter::new(&request.stop)?;
    let prompt = prompt(request, language, length_max)?;
    let constraint = match request.json_schema.as_str() {
        "" => None,
        schema => Some(language.constraints()?.compile(schema)?),
    };
    let rules = ChoiceRules {
        tokens_max: tokens_max(request, prompt.tokens.len(), length_max)?,
        top_log_probabilities: top_log_probabilities(request)?,
        ignores_end: request.ignore_eos,
    };
    let choices = choices(count, settings, constraint, &stop, &prompt.tokens);
    let sequences = SequenceRequest {
        prompt: prompt.tokens,
        choices: count,
        priority,
        deadline: call.deadline,
        salt: request.cache_salt.clone(),
    };
    Ok(Prepared { sequences, choices, rules, echo: request.echo.then_some(prompt.text) })
}

fn choices(
    count: u32,
    settings: SamplingSettings,
    constraint: Option<Constraint>,
    stop: &StopFilter,
    prompt: &[u32],
) -> Vec<Choice> {
    let settings = Arc::new(settings);
    let choice = |index| {
        let sampler = Sampler::new(Arc::clone(&settings), index, prompt);
        Choice::new(index, sampler, constraint.as_ref().map(Constraint::fresh), stop.clone())
    };
    (0..count).map(choice).collect()
}

fn check_choices(request: &GenerateRequest) -> Result<u32, EngineError> {
    match request.n {
        0 => Ok(1),
        count if count <= CHOICES_MAX => Ok(count),
        _ => Err(EngineError::invalid("n", format!("A request has 1 to {CHOICES_MAX} choices."))),
    }
}

/// The higher of the request's and the call's: transports may carry it either way.
fn check_priority(request: &GenerateRequest, call: &CallContext) -> Result<u8, EngineError> {
    let requested = u8::try_from(request.priority)
        .map_err(|_| EngineError::invalid("priority", "A priority lies between 0 and 255."))?;
    if request.cache_salt.len() > SALT_BYTES_MAX {
        return Err(EngineError::invalid("cache_salt", format!("A cache salt has at most {SALT_BYTES_MAX} bytes.")));
    }
    Ok(requested.max(call.priority))
}

fn top_log_probabilities(request: &GenerateRequest) -> Result<Option<usize>, EngineError> {
    match request.top_logprobs.map(|count| count as usize) {
        Some(count) if count > TOP_MAX => {
            let message = format!("Log-probabilities of at most {TOP_MAX} of the likeliest tokens can be had.");
            Err(EngineError::invalid("top_logprobs", message))
        }
        count => Ok(count),
    }
}

fn tokens_max(request: &GenerateRequest, prompt_tokens: usize, length_max: usize) -> Result<usize, EngineError> {
    if prompt_tokens == 0 {
        return Err(EngineError::invalid("prompt", "The prompt has no tokens."));
    }
    if prompt_tokens >= length_max {
        return Err(too_long(&format!("{prompt_tokens}"), length_max));
    }
    let left = length_max - prompt_tokens;
    Ok(request.max_tokens.map_or(left, |wanted| left.min(wanted as usize)))
}

fn too_long(tokens: &str, length_max: usize) -> EngineError {
    let message =
        format!("The prompt has {tokens} tokens; the model takes {length_max} of prompt and answer together.");
    EngineError::invalid("prompt", message)
}

fn prompt(request: &GenerateRequest, language: &Language, length_max: usize) -> Result<Prompt, EngineError> {
    let given = [!request.messages.is_empty(), request.prompt.is_some(), request.prompt_tokens.is_some()];
    if given.iter().filter(|is_given| **is_given).count() != 1 {
        let message = "A request has either messages, or a prompt, or prompt tokens.";
        return Err(EngineError::invalid("messages", message));
    }
    let tokenizer = &language.tokenizer;
    if let Some(text) = &request.prompt {
        check_length(text, language, length_max)?;
        return Ok(Prompt { tokens: tokenizer.encode_prompt(text), text: text.clone() });
    }
    if let Some(tokens) = &request.prompt_tokens {
        return given_tokens(&tokens.ids, language, request.echo, length_max);
    }
    let template = language.template.as_ref().ok_or_else(|| {
        EngineError::new(Reason::Unsupported, "The model has no chat template; send a prompt instead of messages.")
    })?;
    let rendered = template.render(&request.messages, &request.tools_json, true)?;
    check_length(rendered.shielded(), language, length_max)?;
    let tokens = tokenizer.encode_rendered(&rendered);
    Ok(Prompt { tokens, text: rendered.bare(rendered.shielded()).into_owned() })
}

/// Refuses a text that has too many tokens whatever they are, before it is cut into them.
fn check_length(text: &str, language: &Language, length_max: usize) -> Result<(), EngineError> {
    let least = text.len() / language.tokenizer.longest_token_bytes().max(1);
    if least < length_max {
        return Ok(());
    }
    Err(too_long(&format!("over {least}"), length_max))
}

fn given_tokens(tokens: &[u32], language: &Language, echo: bool, length_max: usize) -> Result<Prompt, EngineError> {
    let size = language.tokenizer.size();
    if tokens.len() >= length_max {
        return Err(too_long(&tokens.len().to_string(), length_max));
    }
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= size) {
        let message = format!("There is no token {token}; the model has tokens 0 to {}.", size - 1);
        return Err(EngineError::invalid("prompt_tokens", message));
    }
    let text = if echo {
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|&token| language.tokenizer.visible_piece(token)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        String::new()
    };
    Ok(Prompt { tokens: tokens.to_vec(), text })
}
