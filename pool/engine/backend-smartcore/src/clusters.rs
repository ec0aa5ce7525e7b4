//! k-means and DBSCAN.

use crate::convert::{broken, dense, refused};
use engine_core::EngineError;
use serde::{Deserialize, Serialize};
use smartcore::cluster::dbscan::{DBSCAN, DBSCANParameters};
use smartcore::cluster::kmeans::{KMeans, KMeansParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::metrics::distance::euclidian::Euclidian;
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

type Table = DenseMatrix<f64>;

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::new("k-means", Task::Clustering, fit_means, decode_stored::<Means>)
            .with_rules([Rule::whole("k", 8, 2, 10_000), Rule::whole("iterations_max", 100, 1, 10_000)]),
        Algorithm::new("dbscan", Task::Clustering, fit_density, decode_stored::<Density>)
            .of_square_time()
            .with_rules([Rule::number("radius", 0.5, 1e-12, 1e12), Rule::whole("neighbours_min", 5, 1, 100_000)]),
    ]
}

#[derive(Serialize, Deserialize)]
struct Means {
    model: KMeans<f64, i64, Table, Vec<i64>>,
}

impl Predict for Means {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.model.predict(&dense(rows)?).map(Prediction::Clusters).map_err(broken)
    }
}

fn fit_means(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let (k, rows) = (settings.size("k"), data.features.rows());
    if k > rows {
        return Err(EngineError::invalid("k", format!("\"k\" is {k}, more than the {rows} rows to learn from.")));
    }
    let parameters =
        KMeansParameters { k, max_iter: settings.size("iterations_max"), seed: Some(settings.whole("seed")) };
    store(Means { model: KMeans::fit(&dense(&data.features)?, parameters).map_err(refused)? })
}

#[derive(Serialize, Deserialize)]
struct Density {
    model: DBSCAN<f64, i64, Table, Vec<i64>, Euclidian<f64>>,
}

impl Predict for Density {
    /// A row belongs to the cluster that most of the training's rows within the radius belong to. The library counts
    /// clusters from 1 and calls noise 0; here noise is -1, as with other algorithms.
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let clusters = self.model.predict(&dense(rows)?).map_err(broken)?;
        Ok(Prediction::Clusters(clusters.into_iter().map(|cluster| cluster - 1).collect()))
    }
}

fn fit_density(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = DBSCANParameters::default()
        .with_eps(settings.number("radius"))
        .with_min_samples(settings.size("neighbours_min"));
    store(Density { model: DBSCAN::fit(&dense(&data.features)?, parameters).map_err(refused)? })
}
