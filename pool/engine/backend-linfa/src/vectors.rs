//! Support vector machines.

use crate::convert::{array, refused, with_numbers};
use engine_core::{CallContext, EngineError};
use linfa::dataset::Dataset;
use linfa::traits::{Fit, Predict as _};
use linfa_svm::{Svm, SvmParams};
use ndarray::Array1;
use serde::{Deserialize, Serialize};
use training::{
    Algorithm, DataSet, Decide, Duels, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store,
};

const KERNEL: Rule = Rule::choice("kernel", &["rbf", "linear", "polynomial"]);
/// 0: one divided by the columns.
const GAMMA: Rule = Rule::number("gamma", 0.0, 0.0, 1e6);
const DEGREE: Rule = Rule::number("degree", 3.0, 1.0, 10.0);
const COEFFICIENT: Rule = Rule::number("coef0", 1.0, -1e6, 1e6);
const COST: Rule = Rule::number("c", 1.0, 1e-6, 1e6);
const TOLERANCE: Rule = Rule::number("tolerance", 1e-3, 1e-9, 1.0);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let rules = [KERNEL, GAMMA, DEGREE, COEFFICIENT, COST, TOLERANCE];
    let epsilon = Rule::number("epsilon", 0.1, 1e-9, 1e6);
    vec![
        Algorithm::in_steps(
            "support-vector-machine",
            Task::Classification,
            fit_classifier,
            decode_stored::<Duels<Machine>>,
        )
        .standardized()
        .of_square_time()
        .with_rules(rules),
        Algorithm::new("support-vector-regression", Task::Regression, fit_regressor, decode_stored::<Regressor>)
            .standardized()
            .of_square_time()
            .with_rules([rules.as_slice(), &[epsilon]].concat()),
    ]
}

#[derive(Serialize, Deserialize)]
struct Machine {
    machine: Svm<f64, bool>,
}

impl Decide for Machine {
    fn decide(&self, rows: &Matrix) -> Result<Vec<bool>, EngineError> {
        let sides: Array1<bool> = self.machine.predict(&array(rows)?);
        Ok(sides.to_vec())
    }
}

fn fit_classifier(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    store(Duels::fit(data, call, |features, sides| {
        let cost = settings.number("c");
        let parameters =
            with_kernel(Svm::<f64, bool>::params(), features.columns, settings).pos_neg_weights(cost, cost);
        let data = Dataset::new(array(&features)?, Array1::from(sides));
        Ok(Machine { machine: parameters.fit(&data).map_err(refused)? })
    })?)
}

#[derive(Serialize, Deserialize)]
struct Regressor {
    machine: Svm<f64, f64>,
}

impl Predict for Regressor {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let numbers: Array1<f64> = self.machine.predict(&array(rows)?);
        Ok(Prediction::Numbers(numbers.to_vec()))
    }
}

fn fit_regressor(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = with_kernel(Svm::<f64, f64>::params(), data.features.columns, settings)
        .c_svr(settings.number("c"), Some(settings.number("epsilon")));
    store(Regressor { machine: parameters.fit(&with_numbers(data)?).map_err(refused)? })
}

/// The library's normal kernel has the width below the line: exp(-‖x - y‖² / width).
fn with_kernel<T>(parameters: SvmParams<f64, T>, columns: usize, settings: &Settings) -> SvmParams<f64, T> {
    let width = match settings.number("gamma") {
        0.0 => columns as f64,
        gamma => 1.0 / gamma,
    };
    let parameters = parameters.eps(settings.number("tolerance"));
    match settings.choice("kernel") {
        "linear" => parameters.linear_kernel(),
        "polynomial" => parameters.polynomial_kernel(settings.number("coef0"), settings.number("degree")),
        _ => parameters.gaussian_kernel(width),
    }
}
