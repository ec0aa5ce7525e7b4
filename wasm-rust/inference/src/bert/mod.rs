//! A BERT encoder in int8 (MiniLM's shape) with mean pooling: the embedding of a text is the average of its tokens'
//! last states, brought to length 1.
//!
//! The file's sections, with H hidden values, I intermediate values, V tokens, T positions and layer number n:
//!
//! | section | type | holds |
//! |---|---|---|
//! | `vocabulary` | text | V lines |
//! | `words`, `words.scales` | i8 V·H, f32 V | token vectors, one scale a token |
//! | `positions` | f32 T·H | position vectors, the token type's vector added |
//! | `norm.scale`, `norm.shift` | f32 H | normalisation of the sum of both |
//! | `n.attention-input.*` | | query, key, value as one matrix, H → 3H; queries divided by √32 |
//! | `n.attention-output.*` | | H → H |
//! | `n.attention-norm.scale`, `.shift` | f32 H | |
//! | `n.expand.*` | | H → I |
//! | `n.contract.*` | | I → H |
//! | `n.output-norm.scale`, `.shift` | f32 H | |
//!
//! where `*` is `weights` (u8, packed as [`crate::kernels::matrix`] reads them), `scales`, `sums` and `bias` (f32 each).

mod forward;
mod weights;

use crate::backend::{Backend, Batch, ModelInfo, ModelKind};
use crate::error::InferenceError;
use crate::file::File;
use crate::tokenizer::{Encoded, Tokenizer, Workspace};
use forward::Arena;
use weights::Weights;

/// Rows (tokens) that go through the layers together. A batch is cut at sequences' ends so that it stays below.
const ROWS_MAX: usize = 512;

/// A loaded encoder.
pub struct Bert {
    file: File,
    weights: Weights,
    tokenizer: Tokenizer,
    info: ModelInfo,
    arena: Arena,
}

impl Bert {
    /// Makes a checked file into an encoder.
    pub fn open(file: File) -> Result<Self, InferenceError> {
        let weights = Weights::open(&file)?;
        let tokenizer = Tokenizer::from_vocabulary(file.text("vocabulary")?)?;
        if tokenizer.vocabulary_size() != weights.vocabulary_size {
            return Err(InferenceError::ModelCorrupt("the vocabulary has another size than the metadata says"));
        }
        let info = ModelInfo {
            name: file.metadata("name")?.to_owned(),
            kind: ModelKind::Bert,
            dimensions: weights.hidden,
            tokens_max: weights.tokens_max,
            vocabulary_size: weights.vocabulary_size,
        };
        Ok(Self { file, weights, tokenizer, info, arena: Arena::default() })
    }
}

impl Backend for Bert {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>, work: &mut Workspace) -> Encoded {
        self.tokenizer.encode(text, self.info.tokens_max, ids, work)
    }

    fn frame(&self, tokens: &[u32], ids: &mut Vec<u32>) -> Result<Encoded, InferenceError> {
        self.tokenizer.frame(tokens, self.info.tokens_max, ids)
    }

    fn embed(&mut self, batch: &Batch, out: &mut [f32]) {
        let mut outputs = out.chunks_exact_mut(self.info.dimensions);
        let mut group: Vec<&[u32]> = Vec::new();
        let mut rows = 0;
        for sequence in batch.sequences() {
            if rows + sequence.len() > ROWS_MAX {
                self.arena.run(&self.file, &self.weights, &group, &mut outputs);
                group.clear();
                rows = 0;
            }
            rows += sequence.len();
            group.push(sequence);
        }
        self.arena.run(&self.file, &self.weights, &group, &mut outputs);
    }
}
