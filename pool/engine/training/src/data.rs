//! `features` and `targets`, read from the tensors of a call and checked.

use crate::matrix::Matrix;
use engine_core::{EngineError, TensorView};

/// Numbers of one table, at most: 512 MB as FP64.
pub const TABLE_NUMBERS_MAX: usize = 1 << 26;
/// Columns of one table, at most.
pub const COLUMNS_MAX: usize = 1 << 16;
/// Classes of one training, at most.
pub const CLASSES_MAX: usize = 1_000;

/// What a row should become.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Nothing is known.
    None,
    /// A number a row.
    Numbers(Vec<f64>),
    /// A class a row: an index into `labels`.
    Classes {
        /// The classes as the caller names them, ascending.
        labels: Vec<i64>,
        /// The class of each row.
        indices: Vec<usize>,
    },
}

/// A table to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// One row an example.
    pub features: Matrix,
    /// As many as there are rows, or none.
    pub targets: Targets,
}

impl DataSet {
    /// Numbers to predict; empty where the targets are none.
    pub fn numbers(&self) -> &[f64] {
        match &self.targets {
            Targets::Numbers(numbers) => numbers,
            _ => &[],
        }
    }

    /// Classes to predict, as indices; empty where the targets are none.
    pub fn classes(&self) -> &[usize] {
        match &self.targets {
            Targets::Classes { indices, .. } => indices,
            _ => &[],
        }
    }

    /// How the caller names the classes; empty where the targets are none.
    pub fn labels(&self) -> &[i64] {
        match &self.targets {
            Targets::Classes { labels, .. } => labels,
            _ => &[],
        }
    }

    /// The rows at `indices`, with their targets.
    pub fn select(&self, indices: &[usize]) -> Self {
        let targets = match &self.targets {
            Targets::None => Targets::None,
            Targets::Numbers(numbers) => Targets::Numbers(indices.iter().map(|&index| numbers[index]).collect()),
            Targets::Classes { labels, indices: classes } => {
                let classes = indices.iter().map(|&index| classes[index]).collect();
                Targets::Classes { labels: labels.clone(), indices: classes }
            }
        };
        Self { features: self.features.select(indices), targets }
    }
}

/// The tensor of that name.
pub fn find<'tensors, 'data>(
    tensors: &'tensors [TensorView<'data>],
    name: &str,
) -> Result<&'tensors TensorView<'data>, EngineError> {
    tensors
        .iter()
        .find(|tensor| tensor.name == name)
        .ok_or_else(|| EngineError::invalid(name, format!("The tensor \"{name}\" is missing.")))
}

/// A tensor of [rows, columns] as a matrix of finite numbers; of [columns] as one row.
pub fn read_features(tensor: &TensorView<'_>) -> Result<Matrix, EngineError> {
    let invalid = |message: String| EngineError::invalid(tensor.name, message);
    let columns = match tensor.shape {
        [columns] | [_, columns] => usize::try_from(*columns).unwrap_or(0),
        shape => {
            return Err(invalid(format!("\"{}\" has the shape {shape:?}; it must be [rows, columns].", tensor.name)));
        }
    };
    let elements = engine_core::tensor::element_count(tensor.name, tensor.shape)?;
    if columns == 0 || columns > COLUMNS_MAX || elements > TABLE_NUMBERS_MAX {
        let message = format!(
            "\"{}\" must have 1 to {COLUMNS_MAX} columns and at most {TABLE_NUMBERS_MAX} numbers.",
            tensor.name
        );
        return Err(invalid(message));
    }
    Ok(Matrix { columns, values: finite(tensor)? })
}

/// A tensor of [rows] or [rows, 1] as finite numbers, one for each of `rows`.
pub fn read_targets(tensor: &TensorView<'_>, rows: usize) -> Result<Vec<f64>, EngineError> {
    let length = match tensor.shape {
        [length] | [length, 1] => usize::try_from(*length).ok(),
        _ => None,
    };
    if length == Some(rows) {
        return finite(tensor);
    }
    let message = format!("\"{}\" has the shape {:?}; it must be [{rows}].", tensor.name, tensor.shape);
    Err(EngineError::invalid(tensor.name, message))
}

/// Targets as classes: whole numbers, of at least two kinds.
pub fn read_classes(name: &str, targets: &[f64]) -> Result<Targets, EngineError> {
    const EXACT_MOST: f64 = (1_u64 << 53) as f64;
    if targets.iter().any(|target| target.fract() != 0.0 || target.abs() > EXACT_MOST) {
        return Err(EngineError::invalid(name, format!("Classes are whole numbers; \"{name}\" holds others.")));
    }
    let classes: Vec<i64> = targets.iter().map(|target| *target as i64).collect();
    let mut labels = classes.clone();
    labels.sort_unstable();
    labels.dedup();
    if !(2..=CLASSES_MAX).contains(&labels.len()) {
        let message = format!("\"{name}\" holds {} classes; there must be 2 to {CLASSES_MAX}.", labels.len());
        return Err(EngineError::invalid(name, message));
    }
    let indices = classes.iter().filter_map(|class| labels.binary_search(class).ok()).collect();
    Ok(Targets::Classes { labels, indices })
}

fn finite(tensor: &TensorView<'_>) -> Result<Vec<f64>, EngineError> {
    let numbers = tensor.to_f64()?;
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(index) => {
            let message = format!("Number {index} of \"{}\" is {}; all must be finite.", tensor.name, numbers[index]);
            Err(EngineError::invalid(tensor.name, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::Tensor;

    #[test]
    fn classes_keep_the_callers_names() {
        let targets = read_classes("targets", &[7.0, -1.0, 7.0]).unwrap();
        assert_eq!(targets, Targets::Classes { labels: vec![-1, 7], indices: vec![1, 0, 1] });
        assert!(read_classes("targets", &[1.0, 1.0]).is_err());
        assert!(read_classes("targets", &[0.5, 1.0]).is_err());
    }

    #[test]
    fn what_is_not_finite_or_not_a_table_is_refused_by_name() {
        let bad = [
            Tensor::from_f32("features", vec![1, 2], &[1.0, f32::NAN]),
            Tensor::from_f64("features", vec![1, 1, 1], &[1.0]),
            Tensor::from_f64("features", vec![3, 0], &[]),
        ];
        for tensor in &bad {
            let error = read_features(&tensor.view()).unwrap_err();
            assert_eq!(error.parameter.as_deref(), Some("features"), "{error}");
        }
    }

    #[test]
    fn targets_are_as_many_as_rows() {
        let tensor = Tensor::from_f64("targets", vec![2, 1], &[1.0, 2.0]);
        assert_eq!(read_targets(&tensor.view(), 2).unwrap(), [1.0, 2.0]);
        assert!(read_targets(&tensor.view(), 3).is_err());
    }
}
