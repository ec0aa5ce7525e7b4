//! k-means and mixtures of normal distributions. The library's DBSCAN only groups the rows that it is given; it keeps no
//! model that could be asked again, so it is not here.

use crate::convert::{array, random, refused};
use engine_core::EngineError;
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict as _};
use linfa_clustering::{GaussianMixtureModel, KMeans};
use linfa_nn::distance::L2Dist;
use ndarray::Array1;
use serde::{Deserialize, Serialize};
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

const ITERATIONS: Rule = Rule::whole("iterations_max", 300, 1, 10_000);
const RUNS: Rule = Rule::whole("runs", 10, 1, 100);
const TOLERANCE: Rule = Rule::number("tolerance", 1e-4, 1e-12, 1.0);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::new("k-means", Task::Clustering, fit_means, decode_stored::<Means>).with_rules([
            Rule::whole("k", 8, 1, 10_000),
            ITERATIONS,
            RUNS,
            TOLERANCE,
        ]),
        Algorithm::new("gaussian-mixture", Task::Clustering, fit_mixture, decode_stored::<Mixture>).with_rules([
            Rule::whole("k", 2, 1, 100),
            ITERATIONS,
            RUNS,
            TOLERANCE,
            Rule::number("covariance_added", 1e-6, 1e-12, 1.0),
        ]),
    ]
}

#[derive(Serialize, Deserialize)]
struct Means {
    model: KMeans<f64, L2Dist>,
}

impl Predict for Means {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let clusters: Array1<usize> = self.model.predict(&array(rows)?);
        Ok(Prediction::Clusters(clusters.iter().map(|&cluster| cluster as i64).collect()))
    }
}

fn fit_means(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let model = KMeans::params_with(clusters(data, settings)?, random(settings), L2Dist)
        .max_n_iterations(settings.whole("iterations_max"))
        .n_runs(settings.size("runs"))
        .tolerance(settings.number("tolerance"))
        .fit(&DatasetBase::from(array(&data.features)?))
        .map_err(refused)?;
    store(Means { model })
}

#[derive(Serialize, Deserialize)]
struct Mixture {
    model: GaussianMixtureModel<f64>,
}

impl Predict for Mixture {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let clusters: Array1<usize> = self.model.predict(&array(rows)?);
        Ok(Prediction::Clusters(clusters.iter().map(|&cluster| cluster as i64).collect()))
    }
}

fn fit_mixture(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let model = GaussianMixtureModel::params_with_rng(clusters(data, settings)?, random(settings))
        .max_n_iterations(settings.whole("iterations_max"))
        .n_runs(settings.whole("runs"))
        .tolerance(settings.number("tolerance"))
        .reg_covariance(settings.number("covariance_added"))
        .fit(&DatasetBase::from(array(&data.features)?))
        .map_err(refused)?;
    store(Mixture { model })
}

fn clusters(data: &DataSet, settings: &Settings) -> Result<usize, EngineError> {
    let (k, rows) = (settings.size("k"), data.features.rows());
    if k <= rows {
        return Ok(k);
    }
    Err(EngineError::invalid("k", format!("\"k\" is {k}, more than the {rows} rows to learn from.")))
}
