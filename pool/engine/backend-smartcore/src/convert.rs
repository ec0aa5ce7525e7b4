//! Between the library's types and ours.

use engine_core::{EngineError, Reason};
use smartcore::error::Failed;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use training::{DataSet, Matrix, Prediction};

/// The library's matrix.
pub fn dense(matrix: &Matrix) -> Result<DenseMatrix<f64>, EngineError> {
    DenseMatrix::new(matrix.rows(), matrix.columns, matrix.values.clone(), false).map_err(refused)
}

/// Our matrix.
pub fn matrix(dense: &DenseMatrix<f64>) -> Matrix {
    let (rows, columns) = dense.shape();
    let values = (0..rows).flat_map(|row| (0..columns).map(move |column| *dense.get((row, column)))).collect();
    Matrix { columns, values }
}

/// Classes as the library wants them. There are at most 1,000.
pub fn labels(data: &DataSet) -> Vec<u32> {
    data.classes().iter().map(|&class| class as u32).collect()
}

/// Classes as the library gives them.
pub fn classes(labels: Vec<u32>, probabilities: Option<Matrix>) -> Prediction {
    Prediction::Classes { indices: labels.into_iter().map(|label| label as usize).collect(), probabilities }
}

/// What the library refuses lies in the data: parameters were checked before.
pub fn refused(failed: Failed) -> EngineError {
    EngineError::invalid("features", format!("SmartCore refuses this data: {failed}."))
}

/// What fails in a trained model is ours.
pub fn broken(failed: Failed) -> EngineError {
    EngineError::new(Reason::Internal, format!("SmartCore could not predict: {failed}."))
}
