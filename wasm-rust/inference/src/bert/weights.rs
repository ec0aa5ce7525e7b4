//! Where an encoder's weights are in its file, checked once so that the forward pass need not.

use crate::error::InferenceError;
use crate::file::{File, Section};
use crate::kernels::attention::HEAD;
use crate::kernels::matrix::{Matrix, PANEL};

/// Bounds of a shape that is believed.
const LAYERS_MAX: usize = 24;
const WIDTH_MAX: usize = 8192;
const TOKENS_MAX: usize = 512;
const VOCABULARY_MAX: usize = 1 << 18;

/// The shape, and all sections.
pub(super) struct Weights {
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) tokens_max: usize,
    pub(super) vocabulary_size: usize,
    pub(super) words: Section,
    pub(super) word_scales: Section,
    pub(super) positions: Section,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// One layer's sections.
pub(super) struct Layer {
    pub(super) attention_input: Linear,
    pub(super) attention_output: Linear,
    pub(super) attention_norm: Norm,
    pub(super) expand: Linear,
    pub(super) contract: Linear,
    pub(super) output_norm: Norm,
}

/// A normalisation's sections.
pub(super) struct Norm {
    pub(super) scale: Section,
    pub(super) shift: Section,
}

/// A matrix's sections.
pub(super) struct Linear {
    weights: Section,
    scales: Section,
    sums: Section,
    bias: Section,
    inputs: usize,
}

impl Weights {
    pub(super) fn open(file: &File) -> Result<Self, InferenceError> {
        let hidden = file.number("hidden", WIDTH_MAX)?;
        let intermediate = file.number("intermediate", WIDTH_MAX)?;
        let tokens_max = file.number("tokens", TOKENS_MAX)?;
        let vocabulary_size = file.number("vocabulary", VOCABULARY_MAX)?;
        if !hidden.is_multiple_of(HEAD) || !intermediate.is_multiple_of(PANEL * 2) || tokens_max < 2 {
            return Err(InferenceError::ModelUnsupported("its shape"));
        }
        let layers = 0..file.number("layers", LAYERS_MAX)?;
        Ok(Self {
            hidden,
            intermediate,
            tokens_max,
            vocabulary_size,
            words: file.section("words", vocabulary_size * hidden, 1)?,
            word_scales: file.section("words.scales", vocabulary_size, 4)?,
            positions: file.section("positions", tokens_max * hidden, 4)?,
            norm: Norm::open(file, "norm", hidden)?,
            layers: layers.map(|number| Layer::open(file, number, hidden, intermediate)).collect::<Result<_, _>>()?,
        })
    }
}

impl Layer {
    fn open(file: &File, number: usize, hidden: usize, intermediate: usize) -> Result<Self, InferenceError> {
        let linear = |name: &str, inputs, outputs| Linear::open(file, &format!("{number}.{name}"), inputs, outputs);
        let norm = |name: &str| Norm::open(file, &format!("{number}.{name}"), hidden);
        Ok(Self {
            attention_input: linear("attention-input", hidden, 3 * hidden)?,
            attention_output: linear("attention-output", hidden, hidden)?,
            attention_norm: norm("attention-norm")?,
            expand: linear("expand", hidden, intermediate)?,
            contract: linear("contract", intermediate, hidden)?,
            output_norm: norm("output-norm")?,
        })
    }
}

impl Norm {
    fn open(file: &File, name: &str, width: usize) -> Result<Self, InferenceError> {
        let section = |part: &str| file.section(&format!("{name}.{part}"), width, 4);
        Ok(Self { scale: section("scale")?, shift: section("shift")? })
    }
}

impl Linear {
    fn open(file: &File, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        let section = |part: &str| file.section(&format!("{name}.{part}"), outputs, 4);
        let weights = file.section(&format!("{name}.weights"), inputs * outputs, 1)?;
        Ok(Self { weights, scales: section("scales")?, sums: section("sums")?, bias: section("bias")?, inputs })
    }

    /// The matrix in the file's memory.
    pub(super) fn matrix<'a>(&self, file: &'a File) -> Matrix<'a> {
        Matrix {
            weights: file.u8s(self.weights),
            scales: file.f32s(self.scales),
            sums: file.f32s(self.sums),
            bias: file.f32s(self.bias),
            inputs: self.inputs,
        }
    }
}
