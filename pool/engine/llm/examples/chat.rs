//! Answers one prompt on the terminal, token by token:
//!
//! ```sh
//! cargo run --release -p llm --example chat -- "Why is the sky blue?"
//! ```
//!
//! The model is the GGUF file that `TREELINE_GGUF` names, or the one that `make pool` fetches. After the answer, the second
//! line says how long each part took.

use contract::v1::{GenerateRequest, GenerateResponse, Message, Usage};
use engine_core::{CallContext, EngineError, GenerateSink};
use llm::cpu::CpuOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};

const MODEL: &str = ".cache/treeline/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let question = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let threads = std::thread::available_parallelism()?.get();
    let options = CpuOptions { threads, ..CpuOptions::default() };
    let model = llm::open(&model_path(), &options, &llm::ServiceOptions::default())?;
    let message = Message { role: "user".to_owned(), content: question, ..Message::default() };
    let request = GenerateRequest { messages: vec![message], ..GenerateRequest::default() };
    let (sender, events) = channel();
    model.generate(CallContext::default(), request, Box::new(Terminal { usage: None, ended: sender }))?;
    let usage = events.recv()??;
    let rate = |tokens: u32, nanoseconds: u64| f64::from(tokens) / (nanoseconds.max(1) as f64 / 1e9);
    println!(
        "\n\n{} tokens of prompt at {:.0}/s, {} of answer at {:.0}/s",
        usage.prompt_tokens,
        rate(usage.prompt_tokens, usage.prefill_ns),
        usage.completion_tokens,
        rate(usage.completion_tokens, usage.decode_ns),
    );
    Ok(())
}

fn model_path() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(MODEL);
    std::env::var_os("TREELINE_GGUF").map_or_else(home, PathBuf::from)
}

/// Prints pieces as they come.
struct Terminal {
    usage: Option<Usage>,
    ended: Sender<Result<Usage, EngineError>>,
}

impl GenerateSink for Terminal {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        print!("{}", response.text);
        let _ = std::io::stdout().flush();
        self.usage = response.usage.or(self.usage);
        Ok(())
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        let _ = self.ended.send(result.map(|()| self.usage.unwrap_or_default()));
    }
}
