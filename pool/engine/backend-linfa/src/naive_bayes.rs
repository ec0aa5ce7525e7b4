//! Naive Bayes of normal distributions.

use crate::convert::{refused, with_classes};
use engine_core::{EngineError, Reason};
use linfa::traits::Fit;
use linfa_bayes::GaussianNb;
use ndarray::Array1;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use training::{Algorithm, DataSet, Fitted, GaussianBayes, Matrix, Rule, Settings, Task, decode_stored, store};

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let smoothing = Rule::number("variance_smoothing", 1e-9, 0.0, 1.0);
    vec![
        Algorithm::new("naive-bayes", Task::Classification, fit, decode_stored::<GaussianBayes>)
            .with_rules([smoothing]),
    ]
}

/// What the library's model serialises to: it has no other way to its distributions, which are needed for probabilities.
#[derive(Deserialize)]
struct Found {
    class_info: BTreeMap<usize, FoundClass>,
}

#[derive(Deserialize)]
struct FoundClass {
    prior: f64,
    theta: Array1<f64>,
    sigma: Array1<f64>,
}

fn fit(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let model = GaussianNb::<f64, usize>::params()
        .var_smoothing(settings.number("variance_smoothing"))
        .fit(&with_classes(data)?)
        .map_err(refused)?;
    let classes: Vec<FoundClass> = take(&model)?.class_info.into_values().collect();
    let rows = |column: fn(&FoundClass) -> &Array1<f64>| {
        let values = classes.iter().flat_map(|class| column(class).iter().copied()).collect();
        Matrix { columns: data.features.columns, values }
    };
    let priors = classes.iter().map(|class| class.prior).collect();
    store(GaussianBayes::new(priors, rows(|class| &class.theta), rows(|class| &class.sigma)))
}

fn take(model: &impl Serialize) -> Result<Found, EngineError> {
    serde_json::to_string(model)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|error| EngineError::new(Reason::Internal, format!("Linfa's distributions are unreadable: {error}.")))
}
