//! A model file on the disk, served.

use super::{Language, LanguageModel, ServiceOptions};
use crate::cpu::{self, CpuOptions};
use crate::gguf::Gguf;
use engine_core::{EngineError, Model};
use std::path::Path;
use std::sync::Arc;

/// Opens the GGUF file at `path`, computes it on the CPU and serves it.
///
/// # Errors
/// `ModelNotReady` where the file cannot be read or is of a kind that is not known here.
pub fn open(path: &Path, cpu: &CpuOptions, service: &ServiceOptions) -> Result<Arc<dyn Model>, EngineError> {
    let file = Gguf::open(path)?;
    let language = Language::from_metadata(file.metadata())?;
    let decoder = cpu::open(&file, cpu)?;
    Ok(Arc::new(LanguageModel::start(decoder, language, service)?))
}
