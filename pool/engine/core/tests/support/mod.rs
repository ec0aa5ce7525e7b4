//! A backend whose models do what their manifest says, and a folder that is removed at the end.
#![allow(dead_code, missing_docs)]

use contract::v1::{Parameter, TensorInfo, TrainModelRequest};
use engine_core::repository::{Repository, RepositorySettings};
use engine_core::{
    Backend, CallContext, Capability, EngineError, Model, ModelDescription, ModelSource, Reason, Tensor, TensorView,
    Trained,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("engine-core-test-{}-{number}", std::process::id()));
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

    pub fn open(&self) -> Arc<Repository> {
        self.open_with(|_| {})
    }

    pub fn open_with(&self, change: impl FnOnce(&mut RepositorySettings)) -> Arc<Repository> {
        let mut settings = RepositorySettings {
            folder: self.0.clone(),
            cache: self.0.join(".cache"),
            memory_bytes_max: 1 << 30,
            threads: 1,
            unload_wait_max: Duration::from_secs(20),
            load: Vec::new(),
        };
        change(&mut settings);
        Repository::open(settings, vec![Arc::new(Scripted)]).expect("opens")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What happened to models, in order: `load m:1`, `infer m:1`, `stop m:1`, `drop m:1`. Tests tell theirs apart by name.
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note(event: &str, model: &str) {
    EVENTS.lock().expect("whole").push(format!("{event} {model}"));
}

/// The events of a test's model, without its name.
pub fn events(name: &str) -> Vec<String> {
    let events = EVENTS.lock().expect("whole");
    events
        .iter()
        .filter_map(|event| event.split_once(&format!(" {name}:")).map(|(what, version)| format!("{what} {version}")))
        .collect()
}

/// The backend `scripted`. Settings: `bytes` held, `load_ms`, `fail`, `panic`, `fail_infer`, `answer`.
pub struct Scripted;

impl Backend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let number = |key: &str| source.settings.get(key).and_then(Value::as_u64).unwrap_or(0);
        let label = format!("{}:{}", source.name, source.version);
        note("load", &label);
        std::thread::sleep(Duration::from_millis(number("load_ms")));
        if let Some(Value::String(reason)) = source.settings.get("fail") {
            return Err(EngineError::new(Reason::ModelNotReady, reason.clone()));
        }
        assert!(!source.settings.contains_key("panic"), "as asked");
        let bytes = number("bytes");
        Ok(Arc::new(ScriptedModel {
            label,
            description: ModelDescription {
                backend: "scripted",
                capabilities: vec![Capability::Infer],
                inputs: vec![TensorInfo { name: "x".into(), datatype: "INT64".into(), shape: vec![-1] }],
                memory_bytes: bytes,
                ..ModelDescription::default()
            },
            answer: source.settings.get("answer").and_then(Value::as_i64).unwrap_or(source.version as i64),
            fails: source.settings.contains_key("fail_infer"),
            // In pieces below the size that the allocator gives back by itself, and written, so that it is really held.
            memory: (0..bytes / PIECE as u64).map(|index| vec![index as u8 | 1; PIECE]).collect(),
            stopped: AtomicBool::new(false),
        }))
    }

    fn train(
        &self,
        _call: &CallContext,
        request: &TrainModelRequest,
        _tensors: &[TensorView<'_>],
        folder: &Path,
    ) -> Result<Trained, EngineError> {
        std::fs::write(folder.join("weights.bin"), "trained").expect("writes");
        assert_ne!(request.algorithm, "panic", "as asked");
        let mut settings = serde_json::Map::new();
        settings.insert("answer".into(), 42.into());
        let files = BTreeMap::from([("weights".to_owned(), PathBuf::from("weights.bin"))]);
        Ok(Trained { files, settings, metrics: BTreeMap::from([("loss".to_owned(), 0.5)]) })
    }
}

const PIECE: usize = 64 << 10;

struct ScriptedModel {
    label: String,
    description: ModelDescription,
    answer: i64,
    fails: bool,
    memory: Vec<Vec<u8>>,
    stopped: AtomicBool,
}

impl Model for ScriptedModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        _call: &CallContext,
        _inputs: &[TensorView<'_>],
        _parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        assert!(!self.stopped.load(Ordering::SeqCst), "a stopped model is not called");
        note("infer", &self.label);
        if self.fails {
            return Err(EngineError::new(Reason::Internal, "It cannot compute."));
        }
        let used = self.memory.iter().filter(|piece| piece[0] == 0).count() as i64;
        Ok(vec![Tensor::from_i64("y", vec![1], &[self.answer + used])])
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        note("stop", &self.label);
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        note("drop", &self.label);
    }
}

/// What the model answers.
pub fn ask(repository: &Arc<Repository>, name: &str, version: &str) -> Result<i64, EngineError> {
    let call = CallContext::default();
    let lease = repository.find(&call, name, version)?;
    answer(&lease)
}

pub fn answer(lease: &engine_core::repository::Lease) -> Result<i64, EngineError> {
    let tensors = lease.infer(&CallContext::default(), &[], &BTreeMap::new())?;
    Ok(i64::from_le_bytes(tensors[0].data[..].try_into().expect("eight bytes")))
}

/// Waits until `condition` holds, ten seconds at most.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came about that {what}");
}
