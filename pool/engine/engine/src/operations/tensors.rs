//! Tensors in and out: INFER and TRAIN_MODEL.

use super::{decode, find};
use crate::{Engine, IncomingCall, OutgoingReply};
use contract::v1::{self, InferRequest, InferResponse, TrainModelRequest};
use engine_core::{CallContext, DataType, EngineError, ModelDescription, Tensor, TensorView};
use std::collections::BTreeSet;

/// Tensors of one call, at most.
pub const TENSORS_MAX: usize = 1024;

/// Runs a tensor model.
pub fn infer(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: InferRequest = decode(call.header)?;
    let lease = find(engine, context, &request.model, &request.version)?;
    let inputs = views(&request.inputs, call.payload)?;
    check_inputs(lease.loaded().description(), &inputs)?;
    let outputs = wanted(lease.infer(context, &inputs, &request.parameters)?, &request.outputs)?;
    let describe = |tensor: &Tensor| v1::Tensor {
        name: tensor.name.clone(),
        datatype: tensor.data_type.name().to_owned(),
        shape: tensor.shape.clone(),
        ..v1::Tensor::default()
    };
    let response = InferResponse {
        model: request.model,
        version: lease.loaded().version.to_string(),
        id: request.id,
        outputs: outputs.iter().map(describe).collect(),
        ..InferResponse::default()
    };
    Ok(OutgoingReply::answer(&response, outputs))
}

/// Trains a classic model.
pub fn train(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: TrainModelRequest = decode(call.header)?;
    let tensors = views(&request.tensors, call.payload)?;
    let response = engine.repository.train(context, &request, &tensors)?;
    Ok(OutgoingReply::answer(&response, Vec::new()))
}

/// The tensors that the header declares, with the payload's segments as their data.
fn views<'call>(declared: &'call [v1::Tensor], payload: &[&'call [u8]]) -> Result<Vec<TensorView<'call>>, EngineError> {
    if declared.len() != payload.len() {
        let message = format!("The call declares {} tensors and carries {} segments.", declared.len(), payload.len());
        return Err(EngineError::invalid("payload", message));
    }
    if declared.len() > TENSORS_MAX {
        return Err(EngineError::invalid("payload", format!("A call has at most {TENSORS_MAX} tensors.")));
    }
    let mut names = BTreeSet::new();
    let view = |(tensor, data): (&'call v1::Tensor, &&'call [u8])| {
        let name = tensor.name.as_str();
        if name.is_empty() {
            return Err(EngineError::invalid("name", "A tensor has no name."));
        }
        if !names.insert(name) {
            return Err(EngineError::invalid(name, format!("The tensor \"{name}\" comes twice.")));
        }
        if !tensor.data.is_empty() {
            let message = format!("The data of \"{name}\" belong into the payload, not into the header.");
            return Err(EngineError::invalid(name, message));
        }
        let data_type = DataType::parse(&tensor.datatype).ok_or_else(|| {
            EngineError::invalid(
                name,
                format!("The tensor \"{name}\" has an unknown datatype \"{}\".", tensor.datatype),
            )
        })?;
        TensorView::new(name, data_type, &tensor.shape, data)
    };
    declared.iter().zip(payload).map(view).collect()
}

/// Fails where the names, or the shapes, are not those that the model declares. Datatypes are left to the model, which may
/// convert. A model that declares nothing takes anything.
fn check_inputs(description: &ModelDescription, inputs: &[TensorView<'_>]) -> Result<(), EngineError> {
    let declared = &description.inputs;
    if declared.is_empty() {
        return Ok(());
    }
    if let Some(missing) = declared.iter().find(|info| !inputs.iter().any(|input| input.name == info.name)) {
        return Err(EngineError::invalid(&missing.name, format!("The input \"{}\" is missing.", missing.name)));
    }
    for input in inputs {
        let name = input.name;
        let info = declared
            .iter()
            .find(|info| info.name == name)
            .ok_or_else(|| EngineError::invalid(name, format!("The model has no input \"{name}\".")))?;
        let fits = |(length, wanted): (&i64, &i64)| *wanted < 0 || length == wanted;
        if input.shape.len() != info.shape.len() || !input.shape.iter().zip(&info.shape).all(fits) {
            let message = format!(
                "The input \"{name}\" has the shape {:?}, and the model takes {:?} (-1: any).",
                input.shape, info.shape
            );
            return Err(EngineError::invalid(name, message));
        }
    }
    Ok(())
}

/// The outputs that were asked for, in that order; all where none is named.
fn wanted(mut outputs: Vec<Tensor>, names: &[String]) -> Result<Vec<Tensor>, EngineError> {
    if names.is_empty() {
        return Ok(outputs);
    }
    let mut take = |name: &String| {
        let position = outputs
            .iter()
            .position(|tensor| tensor.name == *name)
            .ok_or_else(|| EngineError::invalid("outputs", format!("The model gives no output \"{name}\".")))?;
        Ok(outputs.swap_remove(position))
    };
    names.iter().map(&mut take).collect()
}
