//! Models that are a weighted sum of the columns, however they were found.

use crate::algorithm::{Predict, Prediction};
use crate::matrix::Matrix;
use engine_core::EngineError;
use serde::{Deserialize, Serialize};

/// A number a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearModel {
    /// One a column.
    pub coefficients: Vec<f64>,
    /// Added to the sum.
    pub intercept: f64,
}

impl Predict for LinearModel {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        Ok(Prediction::Numbers(rows.each_row().map(|row| self.intercept + dot(row, &self.coefficients)).collect()))
    }
}

/// A class a row: one score a class, by softmax; or one score alone, which by the logistic function is the probability of
/// the second of two classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearClassifier {
    /// One row a score.
    pub coefficients: Matrix,
    /// One a score.
    pub intercepts: Vec<f64>,
}

impl Predict for LinearClassifier {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let scores = |row: &[f64]| -> Vec<f64> {
            let terms = self.coefficients.each_row().zip(&self.intercepts);
            terms.map(|(coefficients, intercept)| intercept + dot(row, coefficients)).collect()
        };
        let values: Vec<f64> = rows.each_row().flat_map(scores).collect();
        Ok(match self.intercepts.len() {
            1 => Prediction::from_second_class(values.into_iter().map(|score| 1.0 / (1.0 + (-score).exp()))),
            columns => Prediction::from_scores(Matrix { columns, values }),
        })
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_score_means_two_classes() {
        let coefficients = Matrix { columns: 1, values: vec![2.0] };
        let model = LinearClassifier { coefficients, intercepts: vec![-1.0] };
        let rows = Matrix { columns: 1, values: vec![0.0, 0.5, 1.0] };
        let Prediction::Classes { indices, probabilities: Some(probabilities) } = model.predict(&rows).unwrap() else {
            panic!("classes were expected")
        };
        assert_eq!((indices[0], indices[2]), (0, 1));
        assert_eq!(&probabilities.values[2..4], [0.5, 0.5]);
    }
}
