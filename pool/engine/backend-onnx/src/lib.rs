//! ONNX models of any kind, run by ONNX Runtime, whose library is loaded when the first model is.
//!
//! | module | holds |
//! |---|---|
//! | [`library`] | where ONNX Runtime's library is, and loading it once |
//! | [`options`] | the settings of a manifest |
//! | [`outlet`] | what a model declares of a tensor, and tensors checked by it |
//! | [`value`] | tensors to ONNX Runtime's values and back |
//! | [`model`] | a loaded model |

pub mod library;
pub mod model;
pub mod options;
pub mod outlet;
pub mod value;

use engine_core::{Backend, EngineError, Model, ModelSource};
use std::sync::Arc;

/// Role of the model's file.
pub const FILE_ROLE: &str = "weights";

/// The backend `onnx`.
pub fn backend() -> Arc<dyn Backend> {
    Arc::new(Onnx)
}

struct Onnx;

impl Backend for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let options = options::Options::read(source)?;
        let environment = library::environment(options.library.as_deref())?;
        Ok(Arc::new(model::OnnxModel::load(&environment, &source.file(FILE_ROLE)?, &options)?))
    }
}
