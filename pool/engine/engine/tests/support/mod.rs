//! What the engine's tests share: a folder that is removed, a toy backend, and calls in short form.
#![allow(dead_code, missing_docs)]

use contract::engine::{ErrorDetail, Operation, Status};
use contract::v1::{
    self, EmbedRequest, GenerateRequest, GenerateResponse, Parameter, TokenizeRequest, TokenizeResponse,
};
use contract::v1::{FinishReason, TensorInfo, TrainModelRequest};
use engine::{Engine, EngineConfig, IncomingCall, OutgoingReply, ReplyPayload};
use engine_core::{
    Backend, CallContext, Capability, Embeddings, EngineError, GenerateSink, Model, ModelDescription, ModelSource,
    Reason, Tensor, TensorView, Trained,
};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("engine-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn write(&self, path: &str, content: &str) -> &Self {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A model of everything: doubles `x`, embeds a text as its length and its vowels, generates the prompt word by word.
pub struct Toy;

impl Backend for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let bytes = source.settings.get("bytes").and_then(serde_json::Value::as_u64).unwrap_or(1);
        Ok(Arc::new(ToyModel {
            description: ModelDescription {
                backend: "toy",
                capabilities: vec![Capability::Infer, Capability::Embed, Capability::Generate],
                inputs: vec![TensorInfo { name: "x".into(), datatype: "FP32".into(), shape: vec![-1, 2] }],
                outputs: vec![TensorInfo { name: "y".into(), datatype: "FP32".into(), shape: vec![-1, 2] }],
                memory_bytes: bytes,
                batch_size_max: 8,
                ..ModelDescription::default()
            },
            factor: source.settings.get("factor").and_then(serde_json::Value::as_f64).unwrap_or(2.0) as f32,
        }))
    }

    fn train(
        &self,
        _call: &CallContext,
        request: &TrainModelRequest,
        tensors: &[TensorView<'_>],
        folder: &Path,
    ) -> Result<Trained, EngineError> {
        if request.algorithm == "panic" {
            panic!("as asked");
        }
        let features = tensors.first().ok_or_else(|| EngineError::invalid("features", "There are no features."))?;
        let mean = features.to_f64()?.iter().sum::<f64>() / features.shape[0] as f64;
        std::fs::write(folder.join("mean.txt"), mean.to_string())
            .map_err(|error| EngineError::new(Reason::Internal, error.to_string()))?;
        let mut settings = serde_json::Map::new();
        settings.insert("factor".into(), mean.into());
        Ok(Trained {
            files: BTreeMap::from([("weights".to_owned(), PathBuf::from("mean.txt"))]),
            settings,
            metrics: BTreeMap::from([("mean".to_owned(), mean)]),
        })
    }
}

struct ToyModel {
    description: ModelDescription,
    factor: f32,
}

impl Model for ToyModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        if parameters.contains_key("panic") {
            panic!("as asked");
        }
        let values = inputs[0].to_f64()?;
        Ok(vec![Tensor::fill_f32(call, "y", inputs[0].shape.to_vec(), values.len(), |out| {
            out.iter_mut().zip(values).for_each(|(out, value)| *out = value as f32 * self.factor);
        })])
    }

    fn embed(&self, _call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        let mut embeddings = Embeddings { dimensions: 2, ..Embeddings::default() };
        for text in &request.texts {
            let (length, vowels) = (text.len() as f32, text.matches(['a', 'e', 'i', 'o', 'u']).count() as f32);
            let norm = length.hypot(vowels).max(1.0);
            embeddings.vectors.extend([length / norm, vowels / norm]);
            embeddings.token_counts.push(text.len() as u32);
        }
        Ok(embeddings)
    }

    fn tokenize(&self, request: &TokenizeRequest) -> Result<TokenizeResponse, EngineError> {
        Ok(TokenizeResponse { ids: request.text.bytes().map(u32::from).collect(), ..TokenizeResponse::default() })
    }

    fn generate(
        &self,
        call: CallContext,
        request: GenerateRequest,
        mut sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        let prompt = request.prompt.clone().unwrap_or_default();
        match prompt.as_str() {
            "refuse" => return Err(EngineError::new(Reason::Overloaded, "The queue is full.")),
            "forget" => return Ok(()),
            "panic" => panic!("as asked"),
            _ => {}
        }
        std::thread::spawn(move || {
            if prompt == "forget later" {
                return;
            }
            let mut result = Ok(());
            for word in prompt.split(' ') {
                if prompt == "endless" {
                    while !call.is_cancelled() {
                        std::thread::yield_now();
                    }
                }
                result = call
                    .check(std::time::Instant::now())
                    .and_then(|()| sink.send(GenerateResponse { text: word.to_owned(), ..Default::default() }));
                if result.is_err() {
                    break;
                }
            }
            let mut last = GenerateResponse::default();
            last.set_finish_reason(FinishReason::Stop);
            let _ = sink.send(last);
            sink.end(result);
        });
        Ok(())
    }
}

pub fn open(folder: &Folder) -> Engine {
    open_with(folder, |_| {})
}

pub fn open_with(folder: &Folder, change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig { repository: folder.0.clone(), threads: 1, ..EngineConfig::default() };
    change(&mut config);
    Engine::with_backends(config, vec![Arc::new(Toy)]).expect("opens")
}

pub fn call_bytes(engine: &Engine, operation: Operation, header: &[u8], payload: &[&[u8]]) -> OutgoingReply {
    engine.call(&IncomingCall { operation, context: CallContext::default(), header, payload })
}

pub fn call<R: Message + Default>(
    engine: &Engine,
    operation: Operation,
    request: &impl Message,
    payload: &[&[u8]],
) -> Result<(R, Vec<Tensor>), (Status, ErrorDetail)> {
    let reply = call_bytes(engine, operation, &request.encode_to_vec(), payload);
    if reply.status != Status::Ok {
        return Err((reply.status, ErrorDetail::decode(&*reply.header).expect("an error's detail")));
    }
    let ReplyPayload::Tensors(tensors) = reply.payload else { panic!("{operation:?} answers with tensors") };
    Ok((R::decode(&*reply.header).expect("a reply"), tensors))
}

pub fn fp32(name: &str, shape: &[i64]) -> v1::Tensor {
    v1::Tensor { name: name.into(), datatype: "FP32".into(), shape: shape.to_vec(), ..v1::Tensor::default() }
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Sends everything to the test.
pub struct Listener(Sender<Event>);

/// A piece, or the end.
pub type Event = Result<GenerateResponse, Result<(), EngineError>>;

impl Listener {
    pub fn new() -> (Box<Self>, Receiver<Event>) {
        let (sender, receiver) = channel();
        (Box::new(Self(sender)), receiver)
    }
}

impl GenerateSink for Listener {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        self.0.send(Ok(response)).map_err(|_| EngineError::new(Reason::Cancelled, "Nobody listens."))
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        let _ = self.0.send(Err(result));
    }
}
