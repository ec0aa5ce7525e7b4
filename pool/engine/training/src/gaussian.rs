//! Naive Bayes of normal distributions, however they were found.

use crate::algorithm::{Predict, Prediction};
use crate::matrix::Matrix;
use engine_core::EngineError;
use serde::{Deserialize, Serialize};

/// Added to all variances, as a share of the greatest: a column that is constant in a class would else exclude the class for
/// every other value.
pub const VARIANCE_SHARE: f64 = 1e-9;

/// A normal distribution a class and column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GaussianBayes {
    /// How frequent each class is.
    pub priors: Vec<f64>,
    /// A row a class.
    pub means: Matrix,
    /// A row a class, all over 0.
    pub variances: Matrix,
}

impl GaussianBayes {
    /// The distributions, with variances that are all over 0.
    pub fn new(priors: Vec<f64>, means: Matrix, mut variances: Matrix) -> Self {
        let most = variances.values.iter().copied().fold(0.0, f64::max);
        let added = if most > 0.0 { most * VARIANCE_SHARE } else { VARIANCE_SHARE };
        variances.values.iter_mut().for_each(|variance| *variance += added);
        Self { priors, means, variances }
    }

    fn scores(&self, row: &[f64]) -> Vec<f64> {
        let classes = self.priors.iter().zip(self.means.each_row().zip(self.variances.each_row()));
        classes.map(|(prior, (means, variances))| prior.ln() + log_density(row, means, variances)).collect()
    }
}

fn log_density(row: &[f64], means: &[f64], variances: &[f64]) -> f64 {
    let terms = row.iter().zip(means).zip(variances);
    let term = |((value, mean), variance): ((&f64, &f64), &f64)| {
        (std::f64::consts::TAU * variance).ln() + (value - mean).powi(2) / variance
    };
    -0.5 * terms.map(term).sum::<f64>()
}

impl Predict for GaussianBayes {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let values = rows.each_row().flat_map(|row| self.scores(row)).collect();
        Ok(Prediction::from_scores(Matrix { columns: self.priors.len(), values }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_column_does_not_exclude_a_class() {
        let means = Matrix { columns: 2, values: vec![0.0, 1.0, 4.0, 1.0] };
        let variances = Matrix { columns: 2, values: vec![1.0, 0.0, 1.0, 0.0] };
        let model = GaussianBayes::new(vec![0.5, 0.5], means, variances);
        let rows = Matrix { columns: 2, values: vec![0.0, 1.5, 4.0, 0.5] };
        let Prediction::Classes { indices, probabilities: Some(probabilities) } = model.predict(&rows).unwrap() else {
            panic!("classes were expected")
        };
        assert_eq!(indices, [0, 1]);
        assert!(probabilities.values.iter().all(|value| value.is_finite()));
    }
}
