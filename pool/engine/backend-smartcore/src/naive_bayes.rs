//! Naive Bayes: of normal distributions, and of yes and no.

use crate::convert::{broken, classes, dense, labels, refused};
use engine_core::EngineError;
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::naive_bayes::bernoulli::{BernoulliNB, BernoulliNBParameters};
use smartcore::naive_bayes::gaussian::{GaussianNB, GaussianNBParameters};
use training::{
    Algorithm, DataSet, Fitted, GaussianBayes, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store,
};

type Table = DenseMatrix<f64>;

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::new("naive-bayes", Task::Classification, fit_gaussian, decode_stored::<GaussianBayes>),
        Algorithm::new("bernoulli-naive-bayes", Task::Classification, fit_bernoulli, decode_stored::<Bernoulli>)
            .with_rules([Rule::number("alpha", 1.0, 1e-10, 1e6), Rule::number("threshold", 0.0, -1e12, 1e12)]),
    ]
}

/// The library finds the distributions; what it says of rows is of no use where a column is constant within a class, since
/// it does not widen the distribution.
fn fit_gaussian(data: &DataSet, _settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = GaussianNBParameters::default();
    let model = GaussianNB::<f64, u32, Table, Vec<u32>>::fit(&dense(&data.features)?, &labels(data), parameters)
        .map_err(refused)?;
    let rows = |rows: &Vec<Vec<f64>>| Matrix { columns: data.features.columns, values: rows.concat() };
    store(GaussianBayes::new(model.class_priors().clone(), rows(model.theta()), rows(model.var())))
}

#[derive(Serialize, Deserialize)]
struct Bernoulli {
    model: BernoulliNB<f64, u32, Table, Vec<u32>>,
}

impl Predict for Bernoulli {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        Ok(classes(self.model.predict(&dense(rows)?).map_err(broken)?, None))
    }
}

fn fit_bernoulli(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = BernoulliNBParameters::default()
        .with_alpha(settings.number("alpha"))
        .with_binarize(settings.number("threshold"));
    let model = BernoulliNB::fit(&dense(&data.features)?, &labels(data), parameters).map_err(refused)?;
    store(Bernoulli { model })
}
