//! What a generation gives, on its way to the client.

use super::service::failed;
use contract::engine::ReplyFrame;
use contract::v1::GenerateResponse;
use engine_core::{EngineError, GenerateSink, Reason};
use prost::Message;
use tokio::sync::mpsc;

/// The sink of one call.
pub struct Sink {
    frames: mpsc::Sender<ReplyFrame>,
}

impl Sink {
    /// Sends into a channel.
    pub fn new(frames: mpsc::Sender<ReplyFrame>) -> Self {
        Self { frames }
    }
}

impl GenerateSink for Sink {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        let frame = ReplyFrame { header: response.encode_to_vec(), ..ReplyFrame::default() };
        // One place stays free for the end.
        if self.frames.capacity() < 2 {
            return Err(EngineError::new(Reason::Cancelled, "The text was not read as fast as it came."));
        }
        self.frames.try_send(frame).map_err(|_| EngineError::new(Reason::Cancelled, "Nobody reads the text any more."))
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        let frame = match result {
            Ok(()) => ReplyFrame { last: true, ..ReplyFrame::default() },
            Err(error) => failed(&error),
        };
        // Closed: nobody reads.
        let _ = self.frames.try_send(frame);
    }
}
