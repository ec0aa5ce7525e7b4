//! What the engine does for each operation.

mod models;
mod ranking;
mod tensors;
mod texts;

use crate::{Engine, IncomingCall, OutgoingReply};
use contract::engine::Operation;
use contract::v1::GenerateRequest;
use engine_core::repository::{Lease, sink};
use engine_core::{CallContext, EngineError, GenerateSink, Reason};
use prost::Message;
use std::time::Instant;

/// Answers every operation but ECHO, SUM and GENERATE.
pub fn answer(engine: &Engine, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let _running = engine.counters.begin();
    match call.operation {
        Operation::Hello => return Ok(models::hello(engine)),
        Operation::Stats => return Ok(models::stats(engine)),
        Operation::ListModels => return Ok(models::list(engine)),
        _ => {}
    }
    call.context.check(Instant::now())?;
    let (context, mut span) = engine.recorded(&call.context).enter(call.operation.as_str_name());
    let result = match call.operation {
        // What takes no work on may still be asked for while the engine drains.
        Operation::UnloadModel => models::unload(engine, &context, call),
        operation => engine.accept().and_then(|()| match operation {
            Operation::Infer => tensors::infer(engine, &context, call),
            Operation::Embed => texts::embed(engine, &context, call),
            Operation::Rerank => ranking::rerank(engine, &context, call),
            Operation::Tokenize => texts::tokenize(engine, &context, call),
            Operation::LoadModel => models::load(engine, &context, call),
            Operation::TrainModel => tensors::train(engine, &context, call),
            operation => Err(unknown(operation)),
        }),
    };
    if let Err(error) = &result {
        span.attribute("error", || error.status().as_str_name());
    }
    result
}

fn unknown(operation: Operation) -> EngineError {
    let message = match operation {
        Operation::Generate => "GENERATE has many replies, and is called as a stream.".to_owned(),
        operation => format!("{} is not an operation of the engine.", operation.as_str_name()),
    };
    EngineError::new(Reason::Unsupported, message)
}

/// Begins a generation.
pub fn generate(
    engine: &Engine,
    context: CallContext,
    header: &[u8],
    sink: Box<dyn GenerateSink>,
) -> Result<(), EngineError> {
    let running = engine.counters.begin();
    engine.accept()?;
    context.check(Instant::now())?;
    let mut request: GenerateRequest = decode(header)?;
    let (mut context, span) = engine.recorded(&context).enter(Operation::Generate.as_str_name());
    context.priority = context.priority.max(priority(&request)?);
    let lease = find(engine, &context, &request.model, &request.version)?;
    request.version = lease.loaded().version.to_string();
    sink::generate(lease, context, request, sink, (span, running))
}

fn priority(request: &GenerateRequest) -> Result<u8, EngineError> {
    u8::try_from(request.priority)
        .map_err(|_| EngineError::invalid("priority", format!("A priority is 0 to 255, not {}.", request.priority)))
}

/// The version that answers; how long it took to be there is a span of its own.
fn find(engine: &Engine, context: &CallContext, model: &str, version: &str) -> Result<Lease, EngineError> {
    let mut span = context.span("find_model");
    span.attribute("model", || model);
    let lease = engine.repository.find(context, model, version)?;
    span.attribute("version", || lease.loaded().version);
    span.attribute("backend", || lease.loaded().description().backend);
    Ok(lease)
}

/// The call's header as a message.
fn decode<M: Message + Default>(header: &[u8]) -> Result<M, EngineError> {
    M::decode(header).map_err(|error| EngineError::invalid("header", format!("The header cannot be decoded: {error}.")))
}
