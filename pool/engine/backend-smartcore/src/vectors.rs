//! Support vector machines. The library finds the vectors; it cannot load what it saved, since its models borrow their
//! parameters. So what it found is taken out of its own serialised form, and the sum over the vectors is computed here with
//! its kernels.

use crate::convert::{dense, refused};
use engine_core::{CallContext, EngineError, Reason};
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::svm::svc::{SVC, SVCParameters};
use smartcore::svm::svr::{SVR, SVRParameters};
use smartcore::svm::{Kernel, Kernels};
use training::{
    Algorithm, DataSet, Decide, Duels, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store,
};

type Table = DenseMatrix<f64>;

const KERNEL: Rule = Rule::choice("kernel", &["rbf", "linear", "polynomial", "sigmoid"]);
/// 0: one divided by the columns.
const GAMMA: Rule = Rule::number("gamma", 0.0, 0.0, 1e6);
const DEGREE: Rule = Rule::number("degree", 3.0, 1.0, 10.0);
const COEFFICIENT: Rule = Rule::number("coef0", 1.0, -1e6, 1e6);
const COST: Rule = Rule::number("c", 1.0, 1e-6, 1e6);
const TOLERANCE: Rule = Rule::number("tolerance", 1e-3, 1e-9, 1.0);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let rules = |last| [KERNEL, GAMMA, DEGREE, COEFFICIENT, COST, TOLERANCE, last];
    vec![
        Algorithm::in_steps(
            "support-vector-machine",
            Task::Classification,
            fit_classifier,
            decode_stored::<Duels<Machine>>,
        )
        .standardized()
        .of_square_time()
        .with_rules(rules(Rule::whole("epochs", 2, 1, 100))),
        Algorithm::new("support-vector-regression", Task::Regression, fit_regressor, decode_stored::<Machine>)
            .standardized()
            .of_square_time()
            .with_rules(rules(Rule::number("epsilon", 0.1, 0.0, 1e6))),
    ]
}

/// A weighted sum of kernels between a row and the vectors.
#[derive(Serialize, Deserialize)]
struct Machine {
    kernel: Kernels,
    instances: Vec<Vec<f64>>,
    #[serde(rename = "w")]
    weights: Vec<f64>,
    #[serde(rename = "b")]
    bias: f64,
}

/// What the library's models serialise to, besides what is of no use here.
#[derive(Deserialize)]
struct Found {
    instances: Vec<Vec<f64>>,
    w: Vec<f64>,
    b: f64,
}

impl Machine {
    fn take(model: &impl Serialize, kernel: Kernels) -> Result<Self, EngineError> {
        let found: Found = serde_json::to_value(model).and_then(serde_json::from_value).map_err(|error| {
            EngineError::new(Reason::Internal, format!("SmartCore's machine is unreadable: {error}."))
        })?;
        Ok(Self { kernel, instances: found.instances, weights: found.w, bias: found.b })
    }

    fn value(&self, row: &Vec<f64>) -> Result<f64, EngineError> {
        let mut sum = self.bias;
        for (instance, weight) in self.instances.iter().zip(&self.weights) {
            sum += weight * self.kernel.apply(row, instance).map_err(crate::convert::broken)?;
        }
        Ok(sum)
    }

    fn values(&self, rows: &Matrix) -> Result<Vec<f64>, EngineError> {
        rows.each_row().map(|row| self.value(&row.to_vec())).collect()
    }
}

impl Predict for Machine {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.values(rows).map(Prediction::Numbers)
    }
}

impl Decide for Machine {
    fn decide(&self, rows: &Matrix) -> Result<Vec<bool>, EngineError> {
        Ok(self.values(rows)?.into_iter().map(|value| value > 0.0).collect())
    }
}

fn fit_classifier(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    store(Duels::fit(data, call, |features, sides| fit_machine(&features, &sides, settings))?)
}

fn fit_machine(features: &Matrix, sides: &[bool], settings: &Settings) -> Result<Machine, EngineError> {
    let labels: Vec<i32> = sides.iter().map(|&second| i32::from(second)).collect();
    let kernel = kernel(features.columns, settings);
    let parameters = SVCParameters::<f64, i32, Table, Vec<i32>>::default()
        .with_c(settings.number("c"))
        .with_tol(settings.number("tolerance"))
        .with_epoch(settings.size("epochs"))
        .with_seed(Some(settings.whole("seed")))
        .with_kernel(kernel.clone());
    let table = dense(features)?;
    let model = SVC::fit(&table, &labels, &parameters).map_err(refused)?;
    Machine::take(&model, kernel)
}

fn fit_regressor(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let (features, numbers) = (dense(&data.features)?, data.numbers().to_vec());
    let kernel = kernel(data.features.columns, settings);
    let parameters = SVRParameters::<f64>::default()
        .with_c(settings.number("c"))
        .with_tol(settings.number("tolerance"))
        .with_eps(settings.number("epsilon"))
        .with_kernel(kernel.clone());
    let model = SVR::fit(&features, &numbers, &parameters).map_err(refused)?;
    store(Machine::take(&model, kernel)?)
}

fn kernel(columns: usize, settings: &Settings) -> Kernels {
    let gamma = match settings.number("gamma") {
        0.0 => 1.0 / columns as f64,
        gamma => gamma,
    };
    let coefficient = settings.number("coef0");
    match settings.choice("kernel") {
        "linear" => Kernels::linear(),
        "polynomial" => {
            Kernels::polynomial().with_degree(settings.number("degree")).with_gamma(gamma).with_coef0(coefficient)
        }
        "sigmoid" => Kernels::sigmoid().with_gamma(gamma).with_coef0(coefficient),
        _ => Kernels::rbf().with_gamma(gamma),
    }
}
