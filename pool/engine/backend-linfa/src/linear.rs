//! Linear, ridge, lasso and elastic-net regression, and logistic regression.

use crate::convert::{matrix, refused, with_classes, with_numbers};
use engine_core::EngineError;
use linfa::traits::Fit;
use linfa_elasticnet::ElasticNet;
use linfa_linear::LinearRegression;
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::Array1;
use training::{
    Algorithm, DataSet, Fitted, LinearClassifier, LinearModel, Matrix, Rule, Settings, Task, decode_stored, store,
};

const ALPHA: Rule = Rule::number("alpha", 1.0, 0.0, 1e6);
const ITERATIONS: Rule = Rule::whole("iterations_max", 1_000, 1, 100_000);
const TOLERANCE: Rule = Rule::number("tolerance", 1e-4, 1e-12, 1.0);

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let regression = |name, fit| Algorithm::new(name, Task::Regression, fit, decode_stored::<LinearModel>);
    vec![
        regression("linear-regression", fit_linear),
        regression("ridge-regression", |data, settings| fit_penalised(data, settings, 0.0))
            .with_rules([ALPHA, TOLERANCE, ITERATIONS]),
        regression("lasso", |data, settings| fit_penalised(data, settings, 1.0))
            .with_rules([ALPHA, TOLERANCE, ITERATIONS]),
        regression("elastic-net", |data, settings| fit_penalised(data, settings, settings.number("l1_ratio")))
            .with_rules([ALPHA, Rule::number("l1_ratio", 0.5, 0.0, 1.0), TOLERANCE, ITERATIONS]),
        Algorithm::new("logistic-regression", Task::Classification, fit_logistic, decode_stored::<LinearClassifier>)
            .standardized()
            .with_rules([ALPHA, TOLERANCE, Rule::whole("iterations_max", 100, 1, 100_000)]),
    ]
}

fn fit_linear(data: &DataSet, _settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let model = LinearRegression::default().fit(&with_numbers(data)?).map_err(refused)?;
    linear(model.params(), model.intercept())
}

/// The library's penalty is a mean over the rows; `alpha` of ridge and elastic net means the same in all of them here.
fn fit_penalised(data: &DataSet, settings: &Settings, l1_ratio: f64) -> Result<Box<dyn Fitted>, EngineError> {
    let model = ElasticNet::<f64>::params()
        .penalty(settings.number("alpha"))
        .l1_ratio(l1_ratio)
        .tolerance(settings.number("tolerance"))
        .max_iterations(settings.whole("iterations_max") as u32)
        .fit(&with_numbers(data)?)
        .map_err(refused)?;
    linear(model.hyperplane(), model.intercept())
}

fn fit_logistic(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    if data.labels().len() == 2 { fit_two_classes(data, settings) } else { fit_many_classes(data, settings) }
}

fn fit_two_classes(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let model = LogisticRegression::<f64>::default()
        .alpha(settings.number("alpha"))
        .max_iterations(settings.whole("iterations_max"))
        .gradient_tolerance(settings.number("tolerance"))
        .fit(&with_classes(data)?)
        .map_err(refused)?;
    // The library's score speaks for the class that it calls positive; ours for the second.
    let sign = if model.labels().pos.class == 1 { 1.0 } else { -1.0 };
    let coefficients = model.params().iter().map(|value| sign * value).collect();
    let coefficients = Matrix { columns: data.features.columns, values: coefficients };
    store(LinearClassifier { coefficients, intercepts: vec![sign * model.intercept()] })
}

fn fit_many_classes(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let model = MultiLogisticRegression::<f64>::default()
        .alpha(settings.number("alpha"))
        .max_iterations(settings.whole("iterations_max"))
        .gradient_tolerance(settings.number("tolerance"))
        .fit(&with_classes(data)?)
        .map_err(refused)?;
    store(LinearClassifier { coefficients: matrix(&model.params().t()), intercepts: model.intercept().to_vec() })
}

fn linear(coefficients: &Array1<f64>, intercept: f64) -> Result<Box<dyn Fitted>, EngineError> {
    store(LinearModel { coefficients: coefficients.to_vec(), intercept })
}
