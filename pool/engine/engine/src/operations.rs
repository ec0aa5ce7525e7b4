//! What the engine does for each operation.

use crate::{Engine, IncomingCall, OutgoingReply};
use contract::engine::{EngineStats, HelloReply, Operation};
use contract::v1::GenerateRequest;
use engine_core::{CallContext, EngineError, GenerateSink, Reason};
use prost::Message;

/// Answers every operation but ECHO, SUM and GENERATE.
pub fn answer(engine: &Engine, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let _running = engine.counters.begin();
    match call.operation {
        Operation::Hello => Ok(OutgoingReply::answer(&hello(engine), Vec::new())),
        Operation::Stats => Ok(OutgoingReply::answer(&stats(engine), Vec::new())),
        operation => {
            engine.accept()?;
            let message = format!("The operation {} is not known here.", operation.as_str_name());
            Err(EngineError::new(Reason::Unsupported, message))
        }
    }
}

/// Begins a generation.
pub fn generate(
    engine: &Engine,
    context: CallContext,
    header: &[u8],
    sink: Box<dyn GenerateSink>,
) -> Result<(), EngineError> {
    engine.accept()?;
    let request: GenerateRequest = decode(header)?;
    let _ = (context, sink);
    Err(EngineError::new(Reason::ModelNotFound, format!("There is no model \"{}\".", request.model)))
}

fn hello(engine: &Engine) -> HelloReply {
    HelloReply {
        abi_version: contract::ABI_VERSION,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        backends: engine.backends.iter().map(|backend| backend.name().to_owned()).collect(),
        process_id: std::process::id(),
        contract_hash: contract::CONTRACT_HASH.to_owned(),
    }
}

fn stats(engine: &Engine) -> EngineStats {
    EngineStats {
        calls: engine.counters.calls(),
        running: engine.counters.running(),
        spans: engine.spans.drain(),
        spans_dropped: engine.spans.dropped(),
        ..EngineStats::default()
    }
}

/// The call's header as a message.
fn decode<M: Message + Default>(header: &[u8]) -> Result<M, EngineError> {
    M::decode(header).map_err(|error| EngineError::invalid("header", format!("The header cannot be decoded: {error}.")))
}
