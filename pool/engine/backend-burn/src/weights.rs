//! First weights from a seed. Burn's own are drawn from a source that the whole process shares, so two trainings at once
//! would change each other's.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use training::random::Random;

/// Weights of `shape`, even in ±√(6 / inputs) (He et al. 2015), where each output is a sum over `inputs` numbers.
pub fn first<const RANK: usize>(
    random: &mut Random,
    shape: [usize; RANK],
    inputs: usize,
    device: &Device,
) -> Param<Tensor<RANK>> {
    let bound = (6.0 / inputs.max(1) as f64).sqrt();
    let values = (0..shape.iter().product()).map(|_| ((random.unit() * 2.0 - 1.0) * bound) as f32).collect();
    Param::from_data(TensorData::new::<f32, _>(values, shape), device)
}

/// Zeros, as biases begin.
pub fn zeros(length: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new::<f32, _>(vec![0.0; length], [length]), device)
}
