//! A loaded model.

use crate::options::{BATCH_SIZE_DEFAULT, Optimisation, Options};
use crate::outlet::{Outlet, arrange};
use crate::value::{self, Aligned};
use contract::v1::Parameter;
use engine_core::{CallContext, Capability, EngineError, Model, ModelDescription, Reason, Tensor, TensorView};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

/// A model with as many sessions as calls may run at once. A session takes one call at a time.
pub struct OnnxModel {
    description: ModelDescription,
    inputs: Vec<Outlet>,
    outputs: Vec<Outlet>,
    sessions: Vec<Mutex<Session>>,
    next: AtomicUsize,
}

impl OnnxModel {
    /// Loads the file at `path`.
    pub fn load(environment: &Environment, path: &Path, options: &Options) -> Result<Self, EngineError> {
        let bytes = std::fs::metadata(path).map_err(|error| not_ready(format!("The model's file: {error}.")))?.len();
        let sessions = (0..options.instances)
            .map(|_| session(environment, path, options).map_err(|error| not_ready(sentence("load the model", &error))))
            .collect::<Result<Vec<_>, _>>()?;
        let inputs = sessions[0].inputs().iter().map(Outlet::read).collect::<Result<Vec<_>, _>>()?;
        let outputs = sessions[0].outputs().iter().map(Outlet::read).collect::<Result<Vec<_>, _>>()?;
        let batched = inputs.iter().chain(&outputs).all(Outlet::is_batched);
        let batch_size_max = match options.batch_size_max {
            Some(size) if size > 1 && !batched => {
                let message = "\"batch_size_max\" needs a first dimension of any size in all tensors of the model.";
                return Err(not_ready(message.to_owned()));
            }
            Some(size) => size,
            None => {
                if batched {
                    BATCH_SIZE_DEFAULT
                } else {
                    0
                }
            }
        };
        let description = ModelDescription {
            backend: "onnx",
            capabilities: vec![Capability::Infer],
            inputs: inputs.iter().map(Outlet::info).collect(),
            outputs: outputs.iter().map(Outlet::info).collect(),
            // The weights of each session; what computing needs besides is the graph's affair and not known before.
            memory_bytes: bytes * options.instances as u64,
            batch_size_max,
            ..ModelDescription::default()
        };
        let sessions = sessions.into_iter().map(Mutex::new).collect();
        Ok(Self { description, inputs, outputs, sessions, next: AtomicUsize::new(0) })
    }

    /// A session that is free, or the turn of one that is not.
    fn session(&self) -> MutexGuard<'_, Session> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let of_turn = |turn: usize| &self.sessions[(first.wrapping_add(turn)) % self.sessions.len()];
        for turn in 0..self.sessions.len() {
            match of_turn(turn).try_lock() {
                Ok(session) => return session,
                // A call that panicked left no trace in the session: it belongs to ONNX Runtime.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        of_turn(0).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for OnnxModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        _parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let tensors = arrange(&self.inputs, inputs)?;
        let memory: Vec<Aligned<'_>> = tensors.iter().map(|tensor| Aligned::of(tensor)).collect();
        let values = tensors
            .iter()
            .zip(&memory)
            .map(|(tensor, aligned)| Ok((Cow::Borrowed(tensor.name), value::input(tensor, aligned)?)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let mut session = self.session();
        // The session may have been waited for.
        call.check(Instant::now())?;
        let outputs = session.run(values).map_err(|error| {
            // Shapes that contradict each other only show when the graph runs.
            EngineError::new(Reason::InvalidArgument, sentence("run the model on these tensors", &error))
        })?;
        self.outputs.iter().map(|outlet| value::output(call, outlet, &outputs[outlet.name.as_str()])).collect()
    }
}

fn session(environment: &Environment, path: &Path, options: &Options) -> ort::Result<Session> {
    let level = match options.optimisation {
        Optimisation::Off => GraphOptimizationLevel::Disable,
        Optimisation::Basic => GraphOptimizationLevel::Level1,
        Optimisation::Extended => GraphOptimizationLevel::Level2,
        Optimisation::All => GraphOptimizationLevel::All,
    };
    Session::builder(environment)?
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.spinning)?
        .with_optimization_level(level)?
        .commit_from_file(path)
}

fn sentence(what: &str, error: &ort::Error) -> String {
    format!("ONNX Runtime cannot {what}: {}", error.message().trim_end())
}

fn not_ready(message: String) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}
