//! One vector a token, averaged: an embedding in microseconds.
//!
//! The file's sections, with V tokens and D dimensions:
//!
//! | section | type | holds |
//! |---|---|---|
//! | `vocabulary` | text | V lines |
//! | `vectors` | i8 V·D | token vectors, with the token's weight already in them |
//! | `scales` | f32 V | one step a token |

use crate::backend::{Backend, Batch, ModelInfo, ModelKind};
use crate::error::InferenceError;
use crate::file::{File, Section};
use crate::kernels::normalise::unit;
use crate::tokenizer::{Encoded, Tokenizer, Workspace};

/// Bounds of a shape that is believed.
const DIMENSIONS_MAX: usize = 1024;
const VOCABULARY_MAX: usize = 1 << 18;
/// Tokens of a text that are averaged; the rest is left out.
const TOKENS_MAX: usize = 512;

/// A loaded table of token vectors.
pub struct StaticModel {
    file: File,
    vectors: Section,
    scales: Section,
    tokenizer: Tokenizer,
    info: ModelInfo,
}

impl StaticModel {
    /// Makes a checked file into a model.
    pub fn open(file: File) -> Result<Self, InferenceError> {
        let dimensions = file.number("dimensions", DIMENSIONS_MAX)?;
        let vocabulary_size = file.number("vocabulary", VOCABULARY_MAX)?;
        let tokenizer = Tokenizer::from_vocabulary(file.text("vocabulary")?)?;
        if tokenizer.vocabulary_size() != vocabulary_size {
            return Err(InferenceError::ModelCorrupt("the vocabulary has another size than the metadata says"));
        }
        let vectors = file.section("vectors", vocabulary_size * dimensions, 1)?;
        let scales = file.section("scales", vocabulary_size, 4)?;
        let name = file.metadata("name")?.to_owned();
        let info = ModelInfo { name, kind: ModelKind::Static, dimensions, tokens_max: TOKENS_MAX, vocabulary_size };
        Ok(Self { file, vectors, scales, tokenizer, info })
    }

    /// Adds up the vectors of `ids`; a text without a token is "unknown".
    fn average(&self, ids: &[u32], out: &mut [f32]) {
        let (vectors, scales) = (self.file.i8s(self.vectors), self.file.f32s(self.scales));
        let unknown = [self.tokenizer.unknown()];
        let ids = if ids.is_empty() { &unknown } else { ids };
        out.fill(0.0);
        for &id in ids {
            let scale = scales[id as usize];
            let vector = &vectors[id as usize * out.len()..][..out.len()];
            out.iter_mut().zip(vector).for_each(|(sum, &step)| *sum += f32::from(step) * scale);
        }
        unit(out);
    }
}

impl Backend for StaticModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>, work: &mut Workspace) -> Encoded {
        self.tokenizer.encode_plain(text, TOKENS_MAX, ids, work)
    }

    fn frame(&self, tokens: &[u32], ids: &mut Vec<u32>) -> Result<Encoded, InferenceError> {
        let framed = self.tokenizer.frame(tokens, TOKENS_MAX + 2, ids)?;
        // A frame has an opening and a closing token, which this model does without.
        ids.pop();
        ids.remove(ids.len() + 1 - framed.tokens);
        Ok(Encoded { tokens: framed.tokens - 2, truncated: framed.truncated })
    }

    fn embed(&mut self, batch: &Batch, out: &mut [f32]) {
        for (ids, out) in batch.sequences().zip(out.chunks_exact_mut(self.info.dimensions)) {
            self.average(ids, out);
        }
    }
}
