//! A network as a trained model, written and read.

use crate::learner::{matrix, rows};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Tensor};
use engine_core::{EngineError, Reason};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use training::{Fitted, Matrix, Predict, Prediction};

/// Rows that a network computes at once, at most: what lies between its layers stays within the processor's caches.
const ROWS_AT_ONCE: usize = 1_024;

/// A network whose weights can be kept apart from its shape.
pub trait Network: Module {
    /// What must be known to make it without weights.
    type Shape: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// Numbers that the weights of such a network are; nothing where they cannot be counted.
    fn weight_count(shape: &Self::Shape) -> Option<usize>;

    /// The network with weights of no meaning, which a record then replaces. Fails where the shape contradicts itself.
    fn empty(shape: &Self::Shape, device: &Device) -> Result<Self, EngineError>;

    /// A row of scores for each row.
    fn forward(&self, rows: Tensor<2>) -> Tensor<2>;
}

/// A trained network and how its scores are meant.
pub struct Saved<N: Network> {
    shape: N::Shape,
    meaning: Meaning,
    network: N,
    device: Device,
}

/// How scores are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Meaning {
    /// One score a class, by softmax.
    Classes,
    /// One score, which times `deviation` plus `mean` is the number.
    Number {
        /// Mean of the numbers learned from.
        mean: f64,
        /// Their deviation.
        deviation: f64,
    },
}

#[derive(Serialize, Deserialize)]
struct Body<S> {
    shape: S,
    meaning: Meaning,
    /// Burn's own format, burnpack.
    record: Vec<u8>,
}

impl<N: Network> Saved<N> {
    /// The trained `network`, from now on without gradients.
    pub fn new(shape: N::Shape, meaning: Meaning, network: &N) -> Self {
        Self { shape, meaning, network: network.valid(), device: Device::flex() }
    }

    /// Reads what [`Fitted::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let body: Body<N::Shape> = rmp_serde::from_slice(bytes).map_err(unreadable)?;
        // A shape that promises more weights than there are would cost their memory before it is found out.
        let bytes = N::weight_count(&body.shape).and_then(|count| count.checked_mul(size_of::<f32>()));
        if bytes.is_none_or(|bytes| bytes > body.record.len()) {
            return Err(unreadable("its shape has more weights than there are"));
        }
        let device = Device::flex();
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(body.record)).map_err(unreadable)?;
        let network = N::empty(&body.shape, &device)?.try_load_record(record).map_err(unreadable)?;
        Ok(Self { shape: body.shape, meaning: body.meaning, network: network.valid(), device })
    }

    fn scores(&self, rows_of_all: &Matrix) -> Result<Matrix, EngineError> {
        let mut scores = Matrix { columns: 1, values: Vec::new() };
        for values in rows_of_all.values.chunks(ROWS_AT_ONCE * rows_of_all.columns) {
            let part = Matrix { columns: rows_of_all.columns, values: values.to_vec() };
            let part = matrix(self.network.forward(rows(&part, &self.device)))?;
            scores.columns = part.columns;
            scores.values.extend(part.values);
        }
        Ok(scores)
    }
}

impl<N: Network> Predict for Saved<N> {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let scores = self.scores(rows)?;
        Ok(match self.meaning {
            Meaning::Classes => Prediction::from_scores(scores),
            Meaning::Number { mean, deviation } => {
                Prediction::Numbers(scores.values.into_iter().map(|score| score * deviation + mean).collect())
            }
        })
    }
}

impl<N: Network + Send + Sync> Fitted for Saved<N> {
    fn encode(&self) -> Result<Vec<u8>, EngineError> {
        let failed =
            |error: String| EngineError::new(Reason::Internal, format!("The network cannot be written: {error}."));
        let record = self.network.clone().into_record().into_bytes().map_err(|error| failed(error.to_string()))?;
        let body = Body { shape: self.shape.clone(), meaning: self.meaning.clone(), record: record.to_vec() };
        rmp_serde::to_vec_named(&body).map_err(|error| failed(error.to_string()))
    }
}

fn unreadable(error: impl std::fmt::Display) -> EngineError {
    EngineError::new(Reason::ModelNotReady, format!("The trained network cannot be read: {error}."))
}
