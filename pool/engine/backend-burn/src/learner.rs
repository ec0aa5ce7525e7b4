//! Mini-batches, loss and Adam: how every network of this crate learns.

use crate::saved::Network;
use burn::nn::loss::{CrossEntropyLoss, MseLoss, Reduction};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use engine_core::{CallContext, EngineError, Reason};
use std::time::Instant;
use training::data::Targets;
use training::random::Random;
use training::{DataSet, Matrix, Rule, Settings};

/// Steps of one training, at most: epochs times mini-batches.
pub const STEPS_MAX: usize = 2_000_000;

/// Parameters of learning.
pub const RULES: [Rule; 3] = [
    Rule::whole("epochs", 100, 1, 10_000),
    Rule::whole("batch_size", 32, 1, 4_096),
    Rule::number("learning_rate", 1e-3, 1e-7, 1.0),
];

/// Trains `network`, whose weights lie on `device`, which computes gradients, while `call` is not over. The order of the
/// rows comes from `random`.
pub fn train<N: Network>(
    mut network: N,
    data: &DataSet,
    settings: &Settings,
    random: &mut Random,
    device: &Device,
    call: &CallContext,
) -> Result<N, EngineError> {
    let (rows, batch_size) = (data.features.rows(), settings.size("batch_size"));
    let steps = settings.size("epochs").saturating_mul(rows.div_ceil(batch_size));
    if steps > STEPS_MAX {
        let message = format!("These epochs are {steps} steps in all; at most {STEPS_MAX} are made.");
        return Err(EngineError::invalid("epochs", message));
    }
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..settings.size("epochs") {
        for batch in random.permutation(rows).chunks(batch_size) {
            call.check(Instant::now())?;
            let loss = loss(&network, data, batch, device);
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(settings.number("learning_rate"), network, gradients);
        }
    }
    Ok(network)
}

fn loss<N: Network>(network: &N, data: &DataSet, batch: &[usize], device: &Device) -> Tensor<1> {
    let scores = network.forward(rows(&data.features.select(batch), device));
    match &data.targets {
        Targets::Classes { indices, .. } => {
            let classes: Vec<i64> = batch.iter().map(|&row| indices[row] as i64).collect();
            let classes = Tensor::<1, Int>::from_data(TensorData::new::<i64, _>(classes, [batch.len()]), device);
            CrossEntropyLoss::new(None, device).forward(scores, classes)
        }
        _ => {
            let numbers: Vec<f32> = batch.iter().map(|&row| data.numbers()[row] as f32).collect();
            let numbers = Tensor::<2>::from_data(TensorData::new::<f32, _>(numbers, [batch.len(), 1]), device);
            MseLoss::new().forward(scores, numbers, Reduction::Mean)
        }
    }
}

/// A matrix as a tensor.
pub fn rows(matrix: &Matrix, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = matrix.values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, [matrix.rows(), matrix.columns]), device)
}

/// A tensor as a matrix.
pub fn matrix(tensor: Tensor<2>) -> Result<Matrix, EngineError> {
    let [_, columns] = tensor.dims();
    let values = tensor
        .into_data()
        .convert::<f64>()
        .try_to_vec::<f64>()
        .map_err(|error| EngineError::new(Reason::Internal, format!("Burn's answer is unreadable: {error:?}.")))?;
    Ok(Matrix { columns, values })
}
