//! The weights in the kernels' order, and how a `.tlm` file becomes them.
//!
//! A vector holds four consecutive inputs of sixteen outputs; a panel is two such vectors for each four inputs, so that
//! four bytes of activations, once spread over a vector, meet 32 outputs.

use inference::InferenceError;
use inference::file::File;
use inference::kernels::matrix::PANEL as FILE_PANEL;
use lanes::LANES;

/// Outputs of a panel.
pub const PANEL: usize = 2 * LANES;
/// Inputs that one lane sums at once.
pub const QUAD: usize = 4;
/// Floats of a head.
pub const HEAD: usize = 32;

/// Bounds of a shape that is believed.
const LAYERS_MAX: usize = 24;
const WIDTH_MAX: usize = 8192;
const TOKENS_MAX: usize = 512;
const VOCABULARY_MAX: usize = 1 << 18;

/// What is added to a step of −127 to 127 to store it as a byte.
pub const ZERO: i32 = 128;
/// What is added to the file's bytes of 0 to 127, whose zero is 64, to have them as ours.
const FILE_OFFSET: u8 = 64;

/// A linear layer; a weight is `(byte − ZERO) · scale`.
#[derive(Debug)]
pub struct Linear {
    /// Panels of bytes, aligned to vectors.
    bytes: Box<[Vector]>,
    /// What each input was divided by in the weights, so whoever makes a row of inputs multiplies it by these.
    pub factors: Vec<f32>,
    /// The step of each output's weights.
    pub scales: Vec<f32>,
    /// The sum of each output's weights.
    pub sums: Vec<f32>,
    /// Added to each output.
    pub bias: Vec<f32>,
    /// Values of a row that it takes.
    pub inputs: usize,
}

/// Four inputs of sixteen outputs.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Vector([u8; QUAD * LANES]);

impl Linear {
    fn read(file: &File, name: &str, inputs: usize, outputs: usize) -> Result<Self, InferenceError> {
        let floats = |part: &str| -> Result<Vec<f32>, InferenceError> {
            Ok(file.f32s(file.section(&format!("{name}.{part}"), outputs, 4)?).to_vec())
        };
        let packed = file.u8s(file.section(&format!("{name}.weights"), inputs * outputs, 1)?);
        if packed.iter().any(|&byte| byte > 127) {
            return Err(InferenceError::ModelCorrupt("a weight has more than seven bits"));
        }
        let (scales, sums, bias) = (floats("scales")?, floats("sums")?, floats("bias")?);
        Ok(Self { bytes: repack(packed, inputs, outputs), factors: vec![1.0; inputs], scales, sums, bias, inputs })
    }

    /// A layer of `rows`, one an output: the step of its weights, and the weights as whole steps of −127 to 127.
    pub fn of_rows(rows: impl Iterator<Item = (f32, Vec<i8>)>, factors: Vec<f32>, bias: Vec<f32>) -> Self {
        let inputs = factors.len();
        let mut bytes = vec![Vector([0; QUAD * LANES]); inputs * bias.len() / (QUAD * LANES)].into_boxed_slice();
        let (mut scales, mut sums) = (Vec::with_capacity(bias.len()), Vec::with_capacity(bias.len()));
        for (output, (scale, steps)) in rows.enumerate() {
            scales.push(scale);
            sums.push(scale * steps.iter().map(|&step| i32::from(step)).sum::<i32>() as f32);
            let (panel, half, lane) = (output / PANEL, output % PANEL / LANES, output % LANES);
            for (quad, steps) in steps.as_chunks::<QUAD>().0.iter().enumerate() {
                let vector = &mut bytes[(panel * inputs / QUAD + quad) * 2 + half].0;
                let place = vector[lane * QUAD..][..QUAD].iter_mut();
                place.zip(steps).for_each(|(byte, &step)| *byte = (i32::from(step) + ZERO) as u8);
            }
        }
        Self { bytes, factors, scales, sums, bias, inputs }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// Where a panel begins.
    pub fn panel(&self, panel: usize) -> *const u8 {
        self.bytes[panel * self.inputs / QUAD * 2..].as_ptr().cast()
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.bytes) + 12 * self.scales.len() + 4 * self.factors.len()
    }
}

/// The file has panels of eight outputs, for each four inputs 32 bytes; four of those side by side are one of ours.
fn repack(packed: &[u8], inputs: usize, outputs: usize) -> Box<[Vector]> {
    let mut bytes = vec![Vector([0; QUAD * LANES]); inputs * outputs / (QUAD * LANES)];
    let vectors = inputs / QUAD * 2;
    for (panel, source) in packed.chunks_exact(FILE_PANEL * inputs).enumerate() {
        let (ours, place) = (panel / (PANEL / FILE_PANEL), panel % (PANEL / FILE_PANEL));
        for (quad, source) in source.chunks_exact(FILE_PANEL * QUAD).enumerate() {
            let vector = &mut bytes[ours * vectors + 2 * quad + place / 2].0;
            let target = vector[place % 2 * FILE_PANEL * QUAD..][..FILE_PANEL * QUAD].iter_mut();
            target.zip(source).for_each(|(byte, &stored)| *byte = stored + FILE_OFFSET);
        }
    }
    bytes.into_boxed_slice()
}

/// A normalisation.
#[derive(Debug, Clone)]
pub struct Norm {
    /// Multiplied with the normalised row.
    pub scale: Vec<f32>,
    /// Added to it.
    pub shift: Vec<f32>,
}

impl Norm {
    fn read(file: &File, name: &str, width: usize) -> Result<Self, InferenceError> {
        let floats = |part: &str| -> Result<Vec<f32>, InferenceError> {
            Ok(file.f32s(file.section(&format!("{name}.{part}"), width, 4)?).to_vec())
        };
        Ok(Self { scale: floats("scale")?, shift: floats("shift")? })
    }
}

/// A layer.
#[derive(Debug)]
pub struct Layer {
    /// Queries, keys and values, H → 3H; queries are scaled already.
    pub attention_input: Linear,
    /// H → H.
    pub attention_output: Linear,
    /// After attention.
    pub attention_norm: Norm,
    /// H → I.
    pub expand: Linear,
    /// I → H.
    pub contract: Linear,
    /// After the feed-forward network.
    pub output_norm: Norm,
}

/// An encoder.
#[derive(Debug)]
pub struct Weights {
    /// Values of a state.
    pub hidden: usize,
    /// Values of the wide layer.
    pub intermediate: usize,
    /// Tokens of a sequence, at most.
    pub tokens_max: usize,
    /// Tokens known.
    pub vocabulary_size: usize,
    /// A row of bytes a token.
    pub words: Vec<i8>,
    /// The step of each of them.
    pub word_scales: Vec<f32>,
    /// A row of floats a position.
    pub positions: Vec<f32>,
    /// After both are added.
    pub norm: Norm,
    /// The first first.
    pub layers: Vec<Layer>,
}

impl Weights {
    /// Reads a checked file.
    pub fn read(file: &File) -> Result<Self, InferenceError> {
        let hidden = file.number("hidden", WIDTH_MAX)?;
        let intermediate = file.number("intermediate", WIDTH_MAX)?;
        let tokens_max = file.number("tokens", TOKENS_MAX)?;
        let vocabulary_size = file.number("vocabulary", VOCABULARY_MAX)?;
        if !hidden.is_multiple_of(HEAD) || !intermediate.is_multiple_of(PANEL) || tokens_max < 2 {
            return Err(InferenceError::ModelUnsupported("its shape"));
        }
        let layer = |number: usize| -> Result<Layer, InferenceError> {
            let linear = |name: &str, inputs, outputs| Linear::read(file, &format!("{number}.{name}"), inputs, outputs);
            let norm = |name: &str| Norm::read(file, &format!("{number}.{name}"), hidden);
            Ok(Layer {
                attention_input: linear("attention-input", hidden, 3 * hidden)?,
                attention_output: linear("attention-output", hidden, hidden)?,
                attention_norm: norm("attention-norm")?,
                expand: linear("expand", hidden, intermediate)?,
                contract: linear("contract", intermediate, hidden)?,
                output_norm: norm("output-norm")?,
            })
        };
        Ok(Self {
            hidden,
            intermediate,
            tokens_max,
            vocabulary_size,
            words: file.i8s(file.section("words", vocabulary_size * hidden, 1)?).to_vec(),
            word_scales: file.f32s(file.section("words.scales", vocabulary_size, 4)?).to_vec(),
            positions: file.f32s(file.section("positions", tokens_max * hidden, 4)?).to_vec(),
            norm: Norm::read(file, "norm", hidden)?,
            layers: (0..file.number("layers", LAYERS_MAX)?).map(layer).collect::<Result<_, _>>()?,
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let linear = |layer: &Layer| {
            let parts = [&layer.attention_input, &layer.attention_output, &layer.expand, &layer.contract];
            parts.iter().map(|part| part.bytes()).sum::<usize>() + 16 * self.hidden
        };
        let layers: usize = self.layers.iter().map(linear).sum();
        (layers + self.words.len() + 4 * (self.word_scales.len() + self.positions.len())) as u64
    }
}
