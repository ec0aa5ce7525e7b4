//! A llama-architecture model: its shape, and its weights in the kernels' order.

use super::weights::{Arena, BLOCK, Weights, read_floats};
use crate::gguf::{ElementType, Gguf, TensorData, TensorPlace, fault};
use engine_core::EngineError;
use std::collections::BTreeSet;

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
    rotated: usize,
    /// The base of the angles.
    frequency_base: f32,
    /// What positions are divided by.
    position_divisor: f32,
}

/// Bounds of the lengths: far above any model that a CPU serves, and low enough that no product of three overflows.
const LENGTH_MAX: usize = 1 << 20;

impl Shape {
    fn read(file: &Gguf) -> Result<Self, EngineError> {
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

/// The weights of a layer.
#[derive(Debug)]
pub struct Layer {
    /// Of the normalisation before attention.
    pub attention_norm: Vec<f32>,
    /// Queries, keys and values.
    pub projections: [Weights; 3],
    /// From the heads back to the width.
    pub output: Weights,
    /// Of the normalisation before the feed-forward network.
    pub feed_norm: Vec<f32>,
    /// What opens and closes the network.
    pub gate: Weights,
    /// What passes where it is open.
    pub up: Weights,
    /// Back to the width.
    pub down: Weights,
}

/// A model in memory.
#[derive(Debug)]
pub struct Model {
    /// Its lengths.
    pub shape: Shape,
    /// Its layers, the first first.
    pub layers: Vec<Layer>,
    /// A row a token.
    pub embedding: Weights,
    /// Of the normalisation after the last layer.
    pub output_norm: Vec<f32>,
    /// A row a token, where it is not the embedding.
    pub output: Option<Weights>,
    /// Cosine and sine of each pair of a head at each position, `head_width` floats a position.
    pub turns: Vec<f32>,
}

impl Model {
    /// Reads all weights, for up to `context` positions.
    pub fn read(file: &Gguf, context: usize) -> Result<Self, EngineError> {
        let shape = Shape::read(file)?;
        let context = context.min(shape.context);
        let mut reader = Reader { file, known: BTreeSet::new(), arena: Arena::new(matrix_bytes(file))? };
        let (width, vocabulary) = (shape.width, shape.vocabulary);
        let frequencies = reader.optional_vector("rope_freqs.weight", shape.rotated / 2)?;
        let has_output = file.optional_tensor("output.weight").is_some();
        let model = Self {
            layers: (0..shape.layers).map(|layer| reader.layer(layer, &shape)).collect::<Result<_, _>>()?,
            embedding: reader.matrix("token_embd.weight", width, vocabulary)?,
            output_norm: reader.vector("output_norm.weight", width)?,
            output: has_output.then(|| reader.matrix("output.weight", width, vocabulary)).transpose()?,
            turns: turns(&shape, context, frequencies.as_deref()),
            shape: Shape { context, ..shape },
        };
        reader.check_all_known()?;
        file.release_pages();
        Ok(model)
    }

    /// The matrix that gives the logits.
    pub fn logits(&self) -> &Weights {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// All matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &Weights> {
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| layer.projections.iter().chain([&layer.output, &layer.gate, &layer.up, &layer.down]));
        layers.chain([&self.embedding]).chain(&self.output)
    }
}

/// Angles as llama.cpp computes them, each from the one before, so that both round alike.
fn turns(shape: &Shape, context: usize, frequency_divisors: Option<&[f32]>) -> Vec<f32> {
    let ratio = shape.frequency_base.powf(-2.0 / shape.rotated as f32);
    let mut turns = vec![0.0; context * shape.head_width];
    for (position, turns) in turns.chunks_exact_mut(shape.head_width).enumerate() {
        let mut angle = position as f32;
        for (pair, turn) in turns.chunks_exact_mut(2).enumerate() {
            let divisor = frequency_divisors.map_or(1.0, |divisors| divisors.get(pair).copied().unwrap_or(1.0));
            let turned = if 2 * pair < shape.rotated { angle / divisor / shape.position_divisor } else { 0.0 };
            turn.copy_from_slice(&[turned.cos(), turned.sin()]);
            angle *= ratio;
        }
    }
    turns
}

/// Bytes that all matrices of the file take in the kernels' order.
fn matrix_bytes(file: &Gguf) -> usize {
    let bytes = |(_, place): (&str, &TensorPlace)| match place.dimensions[..] {
        [columns, rows] => Weights::bytes_of(place.element_type, columns, rows),
        _ => 0,
    };
    file.tensors().map(bytes).sum()
}

/// Reads tensors by name and remembers which.
struct Reader<'file> {
    file: &'file Gguf,
    known: BTreeSet<String>,
    arena: Arena,
}

impl<'file> Reader<'file> {
    fn tensor(&mut self, name: &str, dimensions: &[usize]) -> Result<TensorData<'file>, EngineError> {
        let tensor = self.file.tensor(name)?;
        if tensor.place.dimensions != dimensions {
            let found = &tensor.place.dimensions;
            return Err(fault(format!("has a tensor \"{name}\" of {found:?} elements where {dimensions:?} are due.")));
        }
        self.known.insert(name.to_owned());
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> Result<Weights, EngineError> {
        let tensor = self.tensor(name, &[columns, rows])?;
        Ok(self.arena.pack(tensor, columns, rows))
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, EngineError> {
        let tensor = self.tensor(name, &[length])?;
        let element_type = tensor.place.element_type;
        if !matches!(element_type, ElementType::F32 | ElementType::F16 | ElementType::Bf16) {
            return Err(fault(format!("has a vector \"{name}\" as {element_type:?}, where floats are due.")));
        }
        let bytes = tensor.data.chunks_exact(element_type.block_bytes());
        Ok(bytes.map(|bytes| read_floats::<1>(element_type, bytes)[0]).collect())
    }

    fn optional_vector(&mut self, name: &str, length: usize) -> Result<Option<Vec<f32>>, EngineError> {
        let found = self.file.optional_tensor(name).is_some();
        found.then(|| self.vector(name, length)).transpose()
    }

    fn layer(&mut self, layer: usize, shape: &Shape) -> Result<Layer, EngineError> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (width, queries, keys, hidden) = (shape.width, shape.query_width(), shape.key_width(), shape.hidden);
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm"), width)?,
            projections: [
                self.matrix(&name("attn_q"), width, queries)?,
                self.matrix(&name("attn_k"), width, keys)?,
                self.matrix(&name("attn_v"), width, keys)?,
            ],
            output: self.matrix(&name("attn_output"), queries, width)?,
            feed_norm: self.vector(&name("ffn_norm"), width)?,
            gate: self.matrix(&name("ffn_gate"), width, hidden)?,
            up: self.matrix(&name("ffn_up"), width, hidden)?,
            down: self.matrix(&name("ffn_down"), hidden, width)?,
        })
    }

    /// A tensor that is not used would be a model that is computed wrongly.
    fn check_all_known(&self) -> Result<(), EngineError> {
        match self.file.tensors().find(|(name, _)| !self.known.contains(*name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(fault(format!("has a tensor \"{name}\", which llama models as computed here lack.")))
            }
        }
    }
}
