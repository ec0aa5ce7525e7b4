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

/// The backend `identity`. It needs no files and has no settings.
pub struct Identity;

impl Backend for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn load(&self, _source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let capabilities = vec![Capability::Infer, Capability::Generate];
        let description = ModelDescription { backend: "identity", capabilities, ..Default::default() };
        Ok(Arc::new(IdentityModel { description, generation: Generation::start()? }))
    }
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
