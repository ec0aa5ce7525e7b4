//! The seam that every kind of model stands behind. A new kind (ONNX, classic models) is a module with a [`Backend`] and
//! one more line in [`open`].

use crate::bert::Bert;
use crate::error::InferenceError;
use crate::file::File;
use crate::static_model::StaticModel;
use crate::tokenizer::{Encoded, Tokenizer, Workspace};

/// Inputs of one call, at most.
pub const INPUTS_MAX: usize = 2048;

/// The kinds of model, by the number in the file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A transformer encoder.
    Bert = 1,
    /// One vector a token.
    Static = 2,
}

/// What a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name, such as `all-minilm-l6-v2`.
    pub name: String,
    /// Its kind.
    pub kind: ModelKind,
    /// Floats an embedding.
    pub dimensions: usize,
    /// Tokens a text may have, special ones included; longer texts are cut.
    pub tokens_max: usize,
    /// Token ids are below this.
    pub vocabulary_size: usize,
}

/// Texts as token ids, one after the other.
#[derive(Default)]
pub struct Batch {
    ids: Vec<u32>,
    encoded: Vec<Encoded>,
}

impl Batch {
    /// The texts' ids in turn.
    pub fn sequences(&self) -> impl Iterator<Item = &[u32]> {
        let mut rest = self.ids.as_slice();
        self.encoded.iter().map(move |encoded| {
            let (sequence, after) = rest.split_at(encoded.tokens);
            rest = after;
            sequence
        })
    }

    /// What became of each text.
    pub fn encoded(&self) -> &[Encoded] {
        &self.encoded
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.encoded.clear();
    }
}

/// A loaded model with its working memory.
pub trait Backend {
    /// What it is.
    fn info(&self) -> &ModelInfo;

    /// What cuts its texts into tokens.
    fn tokenizer(&self) -> &Tokenizer;

    /// Cuts a text into tokens as this model wants them, at most `tokens_max` of [`ModelInfo`].
    fn encode(&self, text: &str, ids: &mut Vec<u32>, work: &mut Workspace) -> Encoded;

    /// Fits a caller's token ids to this model.
    fn frame(&self, tokens: &[u32], ids: &mut Vec<u32>) -> Result<Encoded, InferenceError>;

    /// Writes one embedding of length 1 for each sequence into its row of `out`. Memory is kept for the next call.
    fn embed(&mut self, batch: &Batch, out: &mut [f32]);
}

/// Makes a checked file into a model.
pub fn open(file: File) -> Result<Box<dyn Backend>, InferenceError> {
    match file.kind() {
        kind if kind == ModelKind::Bert as u32 => Ok(Box::new(Bert::open(file)?)),
        kind if kind == ModelKind::Static as u32 => Ok(Box::new(StaticModel::open(file)?)),
        _ => Err(InferenceError::ModelUnsupported("another kind of model")),
    }
}

/// Embeddings of one call, and what became of each text.
#[derive(Default)]
pub struct Embeddings {
    /// One row after the other.
    pub vectors: Vec<f32>,
    /// Each text's tokens, special ones included, after truncation.
    pub token_counts: Vec<u32>,
    /// 1 where a text was cut, else 0.
    pub truncated: Vec<u8>,
}

/// A model and the memory that its calls share.
pub struct Embedder {
    backend: Box<dyn Backend>,
    batch: Batch,
    work: Workspace,
}

impl Embedder {
    /// Wraps a model.
    pub fn new(backend: Box<dyn Backend>) -> Self {
        Self { backend, batch: Batch::default(), work: Workspace::default() }
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        self.backend.info()
    }

    /// Embeds texts. None may be empty, and there is at least one.
    pub fn embed<Text: AsRef<str>>(&mut self, texts: &[Text]) -> Result<Embeddings, InferenceError> {
        check_count(texts.len())?;
        self.batch.clear();
        for text in texts {
            if text.as_ref().is_empty() {
                return Err(InferenceError::InputEmpty);
            }
            let encoded = self.backend.encode(text.as_ref(), &mut self.batch.ids, &mut self.work);
            self.batch.encoded.push(encoded);
        }
        Ok(self.run())
    }

    /// Embeds a caller's tokens: `lengths` cuts `ids` into sequences, of which none may be empty.
    pub fn embed_tokens(&mut self, ids: &[u32], lengths: &[u32]) -> Result<Embeddings, InferenceError> {
        check_count(lengths.len())?;
        self.batch.clear();
        let mut rest = ids;
        for &length in lengths {
            let (sequence, after) = rest
                .split_at_checked(length as usize)
                .ok_or(InferenceError::LengthMismatch("the lengths add up to more ids than there are"))?;
            if sequence.is_empty() {
                return Err(InferenceError::InputEmpty);
            }
            let encoded = self.backend.frame(sequence, &mut self.batch.ids)?;
            self.batch.encoded.push(encoded);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(InferenceError::LengthMismatch("the lengths add up to fewer ids than there are"));
        }
        Ok(self.run())
    }

    /// The ids that [`Self::embed`] would use for `text`.
    pub fn tokenize(&mut self, text: &str) -> &[u32] {
        self.batch.clear();
        self.backend.encode(text, &mut self.batch.ids, &mut self.work);
        &self.batch.ids
    }

    fn run(&mut self) -> Embeddings {
        let encoded = self.batch.encoded();
        let mut vectors = vec![0.0; encoded.len() * self.backend.info().dimensions];
        self.backend.embed(&self.batch, &mut vectors);
        Embeddings {
            vectors,
            token_counts: encoded.iter().map(|encoded| encoded.tokens as u32).collect(),
            truncated: encoded.iter().map(|encoded| u8::from(encoded.truncated)).collect(),
        }
    }
}

fn check_count(inputs: usize) -> Result<(), InferenceError> {
    match inputs {
        0 => Err(InferenceError::InputEmpty),
        1..=INPUTS_MAX => Ok(()),
        _ => Err(InferenceError::InputTooMany { inputs, inputs_max: INPUTS_MAX }),
    }
}
