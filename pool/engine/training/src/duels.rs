//! Many classes by machines that know only two: one machine for each pair, one vote each (Hastie, Tibshirani 1998).

use crate::algorithm::{Predict, Prediction};
use crate::data::DataSet;
use crate::matrix::Matrix;
use engine_core::{CallContext, EngineError};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A machine that knows two classes.
pub trait Decide {
    /// Whether each row is of the second class.
    fn decide(&self, rows: &Matrix) -> Result<Vec<bool>, EngineError>;
}

/// The class with most votes wins, and of equals the first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Duels<M> {
    class_count: usize,
    duels: Vec<Duel<M>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Duel<M> {
    first: usize,
    second: usize,
    machine: M,
}

impl<M> Duels<M> {
    /// Fits a machine for each pair, while `call` is not over; `fit` gets their rows, and whether each is of the second class.
    pub fn fit(
        data: &DataSet,
        call: &CallContext,
        fit: impl Fn(Matrix, Vec<bool>) -> Result<M, EngineError>,
    ) -> Result<Self, EngineError> {
        let class_count = data.labels().len();
        let classes = data.classes();
        let duel = |(first, second)| {
            call.check(Instant::now())?;
            let among = |&row: &usize| classes[row] == first || classes[row] == second;
            let rows: Vec<usize> = (0..classes.len()).filter(among).collect();
            let sides = rows.iter().map(|&row| classes[row] == second).collect();
            let machine = fit(data.features.select(&rows), sides)?;
            Ok(Duel { first, second, machine })
        };
        let pairs = (0..class_count).flat_map(|first| (first + 1..class_count).map(move |second| (first, second)));
        Ok(Self { class_count, duels: pairs.map(duel).collect::<Result<_, EngineError>>()? })
    }
}

impl<M: Decide> Predict for Duels<M> {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let mut votes = vec![vec![0_usize; self.class_count]; rows.rows()];
        for duel in &self.duels {
            for (votes, second) in votes.iter_mut().zip(duel.machine.decide(rows)?) {
                votes[if second { duel.second } else { duel.first }] += 1;
            }
        }
        let winner = |votes: &Vec<usize>| {
            let most = votes.iter().max().copied().unwrap_or(0);
            votes.iter().position(|count| *count == most).unwrap_or(0)
        };
        Ok(Prediction::Classes { indices: votes.iter().map(winner).collect(), probabilities: None })
    }
}
