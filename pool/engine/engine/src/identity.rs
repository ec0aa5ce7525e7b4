//! A model that answers with its own inputs: what the way to a model and back costs, and whether tensors of every type
//! arrive unchanged.

use contract::v1::Parameter;
use engine_core::{
    Backend, CallContext, Capability, EngineError, Model, ModelDescription, ModelSource, Tensor, TensorView,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The backend `identity`. It needs no files and has no settings.
pub struct Identity;

impl Backend for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn load(&self, _source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let description =
            ModelDescription { backend: "identity", capabilities: vec![Capability::Infer], ..Default::default() };
        Ok(Arc::new(IdentityModel(description)))
    }
}

struct IdentityModel(ModelDescription);

impl Model for IdentityModel {
    fn description(&self) -> &ModelDescription {
        &self.0
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
}
