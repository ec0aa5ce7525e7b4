//! A version that is loaded, and the leases that keep it so.

use super::manifest::BatchingSettings;
use super::memory::Reservation;
use crate::backend::{Embeddings, Model, ModelDescription};
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
        let _ = batching;
        Self { name, version, model, leases: Mutex::new(0), returned: Condvar::new(), reservation }
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
        self.description().batch_size_max
    }

    /// Adds what the model tells of itself.
    pub fn add_stats(&self, stats: &mut EngineStats) {
        self.model.add_stats(stats);
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
        guarded(|| self.0.model.infer(call, inputs, parameters))
    }

    /// Embeds texts or tokens.
    pub fn embed(&self, call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        guarded(|| self.0.model.embed(call, request))
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
