//! A version that is loaded, and the leases that keep it so.

use super::manifest::BatchingSettings;
use super::memory::Reservation;
use crate::backend::{Capability, Embeddings, Model, ModelDescription};
use crate::batching::{Batcher, EmbeddingWork, TensorInput, TensorWork, embedding_rows, tensor_rows};
use crate::call::CallContext;
use crate::error::EngineError;
use crate::guard::guarded;
use crate::locks::lock;
use crate::tensor::{Tensor, TensorView};
use contract::engine::EngineStats;
use contract::v1::{EmbedRequest, Parameter};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A loaded version.
pub struct Loaded {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: u64,
    model: Arc<dyn Model>,
    tensors: Option<Batcher<TensorWork>>,
    embeddings: Option<Batcher<EmbeddingWork>>,
    leases: Mutex<usize>,
    returned: Condvar,
    // After the model: its memory is given back once it is gone.
    reservation: Reservation,
}

impl Loaded {
    /// A loaded version without leases.
    pub fn new(
        name: String,
        version: u64,
        model: Arc<dyn Model>,
        batching: Option<BatchingSettings>,
        reservation: Reservation,
    ) -> Self {
        let description = model.description();
        let can = |capability| description.capabilities.contains(&capability);
        // A model that gains nothing from several rows takes tensors one call at a time.
        let for_tensors =
            batching.filter(|_| can(Capability::Infer) && description.batch_size_max > 1).map(|settings| {
                BatchingSettings { size_max: settings.size_max.min(description.batch_size_max as usize), ..settings }
            });
        let for_embeddings = batching.filter(|_| can(Capability::Embed));
        Self {
            name,
            version,
            tensors: for_tensors.map(|settings| Batcher::new(TensorWork::new(Arc::clone(&model)), settings)),
            embeddings: for_embeddings.map(|settings| Batcher::new(EmbeddingWork(Arc::clone(&model)), settings)),
            model,
            leases: Mutex::new(0),
            returned: Condvar::new(),
            reservation,
        }
    }

    /// What it is.
    pub fn description(&self) -> &ModelDescription {
        self.model.description()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> u64 {
        self.reservation.bytes()
    }

    /// Rows, or texts, that are taken at once; 0: calls are not put together.
    pub fn batch_size_max(&self) -> u32 {
        let tensors = self.tensors.as_ref().map(Batcher::size_max);
        tensors.or(self.embeddings.as_ref().map(Batcher::size_max)).unwrap_or(0) as u32
    }

    /// Adds what the model tells of itself, and its batches.
    pub fn add_stats(&self, stats: &mut EngineStats) {
        self.model.add_stats(stats);
        self.tensors.iter().for_each(|batcher| batcher.add_stats(stats));
        self.embeddings.iter().for_each(|batcher| batcher.add_stats(stats));
    }

    /// Ends the model's work.
    pub fn stop(&self) {
        self.model.stop();
    }

    /// Keeps the version loaded until the lease is dropped.
    pub fn lease(self: &Arc<Self>) -> Lease {
        *lock(&self.leases) += 1;
        Lease(Arc::clone(self))
    }

    /// Waits until no lease is out, `longest` at most; whether that came about.
    pub fn wait_for_leases(&self, longest: Duration) -> bool {
        let leases = lock(&self.leases);
        let (leases, _) = self
            .returned
            .wait_timeout_while(leases, longest, |leases| *leases > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *leases == 0
    }
}

/// A loaded version that a call uses.
pub struct Lease(Arc<Loaded>);

impl Lease {
    /// The version.
    pub fn loaded(&self) -> &Loaded {
        &self.0
    }

    /// Runs the model on tensors.
    pub fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let alone = || self.0.model.infer(call, inputs, parameters);
        match &self.0.tensors {
            Some(batcher) => {
                let rows = tensor_rows(inputs).unwrap_or(usize::MAX);
                batcher.call(call, rows, alone, || TensorInput::new(inputs, parameters))
            }
            None => guarded(alone),
        }
    }

    /// Embeds texts or tokens.
    pub fn embed(&self, call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        let alone = || self.0.model.embed(call, request);
        match &self.0.embeddings {
            Some(batcher) => batcher.call(call, embedding_rows(request), alone, || request.clone()),
            None => guarded(alone),
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<dyn Model> {
        &self.0.model
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = lock(&self.0.leases);
        *leases -= 1;
        if *leases == 0 {
            self.0.returned.notify_all();
        }
    }
}
