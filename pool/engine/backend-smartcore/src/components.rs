//! Principal components.

use crate::convert::{broken, dense, matrix, refused};
use engine_core::EngineError;
use serde::{Deserialize, Serialize};
use smartcore::decomposition::pca::{PCA, PCAParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use training::{Algorithm, DataSet, Fitted, Matrix, Predict, Prediction, Rule, Settings, Task, decode_stored, store};

/// The entries of the table.
pub fn algorithms() -> Vec<Algorithm> {
    let components = Rule::whole("components", 2, 1, 1_000);
    vec![Algorithm::new("pca", Task::Transformation, fit, decode_stored::<Components>).with_rules([components])]
}

#[derive(Serialize, Deserialize)]
struct Components {
    model: PCA<f64, DenseMatrix<f64>>,
}

impl Predict for Components {
    fn predict(&self, rows: &Matrix) -> Result<Prediction, EngineError> {
        let transformed = self.model.transform(&dense(rows)?).map_err(broken)?;
        Ok(Prediction::Transformed(matrix(&transformed)))
    }
}

fn fit(data: &DataSet, settings: &Settings) -> Result<Box<dyn Fitted>, EngineError> {
    let (components, columns) = (settings.size("components"), data.features.columns);
    if components > columns {
        let message = format!("\"components\" is {components}, more than the {columns} columns there are.");
        return Err(EngineError::invalid("components", message));
    }
    let parameters = PCAParameters::default().with_n_components(components);
    store(Components { model: PCA::fit(&dense(&data.features)?, parameters).map_err(refused)? })
}
