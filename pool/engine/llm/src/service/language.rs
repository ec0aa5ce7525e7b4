//! What a model's file says about text: its tokens and its chat template.

use crate::constraint::ConstraintCompiler;
use crate::gguf::Metadata;
use crate::template::ChatTemplate;
use crate::tokenizer::{Tokenizer, TokenizerSource};
use engine_core::EngineError;
use std::sync::OnceLock;

/// Tokenizer, chat template and constraints of one model.
#[derive(Debug)]
pub struct Language {
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// None: the model was not trained on conversations.
    pub template: Option<ChatTemplate>,
    /// Made at the first use: it walks the whole vocabulary.
    constraints: OnceLock<Result<ConstraintCompiler, EngineError>>,
}

impl Language {
    /// A tokenizer with the chat template `template`, in Jinja.
    ///
    /// # Errors
    /// `ModelNotReady` where the template cannot be read.
    pub fn new(tokenizer: Tokenizer, template: Option<&str>) -> Result<Self, EngineError> {
        let compile = |source| {
            ChatTemplate::new(source, &tokenizer.begin_text(), &tokenizer.end_text(), tokenizer.control_texts())
        };
        let template = template.map(compile).transpose()?;
        Ok(Self { tokenizer, template, constraints: OnceLock::new() })
    }

    /// What a GGUF file's metadata says.
    ///
    /// # Errors
    /// `ModelNotReady` where the metadata lack something, or name a kind of tokenizer that is not known here.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, EngineError> {
        let tokenizer = Tokenizer::new(&tokenizer_source(metadata)?)?;
        Self::new(tokenizer, metadata.optional_text("tokenizer.chat_template")?)
    }

    pub(super) fn constraints(&self) -> Result<&ConstraintCompiler, EngineError> {
        let compiler = self.constraints.get_or_init(|| ConstraintCompiler::new(&self.tokenizer, self.tokenizer.size()));
        compiler.as_ref().map_err(EngineError::clone)
    }
}

fn tokenizer_source(metadata: &Metadata) -> Result<TokenizerSource, EngineError> {
    let token = |key: &str| -> Result<Option<u32>, EngineError> {
        let token = metadata.optional_size(&format!("tokenizer.ggml.{key}"))?;
        // One that does not fit is none of the tokens, and is refused as such.
        Ok(token.map(|token| u32::try_from(token).unwrap_or(u32::MAX)))
    };
    let token_types = metadata.integers("tokenizer.ggml.token_type")?;
    Ok(TokenizerSource {
        model: metadata.text("tokenizer.ggml.model")?.to_owned(),
        pre: metadata.optional_text("tokenizer.ggml.pre")?.unwrap_or("default").to_owned(),
        tokens: metadata.texts("tokenizer.ggml.tokens")?.to_vec(),
        token_types: token_types.iter().map(|&token_type| u32::try_from(token_type).unwrap_or(0)).collect(),
        merges: metadata.texts("tokenizer.ggml.merges")?.to_vec(),
        begin: token("bos_token_id")?,
        end: token("eos_token_id")?,
        end_of_turn: token("eot_token_id")?,
        unknown: token("unknown_token_id")?,
        adds_begin: metadata.optional_flag("tokenizer.ggml.add_bos_token")?,
    })
}
