//! How good a fit is.

use crate::matrix::Matrix;
use std::collections::BTreeMap;

/// Names and values, as `TrainModelResponse.metrics` carries them.
pub type Metrics = BTreeMap<String, f64>;

/// Probabilities below this count as this much, so that one sure mistake does not make the loss infinite.
const PROBABILITY_LEAST: f64 = 1e-15;

/// `r2`, `mean_squared_error` and `mean_absolute_error`.
pub fn regression(expected: &[f64], predicted: &[f64]) -> Metrics {
    let count = expected.len().max(1) as f64;
    let mean = expected.iter().sum::<f64>() / count;
    let total: f64 = expected.iter().map(|value| (value - mean).powi(2)).sum();
    let pairs = || expected.iter().zip(predicted);
    let squares: f64 = pairs().map(|(expected, predicted)| (expected - predicted).powi(2)).sum();
    let absolute: f64 = pairs().map(|(expected, predicted)| (expected - predicted).abs()).sum();
    // Constant targets leave nothing to explain: 1 where they are met, else 0, as is common.
    let r2 = if total > 0.0 { 1.0 - squares / total } else { f64::from(u8::from(squares == 0.0)) };
    named([("r2", r2), ("mean_squared_error", squares / count), ("mean_absolute_error", absolute / count)])
}

/// `accuracy`, and `log_loss` where there are probabilities.
pub fn classification(expected: &[usize], predicted: &[usize], probabilities: Option<&Matrix>) -> Metrics {
    let count = expected.len().max(1) as f64;
    let right = expected.iter().zip(predicted).filter(|(expected, predicted)| expected == predicted).count();
    let mut metrics = named([("accuracy", right as f64 / count)]);
    if let Some(probabilities) = probabilities {
        let rows = probabilities.each_row().zip(expected);
        let loss: f64 = rows.map(|(row, &class)| -row[class].max(PROBABILITY_LEAST).ln()).sum();
        metrics.insert("log_loss".into(), loss / count);
    }
    metrics
}

/// `clusters`, `noise_rows` and `inertia`: the squared distances of all rows to the means of their clusters. Rows of
/// negative clusters are noise.
pub fn clustering(features: &Matrix, clusters: &[i64]) -> Metrics {
    let mut sums: BTreeMap<i64, (f64, Vec<f64>)> = BTreeMap::new();
    let members = || features.each_row().zip(clusters).filter(|(_, cluster)| **cluster >= 0);
    for (row, &cluster) in members() {
        let (count, sum) = sums.entry(cluster).or_insert_with(|| (0.0, vec![0.0; features.columns]));
        *count += 1.0;
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let distance = |(row, cluster): (&[f64], &i64)| -> f64 {
        let (count, sum) = &sums[cluster];
        row.iter().zip(sum).map(|(value, sum)| (value - sum / count).powi(2)).sum()
    };
    let inertia: f64 = members().map(distance).sum();
    let noise = clusters.iter().filter(|cluster| **cluster < 0).count();
    named([("clusters", sums.len() as f64), ("noise_rows", noise as f64), ("inertia", inertia)])
}

/// `explained_variance_ratio`: how much of the features' variance the transformed columns keep.
pub fn transformation(features: &Matrix, transformed: &Matrix) -> Metrics {
    let total = variance(features);
    named([("explained_variance_ratio", if total > 0.0 { variance(transformed) / total } else { 1.0 })])
}

fn variance(matrix: &Matrix) -> f64 {
    let rows = matrix.rows().max(1) as f64;
    let column = |index: usize| matrix.values.iter().skip(index).step_by(matrix.columns);
    let squares = |index: usize| {
        let mean = column(index).sum::<f64>() / rows;
        column(index).map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    (0..matrix.columns).map(squares).sum()
}

fn named<const COUNT: usize>(metrics: [(&str, f64); COUNT]) -> Metrics {
    metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicting_the_mean_explains_nothing() {
        let metrics = regression(&[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0]);
        assert_eq!(metrics["r2"], 0.0);
        assert!((metrics["mean_squared_error"] - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_sure_mistake_has_a_finite_loss() {
        let probabilities = Matrix { columns: 2, values: vec![1.0, 0.0] };
        let metrics = classification(&[1], &[0], Some(&probabilities));
        assert_eq!(metrics["accuracy"], 0.0);
        assert!(metrics["log_loss"] > 30.0 && metrics["log_loss"].is_finite());
    }

    #[test]
    fn noise_does_not_count_towards_inertia() {
        let features = Matrix { columns: 1, values: vec![0.0, 2.0, 100.0] };
        let metrics = clustering(&features, &[0, 0, -1]);
        assert_eq!((metrics["inertia"], metrics["clusters"], metrics["noise_rows"]), (2.0, 1.0, 1.0));
    }
}
