//! k nearest neighbours.

use crate::convert::{broken, classes, dense, labels, refused};
use engine_core::EngineError;
use serde::{Deserialize, Serialize};
use smartcore::algorithm::neighbour::KNNAlgorithmName;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::metrics::distance::euclidian::Euclidian;
use smartcore::neighbors::KNNWeightFunction;
use smartcore::neighbors::knn_classifier::{KNNClassifier, KNNClassifierParameters};
use smartcore::neighbors::knn_regressor::{KNNRegressor, KNNRegressorParameters};
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

type Table = DenseMatrix<f64>;

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let rules = [
        Rule::whole("k", 5, 1, 1_000),
        Rule::choice("weights", &["uniform", "distance"]),
        Rule::choice("search", &["cover-tree", "linear"]),
    ];
    vec![
        Algorithm::new("k-nearest-neighbours", Task::Classification, fit_classifier, decode_stored::<Classifier>)
            .standardized()
            .with_rules(rules),
        Algorithm::new("k-nearest-neighbours-regression", Task::Regression, fit_regressor, decode_stored::<Regressor>)
            .standardized()
            .with_rules(rules),
    ]
}

#[derive(Serialize, Deserialize)]
struct Classifier {
    model: KNNClassifier<f64, u32, Table, Vec<u32>, Euclidian<f64>>,
}

impl Predict for Classifier {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let rows = dense(rows)?;
        let probabilities = self.model.predict_proba(&rows).map_err(broken)?;
        let columns = probabilities.first().map_or(1, Vec::len);
        let probabilities = Matrix { columns, values: probabilities.into_iter().flatten().collect() };
        Ok(classes(self.model.predict(&rows).map_err(broken)?, Some(probabilities)))
    }
}

fn fit_classifier(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = KNNClassifierParameters::default()
        .with_k(neighbours(data, settings)?)
        .with_weight(weight(settings))
        .with_algorithm(search(settings));
    let model = KNNClassifier::fit(&dense(&data.features)?, &labels(data), parameters).map_err(refused)?;
    store(Classifier { model })
}

#[derive(Serialize, Deserialize)]
struct Regressor {
    model: KNNRegressor<f64, f64, Table, Vec<f64>, Euclidian<f64>>,
}

impl Predict for Regressor {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.model.predict(&dense(rows)?).map(Prediction::Numbers).map_err(broken)
    }
}

fn fit_regressor(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = KNNRegressorParameters::default()
        .with_k(neighbours(data, settings)?)
        .with_weight(weight(settings))
        .with_algorithm(search(settings));
    let numbers = data.numbers().to_vec();
    let model = KNNRegressor::fit(&dense(&data.features)?, &numbers, parameters).map_err(refused)?;
    store(Regressor { model })
}

fn neighbours(data: &DataSet, settings: &Settings) -> Result<usize, EngineError> {
    let (k, rows) = (settings.size("k"), data.features.rows());
    if k <= rows {
        return Ok(k);
    }
    Err(EngineError::invalid("k", format!("\"k\" is {k}, more than the {rows} rows to learn from.")))
}

fn weight(settings: &Settings) -> KNNWeightFunction {
    match settings.choice("weights") {
        "distance" => KNNWeightFunction::Distance,
        _ => KNNWeightFunction::Uniform,
    }
}

fn search(settings: &Settings) -> KNNAlgorithmName {
    match settings.choice("search") {
        "linear" => KNNAlgorithmName::LinearSearch,
        _ => KNNAlgorithmName::CoverTree,
    }
}
