//! Generation that must give JSON of a schema: before each token, the mask of those that can still become such a text. The
//! crate `llguidance` walks the vocabulary as a trie along a parser of the schema's grammar.
//!
//! The JSON is written as Python writes it, `{"a": [1, 2]}`: one way to write each value leaves a small model no chance to
//! write blanks for ever, and it is the way seen most in training.

use crate::sampling::Mask;
use crate::tokenizer::Tokenizer;
use engine_core::{EngineError, Reason};
use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};

/// Bytes of a schema, at most.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Compiled schemas that are kept; services ask for the same few again and again.
const KEPT_MAX: usize = 16;
/// States of a constraint's lexer, at most; each takes 1 to 2 KB.
const LEXER_STATES_MAX: usize = 30_000;
/// Bytes with which the trie marks control tokens, so that no text can match them.
const CONTROL_MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// Makes constraints for the tokens of one model.
pub struct ConstraintCompiler {
    factory: ParserFactory,
    /// The latest first.
    kept: Mutex<VecDeque<(String, Constraint)>>,
}

impl std::fmt::Debug for ConstraintCompiler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ConstraintCompiler").finish_non_exhaustive()
    }
}

impl ConstraintCompiler {
    /// A compiler for the vocabulary of `tokenizer`, of which a decoder gives `vocabulary_size` logits.
    ///
    /// # Errors
    /// `Unsupported` where no token ends a text: nothing could say that the JSON is complete.
    pub fn new(tokenizer: &Tokenizer, vocabulary_size: usize) -> Result<Self, EngineError> {
        let unsupported = |what: &str| EngineError::new(Reason::Unsupported, format!("No JSON Schema here: {what}"));
        let Some(&end) = tokenizer.ends().first() else {
            return Err(unsupported("the model has no token that ends a text."));
        };
        let piece = |token: u32| match tokenizer.is_control(token) {
            true => [&[CONTROL_MARK], tokenizer.piece(token)].concat(),
            false => tokenizer.piece(token).to_vec(),
        };
        let words: Vec<Vec<u8>> = (0..vocabulary_size as u32).map(piece).collect();
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words).with_eos_tokens(tokenizer.ends());
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory =
            ParserFactory::new_simple(&environment).map_err(|fault| unsupported(&first_line(&fault.to_string())))?;
        factory.quiet();
        factory.limits_mut().max_lexer_states = LEXER_STATES_MAX;
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory, kept: Mutex::default() })
    }

    /// The constraint of a schema.
    ///
    /// # Errors
    /// `InvalidArgument` where the schema is no JSON Schema, nothing can satisfy it, it is too large, or it asks for what
    /// cannot be enforced token by token.
    pub fn compile(&self, schema: &str) -> Result<Constraint, EngineError> {
        if let Some(kept) = self.find(schema) {
            return Ok(kept);
        }
        let grammar = TopLevelGrammar::from_json_schema(prepare(schema)?);
        // The parser's own limits bound its work; a panic inside is a schema that it cannot take.
        let compiled = catch_unwind(AssertUnwindSafe(|| Matcher::new(self.factory.create_parser(grammar))));
        let matcher = compiled.map_err(|_| refuse("it cannot be compiled"))?;
        if let Some(fault) = matcher.get_error() {
            return Err(refuse(&first_line(&fault)));
        }
        let mut constraint = Constraint { matcher, mask: None };
        if !constraint.can_begin()? {
            return Err(refuse("nothing satisfies it"));
        }
        self.keep(schema, &constraint);
        Ok(constraint)
    }

    fn find(&self, schema: &str) -> Option<Constraint> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(text, _)| text == schema)?;
        let found = kept.remove(place)?;
        let constraint = found.1.fresh();
        kept.push_front(found);
        Some(constraint)
    }

    fn keep(&self, schema: &str, constraint: &Constraint) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((schema.to_owned(), constraint.fresh()));
        kept.truncate(KEPT_MAX);
    }
}

fn refuse(why: &str) -> EngineError {
    EngineError::invalid("json_schema", format!("The schema is refused: {why}"))
}

fn first_line(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    text.lines().next().unwrap_or_default().chars().take(CHARACTERS_MAX).collect()
}

/// The schema with the way in which JSON is written, in place of one that the caller may have put there.
fn prepare(schema: &str) -> Result<Value, EngineError> {
    if schema.len() > SCHEMA_BYTES_MAX {
        return Err(refuse(&format!("it has more than {SCHEMA_BYTES_MAX} bytes")));
    }
    let mut fields = match serde_json::from_str(schema) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Bool(true)) => Map::new(),
        Ok(Value::Bool(false)) => return Err(refuse("nothing satisfies it")),
        Ok(_) => return Err(refuse("a schema is a JSON object, true or false")),
        Err(fault) => return Err(refuse(&format!("it is no JSON: {fault}"))),
    };
    let options = JsonCompileOptions {
        item_separator: ", ".to_owned(),
        key_separator: ": ".to_owned(),
        whitespace_flexible: false,
        ..JsonCompileOptions::default()
    };
    fields.remove("x-guidance");
    let mut schema = Value::Object(fields);
    options.apply_to(&mut schema);
    Ok(schema)
}

/// What may come next of one sequence.
pub struct Constraint {
    matcher: Matcher,
    mask: Option<SimpleVob>,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraint").finish_non_exhaustive()
    }
}

impl Constraint {
    /// The same, for another sequence: nothing is shared that one thread could wait for in another.
    pub fn fresh(&self) -> Self {
        Self { matcher: self.matcher.deep_clone(), mask: None }
    }

    fn can_begin(&mut self) -> Result<bool, EngineError> {
        Ok(self.mask()?.iter().any(|&word| word != 0))
    }

    /// The tokens that may come next.
    ///
    /// # Errors
    /// `InvalidArgument` where the schema turns out to need more work than a token may cost.
    pub fn mask(&mut self) -> Result<&Mask, EngineError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|fault| refuse(&first_line(&fault.to_string())))?;
        Ok(self.mask.insert(mask).as_slice())
    }

    /// Takes the token that came; true where the JSON is complete and nothing may follow.
    ///
    /// # Errors
    /// As [`Self::mask`].
    pub fn push(&mut self, token: u32) -> Result<bool, EngineError> {
        self.matcher.consume_token(token).map_err(|fault| refuse(&first_line(&fault.to_string())))?;
        Ok(self.matcher.is_stopped())
    }
}

#[cfg(test)]
mod tests;
