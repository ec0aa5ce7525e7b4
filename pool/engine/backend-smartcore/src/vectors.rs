//! Support vector machines. The library finds the vectors; it cannot load what it saved, since its models borrow their
//! parameters. So what it found is taken out of its own serialised form, and the sum over the vectors is computed here with
//! its kernels.

use crate::convert::{dense, refused};
use engine_core::{EngineError, Reason};
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::svm::svc::{SVC, SVCParameters};
use smartcore::svm::svr::{SVR, SVRParameters};
use smartcore::svm::{Kernel, Kernels};
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

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
        Algorithm::new("support-vector-machine", Task::Classification, fit_classifier, decode_stored::<Classifier>)
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

/// One machine for each pair of classes; the class with most votes wins, and of equals the first.
#[derive(Serialize, Deserialize)]
struct Classifier {
    class_count: usize,
    duels: Vec<Duel>,
}

#[derive(Serialize, Deserialize)]
struct Duel {
    /// Wins where the machine's value is 0 or less.
    first: usize,
    /// Wins where it is over 0.
    second: usize,
    machine: Machine,
}

impl Predict for Classifier {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let mut votes = vec![vec![0_usize; self.class_count]; rows.rows()];
        for duel in &self.duels {
            for (votes, value) in votes.iter_mut().zip(duel.machine.values(rows)?) {
                votes[if value > 0.0 { duel.second } else { duel.first }] += 1;
            }
        }
        let winner = |votes: &Vec<usize>| {
            let most = votes.iter().max().copied().unwrap_or(0);
            votes.iter().position(|count| *count == most).unwrap_or(0)
        };
        Ok(Prediction::Classes { indices: votes.iter().map(winner).collect(), probabilities: None })
    }
}

fn fit_classifier(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let class_count = data.labels().len();
    let pairs = (0..class_count).flat_map(|first| (first + 1..class_count).map(move |second| (first, second)));
    let duels = pairs.map(|(first, second)| fit_duel(data, settings, first, second)).collect::<Result<_, _>>()?;
    store(Classifier { class_count, duels })
}

fn fit_duel(data: &DataSet, settings: &Settings, first: usize, second: usize) -> Result<Duel, EngineError> {
    let indices: Vec<usize> = (0..data.features.rows())
        .filter(|&row| data.classes()[row] == first || data.classes()[row] == second)
        .collect();
    let features = dense(&data.features.select(&indices))?;
    let labels: Vec<i32> = indices.iter().map(|&row| if data.classes()[row] == second { 1 } else { 0 }).collect();
    let kernel = kernel(data, settings);
    let parameters = SVCParameters::<f64, i32, Table, Vec<i32>>::default()
        .with_c(settings.number("c"))
        .with_tol(settings.number("tolerance"))
        .with_epoch(settings.size("epochs"))
        .with_seed(Some(settings.whole("seed")))
        .with_kernel(kernel.clone());
    let model = SVC::fit(&features, &labels, &parameters).map_err(refused)?;
    Ok(Duel { first, second, machine: Machine::take(&model, kernel)? })
}

fn fit_regressor(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let (features, numbers) = (dense(&data.features)?, data.numbers().to_vec());
    let kernel = kernel(data, settings);
    let parameters = SVRParameters::<f64>::default()
        .with_c(settings.number("c"))
        .with_tol(settings.number("tolerance"))
        .with_eps(settings.number("epsilon"))
        .with_kernel(kernel.clone());
    let model = SVR::fit(&features, &numbers, &parameters).map_err(refused)?;
    store(Machine::take(&model, kernel)?)
}

fn kernel(data: &DataSet, settings: &Settings) -> Kernels {
    let gamma = match settings.number("gamma") {
        0.0 => 1.0 / data.features.columns as f64,
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
