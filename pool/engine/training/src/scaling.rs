//! Columns brought to mean 0 and deviation 1: distances and gradients of columns in different units mean nothing.

use crate::matrix::Matrix;

/// What to subtract from and divide each column by.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scaling {
    /// Mean of each column.
    pub means: Vec<f64>,
    /// Deviation of each column; 1 where the column is constant.
    pub deviations: Vec<f64>,
}

impl Scaling {
    /// The scaling of `features`.
    pub fn of(features: &Matrix) -> Self {
        let rows = features.rows().max(1) as f64;
        let mut means = vec![0.0; features.columns];
        features.each_row().for_each(|row| add(&mut means, row.iter().copied()));
        means.iter_mut().for_each(|mean| *mean /= rows);
        let mut squares = vec![0.0; features.columns];
        for row in features.each_row() {
            add(&mut squares, row.iter().zip(&means).map(|(value, mean)| (value - mean).powi(2)));
        }
        let deviation = |square: f64| Some((square / rows).sqrt()).filter(|value| *value > 0.0).unwrap_or(1.0);
        Self { means, deviations: squares.into_iter().map(deviation).collect() }
    }

    /// `features`, scaled.
    pub fn apply(&self, features: &Matrix) -> Matrix {
        let scale = |row: &[f64]| -> Vec<f64> {
            let terms = row.iter().zip(&self.means).zip(&self.deviations);
            terms.map(|((value, mean), deviation)| (value - mean) / deviation).collect()
        };
        Matrix { columns: features.columns, values: features.each_row().flat_map(scale).collect() }
    }

    /// Whether it fits a model of `columns`, with numbers that can be used.
    pub fn is_valid(&self, columns: usize) -> bool {
        let finite = self.means.iter().chain(&self.deviations).all(|value| value.is_finite());
        let lengths = self.means.len() == columns && self.deviations.len() == columns;
        finite && lengths && self.deviations.iter().all(|value| *value > 0.0)
    }
}

fn add(sums: &mut [f64], values: impl Iterator<Item = f64>) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_column_becomes_zeros_and_others_get_mean_0_and_deviation_1() {
        let features = Matrix { columns: 2, values: vec![1.0, 5.0, 3.0, 5.0] };
        let scaled = Scaling::of(&features).apply(&features);
        assert_eq!(scaled.values, [-1.0, 0.0, 1.0, 0.0]);
    }
}
