//! Models that candle computes, on the processor or on an NVIDIA GPU: language models in GGUF files, K-quants among them, and
//! encoders such as MiniLM in 32-bit floats. The extension of the file with the role `weights` says which. GPUs are computed
//! on where the crate is built with the feature `cuda`.
//!
//! | setting | of | is |
//! |---|---|---|
//! | `device` | both | `cpu`, or `cuda:N` for GPU number N; by itself the first GPU if there is one, else the processor |
//! | `cache_bytes` | `.gguf` | keys and values of all sequences together, 1 MiB to 1 TiB; 512 MiB |
//! | `context_length_max` | `.gguf` | tokens, 1 to 1,048,576; the model's own |
//! | `heads` | `.safetensors` | heads of attention, which the file does not tell; one for each 32 floats of a vector |
//! | `tokens_max` | `.safetensors` | tokens of a text, special ones included, 2 to 65,536; 256, or what the file has positions for |
//!
//! On the processor candle has one team of threads for the whole process, as many as the machine has cores (the environment
//! variable `CANDLE_NUM_THREADS` says otherwise); the engine's own limit of threads does not bind it. They wait for each other
//! in loops, so that on a machine whose cores others use as well, fewer are faster.
//!
//! | module | holds |
//! |---|---|
//! | `settings`, `device` | what a manifest asks for |
//! | `llama` | the [`llm::Decoder`] |
//! | `bert` | the [`minilm::sentences::Encoder`] |
//! | `fault` | candle's errors as the engine's |

mod bert;
mod device;
mod fault;
mod llama;
mod settings;

pub use device::choose as choose_device;
pub use llama::{CandleOptions, open as open_decoder};

use engine_core::{Backend, EngineError, Model, ModelSource};
use fault::unready;
use llm::gguf::Gguf;
use llm::{Language, LanguageModel, ServiceOptions};
use std::sync::Arc;

/// The name in manifests.
const NAME: &str = "candle";

struct Candle;

/// The backend.
pub fn backend() -> Arc<dyn Backend> {
    Arc::new(Candle)
}

impl Backend for Candle {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let path = source.file("weights")?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gguf") => {
                let options = settings::decoder_options(source)?;
                let file = Gguf::open(&path)?;
                let language = Language::from_metadata(file.metadata())?;
                let decoder = open_decoder(&file, &options)?;
                let service = ServiceOptions { backend: NAME, ..Default::default() };
                Ok(Arc::new(LanguageModel::start(decoder, language, &service)?))
            }
            Some("safetensors") => {
                let options = settings::encoder_options(source)?;
                Ok(Arc::new(bert::open(&path, &source.file("tokenizer")?, &options)?))
            }
            _ => {
                Err(unready(format!("The weights of \"{}\" are neither a .gguf nor a .safetensors file.", source.name)))
            }
        }
    }
}
