//! A model that answers with its own inputs: what the way to a model and back costs, and whether tensors of every type, and
//! streams of any length, arrive unchanged.

mod generation;

use contract::v1::{GenerateRequest, Parameter};
use engine_core::{
    Backend, CallContext, Capability, EngineError, GenerateSink, Model, ModelDescription, ModelSource, Tensor,
    TensorView,
};
use generation::Generation;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The backend `identity`. It needs no files. Setting: `pieces_per_second` of each stream; absent: as many as it can.
pub struct Identity;

impl Backend for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let capabilities = vec![Capability::Infer, Capability::Generate];
        let description = ModelDescription { backend: "identity", capabilities, ..Default::default() };
        Ok(Arc::new(IdentityModel { description, generation: Generation::start(pause(source)?)? }))
    }
}

fn pause(source: &ModelSource) -> Result<Duration, EngineError> {
    let Some(rate) = source.settings.get("pieces_per_second") else { return Ok(Duration::ZERO) };
    rate.as_f64()
        .filter(|rate| *rate > 0.0)
        .and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok())
        .ok_or_else(|| EngineError::invalid("pieces_per_second", "pieces_per_second must be a number over 0."))
}

struct IdentityModel {
    description: ModelDescription,
    generation: Generation,
}

impl Model for IdentityModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        _parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let copy = |input: &TensorView<'_>| {
            Tensor::copy_into(call, input.name, input.data_type, input.shape.to_vec(), input.data)
        };
        Ok(inputs.iter().map(copy).collect())
    }

    fn generate(
        &self,
        call: CallContext,
        request: GenerateRequest,
        sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        self.generation.begin(call, &request, sink)
    }
}
