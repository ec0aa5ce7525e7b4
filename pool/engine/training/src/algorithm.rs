//! One entry of a backend's table, and what it fits.

use crate::data::DataSet;
use crate::matrix::Matrix;
use crate::settings::{Rule, Settings};
use engine_core::{CallContext, EngineError, Reason};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a row becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A number.
    Regression,
    /// A class.
    Classification,
    /// A cluster, found without targets.
    Clustering,
    /// A row of other numbers, found without targets.
    Transformation,
}

impl Task {
    /// Whether targets are needed.
    pub fn is_supervised(self) -> bool {
        matches!(self, Self::Regression | Self::Classification)
    }
}

/// An algorithm that a backend trains.
pub struct Algorithm {
    /// As requests name it.
    pub name: &'static str,
    /// What it predicts.
    pub task: Task,
    /// Rows of a training, at most: the bound of those whose time grows with the square of the rows.
    pub rows_max: usize,
    /// Default of the parameter `standardize`, which all algorithms take.
    pub standardize: bool,
    /// Its own parameters.
    pub rules: Vec<Rule>,
    /// Fits it.
    pub fit: Fit,
    /// Reads back what [`Fitted::encode`] wrote. The bytes are whole, but may have been written by anybody.
    pub decode: Decode,
}

/// Fits an algorithm. Either kind runs on a thread that nobody has to wait for; see [`fits`](crate::fits).
#[derive(Clone, Copy)]
pub enum Fit {
    /// By one call of a library, which nothing ends early.
    Whole(WholeFit),
    /// In steps, between which it ends with an error where the call is over.
    Steps(StepFit),
}

/// See [`Fit::Whole`].
pub type WholeFit = fn(&DataSet, &Settings) -> Result<Box<dyn Fitted>, EngineError>;
/// See [`Fit::Steps`].
pub type StepFit = fn(&DataSet, &Settings, &CallContext) -> Result<Box<dyn Fitted>, EngineError>;

impl Fit {
    /// Fits to `data` on behalf of `call`.
    pub fn run(self, data: &DataSet, settings: &Settings, call: &CallContext) -> Result<Box<dyn Fitted>, EngineError> {
        match self {
            Self::Whole(fit) => fit(data, settings),
            Self::Steps(fit) => fit(data, settings, call),
        }
    }
}

/// Reads back what [`Fitted::encode`] wrote.
pub type Decode = fn(&[u8]) -> Result<Box<dyn Fitted>, EngineError>;

/// Rows of a training, at most, where its time grows with the rows alone.
pub const ROWS_MAX: usize = 10_000_000;
/// Rows of a training, at most, where its time grows with the square of the rows.
pub const ROWS_MAX_SQUARE: usize = 20_000;

impl Algorithm {
    /// An algorithm without parameters of its own that is fitted by one call of a library.
    pub fn new(name: &'static str, task: Task, fit: WholeFit, decode: Decode) -> Self {
        Self::of(name, task, Fit::Whole(fit), decode)
    }

    /// An algorithm without parameters of its own that is fitted in steps.
    pub fn in_steps(name: &'static str, task: Task, fit: StepFit, decode: Decode) -> Self {
        Self::of(name, task, Fit::Steps(fit), decode)
    }

    fn of(name: &'static str, task: Task, fit: Fit, decode: Decode) -> Self {
        Self { name, task, rows_max: ROWS_MAX, standardize: false, rules: Vec::new(), fit, decode }
    }

    /// Takes these parameters.
    pub fn with_rules(mut self, rules: impl Into<Vec<Rule>>) -> Self {
        self.rules = rules.into();
        self
    }

    /// Brings the columns to mean 0 and deviation 1, unless it is told not to.
    pub fn standardized(mut self) -> Self {
        self.standardize = true;
        self
    }

    /// Takes time with the square of the rows.
    pub fn of_square_time(mut self) -> Self {
        self.rows_max = ROWS_MAX_SQUARE;
        self
    }
}

/// What a model says of some rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// A number a row.
    Numbers(Vec<f64>),
    /// A class a row, as an index, and where the algorithm knows them the probabilities of all classes.
    Classes {
        /// The likeliest class of each row.
        indices: Vec<usize>,
        /// A row of probabilities each.
        probabilities: Option<Matrix>,
    },
    /// A cluster a row; negative: none.
    Clusters(Vec<i64>),
    /// Other numbers.
    Transformed(Matrix),
}

impl Prediction {
    /// Classes from their probabilities.
    pub fn from_probabilities(probabilities: Matrix) -> Self {
        let likeliest = |row: &[f64]| {
            row.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1)).map_or(0, |(index, _)| index)
        };
        let indices = probabilities.each_row().map(likeliest).collect();
        Self::Classes { indices, probabilities: Some(probabilities) }
    }

    /// Classes from scores a class, by softmax.
    pub fn from_scores(mut scores: Matrix) -> Self {
        for row in scores.values.chunks_exact_mut(scores.columns) {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|score| *score = (*score - most).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|score| *score /= sum);
        }
        Self::from_probabilities(scores)
    }

    /// Two classes from the probabilities of the second.
    pub fn from_second_class(probabilities: impl Iterator<Item = f64>) -> Self {
        let values = probabilities.flat_map(|second| [1.0 - second, second]).collect();
        Self::from_probabilities(Matrix { columns: 2, values })
    }
}

/// Predicts.
pub trait Predict {
    /// What becomes of `rows`, which have as many columns as the training had.
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError>;
}

/// A trained model.
pub trait Fitted: Predict + Send + Sync {
    /// As bytes that the algorithm's `decode` reads.
    fn encode(&self) -> Result<Vec<u8>, EngineError>;
}

/// A trained model that serde can write.
pub struct Stored<T>(pub T);

impl<T: Predict> Predict for Stored<T> {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        self.0.predict(rows)
    }
}

impl<T: Predict + Serialize + Send + Sync> Fitted for Stored<T> {
    fn encode(&self) -> Result<Vec<u8>, EngineError> {
        rmp_serde::to_vec_named(&self.0).map_err(|error| {
            EngineError::new(Reason::Internal, format!("The trained model cannot be written: {error}."))
        })
    }
}

/// Boxes what an algorithm fitted.
pub fn store<T: Predict + Serialize + Send + Sync + 'static>(model: T) -> Result<Box<dyn Fitted>, EngineError> {
    Ok(Box::new(Stored(model)))
}

/// Reads what [`Stored`] wrote (MessagePack, fields by name).
pub fn decode_stored<T>(bytes: &[u8]) -> Result<Box<dyn Fitted>, EngineError>
where
    T: Predict + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let model: T = rmp_serde::from_slice(bytes).map_err(|error| {
        EngineError::new(Reason::ModelNotReady, format!("The trained model cannot be read: {error}."))
    })?;
    store(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_probabilities_without_overflow() {
        let scores = Matrix { columns: 2, values: vec![1000.0, 999.0, -1.0, 1.0] };
        let Prediction::Classes { indices, probabilities: Some(probabilities) } = Prediction::from_scores(scores)
        else {
            panic!("classes were expected")
        };
        assert_eq!(indices, [0, 1]);
        assert!(probabilities.each_row().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }
}
