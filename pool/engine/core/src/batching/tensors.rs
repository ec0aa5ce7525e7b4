//! Tensors of several calls, one below the other along the first dimension.

use super::BatchWork;
use crate::backend::Model;
use crate::call::CallContext;
use crate::error::{EngineError, Reason};
use crate::tensor::{DataType, Tensor, TensorView};
use contract::v1::Parameter;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs a tensor model.
pub struct TensorWork {
    model: Arc<dyn Model>,
    /// The model gave an output without the inputs' first dimension; to put calls together is of no use with it.
    indivisible: AtomicBool,
}

/// What one call brings.
pub struct TensorInput {
    inputs: Vec<Tensor>,
    parameters: BTreeMap<String, Parameter>,
    rows: usize,
}

impl TensorInput {
    /// A copy of a call's inputs.
    pub fn new(inputs: &[TensorView<'_>], parameters: &BTreeMap<String, Parameter>) -> Self {
        let copy = |input: &TensorView<'_>| Tensor {
            name: input.name.to_owned(),
            data_type: input.data_type,
            shape: input.shape.to_vec(),
            data: input.data.to_vec().into(),
        };
        let rows = rows(inputs).unwrap_or(0);
        Self { inputs: inputs.iter().map(copy).collect(), parameters: parameters.clone(), rows }
    }
}

/// Rows of a call's inputs: their first dimension, if there is one and it is the same in all.
pub fn rows(inputs: &[TensorView<'_>]) -> Option<usize> {
    let first = |input: &TensorView<'_>| input.shape.first().copied();
    let rows = inputs.first().and_then(first).filter(|rows| *rows > 0)?;
    let same = inputs.iter().all(|input| first(input) == Some(rows));
    usize::try_from(rows).ok().filter(|_| same)
}

impl TensorWork {
    /// Runs this model.
    pub fn new(model: Arc<dyn Model>) -> Self {
        Self { model, indivisible: AtomicBool::new(false) }
    }
}

impl BatchWork for TensorWork {
    type Input = TensorInput;
    type Output = Vec<Tensor>;

    /// The same inputs but for the first dimension, and the same parameters.
    fn fits(&self, left: &TensorInput, right: &TensorInput) -> bool {
        let alike = |(one, other): (&Tensor, &Tensor)| {
            one.name == other.name && one.data_type == other.data_type && one.shape.get(1..) == other.shape.get(1..)
        };
        left.rows > 0
            && right.rows > 0
            && left.inputs.len() == right.inputs.len()
            && left.inputs.iter().zip(&right.inputs).all(alike)
            && left.parameters == right.parameters
            && !self.indivisible.load(Ordering::Relaxed)
    }

    fn run_one(&self, call: &CallContext, input: &TensorInput) -> Result<Vec<Tensor>, EngineError> {
        let views: Vec<_> = input.inputs.iter().map(Tensor::view).collect();
        self.model.infer(call, &views, &input.parameters)
    }

    fn run_many(
        &self,
        batch: &CallContext,
        calls: &[(&CallContext, &TensorInput)],
    ) -> Result<Vec<Vec<Tensor>>, EngineError> {
        let Some((_, first)) = calls.first() else { return Ok(Vec::new()) };
        let total = calls.iter().map(|(_, input)| input.rows).sum();
        let stacked: Vec<_> = (0..first.inputs.len()).map(|index| stack(calls, index, total)).collect();
        let views: Vec<_> = stacked.iter().map(Tensor::view).collect();
        let outputs = self.model.infer(batch, &views, &first.parameters)?;
        let mut answers: Vec<Vec<Tensor>> = calls.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
        for output in &outputs {
            let parts =
                unstack(calls, output, total).inspect_err(|_| self.indivisible.store(true, Ordering::Relaxed))?;
            answers.iter_mut().zip(parts).for_each(|(answer, part)| answer.push(part));
        }
        Ok(answers)
    }
}

/// Input `index` of all calls, one below the other.
fn stack(calls: &[(&CallContext, &TensorInput)], index: usize, total: usize) -> Tensor {
    let parts = || calls.iter().map(|(_, input)| &input.inputs[index]);
    let first = &calls[0].1.inputs[index];
    let mut data = Vec::with_capacity(parts().map(|part| part.data.len()).sum());
    parts().for_each(|part| data.extend_from_slice(&part.data));
    Tensor {
        name: first.name.clone(),
        data_type: first.data_type,
        shape: with_rows(&first.shape, total),
        data: data.into(),
    }
}

/// Each call's rows of an output, in the memory that its transport wants.
fn unstack(calls: &[(&CallContext, &TensorInput)], output: &Tensor, total: usize) -> Result<Vec<Tensor>, EngineError> {
    let indivisible = || EngineError::new(Reason::Internal, "The model's output has no row for each of the inputs'.");
    if output.shape.first().and_then(|rows| usize::try_from(*rows).ok()) != Some(total) {
        return Err(indivisible());
    }
    let mut rest: &[u8] = &output.data;
    let mut parts = Vec::with_capacity(calls.len());
    for (call, input) in calls {
        let length = match output.data_type {
            DataType::Bytes => strings_length(output, rest, input.rows)?,
            // Of the whole, since rows of a fixed type have one size.
            _ => output.data.len() / total * input.rows,
        };
        let (part, after) = rest.split_at_checked(length).ok_or_else(indivisible)?;
        rest = after;
        let shape = with_rows(&output.shape, input.rows);
        parts.push(Tensor::copy_into(call, output.name.clone(), output.data_type, shape, part));
    }
    if rest.is_empty() { Ok(parts) } else { Err(indivisible()) }
}

/// Bytes of the first `rows` rows of strings in `data`.
fn strings_length(output: &Tensor, data: &[u8], rows: usize) -> Result<usize, EngineError> {
    let strings = crate::tensor::element_count(&output.name, &with_rows(&output.shape, rows))?;
    let view = TensorView { data, ..output.view() };
    view.byte_strings().take(strings).try_fold(0, |length, string| Ok(length + size_of::<u32>() + string?.len()))
}

fn with_rows(shape: &[i64], rows: usize) -> Vec<i64> {
    std::iter::once(rows as i64).chain(shape.iter().skip(1).copied()).collect()
}
