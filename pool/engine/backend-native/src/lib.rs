//! Models that this project computes itself, on the processor: language models in GGUF files (crate [`llm`]) and MiniLM in
//! 8 bits (crate [`minilm`]). The extension of the file with the role `weights` says which; MiniLM in a `.safetensors` file
//! needs its `tokenizer.json` with the role `tokenizer`, and is quantised when it is loaded.
//!
//! Settings of a GGUF file: `cache_bytes` (keys and values of all sequences together, 1 MiB to 1 TiB; 512 MiB) and
//! `context_length_max` (tokens, 1 to 1,048,576; the model's own). MiniLM has none.

use engine_core::{Backend, EngineError, Model, ModelSource, Reason};
use llm::cpu::CpuOptions;
use minilm::MiniLm;
use std::sync::Arc;

const CACHE_BYTES_MIN: u64 = 1 << 20;
const CACHE_BYTES_MAX: u64 = 1 << 40;
const CONTEXT_LENGTH_MAX: u64 = 1 << 20;

/// The name in manifests.
const NAME: &str = "native";

struct Native;

/// The backend.
pub fn backend() -> Arc<dyn Backend> {
    Arc::new(Native)
}

impl Backend for Native {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let path = source.file("weights")?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gguf") => {
                let service = llm::ServiceOptions { backend: NAME, ..Default::default() };
                llm::open(&path, &cpu_options(source)?, &service)
            }
            Some("safetensors") => {
                let tokenizer = source.file("tokenizer")?;
                Ok(Arc::new(MiniLm::open_float(&path, &tokenizer, source.threads.max(1))?))
            }
            Some("tlm") => Ok(Arc::new(MiniLm::open(&path, source.threads.max(1))?)),
            _ => {
                let kinds = ".gguf, .safetensors or .tlm file";
                Err(unready(format!("The weights of \"{}\" are in no {kinds}.", source.name)))
            }
        }
    }
}

fn cpu_options(source: &ModelSource) -> Result<CpuOptions, EngineError> {
    let mut options = CpuOptions { threads: source.threads.max(1), ..Default::default() };
    if let Some(bytes) = setting(source, "cache_bytes", CACHE_BYTES_MIN, CACHE_BYTES_MAX)? {
        options.cache_bytes = bytes;
    }
    options.context_length_max =
        setting(source, "context_length_max", 1, CONTEXT_LENGTH_MAX)?.map(|tokens| tokens as usize);
    Ok(options)
}

/// A whole number among the manifest's settings, or `None` where it is not given.
fn setting(source: &ModelSource, name: &str, least: u64, most: u64) -> Result<Option<u64>, EngineError> {
    let Some(given) = source.settings.get(name) else { return Ok(None) };
    match given.as_u64() {
        Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(unready(format!("The setting {name} of \"{}\" is no number from {least} to {most}.", source.name))),
    }
}

fn unready(message: String) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn source(weights: &str, settings: serde_json::Value) -> ModelSource {
        ModelSource {
            name: "toy".to_owned(),
            version: 1,
            folder: PathBuf::from("/nowhere"),
            files: BTreeMap::from([("weights".to_owned(), PathBuf::from(weights))]),
            settings: settings.as_object().cloned().unwrap_or_default(),
            threads: 1,
        }
    }

    fn refusal(source: &ModelSource) -> String {
        backend().load(source).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        assert!(refusal(&source("toy.bin", serde_json::json!({}))).contains("in no .gguf"));
    }

    #[test]
    fn float_weights_without_a_tokenizer_are_refused() {
        assert!(refusal(&source("toy.safetensors", serde_json::json!({}))).contains("tokenizer"));
    }

    #[test]
    fn a_setting_out_of_range_is_refused_by_its_name() {
        for settings in [serde_json::json!({"cache_bytes": 1}), serde_json::json!({"cache_bytes": "many"})] {
            assert!(refusal(&source("toy.gguf", settings)).contains("cache_bytes"));
        }
        assert!(refusal(&source("toy.gguf", serde_json::json!({"context_length_max": 0}))).contains("context_length"));
    }

    #[test]
    fn a_file_that_is_not_there_is_said_so() {
        assert!(!refusal(&source("toy.gguf", serde_json::json!({}))).is_empty());
        assert!(!refusal(&source("toy.tlm", serde_json::json!({}))).is_empty());
    }
}
