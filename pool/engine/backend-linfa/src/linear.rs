//! Linear, ridge, lasso and elastic-net regression, and logistic regression.

use crate::convert::{matrix, refused, with_classes, with_numbers};
use engine_core::{CallContext, EngineError};
use linfa::traits::Fit;
use linfa_elasticnet::ElasticNet;
use linfa_linear::LinearRegression;
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::{Array, Array1, Array2, Axis, Dimension, concatenate};
use std::time::Instant;
use training::{
    Algorithm, DataSet, Fitted, LinearClassifier, LinearModel, Matrix, Rule, Settings, Task, decode_stored, store,
};

const ALPHA: Rule = Rule::number("alpha", 1.0, 0.0, 1e6);
const ITERATIONS: Rule = Rule::whole("iterations_max", 1_000, 1, 100_000);
const TOLERANCE: Rule = Rule::number("tolerance", 1e-4, 1e-12, 1.0);
/// Iterations of logistic regression between two looks at the call; see [`in_rounds`].
const ROUND_ITERATIONS: u64 = 25;
/// Coefficients that a round changes by no more than this are the same.
const SAME: f64 = 1e-6;

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
        Algorithm::in_steps(
            "logistic-regression",
            Task::Classification,
            fit_logistic,
            decode_stored::<LinearClassifier>,
        )
        .standardized()
        .with_rules([ALPHA, TOLERANCE, ITERATIONS]),
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

fn fit_logistic(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    if data.labels().len() == 2 {
        fit_two_classes(data, settings, call)
    } else {
        fit_many_classes(data, settings, call)
    }
}

fn fit_two_classes(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    let rows = with_classes(data)?;
    let parameters = LogisticRegression::<f64>::default()
        .alpha(settings.number("alpha"))
        .gradient_tolerance(settings.number("tolerance"));
    let mut sign = 1.0;
    let found = in_rounds(settings, call, |start: Option<Array1<f64>>, iterations| {
        let parameters = parameters.clone().max_iterations(iterations);
        let model = match start {
            Some(start) => parameters.initial_params(start),
            None => parameters,
        }
        .fit(&rows)
        .map_err(refused)?;
        // The library's score speaks for the class that it calls positive; ours for the second.
        sign = if model.labels().pos.class == 1 { 1.0 } else { -1.0 };
        Ok(model.params().iter().copied().chain([model.intercept()]).collect())
    })?;
    let (columns, mut coefficients) = (data.features.columns, (found * sign).to_vec());
    let intercepts = coefficients.split_off(columns);
    store(LinearClassifier { coefficients: Matrix { columns, values: coefficients }, intercepts })
}

fn fit_many_classes(data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
    let rows = with_classes(data)?;
    let parameters = MultiLogisticRegression::<f64>::default()
        .alpha(settings.number("alpha"))
        .gradient_tolerance(settings.number("tolerance"));
    let found = in_rounds(settings, call, |start: Option<Array2<f64>>, iterations| {
        let parameters = parameters.clone().max_iterations(iterations);
        let model = match start {
            Some(start) => parameters.initial_params(start),
            None => parameters,
        }
        .fit(&rows)
        .map_err(refused)?;
        concatenate(Axis(0), &[model.params().view(), model.intercept().view().insert_axis(Axis(0))]).map_err(refused)
    })?;
    let (coefficients, intercepts) = found.view().split_at(Axis(0), data.features.columns);
    store(LinearClassifier {
        coefficients: matrix(&coefficients.t()),
        intercepts: intercepts.iter().copied().collect(),
    })
}

/// Repeats a search from where its last round ended, until a round changes nothing or `iterations_max` are done. `round`
/// gets where to begin (nothing: the library's own start) and how many iterations to make.
///
/// The library's search ends without a word where its line search fails, which on columns that are almost constant is far
/// from the optimum: on `digits` at a loss of 559, where 92 is the least. A new round forgets the directions that led there.
/// It also is where a call that is over ends the fit.
fn in_rounds<D: Dimension>(
    settings: &Settings,
    call: &CallContext,
    mut round: impl FnMut(Option<Array<f64, D>>, u64) -> Result<Array<f64, D>, EngineError>,
) -> Result<Array<f64, D>, EngineError> {
    let mut left = settings.whole("iterations_max");
    let mut found = round(None, left.min(ROUND_ITERATIONS))?;
    left = left.saturating_sub(ROUND_ITERATIONS);
    while left > 0 {
        call.check(Instant::now())?;
        let next = round(Some(found.clone()), left.min(ROUND_ITERATIONS))?;
        left = left.saturating_sub(ROUND_ITERATIONS);
        if next.iter().zip(&found).all(|(next, found)| (next - found).abs() <= SAME) {
            return Ok(next);
        }
        found = next;
    }
    Ok(found)
}

fn linear(coefficients: &Array1<f64>, intercept: f64) -> Result<Box<dyn Fitted>, EngineError> {
    store(LinearModel { coefficients: coefficients.to_vec(), intercept })
}
