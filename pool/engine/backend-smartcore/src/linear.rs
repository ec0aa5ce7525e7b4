//! Linear, ridge, lasso and elastic-net regression, and logistic regression.

use crate::convert::{dense, labels, matrix, refused};
use engine_core::EngineError;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::elastic_net::{ElasticNet, ElasticNetParameters};
use smartcore::linear::lasso::{Lasso, LassoParameters};
use smartcore::linear::linear_regression::{LinearRegression, LinearRegressionParameters, LinearRegressionSolverName};
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};
use smartcore::linear::ridge_regression::{RidgeRegression, RidgeRegressionParameters, RidgeRegressionSolverName};
use training::{Algorithm, DataSet, Fitted, LinearClassifier, LinearModel, Rule, Settings, Task, decode_stored, store};

type Numbers = Vec<f64>;
type Table = DenseMatrix<f64>;

const SWEEPS: Rule = Rule::whole("iterations_max", 1_000, 1, 100_000);
const TOLERANCE: Rule = Rule::number("tolerance", 1e-4, 1e-12, 1.0);
const ALPHA: Rule = Rule::number("alpha", 1.0, 0.0, 1e6);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let regression = |name, fit| Algorithm::new(name, Task::Regression, fit, decode_stored::<LinearModel>);
    vec![
        regression("linear-regression", fit_linear).with_rules([Rule::choice("solver", &["svd", "qr"])]),
        regression("ridge-regression", fit_ridge).with_rules([ALPHA, Rule::choice("solver", &["cholesky", "svd"])]),
        regression("lasso", fit_lasso).with_rules([ALPHA, TOLERANCE, SWEEPS]),
        regression("elastic-net", fit_elastic_net).with_rules([
            ALPHA,
            Rule::number("l1_ratio", 0.5, 0.0, 1.0),
            TOLERANCE,
            SWEEPS,
        ]),
        Algorithm::new("logistic-regression", Task::Classification, fit_logistic, decode_stored::<LinearClassifier>)
            .standardized()
            .with_rules([Rule::number("alpha", 0.0, 0.0, 1e6)]),
    ]
}

fn fit_linear(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let solver = match settings.choice("solver") {
        "qr" => LinearRegressionSolverName::QR,
        _ => LinearRegressionSolverName::SVD,
    };
    let parameters = LinearRegressionParameters { solver };
    let model = LinearRegression::<f64, f64, Table, Numbers>::fit(&dense(&data.features)?, &numbers(data), parameters)
        .map_err(refused)?;
    linear(model.coefficients(), *model.intercept())
}

/// The library's own scaling is always on here: without it, it fits no intercept.
fn fit_ridge(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let solver = match settings.choice("solver") {
        "svd" => RidgeRegressionSolverName::SVD,
        _ => RidgeRegressionSolverName::Cholesky,
    };
    let parameters = RidgeRegressionParameters { solver, alpha: settings.number("alpha"), normalize: true };
    let model = RidgeRegression::<f64, f64, Table, Numbers>::fit(&dense(&data.features)?, &numbers(data), parameters)
        .map_err(refused)?;
    linear(model.coefficients(), *model.intercept())
}

fn fit_lasso(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = LassoParameters::default()
        .with_alpha(settings.number("alpha"))
        .with_tol(settings.number("tolerance"))
        .with_max_iter(settings.size("iterations_max"));
    let model =
        Lasso::<f64, f64, Table, Numbers>::fit(&dense(&data.features)?, &numbers(data), parameters).map_err(refused)?;
    linear(model.coefficients(), *model.intercept())
}

fn fit_elastic_net(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = ElasticNetParameters::default()
        .with_alpha(settings.number("alpha"))
        .with_l1_ratio(settings.number("l1_ratio"))
        .with_tol(settings.number("tolerance"))
        .with_max_iter(settings.size("iterations_max"));
    let model = ElasticNet::<f64, f64, Table, Numbers>::fit(&dense(&data.features)?, &numbers(data), parameters)
        .map_err(refused)?;
    linear(model.coefficients(), *model.intercept())
}

fn fit_logistic(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let parameters = LogisticRegressionParameters::default().with_alpha(settings.number("alpha"));
    let model =
        LogisticRegression::<f64, u32, Table, Vec<u32>>::fit(&dense(&data.features)?, &labels(data), parameters)
            .map_err(refused)?;
    store(LinearClassifier { coefficients: matrix(model.coefficients()), intercepts: matrix(model.intercept()).values })
}

fn numbers(data: &DataSet) -> Numbers {
    data.numbers().to_vec()
}

fn linear(coefficients: &Table, intercept: f64) -> Result<Box<dyn Fitted>, EngineError> {
    store(LinearModel { coefficients: matrix(coefficients).values, intercept })
}
