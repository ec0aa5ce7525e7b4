//! Between the library's types and ours.

use engine_core::{EngineError, Reason};
use linfa::dataset::Dataset;
use ndarray::{Array1, Array2, ArrayBase, Data, Ix1, Ix2};
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use std::fmt::Display;
use training::{DataSet, Matrix, Settings};

/// The library's matrix.
pub fn array(matrix: &Matrix) -> Result<Array2<f64>, EngineError> {
    Array2::from_shape_vec((matrix.rows(), matrix.columns), matrix.values.clone())
        .map_err(|error| EngineError::new(Reason::Internal, format!("A matrix of another shape: {error}.")))
}

/// Our matrix.
pub fn matrix<D: Data<Elem = f64>>(array: &ArrayBase<D, Ix2>) -> Matrix {
    Matrix { columns: array.ncols(), values: array.iter().copied().collect() }
}

/// Rows and numbers.
pub fn with_numbers(data: &DataSet) -> Result<Dataset<f64, f64, Ix1>, EngineError> {
    Ok(Dataset::new(array(&data.features)?, Array1::from(data.numbers().to_vec())))
}

/// Rows and classes.
pub fn with_classes(data: &DataSet) -> Result<Dataset<f64, usize, Ix1>, EngineError> {
    Ok(Dataset::new(array(&data.features)?, Array1::from(data.classes().to_vec())))
}

/// The source of numbers behind the parameter `seed`.
pub fn random(settings: &Settings) -> Xoshiro256Plus {
    Xoshiro256Plus::seed_from_u64(settings.whole("seed"))
}

/// What the library refuses lies in the data: parameters were checked before.
pub fn refused(error: impl Display) -> EngineError {
    EngineError::invalid("features", format!("Linfa refuses this data: {error}."))
}
