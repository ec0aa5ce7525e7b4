//! BERT encoders in 32-bit floats (Devlin et al. 2019), with the mean of a text's tokens as its vector, brought to length 1
//! (Reimers and Gurevych 2019, "Sentence-BERT"). A model is two files as Hugging Face writes them: `model.safetensors` and
//! `tokenizer.json`. Padding and truncation that the tokenizer's file asks for are not done: texts of a call stand one after
//! the other, and a text is cut at [`EncoderOptions::tokens_max`].
//!
//! | module | holds |
//! |---|---|
//! | `weights` | the file's tensors on the device |
//! | `forward` | the layers |
//! | `vocabulary` | what the tokenizer's file says |

mod forward;
#[cfg(test)]
mod tests;
mod vocabulary;
mod weights;

use crate::NAME;
use crate::fault::{unready, while_computing};
use candle_core::Device;
use engine_core::EngineError;
use minilm::sentences::{Encoder, Lengths, SentenceModel, unit};
use std::path::Path;
use weights::Weights;

/// Tokens of a text where nobody says otherwise; what MiniLM's makers cut at.
const TOKENS_MAX: usize = 256;
/// Tokens that go through the layers together, unless one text has more.
const ROWS_MAX: usize = 512;
/// Bytes of a file of weights, at most; it is read into memory.
const WEIGHTS_BYTES_MAX: u64 = 16 << 30;
/// Bytes of a tokenizer's file, at most.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// How an encoder is opened.
#[derive(Debug, Clone)]
pub struct EncoderOptions {
    /// Where it is computed.
    pub device: Device,
    /// Heads of attention; none: one for each 32 floats of a vector.
    pub heads: Option<usize>,
    /// Tokens of a text, special ones included; none: 256, or what the file has positions for.
    pub tokens_max: Option<usize>,
}

/// An encoder on its device.
pub struct FloatEncoder {
    weights: Weights,
}

/// Opens the encoder in `weights` with the tokenizer in `tokenizer`.
///
/// # Errors
/// `ModelNotReady` where a file cannot be read or is not of such a model, or an option does not fit it.
pub fn open(
    weights: &Path,
    tokenizer: &Path,
    options: &EncoderOptions,
) -> Result<SentenceModel<FloatEncoder>, EngineError> {
    let vocabulary = vocabulary::read(&bytes_of(tokenizer, TOKENIZER_BYTES_MAX)?)?;
    let weights = Weights::read(&bytes_of(weights, WEIGHTS_BYTES_MAX)?, options)?;
    let positions = weights.positions();
    let tokens_max = options.tokens_max.unwrap_or(TOKENS_MAX.min(positions));
    if tokens_max > positions {
        return Err(unready(format!("The setting tokens_max is {tokens_max}; the model has {positions} positions.")));
    }
    let lengths = Lengths {
        dimensions: weights.width(),
        tokens_max,
        vocabulary_size: weights.vocabulary_size(),
        rows_max: ROWS_MAX,
        memory_bytes: weights.bytes(),
    };
    SentenceModel::new(NAME, FloatEncoder { weights }, lengths, &vocabulary)
}

fn bytes_of(path: &Path, bytes_max: u64) -> Result<Vec<u8>, EngineError> {
    let name = || path.file_name().unwrap_or_default().display();
    let unreadable = |error: std::io::Error| unready(format!("The file {} cannot be read: {error}", name()));
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > bytes_max {
        return Err(unready(format!("The file {} has {bytes} bytes, more than {bytes_max}.", name())));
    }
    std::fs::read(path).map_err(unreadable)
}

impl Encoder for FloatEncoder {
    fn encode(&self, sequences: &[&[u32]], vectors: &mut [f32]) -> Result<(), EngineError> {
        let means = forward::means(&self.weights, sequences).map_err(while_computing)?;
        vectors.copy_from_slice(&means);
        vectors.chunks_exact_mut(self.weights.width()).for_each(unit);
        Ok(())
    }
}
