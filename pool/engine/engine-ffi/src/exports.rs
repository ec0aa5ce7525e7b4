//! The functions of `treeline_engine.h`.

use crate::abi::{Bytes, Call, EVENTS_MAX, Event, REPLY_ECHO, REPLY_WORD, Reply};
use crate::completions::{Completions, Sink};
use crate::memory;
use crate::output::Output;
use contract::engine::{ErrorDetail, Operation, Status};
use contract::{ABI_VERSION, CONTRACT_HASH};
use engine::{Engine, EngineConfig, IncomingCall, OutgoingReply, ReplyPayload};
use engine_core::buffer::OutputMemory;
use engine_core::guard::guarded;
use engine_core::{CallContext, EngineError};
use prost::Message;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// `treeline_engine`.
pub struct Handle {
    engine: Engine,
    completions: Arc<Completions>,
    output: Arc<dyn OutputMemory>,
}

/// `treeline_cancellation`.
pub struct Cancellation(CallContext);

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_open(
    abi_version: u32,
    contract_hash: Bytes,
    config: Bytes,
    failure: *mut Reply,
) -> *mut Handle {
    // SAFETY: the header asks for good bytes.
    let (hash, config) = unsafe { (contract_hash.as_slice(), config.as_slice()) };
    let opened = guarded(|| Ok(open(abi_version, hash, config)));
    match opened.unwrap_or_else(|error| Err(OutgoingReply::failure(&error))) {
        Ok(handle) => Box::into_raw(Box::new(handle)),
        Err(reply) => {
            // SAFETY: the header asks for a pointer to a reply.
            unsafe { failure.write(memory::reply(reply)) };
            std::ptr::null_mut()
        }
    }
}

fn open(abi_version: u32, hash: &[u8], config: &[u8]) -> Result<Handle, OutgoingReply> {
    if abi_version != ABI_VERSION || hash != CONTRACT_HASH.as_bytes() {
        return Err(mismatch(abi_version, &String::from_utf8_lossy(hash)));
    }
    let config: EngineConfig = serde_json::from_slice(config).map_err(|error| {
        OutgoingReply::failure(&EngineError::invalid("config", format!("The engine's settings: {error}.")))
    })?;
    let engine = Engine::open(config).map_err(|error| OutgoingReply::failure(&error))?;
    Ok(Handle { engine, completions: Arc::default(), output: Arc::new(Output::default()) })
}

fn mismatch(version: u32, hash: &str) -> OutgoingReply {
    let message = format!(
        "The server was built with ABI version {version} and contract {hash}, the engine with ABI version {ABI_VERSION} and \
         contract {CONTRACT_HASH}: build both from the same sources."
    );
    let header = ErrorDetail { message, ..ErrorDetail::default() }.encode_to_vec();
    OutgoingReply { status: Status::VersionMismatch, header, payload: ReplyPayload::Tensors(Vec::new()) }
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_call(
    handle: *const Handle,
    call: *const Call,
    cancellation: *const Cancellation,
    reply: *mut Reply,
) {
    // SAFETY: the header asks for good pointers; `cancellation` may be null.
    let (handle, call, cancellation) = unsafe { (&*handle, &*call, cancellation.as_ref()) };
    let answer = || {
        // SAFETY: the header asks for segments and a header that stay as they are during the call.
        let (payload, header) = unsafe { (call.payload()?, call.header.as_slice()) };
        let operation = operation(call.operation)?;
        let mut context = context(call, cancellation);
        context.output = Some(handle.output.clone());
        Ok(handle.engine.call(&IncomingCall { operation, context, header, payload: &payload }))
    };
    // SAFETY: the header asks for a pointer to a reply.
    unsafe { reply.write(answered(answer)) };
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_call_plain(
    handle: *const Handle,
    operation: u32,
    data: *const u8,
    length: usize,
    word: *mut [u8; 8],
) -> u32 {
    // SAFETY: the header asks for an open engine and bytes that stay as they are during the call.
    let (handle, segment) = unsafe { (&*handle, Bytes { data, length }.as_slice()) };
    // Without the wall against panics, for neither can panic.
    match operation {
        ECHO => {
            handle.engine.echo();
            REPLY_ECHO
        }
        SUM => {
            // SAFETY: the header asks for a pointer to eight bytes.
            unsafe { word.write(handle.engine.sum(segment)) };
            REPLY_WORD
        }
        _ => 0,
    }
}

const ECHO: u32 = Operation::Echo as u32;
const SUM: u32 = Operation::Sum as u32;

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_generate(
    handle: *const Handle,
    call: *const Call,
    cancellation: *const Cancellation,
    stream: u64,
    reply: *mut Reply,
) {
    // SAFETY: the header asks for good pointers; `cancellation` may be null.
    let (handle, call, cancellation) = unsafe { (&*handle, &*call, cancellation.as_ref()) };
    let begin = || {
        // SAFETY: the header asks for a header that stays as it is during the call.
        let header = unsafe { call.header.as_slice() };
        let sink = Box::new(Sink::new(handle.completions.clone(), stream));
        handle.engine.generate(context(call, cancellation), header, sink)?;
        Ok(OutgoingReply { status: Status::Ok, header: Vec::new(), payload: ReplyPayload::Tensors(Vec::new()) })
    };
    // SAFETY: the header asks for a pointer to a reply.
    unsafe { reply.write(answered(begin)) };
}

fn answered(answer: impl FnOnce() -> Result<OutgoingReply, EngineError>) -> Reply {
    memory::reply(guarded(answer).unwrap_or_else(|error| OutgoingReply::failure(&error)))
}

fn operation(number: u32) -> Result<Operation, EngineError> {
    i32::try_from(number)
        .ok()
        .and_then(|number| Operation::try_from(number).ok())
        .filter(|operation| !matches!(operation, Operation::Unspecified | Operation::Generate))
        .ok_or_else(|| EngineError::invalid("operation", format!("There is no operation {number} with one reply.")))
}

fn context(call: &Call, cancellation: Option<&Cancellation>) -> CallContext {
    let mut context = cancellation.map_or_else(CallContext::without_cancellation, |known| known.0.clone());
    call.apply_to(&mut context, Instant::now());
    context
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_poll(
    handle: *const Handle,
    events: *mut Event,
    events_max: usize,
    timeout_ns: u64,
) -> usize {
    // SAFETY: the header asks for an open engine.
    let handle = unsafe { &*handle };
    let mut count = 0;
    for event in handle.completions.poll(events_max.min(EVENTS_MAX), Duration::from_nanos(timeout_ns)) {
        // SAFETY: the header asks for room for `events_max` events, and `poll` gives no more.
        unsafe { events.add(count).write(event) };
        count += 1;
    }
    count
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_wake(handle: *const Handle) {
    // SAFETY: the header asks for an open engine.
    unsafe { &*handle }.completions.wake();
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_drain(handle: *const Handle) {
    // SAFETY: the header asks for an open engine.
    let handle = unsafe { &*handle };
    // A panic has no way to be told here; the engine refuses calls or it does not.
    let _ = guarded(|| {
        handle.engine.drain();
        Ok(())
    });
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_engine_close(handle: *mut Handle) {
    if handle.is_null() {
        return;
    }
    // SAFETY: made by `treeline_engine_open`, and the header forbids every later use.
    let handle = unsafe { Box::from_raw(handle) };
    let _ = guarded(|| {
        drop(handle);
        Ok(())
    });
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn treeline_cancellation_new() -> *mut Cancellation {
    Box::into_raw(Box::new(Cancellation(CallContext::default())))
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_cancellation_cancel(cancellation: *const Cancellation) {
    // SAFETY: the header asks for one that was not freed.
    unsafe { &*cancellation }.0.cancel();
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_cancellation_free(cancellation: *mut Cancellation) {
    if !cancellation.is_null() {
        // SAFETY: made by `treeline_cancellation_new`, and freed once.
        drop(unsafe { Box::from_raw(cancellation) });
    }
}

/// See the header.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn treeline_memory_release(held: *mut c_void) {
    // SAFETY: by the header, memory of a reply or an event, given back once.
    unsafe { memory::release(held) };
}
