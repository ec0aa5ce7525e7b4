//! One call of the service: a frame in, one frame or many out.

use super::generated::engine_service_server::EngineService;
use super::sink::Sink;
use contract::engine::{CallFrame, Operation, ReplyFrame};
use engine::{Engine, IncomingCall, OutgoingReply, ReplyPayload};
use engine_core::call::TraceContext;
use engine_core::guard::guarded;
use engine_core::{CallContext, EngineError};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// Threads that do calls with one reply, at most; further calls wait.
pub const BLOCKING_THREADS_MAX: usize = 128;
/// Frames of one stream that wait for a slow reader, at most; the generation is cancelled beyond that.
pub const PENDING_MAX: usize = 16_384;

/// The service.
pub struct Service {
    engine: Arc<Engine>,
}

impl Service {
    /// Over an engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

/// Frames to the client. When it goes away, the stream is dropped, and with it the call.
pub struct Replies {
    frames: mpsc::Receiver<ReplyFrame>,
    context: CallContext,
}

impl Stream for Replies {
    type Item = Result<ReplyFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.context.cancel();
    }
}

#[tonic::async_trait]
impl EngineService for Service {
    type CallStream = Replies;

    async fn call(&self, request: Request<CallFrame>) -> Result<Response<Self::CallStream>, Status> {
        let context = call_context(request.metadata(), request.get_ref(), Instant::now());
        let frame = request.into_inner();
        let (sender, frames) = mpsc::channel(PENDING_MAX);
        let replies = Replies { frames, context: context.clone() };
        let engine = self.engine.clone();
        // Both may decode, wait or compute: not on a thread that serves connections.
        tokio::task::spawn_blocking(move || answer(&engine, frame, context, sender));
        Ok(Response::new(replies))
    }
}

fn answer(engine: &Engine, frame: CallFrame, context: CallContext, sender: mpsc::Sender<ReplyFrame>) {
    if frame.operation() == Operation::Generate {
        let sink = Box::new(Sink::new(sender.clone()));
        if let Err(error) = guarded(|| engine.generate(context, &frame.header, sink)) {
            // A full or closed channel: nobody reads.
            let _ = sender.try_send(failed(&error));
        }
        return;
    }
    let _ = sender.try_send(one_reply(engine, frame, context).unwrap_or_else(|error| failed(&error)));
}

fn one_reply(engine: &Engine, frame: CallFrame, context: CallContext) -> Result<ReplyFrame, EngineError> {
    let operation = Operation::try_from(frame.operation)
        .ok()
        .filter(|operation| *operation != Operation::Unspecified)
        .ok_or_else(|| EngineError::invalid("operation", format!("There is no operation {}.", frame.operation)))?;
    let segments: Vec<&[u8]> = frame.payload.iter().map(Vec::as_slice).collect();
    let call = IncomingCall { operation, context, header: &frame.header, payload: &segments };
    let OutgoingReply { status, header, payload } = guarded(|| Ok(engine.call(&call)))?;
    let payload = match payload {
        ReplyPayload::Echo => frame.payload,
        ReplyPayload::Word(word) => vec![word.to_vec()],
        ReplyPayload::Tensors(tensors) => tensors.into_iter().map(|tensor| tensor.data.to_vec()).collect(),
    };
    Ok(ReplyFrame { status: status as i32, header, payload, last: true })
}

/// The last frame of a call that failed.
pub fn failed(error: &EngineError) -> ReplyFrame {
    let header = error.detail().encode_to_vec();
    ReplyFrame { status: error.status() as i32, header, payload: Vec::new(), last: true }
}

fn call_context(metadata: &MetadataMap, frame: &CallFrame, now: Instant) -> CallContext {
    let mut context = CallContext::default();
    let timeout = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout);
    context.deadline = timeout.and_then(|timeout| now.checked_add(timeout));
    context.priority = frame.priority.min(255) as u8;
    context.trace = TraceContext::parse(&frame.traceparent).unwrap_or_default();
    context
}

/// `grpc-timeout` (gRPC over HTTP/2): up to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_grpc_writes_it_and_else_ignored() {
        assert_eq!(timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "123456789S", "1é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
