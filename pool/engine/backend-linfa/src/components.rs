//! Principal components.

use crate::convert::{array, matrix, refused};
use engine_core::EngineError;
use linfa::DatasetBase;
use linfa::traits::{Fit, Predict as _};
use linfa_reduction::Pca;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let components = Rule::whole("components", 2, 1, 1_000);
    vec![Algorithm::new("pca", Task::Transformation, fit, decode_stored::<Components>).with_rules([components])]
}

#[derive(Serialize, Deserialize)]
struct Components {
    model: Pca<f64>,
}

impl Predict for Components {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let transformed: Array2<f64> = self.model.predict(&array(rows)?);
        Ok(Prediction::Transformed(matrix(&transformed)))
    }
}

fn fit(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let (components, columns) = (settings.size("components"), data.features.columns);
    if components > columns {
        let message = format!("\"components\" is {components}, more than the {columns} columns there are.");
        return Err(EngineError::invalid("components", message));
    }
    let data = DatasetBase::from(array(&data.features)?);
    store(Components { model: Pca::params(components).fit(&data).map_err(refused)? })
}
