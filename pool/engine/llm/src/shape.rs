//! What a llama-architecture model's file says of its lengths and of the angles by which positions turn heads; the same
//! whoever computes the model.

use crate::gguf::{Gguf, fault};
use engine_core::EngineError;

/// Lengths of rows are multiples of this: the columns that share a scale in the smallest blocks.
pub const BLOCK: usize = 32;

/// Lengths of the model's parts, checked against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Layers.
    pub layers: usize,
    /// Floats of a token between layers.
    pub width: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / key_heads` heads of queries.
    pub key_heads: usize,
    /// Floats of a head.
    pub head_width: usize,
    /// Floats in the middle of a feed-forward network.
    pub hidden: usize,
    /// Tokens known.
    pub vocabulary: usize,
    /// Tokens of context that the model was made for.
    pub context: usize,
    /// Added to the mean of squares before its root is taken.
    pub epsilon: f32,
    /// Floats of a head that are turned by position.
    pub rotated: usize,
    /// The base of the angles.
    pub frequency_base: f32,
    /// What positions are divided by.
    pub position_divisor: f32,
}

/// Bounds of the lengths: far above any model that a CPU serves, and low enough that no product of three overflows.
const LENGTH_MAX: usize = 1 << 20;

impl Shape {
    /// What the file says.
    ///
    /// # Errors
    /// `ModelNotReady` where the file is of another architecture, lacks a length, or has lengths that do not fit.
    pub fn read(file: &Gguf) -> Result<Self, EngineError> {
        let metadata = file.metadata();
        let architecture = metadata.text("general.architecture")?;
        if architecture != "llama" {
            return Err(fault(format!("is of a \"{architecture}\" model; computed are \"llama\" models.")));
        }
        let length = |key: &str| {
            let length = metadata.size(key)?;
            let fits = (1..=LENGTH_MAX).contains(&length);
            fits.then_some(length).ok_or_else(|| fault(format!("says {length} for \"{key}\".")))
        };
        let width = length("llama.embedding_length")?;
        let heads = length("llama.attention.head_count")?;
        let head_width = metadata.optional_size("llama.attention.key_length")?.unwrap_or(width / heads);
        let shape = Self {
            layers: length("llama.block_count")?,
            width,
            heads,
            key_heads: metadata.optional_size("llama.attention.head_count_kv")?.unwrap_or(heads),
            head_width,
            hidden: length("llama.feed_forward_length")?,
            vocabulary: vocabulary(file)?,
            context: length("llama.context_length")?,
            epsilon: metadata.number("llama.attention.layer_norm_rms_epsilon")? as f32,
            rotated: metadata.optional_size("llama.rope.dimension_count")?.unwrap_or(head_width),
            frequency_base: metadata.optional_number("llama.rope.freq_base")?.unwrap_or(10_000.0) as f32,
            position_divisor: position_divisor(file)?,
        };
        shape.check(metadata.optional_size("llama.attention.value_length")?.unwrap_or(head_width))?;
        Ok(shape)
    }

    fn check(&self, value_width: usize) -> Result<(), EngineError> {
        let whole_blocks = [self.width, self.head_width, self.hidden].iter().all(|length| length.is_multiple_of(BLOCK));
        let heads_fit = (1..=self.heads).contains(&self.key_heads)
            && self.heads.is_multiple_of(self.key_heads)
            && (1..=1024).contains(&self.head_width)
            && value_width == self.head_width;
        let turns_fit = self.rotated.is_multiple_of(2) && self.rotated <= self.head_width;
        let numbers = [self.epsilon, self.frequency_base, self.position_divisor];
        let numbers_fit = numbers.iter().all(|number| number.is_finite() && *number > 0.0);
        if whole_blocks && heads_fit && turns_fit && numbers_fit && self.layers <= 1024 {
            return Ok(());
        }
        Err(fault(format!("has lengths that do not fit each other, or are no multiples of {BLOCK}: {self:?}.")))
    }

    /// Floats of the queries of a token.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Floats of the keys, or values, of a token in one layer.
    pub fn key_width(&self) -> usize {
        self.key_heads * self.head_width
    }

    /// Cosine and sine of each pair of a head at each of `context` positions, `head_width` floats a position. Angles are
    /// computed as llama.cpp does, each from the one before, so that both round alike. `frequency_divisors` is the file's
    /// `rope_freqs.weight`, one a pair.
    pub fn turns(&self, context: usize, frequency_divisors: Option<&[f32]>) -> Vec<f32> {
        let ratio = self.frequency_base.powf(-2.0 / self.rotated as f32);
        let mut turns = vec![0.0; context * self.head_width];
        for (position, turns) in turns.chunks_exact_mut(self.head_width).enumerate() {
            let mut angle = position as f32;
            for (pair, turn) in turns.chunks_exact_mut(2).enumerate() {
                let divisor = frequency_divisors.map_or(1.0, |divisors| divisors.get(pair).copied().unwrap_or(1.0));
                let turned = if 2 * pair < self.rotated { angle / divisor / self.position_divisor } else { 0.0 };
                turn.copy_from_slice(&[turned.cos(), turned.sin()]);
                angle *= ratio;
            }
        }
        turns
    }
}

fn vocabulary(file: &Gguf) -> Result<usize, EngineError> {
    let rows = file.tensor("token_embd.weight")?.place.dimensions.get(1).copied().unwrap_or(0);
    let fits = (1..=LENGTH_MAX).contains(&rows);
    fits.then_some(rows).ok_or_else(|| fault(format!("has a vocabulary of {rows} tokens.")))
}

fn position_divisor(file: &Gguf) -> Result<f32, EngineError> {
    let metadata = file.metadata();
    match metadata.optional_text("llama.rope.scaling.type")? {
        None | Some("none") => Ok(1.0),
        Some("linear") => Ok(metadata.optional_number("llama.rope.scaling.factor")?.unwrap_or(1.0) as f32),
        Some(other) => Err(fault(format!("stretches positions by \"{other}\", which is not computed."))),
    }
}
