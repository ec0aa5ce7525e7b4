//! A small convolutional network for images: two layers of 3×3 filters, each followed by the greatest of 2×2, and one linear
//! layer.

use crate::learner;
use crate::saved::{Meaning, Network, Saved};
use crate::weights;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};
use engine_core::{CallContext, EngineError, Reason};
use serde::{Deserialize, Serialize};
use training::random::Random;
use training::{Algorithm, DataSet, Fitted, Rule, Settings, Task};

const FILTERS_MAX: usize = 256;
const KERNEL: [usize; 2] = [3, 3];
const POOL: [usize; 2] = [2, 2];

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let image = [
        Rule::whole("channels", 1, 1, 64),
        // 0: as high as wide.
        Rule::whole("height", 0, 0, 256),
        Rule::whole("filters", 8, 1, FILTERS_MAX as u64),
    ];
    let rules = [image, learner::RULES].concat();
    vec![
        Algorithm::in_steps("convolutional-network", Task::Classification, fit, |bytes| {
            Ok(Box::new(Saved::<Convolution>::decode(bytes)?))
        })
        .standardized()
        .with_rules(rules),
    ]
}

#[derive(Module, Debug)]
struct Convolution {
    first: Conv2d,
    second: Conv2d,
    pool: MaxPool2d,
    output: Linear,
    channels: usize,
    height: usize,
    width: usize,
}

/// A row is an image: channel by channel, line by line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
    filters: usize,
    classes: usize,
}

impl Shape {
    fn read(data: &DataSet, settings: &Settings) -> Result<Self, EngineError> {
        let columns = data.features.columns;
        let channels = settings.size("channels");
        let pixels = columns / channels;
        let height = match settings.size("height") {
            0 => pixels.isqrt(),
            height => height,
        };
        let shape = Self {
            channels,
            height,
            width: pixels.checked_div(height).unwrap_or(0),
            filters: settings.size("filters"),
            classes: data.labels().len(),
        };
        if shape.channels * shape.height * shape.width == columns && shape.height.min(shape.width) >= 4 {
            return Ok(shape);
        }
        let message = format!(
            "{columns} columns are no image of {channels} channels that is {} high and at least 4 in each direction.",
            shape.height
        );
        Err(EngineError::invalid("height", message))
    }

    fn is_possible(&self) -> bool {
        let sides = [self.height, self.width].iter().all(|side| (4..=training::data::COLUMNS_MAX).contains(side));
        let filters = (1..=FILTERS_MAX).contains(&self.filters);
        let classes = (2..=training::data::CLASSES_MAX).contains(&self.classes);
        let columns = self.channels.checked_mul(self.height).and_then(|area| area.checked_mul(self.width));
        sides
            && filters
            && classes
            && columns.is_some_and(|columns| (1..=training::data::COLUMNS_MAX).contains(&columns))
    }

    /// Numbers that reach the linear layer.
    fn flat(&self) -> usize {
        2 * self.filters * (self.height / 4) * (self.width / 4)
    }
}

impl Network for Convolution {
    type Shape = Shape;

    fn weight_count(shape: &Shape) -> Option<usize> {
        // What is possible is too small to overflow.
        shape.is_possible().then(|| {
            let filter = KERNEL[0] * KERNEL[1];
            let first = (shape.channels * filter + 1) * shape.filters;
            let second = (shape.filters * filter + 1) * 2 * shape.filters;
            first + second + (shape.flat() + 1) * shape.classes
        })
    }

    fn empty(shape: &Shape, device: &Device) -> Result<Self, EngineError> {
        if !shape.is_possible() {
            return Err(EngineError::new(Reason::ModelNotReady, "The trained network has an impossible shape."));
        }
        Ok(Self::first(shape, &mut Random::new(0), device))
    }

    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let [count, _] = rows.dims();
        let images = rows.reshape([count, self.channels, self.height, self.width]);
        let images = self.pool.forward(activation::relu(self.first.forward(images)));
        let images = self.pool.forward(activation::relu(self.second.forward(images)));
        self.output.forward(images.flatten(1, 3))
    }
}

impl Convolution {
    fn first(shape: &Shape, random: &mut Random, device: &Device) -> Self {
        Self {
            first: filters(random, shape.channels, shape.filters, device),
            second: filters(random, shape.filters, 2 * shape.filters, device),
            pool: MaxPool2dConfig::new(POOL).with_strides(POOL).init(),
            output: Linear {
                weight: weights::first(random, [shape.flat(), shape.classes], shape.flat(), device),
                bias: Some(weights::zeros(shape.classes, device)),
            },
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
        }
    }
}

fn filters(random: &mut Random, inputs: usize, outputs: usize, device: &Device) -> Conv2d {
    let mut layer =
        Conv2dConfig::new([inputs, outputs], KERNEL).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device);
    let numbers = inputs * KERNEL[0] * KERNEL[1];
    layer.weight = weights::first(random, [outputs, inputs, KERNEL[0], KERNEL[1]], numbers, device);
    layer.bias = Some(weights::zeros(outputs, device));
    layer
}

fn fit(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    let shape = Shape::read(data, settings)?;
    let device = Device::flex().autodiff();
    let mut random = Random::new(settings.whole("seed"));
    let network = Convolution::first(&shape, &mut random, &device);
    let network = learner::train(network, data, settings, &mut random, &device, call)?;
    Ok(Box::new(Saved::new(shape, Meaning::Classes, &network)))
}
