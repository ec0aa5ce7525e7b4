//! The weights of a llama-architecture model in the kernels' order.

use super::weights::{Arena, Kind, Weights, read_floats};
use crate::gguf::{ElementType, Gguf, TensorData, TensorPlace, fault};
use crate::shape::Shape;
use engine_core::EngineError;
use std::collections::BTreeSet;

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
            turns: shape.turns(context, frequencies.as_deref()),
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
        let element_type = tensor.place.element_type;
        if Kind::of(element_type).is_none() {
            return Err(fault(format!(
                "stores \"{name}\" as {element_type:?}, which the backend \"candle\" computes."
            )));
        }
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
