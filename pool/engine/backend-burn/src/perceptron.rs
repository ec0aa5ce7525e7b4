//! A multilayer perceptron.

use crate::learner;
use crate::saved::{Meaning, Network, Saved};
use crate::weights;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, activation};
use engine_core::{CallContext, EngineError, Reason};
use serde::{Deserialize, Serialize};
use training::data::Targets;
use training::random::Random;
use training::{Algorithm, DataSet, Fitted, Rule, Settings, Task};

const LAYERS_MAX: usize = 8;
const WIDTH_MAX: usize = 4_096;

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let shape = [
        Rule::whole("hidden_layers", 1, 0, LAYERS_MAX as u64),
        Rule::whole("hidden_width", 64, 1, WIDTH_MAX as u64),
        Rule::choice("activation", &["relu", "tanh", "sigmoid"]),
    ];
    let rules = [shape, learner::RULES].concat();
    vec![
        Algorithm::in_steps("multilayer-perceptron", Task::Classification, fit_classes, decode)
            .standardized()
            .with_rules(rules.clone()),
        Algorithm::in_steps("multilayer-perceptron-regression", Task::Regression, fit_numbers, decode)
            .standardized()
            .with_rules(rules),
    ]
}

#[derive(Module, Debug)]
struct Perceptron {
    layers: Vec<Linear>,
    /// Index of the activation, since a module holds no words.
    activation: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shape {
    /// Numbers that go into the first layer, and that come out of each.
    widths: Vec<usize>,
    activation: Activation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Activation {
    Relu,
    Tanh,
    Sigmoid,
}

impl Activation {
    const ALL: [Self; 3] = [Self::Relu, Self::Tanh, Self::Sigmoid];

    fn apply(self, tensor: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Relu => activation::relu(tensor),
            Self::Tanh => activation::tanh(tensor),
            Self::Sigmoid => activation::sigmoid(tensor),
        }
    }
}

impl Network for Perceptron {
    type Shape = Shape;

    fn weight_count(shape: &Shape) -> Option<usize> {
        let layer = |pair: &[usize]| pair[0].checked_add(1)?.checked_mul(pair[1]);
        shape.widths.windows(2).try_fold(0_usize, |count, pair| count.checked_add(layer(pair)?))
    }

    fn empty(shape: &Shape, device: &Device) -> Result<Self, EngineError> {
        let inputs = shape.widths.first().is_some_and(|width| (1..=training::data::COLUMNS_MAX).contains(width));
        let layers = (2..=LAYERS_MAX + 2).contains(&shape.widths.len());
        if !inputs || !layers || shape.widths[1..].iter().any(|width| !(1..=WIDTH_MAX).contains(width)) {
            return Err(EngineError::new(Reason::ModelNotReady, "The trained network has an impossible shape."));
        }
        Ok(Self::first(shape, &mut Random::new(0), device))
    }

    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        let activation = Activation::ALL[self.activation];
        self.layers.iter().enumerate().fold(rows, |rows, (index, layer)| {
            let rows = layer.forward(rows);
            if index < last { activation.apply(rows) } else { rows }
        })
    }
}

impl Perceptron {
    fn first(shape: &Shape, random: &mut Random, device: &Device) -> Self {
        let layer = |pair: &[usize]| Linear {
            weight: weights::first(random, [pair[0], pair[1]], pair[0], device),
            bias: Some(weights::zeros(pair[1], device)),
        };
        let layers = shape.widths.windows(2).map(layer).collect();
        Self { layers, activation: shape.activation as usize }
    }
}

fn decode(bytes: &[u8]) -> Result<Box<dyn Fitted>, EngineError> {
    Ok(Box::new(Saved::<Perceptron>::decode(bytes)?))
}

fn fit_classes(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    fit(data, settings, call, data.labels().len(), Meaning::Classes)
}

/// Learns numbers of mean 0 and deviation 1, whatever the targets are, so that one learning rate suits all.
fn fit_numbers(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    let numbers = data.numbers();
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count;
    let deviation = Some(variance.sqrt()).filter(|deviation| *deviation > 0.0).unwrap_or(1.0);
    let scaled = numbers.iter().map(|number| (number - mean) / deviation).collect();
    let data = DataSet { features: data.features.clone(), targets: Targets::Numbers(scaled) };
    fit(&data, settings, call, 1, Meaning::Number { mean, deviation })
}

fn fit(
    data: &DataSet,
    settings: &Settings,
    call: &CallContext,
    outputs: usize,
    meaning: Meaning,
) -> Result<Box<dyn Fitted>, EngineError> {
    let hidden = std::iter::repeat_n(settings.size("hidden_width"), settings.size("hidden_layers"));
    let widths = std::iter::once(data.features.columns).chain(hidden).chain([outputs]).collect();
    let activation = match settings.choice("activation") {
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        _ => Activation::Relu,
    };
    let shape = Shape { widths, activation };
    let device = Device::flex().autodiff();
    let mut random = Random::new(settings.whole("seed"));
    let network = Perceptron::first(&shape, &mut random, &device);
    let network = learner::train(network, data, settings, &mut random, &device, call)?;
    Ok(Box::new(Saved::new(shape, meaning, &network)))
}
