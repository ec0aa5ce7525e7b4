//! The prompt given back character by character, from the start again at its end: a stream as long as it is asked for, whose
//! every piece is known beforehand. One thread writes all streams of a model in turns, as a scheduler of tokens does.

use contract::v1::{FinishReason, GenerateRequest, GenerateResponse, Usage};
use engine_core::{CallContext, EngineError, GenerateSink, Reason};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// Pieces of a stream, at most.
const PIECES_MAX: u32 = 10_000_000;

/// The thread that writes; it ends with its model.
pub struct Generation(Sender<Stream>);

struct Stream {
    context: CallContext,
    prompt: Vec<char>,
    pieces: u32,
    sent: u32,
    sink: Box<dyn GenerateSink>,
}

impl Generation {
    /// Starts the thread, which rests for `pause` after each round of one piece a stream.
    pub fn start(pause: Duration) -> Result<Self, EngineError> {
        let (sender, receiver) = channel();
        std::thread::Builder::new()
            .name("identity".to_owned())
            .spawn(move || run(&receiver, pause))
            .map_err(|error| EngineError::new(Reason::Internal, format!("No thread for the model: {error}.")))?;
        Ok(Self(sender))
    }

    /// Begins a stream of `max_tokens` pieces; absent: as many as the prompt has characters.
    pub fn begin(
        &self,
        context: CallContext,
        request: &GenerateRequest,
        sink: Box<dyn GenerateSink>,
    ) -> Result<(), EngineError> {
        let prompt: Vec<char> = request.prompt().chars().collect();
        if prompt.is_empty() {
            return Err(EngineError::invalid("prompt", "The identity model needs a prompt of at least one character."));
        }
        let pieces = request.max_tokens.unwrap_or(prompt.len() as u32).min(PIECES_MAX);
        self.0
            .send(Stream { context, prompt, pieces, sent: 0, sink })
            .map_err(|_| EngineError::new(Reason::Internal, "The model's thread has ended."))
    }
}

fn run(arriving: &Receiver<Stream>, pause: Duration) {
    let mut streams: Vec<Stream> = Vec::new();
    loop {
        if streams.is_empty() {
            let Ok(first) = arriving.recv() else { return };
            streams.push(first);
        }
        loop {
            match arriving.try_recv() {
                Ok(stream) => streams.push(stream),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) if streams.is_empty() => return,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        streams = streams.into_iter().filter_map(Stream::advance).collect();
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}

impl Stream {
    /// Sends one piece; gives the stream back where more follow.
    fn advance(mut self) -> Option<Self> {
        if let Err(error) = self.context.check(Instant::now()) {
            self.sink.end(Err(error));
            return None;
        }
        if self.sent == self.pieces {
            self.sink.end(Ok(()));
            return None;
        }
        let character = self.prompt[self.sent as usize % self.prompt.len()];
        self.sent += 1;
        let mut piece =
            GenerateResponse { text: character.to_string(), ids: vec![character as u32], ..Default::default() };
        if self.sent == self.pieces {
            piece.set_finish_reason(FinishReason::Length);
            let prompt_tokens = self.prompt.len() as u32;
            piece.usage = Some(Usage { prompt_tokens, completion_tokens: self.pieces, ..Default::default() });
        }
        match self.sink.send(piece) {
            Ok(()) => Some(self),
            Err(error) => {
                self.sink.end(Err(error));
                None
            }
        }
    }
}
