//! The file's tensors on the device.

use super::EncoderOptions;
use crate::fault::{unready, while_loading};
use candle_core::safetensors::{Load, SliceSafetensors};
use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::ops::layer_norm;
use engine_core::EngineError;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// Layers, at most.
const LAYERS_MAX: usize = 256;
/// Floats of a head where nobody says otherwise; MiniLM's.
const HEAD_WIDTH: usize = 32;
/// Added to the variance before its root is taken.
const EPSILON: f32 = 1e-12;
/// What a file may have and an embedding does not need.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"];

/// A matrix of `[outputs, inputs]`, and what is added to its product.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Module for Linear {
    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

/// Brings rows to mean and variance of its own (Ba et al. 2016, "Layer Normalization").
pub struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Module for Norm {
    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        layer_norm(rows, &self.weight, &self.bias, EPSILON)
    }
}

/// The weights of a layer.
pub struct Layer {
    /// Queries, keys and values, one after the other.
    pub projections: Linear,
    /// From the heads back to the width.
    pub output: Linear,
    /// After attention.
    pub attention_norm: Norm,
    /// To the middle of the feed-forward network.
    pub widen: Linear,
    /// Back to the width.
    pub narrow: Linear,
    /// After the network.
    pub feed_norm: Norm,
}

/// An encoder's weights.
pub struct Weights {
    /// A row a token.
    pub tokens: Tensor,
    /// A row a position, with what marks the first segment added.
    pub places: Tensor,
    /// After the embedding.
    pub norm: Norm,
    /// The first first.
    pub layers: Vec<Layer>,
    /// Heads of attention.
    pub heads: usize,
    bytes: u64,
}

impl Weights {
    /// Reads all weights from a safetensors file.
    pub fn read(file: &[u8], options: &EncoderOptions) -> std::result::Result<Self, EngineError> {
        let file = SliceSafetensors::new(file).map_err(while_loading)?;
        let reader = Reader { file, device: &options.device, known: RefCell::default(), bytes: Cell::new(0) };
        let [vocabulary, width] = reader.matrix_lengths("embeddings.word_embeddings.weight")?;
        let [positions, _] = reader.matrix_lengths("embeddings.position_embeddings.weight")?;
        let [segments, _] = reader.matrix_lengths("embeddings.token_type_embeddings.weight")?;
        let heads = options.heads.unwrap_or(width / HEAD_WIDTH);
        if heads == 0 || width == 0 || !width.is_multiple_of(heads) || positions < 2 || segments == 0 {
            return Err(unready(format!("A width of {width}, {heads} heads and {positions} positions do not fit.")));
        }
        let places = reader.tensor("embeddings.position_embeddings.weight", &[positions, width])?;
        let segments = reader.tensor("embeddings.token_type_embeddings.weight", &[segments, width])?;
        let places = segments.get(0).and_then(|first| places.broadcast_add(&first)).map_err(while_loading)?;
        let count =
            (0..LAYERS_MAX).take_while(|layer| reader.has(&part(*layer, "attention.self.query.weight"))).count();
        let weights = Self {
            tokens: reader.tensor("embeddings.word_embeddings.weight", &[vocabulary, width])?,
            places,
            norm: reader.norm("embeddings.LayerNorm", width)?,
            layers: (0..count).map(|layer| reader.layer(layer, width)).collect::<std::result::Result<_, _>>()?,
            heads,
            bytes: reader.bytes.get(),
        };
        reader.check_all_known()?;
        Ok(weights)
    }

    /// Floats of a vector.
    pub fn width(&self) -> usize {
        self.tokens.dims()[1]
    }

    /// Tokens known.
    pub fn vocabulary_size(&self) -> usize {
        self.tokens.dims()[0]
    }

    /// Tokens that a text can have.
    pub fn positions(&self) -> usize {
        self.places.dims()[0]
    }

    /// Bytes held on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn part(layer: usize, name: &str) -> String {
    format!("encoder.layer.{layer}.{name}")
}

/// Reads tensors by name and remembers which.
struct Reader<'file> {
    file: SliceSafetensors<'file>,
    device: &'file Device,
    known: RefCell<BTreeSet<String>>,
    bytes: Cell<u64>,
}

impl Reader<'_> {
    fn has(&self, name: &str) -> bool {
        self.file.get(name).is_ok()
    }

    fn matrix_lengths(&self, name: &str) -> std::result::Result<[usize; 2], EngineError> {
        let tensor = self.file.get(name).map_err(|_| lacks(name))?;
        tensor.shape().try_into().map_err(|_| unready(format!("The tensor \"{name}\" is no matrix.")))
    }

    /// A tensor of that shape, as 32-bit floats.
    fn tensor(&self, name: &str, shape: &[usize]) -> std::result::Result<Tensor, EngineError> {
        let found = self.file.get(name).map_err(|_| lacks(name))?;
        if found.shape() != shape {
            let found = found.shape();
            return Err(unready(format!("The tensor \"{name}\" has the shape {found:?} where {shape:?} is due.")));
        }
        let tensor = found.load(self.device).map_err(while_loading)?;
        if !tensor.dtype().is_float() {
            return Err(unready(format!("The tensor \"{name}\" is of {:?}, not of floats.", tensor.dtype())));
        }
        self.known.borrow_mut().insert(name.to_owned());
        self.bytes.set(self.bytes.get() + 4 * tensor.elem_count() as u64);
        tensor.to_dtype(DType::F32).map_err(while_loading)
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> std::result::Result<Linear, EngineError> {
        Ok(Linear {
            weight: self.tensor(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    fn norm(&self, name: &str, width: usize) -> std::result::Result<Norm, EngineError> {
        Ok(Norm {
            weight: self.tensor(&format!("{name}.weight"), &[width])?,
            bias: self.tensor(&format!("{name}.bias"), &[width])?,
        })
    }

    fn layer(&self, layer: usize, width: usize) -> std::result::Result<Layer, EngineError> {
        let [middle, _] = self.matrix_lengths(&part(layer, "intermediate.dense.weight"))?;
        let mut projections = Vec::new();
        for name in ["attention.self.query", "attention.self.key", "attention.self.value"] {
            projections.push(self.linear(&part(layer, name), width, width)?);
        }
        Ok(Layer {
            projections: one_after_the_other(&projections).map_err(while_loading)?,
            output: self.linear(&part(layer, "attention.output.dense"), width, width)?,
            attention_norm: self.norm(&part(layer, "attention.output.LayerNorm"), width)?,
            widen: self.linear(&part(layer, "intermediate.dense"), middle, width)?,
            narrow: self.linear(&part(layer, "output.dense"), width, middle)?,
            feed_norm: self.norm(&part(layer, "output.LayerNorm"), width)?,
        })
    }

    /// A tensor that is not used would be a model that is computed wrongly.
    fn check_all_known(&self) -> std::result::Result<(), EngineError> {
        let known = self.known.borrow();
        let names = self.file.tensors().into_iter().map(|(name, _)| name);
        match names.into_iter().find(|name| !known.contains(name) && !UNUSED.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(unready(format!("The file has a tensor \"{name}\", which BERT as computed here lacks."))),
        }
    }
}

fn one_after_the_other(parts: &[Linear]) -> Result<Linear> {
    let weights: Vec<&Tensor> = parts.iter().map(|part| &part.weight).collect();
    let biases: Vec<&Tensor> = parts.iter().map(|part| &part.bias).collect();
    Ok(Linear { weight: Tensor::cat(&weights, 0)?, bias: Tensor::cat(&biases, 0)? })
}

fn lacks(name: &str) -> EngineError {
    unready(format!("The file has no tensor \"{name}\"."))
}
