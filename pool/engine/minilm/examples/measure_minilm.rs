//! Embeds what `bench/pool/minilm/compare.py` asks for, line by line, so that it can be timed in turns with ONNX Runtime.
//!
//! `measure_minilm <file.tlm>` or `measure_minilm <model.safetensors> <tokenizer.json>`, then lines of `<repetitions>
//! <token>…`; each is answered by wall and processor nanoseconds of all repetitions together, and the embedding. A line that
//! is a JSON string is answered by its tokens.

use contract::v1::TokenizeRequest;
use engine_core::Model;
use minilm::MiniLm;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let model = match arguments.as_slice() {
        [file] => MiniLm::open(file.as_ref(), 1)?,
        [weights, tokenizer] => MiniLm::open_float(weights.as_ref(), tokenizer.as_ref(), 1)?,
        _ => return Err("measure_minilm <file.tlm> | <model.safetensors> <tokenizer.json>".into()),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words = if line.starts_with('"') { tokens(&model, &line)? } else { measured(&model, &line)? };
        println!("{}", words.join(" "));
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn tokens(model: &MiniLm, line: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let text = serde_json::from_str(line)?;
    let response = model.tokenize(&TokenizeRequest { text, ..Default::default() })?;
    Ok(response.ids.iter().map(u32::to_string).collect())
}

fn measured(model: &MiniLm, line: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let [repetitions, tokens @ ..] = numbers.as_slice() else { return Err("no repetitions".into()) };
    let mut vectors = Vec::new();
    let (wall, processor) = (Instant::now(), processor_time());
    for _ in 0..*repetitions {
        vectors = model.embed_tokens(&[tokens])?.vectors;
    }
    let times = [wall.elapsed(), processor_time() - processor].map(|time| time.as_nanos().to_string());
    Ok(times.into_iter().chain(vectors.iter().map(f32::to_string)).collect())
}

/// Processor time of this process, of all threads.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
