//! The file's tensors on the device.

use super::matrix::{self, Matrix};
use crate::fault::while_loading;
use candle_core::{Device, Result, Tensor};
use engine_core::EngineError;
use llm::gguf::{ElementType, Gguf, TensorData, fault};
use llm::shape::Shape;
use std::collections::BTreeSet;

/// What candle reads of a tensor begins at a multiple of this in memory.
const ALIGNMENT: usize = 4;

/// The weights of a layer.
pub struct Layer {
    /// Of the normalisation before attention.
    pub attention_norm: Tensor,
    /// Queries of a row.
    pub query: Matrix,
    /// Keys of a row.
    pub key: Matrix,
    /// Values of a row.
    pub value: Matrix,
    /// From the heads back to the width.
    pub output: Matrix,
    /// Of the normalisation before the feed-forward network.
    pub feed_norm: Tensor,
    /// What opens and closes the network.
    pub gate: Matrix,
    /// What passes where it is open.
    pub up: Matrix,
    /// Back to the width.
    pub down: Matrix,
}

/// A model's weights.
pub struct Weights {
    /// The first first.
    pub layers: Vec<Layer>,
    /// A row a token.
    pub embedding: Matrix,
    /// Of the normalisation after the last layer.
    pub output_norm: Tensor,
    /// What gives the logits; the embedding itself where the file has no other.
    pub output: Matrix,
    /// A row a position, a column a pair of a head.
    turns: Turns,
    bytes: u64,
}

/// Cosines and sines of some positions, a row each.
pub struct Turns {
    pub cosines: Tensor,
    pub sines: Tensor,
}

impl Weights {
    /// Reads all weights, for up to `context` positions.
    pub fn read(
        file: &Gguf,
        lengths: &Shape,
        context: usize,
        device: &Device,
    ) -> std::result::Result<Self, EngineError> {
        let mut reader = Reader { file, device, known: BTreeSet::new(), bytes: 0 };
        let (width, vocabulary) = (lengths.width, lengths.vocabulary);
        let divisors = reader.optional_floats("rope_freqs.weight", lengths.rotated / 2)?;
        let turns = Turns::new(&lengths.turns(context, divisors.as_deref()), lengths, device).map_err(while_loading)?;
        reader.bytes += 4 * (context * lengths.head_width) as u64;
        let embedding = reader.matrix("token_embd.weight", width, vocabulary)?;
        let output = match file.optional_tensor("output.weight") {
            None => embedding.clone(),
            Some(_) => reader.matrix("output.weight", width, vocabulary)?,
        };
        let weights = Self {
            layers: (0..lengths.layers)
                .map(|layer| reader.layer(layer, lengths))
                .collect::<std::result::Result<_, _>>()?,
            embedding,
            output_norm: reader.vector("output_norm.weight", width)?,
            output,
            turns,
            bytes: reader.bytes,
        };
        reader.check_all_known()?;
        file.release_pages();
        Ok(weights)
    }

    /// Bytes held on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Those of the rows at `positions`.
    pub fn turns(&self, positions: &Tensor) -> Result<Turns> {
        Ok(Turns {
            cosines: self.turns.cosines.index_select(positions, 0)?,
            sines: self.turns.sines.index_select(positions, 0)?,
        })
    }
}

impl Turns {
    /// From cosine and sine of each pair, side by side.
    fn new(pairs: &[f32], lengths: &Shape, device: &Device) -> Result<Self> {
        let columns = lengths.head_width / 2;
        let table = |offset: usize| {
            let values: Vec<f32> = pairs.iter().skip(offset).step_by(2).copied().collect();
            Tensor::from_vec(values, (pairs.len() / lengths.head_width, columns), device)
        };
        Ok(Self { cosines: table(0)?, sines: table(1)? })
    }
}

/// Reads tensors by name and remembers which.
struct Reader<'file> {
    file: &'file Gguf,
    device: &'file Device,
    known: BTreeSet<String>,
    bytes: u64,
}

impl<'file> Reader<'file> {
    fn tensor(&mut self, name: &str, dimensions: &[usize]) -> std::result::Result<TensorData<'file>, EngineError> {
        let tensor = self.file.tensor(name)?;
        if tensor.place.dimensions != dimensions {
            let found = &tensor.place.dimensions;
            return Err(fault(format!("has a tensor \"{name}\" of {found:?} elements where {dimensions:?} are due.")));
        }
        if !tensor.data.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return Err(fault(format!("has a tensor \"{name}\" that is not aligned to {ALIGNMENT} bytes.")));
        }
        self.known.insert(name.to_owned());
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, columns: usize, rows: usize) -> std::result::Result<Matrix, EngineError> {
        let tensor = self.tensor(name, &[columns, rows])?;
        let matrix = Matrix::new(tensor, rows, columns, self.device).map_err(while_loading)?;
        self.bytes += matrix.bytes();
        Ok(matrix)
    }

    fn vector(&mut self, name: &str, length: usize) -> std::result::Result<Tensor, EngineError> {
        let floats = self.floats(name, length)?;
        self.bytes += 4 * length as u64;
        Tensor::from_vec(floats, length, self.device).map_err(while_loading)
    }

    fn floats(&mut self, name: &str, length: usize) -> std::result::Result<Vec<f32>, EngineError> {
        let tensor = self.tensor(name, &[length])?;
        let element_type = tensor.place.element_type;
        if !matches!(element_type, ElementType::F32 | ElementType::F16 | ElementType::Bf16) {
            return Err(fault(format!("has a vector \"{name}\" as {element_type:?}, where floats are due.")));
        }
        matrix::floats(tensor, length).map_err(while_loading)
    }

    fn optional_floats(&mut self, name: &str, length: usize) -> std::result::Result<Option<Vec<f32>>, EngineError> {
        let found = self.file.optional_tensor(name).is_some();
        found.then(|| self.floats(name, length)).transpose()
    }

    fn layer(&mut self, layer: usize, lengths: &Shape) -> std::result::Result<Layer, EngineError> {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (width, queries, keys, hidden) =
            (lengths.width, lengths.query_width(), lengths.key_width(), lengths.hidden);
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm"), width)?,
            query: self.matrix(&name("attn_q"), width, queries)?,
            key: self.matrix(&name("attn_k"), width, keys)?,
            value: self.matrix(&name("attn_v"), width, keys)?,
            output: self.matrix(&name("attn_output"), queries, width)?,
            feed_norm: self.vector(&name("ffn_norm"), width)?,
            gate: self.matrix(&name("ffn_gate"), width, hidden)?,
            up: self.matrix(&name("ffn_up"), width, hidden)?,
            down: self.matrix(&name("ffn_down"), hidden, width)?,
        })
    }

    /// A tensor that is not used would be a model that is computed wrongly.
    fn check_all_known(&self) -> std::result::Result<(), EngineError> {
        match self.file.tensors().find(|(name, _)| !self.known.contains(*name)) {
            None => Ok(()),
            Some((name, _)) => {
                Err(fault(format!("has a tensor \"{name}\", which llama models as computed here lack.")))
            }
        }
    }
}
