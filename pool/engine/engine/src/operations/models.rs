//! The engine itself, and its models: HELLO, STATS, LIST_MODELS, LOAD_MODEL, UNLOAD_MODEL.

use super::decode;
use crate::{Engine, IncomingCall, OutgoingReply};
use contract::engine::{EngineStats, HelloReply};
use contract::v1::{ListModelsResponse, LoadModelRequest, UnloadModelRequest, UnloadModelResponse};
use engine_core::{CallContext, EngineError};

/// What this engine is.
pub fn hello(engine: &Engine) -> OutgoingReply {
    let backends = engine.repository.backends();
    let reply = HelloReply {
        abi_version: contract::ABI_VERSION,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        backends: backends.iter().map(|backend| backend.name().to_owned()).collect(),
        process_id: std::process::id(),
        contract_hash: contract::CONTRACT_HASH.to_owned(),
    };
    OutgoingReply::answer(&reply, Vec::new())
}

/// Counters and load, and the spans that ended since the last call of this.
pub fn stats(engine: &Engine) -> OutgoingReply {
    let mut stats = EngineStats {
        calls: engine.counters.calls(),
        // This call is none of interest.
        running: engine.counters.running().saturating_sub(1),
        spans: engine.spans.drain(),
        spans_dropped: engine.spans.dropped(),
        ..EngineStats::default()
    };
    engine.repository.add_stats(&mut stats);
    OutgoingReply::answer(&stats, Vec::new())
}

/// All models.
pub fn list(engine: &Engine) -> OutgoingReply {
    OutgoingReply::answer(&ListModelsResponse { models: engine.repository.list() }, Vec::new())
}

/// Loads, and answers when the model does.
pub fn load(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: LoadModelRequest = decode(call.header)?;
    let model = engine.repository.load(context, &request.model, &request.version)?;
    Ok(OutgoingReply::answer(&model, Vec::new()))
}

/// Unloads, and answers when the memory is given back.
pub fn unload(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: UnloadModelRequest = decode(call.header)?;
    engine.repository.unload(context, &request.model, &request.version)?;
    Ok(OutgoingReply::answer(&UnloadModelResponse {}, Vec::new()))
}
