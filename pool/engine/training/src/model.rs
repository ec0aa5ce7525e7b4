//! A trained model as a `Model`.

use crate::algorithm::{Fitted, Prediction, Task};
use crate::data;
use crate::file::Header;
use crate::guard::guarded;
use crate::matrix::Matrix;
use contract::v1::{Parameter, TensorInfo};
use engine_core::{
    CallContext, Capability, DataType, EngineError, Model, ModelDescription, Reason, Tensor, TensorView,
};
use std::collections::BTreeMap;

/// A trained model, loaded.
pub struct TableModel {
    description: ModelDescription,
    header: Header,
    fitted: Box<dyn Fitted>,
}

impl TableModel {
    /// The model of `header` and `fitted`. Predicts one row to see that the two belong together.
    pub fn new(
        backend: &'static str,
        task: Task,
        header: Header,
        fitted: Box<dyn Fitted>,
        memory_bytes: u64,
    ) -> Result<Self, EngineError> {
        check(task, &header)?;
        let inputs = vec![info("features", DataType::Fp64, vec![-1, header.columns as i64])];
        let description = ModelDescription {
            backend,
            capabilities: vec![Capability::Infer],
            inputs,
            memory_bytes,
            ..ModelDescription::default()
        };
        let mut model = Self { description, header, fitted };
        let columns = model.header.columns;
        let outputs = model.predict(Matrix { columns, values: vec![0.0; columns] })?;
        model.description.outputs = outputs
            .iter()
            .map(|output| {
                let shape = std::iter::once(-1).chain(output.shape.iter().skip(1).copied()).collect();
                info(&output.name, output.data_type, shape)
            })
            .collect();
        Ok(model)
    }

    fn predict(&self, rows: Matrix) -> Result<Vec<Tensor>, EngineError> {
        let count = rows.rows();
        let rows = match &self.header.scaling {
            Some(scaling) => scaling.apply(&rows),
            None => rows,
        };
        let prediction = guarded(self.description.backend, || self.fitted.predict(&rows))?;
        self.tensors(prediction, count).ok_or_else(|| {
            EngineError::new(Reason::Internal, "The trained model does not answer as its file's header says.")
        })
    }

    /// The tensors of a reply; nothing where the prediction does not fit the header.
    fn tensors(&self, prediction: Prediction, rows: usize) -> Option<Vec<Tensor>> {
        let length = rows as i64;
        match prediction {
            Prediction::Numbers(numbers) => {
                (numbers.len() == rows).then(|| vec![Tensor::from_f64("predictions", vec![length], &numbers)])
            }
            Prediction::Clusters(clusters) => {
                (clusters.len() == rows).then(|| vec![Tensor::from_i64("predictions", vec![length], &clusters)])
            }
            Prediction::Transformed(matrix) => {
                let shape = vec![length, matrix.columns as i64];
                (matrix.rows() == rows).then(|| vec![Tensor::from_f64("transformed", shape, &matrix.values)])
            }
            Prediction::Classes { indices, probabilities } => {
                let classes = &self.header.classes;
                let label = |&index: &usize| classes.get(index).copied();
                let labels =
                    indices.iter().map(label).collect::<Option<Vec<i64>>>().filter(|labels| labels.len() == rows)?;
                let mut tensors = vec![Tensor::from_i64("predictions", vec![length], &labels)];
                if let Some(matrix) = probabilities {
                    if matrix.columns != classes.len() || matrix.rows() != rows {
                        return None;
                    }
                    let shape = vec![length, matrix.columns as i64];
                    tensors.push(Tensor::from_f64("probabilities", shape, &matrix.values));
                }
                Some(tensors)
            }
        }
    }
}

impl Model for TableModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        _call: &CallContext,
        inputs: &[TensorView<'_>],
        _parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        if let Some(unknown) = inputs.iter().find(|input| input.name != "features") {
            return Err(EngineError::invalid(unknown.name, "The model takes one tensor, \"features\"."));
        }
        let features = data::read_features(data::find(inputs, "features")?)?;
        if features.columns != self.header.columns || features.rows() == 0 {
            let message = format!(
                "\"features\" is {} rows of {} columns; it must be one row or more of {}.",
                features.rows(),
                features.columns,
                self.header.columns
            );
            return Err(EngineError::invalid("features", message));
        }
        self.predict(features)
    }
}

fn check(task: Task, header: &Header) -> Result<(), EngineError> {
    let columns = (1..=data::COLUMNS_MAX).contains(&header.columns);
    let classes = match task {
        Task::Classification => (2..=data::CLASSES_MAX).contains(&header.classes.len()),
        _ => header.classes.is_empty(),
    };
    let scaling = header.scaling.as_ref().is_none_or(|scaling| scaling.is_valid(header.columns));
    if columns && classes && scaling {
        return Ok(());
    }
    Err(EngineError::new(Reason::ModelNotReady, "The header of the trained model's file contradicts itself."))
}

fn info(name: &str, data_type: DataType, shape: Vec<i64>) -> TensorInfo {
    TensorInfo { name: name.to_owned(), datatype: data_type.name().to_owned(), shape }
}
