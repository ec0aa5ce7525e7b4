//! MiniLM from its files.

use crate::calibration::{self, Observed};
use crate::encoder::{Arena, Encode, ROWS_MAX, choose};
use crate::quantise;
use crate::sentences::{Encoder, Lengths, SentenceModel, unready};
use crate::weights::{HEAD, PANEL, Weights};
use engine_core::EngineError;
use inference::InferenceError;
use inference::backend::ModelKind;
use inference::file::{Buffer, File};
use inference::quantise::{Shape, read_vocabulary};
use inference::safetensors::Safetensors;
use inference::tokenizer::{Tokenizer, Workspace};
use lanes::Instructions;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The backend that serves this model, by its name in manifests.
const BACKEND: &str = "native";
/// Bytes of a file of float weights or of a tokenizer, at most.
const SOURCE_BYTES_MAX: u64 = 1 << 30;

/// A loaded encoder.
pub type MiniLm = SentenceModel<IntegerEncoder>;

/// The weights, and the path that computes them on this processor.
pub struct IntegerEncoder {
    weights: Weights,
    encode: Encode,
    /// Working memory that no call uses now.
    idle: Mutex<Vec<Arena>>,
    idle_max: usize,
}

impl MiniLm {
    /// Opens a `.tlm` file. Memory of as many calls as there are `threads` is kept for later ones.
    ///
    /// # Errors
    /// `ModelNotReady` where the file cannot be read or holds no encoder.
    pub fn open(path: &Path, threads: usize) -> Result<Self, EngineError> {
        let bytes = std::fs::read(path).map_err(|error| unready(format!("The model file cannot be read: {error}")))?;
        Self::from_bytes(&bytes, threads, &lanes::available())
    }

    /// Makes a model of a `.tlm` file's bytes, computed with the last of `instructions` that this processor has.
    ///
    /// # Errors
    /// As [`MiniLm::open`].
    pub fn from_bytes(bytes: &[u8], threads: usize, instructions: &[Instructions]) -> Result<Self, EngineError> {
        let file = File::open(Buffer::from_bytes(bytes).map_err(wrong)?).map_err(wrong)?;
        if file.kind() != ModelKind::Bert as u32 {
            return Err(unready("The model file holds another kind of model than an encoder.".to_owned()));
        }
        let weights = Weights::read(&file).map_err(wrong)?;
        let encoder = IntegerEncoder::new(weights, threads, instructions);
        encoder.with_vocabulary(file.text("vocabulary").map_err(wrong)?)
    }

    /// Opens MiniLM as it is published, `model.safetensors` and `tokenizer.json`, and quantises it: closer to the float
    /// model than the `.tlm` file, in about a second.
    ///
    /// # Errors
    /// `ModelNotReady` where a file cannot be read or is not of such a model.
    pub fn open_float(weights: &Path, tokenizer: &Path, threads: usize) -> Result<Self, EngineError> {
        let tokenizer = String::from_utf8(read_source(tokenizer)?)
            .map_err(|_| unready("The tokenizer's file is not text.".to_owned()))?;
        Self::from_float(&read_source(weights)?, &tokenizer, Shape::MINILM, threads, &lanes::available())
    }

    /// Quantises a BERT of `shape`, to be computed with the last of `instructions` that this processor has.
    ///
    /// # Errors
    /// As [`MiniLm::open_float`].
    pub fn from_float(
        safetensors: &[u8],
        tokenizer_json: &str,
        shape: Shape,
        threads: usize,
        instructions: &[Instructions],
    ) -> Result<Self, EngineError> {
        let computed = shape.hidden.is_multiple_of(HEAD) && shape.intermediate.is_multiple_of(PANEL);
        if !computed || !(2..=shape.positions).contains(&shape.tokens_max) {
            return Err(unready("The model has a shape that is not computed here.".to_owned()));
        }
        let vocabulary = read_vocabulary(tokenizer_json).map_err(wrong)?;
        let source = Safetensors::open(safetensors).map_err(wrong)?;
        let (mut weights, layers) = quantise::read(&source, shape, vocabulary.len()).map_err(wrong)?;
        let vocabulary = vocabulary.join("\n") + "\n";
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary).map_err(wrong)?;
        if tokenizer.vocabulary_size() != weights.vocabulary_size {
            return Err(unready("The vocabulary has another size than the model file says.".to_owned()));
        }
        weights.layers = quantise::plain(&layers, shape.hidden, shape.intermediate);
        let mut encoder = IntegerEncoder::new(weights, threads, instructions);
        let observed = encoder.observe(&tokenizer);
        encoder.weights.layers = quantise::smoothed(layers, &observed);
        encoder.with_vocabulary(&vocabulary)
    }
}

impl IntegerEncoder {
    fn new(weights: Weights, threads: usize, instructions: &[Instructions]) -> Self {
        let usable: Vec<Instructions> =
            lanes::available().into_iter().filter(|one| instructions.contains(one)).collect();
        Self { weights, encode: choose(&usable), idle: Mutex::default(), idle_max: threads.max(1) }
    }

    fn with_vocabulary(self, vocabulary: &str) -> Result<MiniLm, EngineError> {
        let lengths = Lengths {
            dimensions: self.weights.hidden,
            tokens_max: self.weights.tokens_max,
            vocabulary_size: self.weights.vocabulary_size,
            rows_max: ROWS_MAX,
            memory_bytes: self.weights.bytes(),
        };
        MiniLm::new(BACKEND, self, lengths, vocabulary)
    }

    /// Embeds the texts of [`calibration`] and tells what the products' inputs were like.
    fn observe(&self, tokenizer: &Tokenizer) -> Observed {
        let Weights { hidden, intermediate, tokens_max, ref layers, .. } = self.weights;
        let empty = || Observed::new(layers.len(), hidden, intermediate);
        let mut arena = Arena::observing(empty());
        let mut vector = vec![0.0; hidden];
        for text in calibration::TEXTS {
            let mut ids = Vec::new();
            tokenizer.encode(text, tokens_max, &mut ids, &mut Workspace::default());
            // SAFETY: the path is one of this processor's; the tokenizer's ids are below the size of its vocabulary, which
            // the caller found to be that of these weights, and it gives from two to `tokens_max` of them.
            unsafe { (self.encode)(&self.weights, &[&ids], &mut arena, &mut vector) };
        }
        arena.observed.unwrap_or_else(empty)
    }
}

fn wrong(error: InferenceError) -> EngineError {
    unready(format!("The model cannot be loaded: {error}."))
}

fn read_source(path: &Path) -> Result<Vec<u8>, EngineError> {
    let unreadable = |error: std::io::Error| unready(format!("The file {} cannot be read: {error}", path.display()));
    if std::fs::metadata(path).map_err(unreadable)?.len() > SOURCE_BYTES_MAX {
        return Err(unready(format!("The file {} is larger than {SOURCE_BYTES_MAX} bytes.", path.display())));
    }
    std::fs::read(path).map_err(unreadable)
}

impl Encoder for IntegerEncoder {
    fn encode(&self, sequences: &[&[u32]], vectors: &mut [f32]) -> Result<(), EngineError> {
        let mut arena = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        // SAFETY: the path is one of this processor's; sequences are as the trait promises, by the lengths of these weights.
        unsafe { (self.encode)(&self.weights, sequences, &mut arena, vectors) };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.idle_max {
            idle.push(arena);
        }
        Ok(())
    }
}
