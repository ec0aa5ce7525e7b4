//! The settings of a manifest.

use engine_core::{EngineError, ModelSource, Reason};
use serde::Deserialize;
use std::path::PathBuf;

/// Sessions of one model, at most.
pub const INSTANCES_MAX: usize = 16;
/// Threads of one session, at most.
pub const THREADS_MAX: usize = 256;
/// Rows of a batch, at most.
pub const BATCH_SIZE_MAX: u32 = 4_096;
/// Rows of a batch where the manifest says nothing and the model takes batches of any size.
pub const BATCH_SIZE_DEFAULT: u32 = 32;

/// How much a graph is rewritten before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// Not at all.
    Off,
    /// What keeps the graph's meaning on every machine.
    Basic,
    /// Fused operators too.
    Extended,
    /// Layouts for this machine too.
    All,
}

/// How a model is run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// ONNX Runtime's library; absent: `ORT_DYLIB_PATH`, then known places.
    pub library: Option<PathBuf>,
    /// Threads that share one operator, 1 to 256; 0: those of the engine.
    pub threads: usize,
    /// Sessions, 1 to 16: calls that run at the same time. Each holds the model's weights.
    pub instances: usize,
    /// How much the graph is rewritten.
    pub optimisation: Optimisation,
    /// Whether idle threads wait in a loop: faster by some microseconds, at the cost of a core each.
    pub spinning: bool,
    /// Calls taken at once, 0 to 4096; absent: 32 where all tensors have a first dimension of any size.
    pub batch_size_max: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            library: None,
            threads: 0,
            instances: 1,
            optimisation: Optimisation::All,
            spinning: false,
            batch_size_max: None,
        }
    }
}

impl Options {
    /// The options of a manifest, with all bounds kept.
    pub fn read(source: &ModelSource) -> Result<Self, EngineError> {
        let settings = serde_json::Value::Object(source.settings.clone());
        let mut options: Self = serde_json::from_value(settings)
            .map_err(|error| refused(format!("The settings of \"{}\" are refused: {error}.", source.name)))?;
        if options.threads == 0 {
            options.threads = source.threads.clamp(1, THREADS_MAX);
        }
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.threads > THREADS_MAX {
            return Err(refused(format!("\"threads\" must be from 0 to {THREADS_MAX}.")));
        }
        if !(1..=INSTANCES_MAX).contains(&self.instances) {
            return Err(refused(format!("\"instances\" must be from 1 to {INSTANCES_MAX}.")));
        }
        if self.batch_size_max.is_some_and(|size| size > BATCH_SIZE_MAX) {
            return Err(refused(format!("\"batch_size_max\" must be from 0 to {BATCH_SIZE_MAX}.")));
        }
        Ok(())
    }
}

fn refused(message: String) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(settings: serde_json::Value) -> ModelSource {
        let serde_json::Value::Object(settings) = settings else { panic!("an object was expected") };
        ModelSource {
            name: "example".into(),
            version: 1,
            folder: PathBuf::new(),
            files: Default::default(),
            settings,
            threads: 3,
        }
    }

    #[test]
    fn threads_are_the_engines_unless_the_manifest_says_otherwise() {
        assert_eq!(Options::read(&source(serde_json::json!({}))).unwrap().threads, 3);
        assert_eq!(Options::read(&source(serde_json::json!({ "threads": 1 }))).unwrap().threads, 1);
    }

    #[test]
    fn unknown_settings_and_broken_bounds_are_refused() {
        let cases = [
            (serde_json::json!({ "thread": 1 }), "unknown field `thread`"),
            (serde_json::json!({ "instances": 17 }), "from 1 to 16"),
            (serde_json::json!({ "threads": 257 }), "from 0 to 256"),
            (serde_json::json!({ "batch_size_max": 5000 }), "from 0 to 4096"),
            (serde_json::json!({ "optimisation": "most" }), "unknown variant `most`"),
        ];
        for (settings, text) in cases {
            let error = Options::read(&source(settings)).unwrap_err();
            assert!(error.message.contains(text), "{}", error.message);
        }
    }
}
