//! The seam: a [`Backend`] makes models, a [`Model`] answers calls. A new kind of model is a crate with these two and one
//! line in the crate `engine`.

use crate::call::CallContext;
use crate::error::EngineError;
use crate::tensor::{Tensor, TensorView};
use contract::v1::{
    EmbedRequest, GenerateRequest, GenerateResponse, Parameter, RerankRequest, RerankResponse, TensorInfo,
    TokenizeRequest, TokenizeResponse, TrainModelRequest,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A version of a model in the repository, as a backend finds it.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// The model's name.
    pub name: String,
    /// The version, a number from 1.
    pub version: u64,
    /// Folder of the version's files.
    pub folder: PathBuf,
    /// Files by their role (`weights`, `tokenizer`, …), relative to the folder or absolute, as the manifest names them.
    pub files: BTreeMap<String, PathBuf>,
    /// The backend's own settings, from the manifest.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Threads that computing may use.
    pub threads: usize,
}

impl ModelSource {
    /// The path of the file with `role`, or an error that names the model.
    pub fn file(&self, role: &str) -> Result<PathBuf, EngineError> {
        let path = self.files.get(role).ok_or_else(|| {
            EngineError::new(
                crate::Reason::ModelNotReady,
                format!("The manifest of \"{}\" names no file for \"{role}\".", self.name),
            )
        })?;
        Ok(self.folder.join(path))
    }
}

/// What a model can do. Manifests and `Model.capabilities` write it in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Tensors in and out.
    Infer,
    /// Unit vectors of texts.
    Embed,
    /// Order documents.
    Rerank,
    /// Generate text.
    Generate,
}

impl Capability {
    /// Such as `infer`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Embed => "embed",
            Self::Rerank => "rerank",
            Self::Generate => "generate",
        }
    }
}

/// What a loaded model is.
#[derive(Debug, Clone, Default)]
pub struct ModelDescription {
    /// The backend's name.
    pub backend: &'static str,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// Tensors taken.
    pub inputs: Vec<TensorInfo>,
    /// Tensors given.
    pub outputs: Vec<TensorInfo>,
    /// Bytes held while it is loaded.
    pub memory_bytes: u64,
    /// Tokens of context, or 0.
    pub context_length: u32,
    /// Calls that [`Model::infer`] gains from taking at once along the first dimension; 0: none.
    pub batch_size_max: u32,
}

/// One row an input, and what became of it.
#[derive(Debug, Clone, Default)]
pub struct Embeddings {
    /// Floats a row.
    pub dimensions: usize,
    /// Rows, one after the other.
    pub vectors: Vec<f32>,
    /// Tokens of each input, special ones included, after truncation.
    pub token_counts: Vec<u32>,
    /// Indices of inputs that were cut.
    pub truncated_inputs: Vec<u32>,
}

/// Takes what a generation gives, from whichever thread computes it. Must not block.
pub trait GenerateSink: Send {
    /// The next piece. An error from here means that nobody listens any more, and cancels the generation.
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError>;
    /// The end: once, after the last piece.
    fn end(self: Box<Self>, result: Result<(), EngineError>);
}

/// Makes models of one kind.
pub trait Backend: Send + Sync {
    /// As manifests and `Model.backend` name it.
    fn name(&self) -> &'static str;

    /// Loads a version; takes as long as it takes. Warm-up is the repository's.
    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError>;

    /// Trains on `tensors` (in the order of `request.tensors`), and writes the version's files into `folder`. Fails soon
    /// after `call` is cancelled or its deadline passes, and writes nothing from then on: the folder may be gone.
    fn train(
        &self,
        call: &CallContext,
        request: &TrainModelRequest,
        tensors: &[TensorView<'_>],
        folder: &std::path::Path,
    ) -> Result<Trained, EngineError> {
        let _ = (call, request, tensors, folder);
        Err(EngineError::new(crate::Reason::Unsupported, format!("The backend {} does not train.", self.name())))
    }
}

/// What a training gave.
#[derive(Debug, Clone, Default)]
pub struct Trained {
    /// Files by role, relative to the folder, for the manifest.
    pub files: BTreeMap<String, PathBuf>,
    /// Settings for the manifest.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Such as `accuracy`.
    pub metrics: BTreeMap<String, f64>,
}

/// A loaded model. Calls come from many threads at once.
pub trait Model: Send + Sync {
    /// What it is.
    fn description(&self) -> &ModelDescription;

    /// Runs it on tensors.
    fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let _ = (call, inputs, parameters);
        Err(EngineError::unsupported(self.description().backend, "take tensors"))
    }

    /// Embeds texts or tokens.
    fn embed(&self, call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        let _ = (call, request);
        Err(EngineError::unsupported(&request.model, "embed"))
    }

    /// Orders documents.
    fn rerank(&self, call: &CallContext, request: &RerankRequest) -> Result<RerankResponse, EngineError> {
        let _ = call;
        Err(EngineError::unsupported(&request.model, "rank"))
    }

    /// Cuts a text into tokens.
    fn tokenize(&self, request: &TokenizeRequest) -> Result<TokenizeResponse, EngineError> {
        Err(EngineError::unsupported(&request.model, "cut a text into tokens"))
    }

    /// Begins to generate and returns; the sink gets the rest. An error returned here never reaches the sink.
    fn generate(
        &self,
        call: CallContext,
        request: GenerateRequest,
        sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        let _ = (call, sink);
        Err(EngineError::unsupported(&request.model, "generate text"))
    }

    /// Load and counters, for models that have some: added to `stats`.
    fn add_stats(&self, stats: &mut contract::engine::EngineStats) {
        let _ = stats;
    }

    /// Ends what still runs, with `Unavailable`. Called once, when it is unloaded and its calls had their time.
    fn stop(&self) {}
}
