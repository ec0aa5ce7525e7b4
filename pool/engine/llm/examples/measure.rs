//! Computes what `bench/pool/llama/compare.py` asks for, line by line, so that it can be timed in turns with llama.cpp.
//!
//! `measure <file> <threads> [avx512 | avx2 | portable]`, then one command a line, each answered by one:
//!
//! | command | does | answers |
//! |---|---|---|
//! | `prompt <tokens>` | computes a prompt | wall and processor nanoseconds |
//! | `decode <sequences> <position> <steps>` | computes steps of one token a sequence | wall and processor nanoseconds |
//! | `greedy <steps> <token>…` | goes on with the likeliest token | the tokens |
//! | `logits <count> <wanted>… <token>…` | computes a prompt | the logits of the wanted tokens |

use llm::cpu::{CpuOptions, Instructions, open};
use llm::gguf::Gguf;
use llm::{Decoder, StepSequence};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Sequences that `decode` takes at most, each with blocks of its own for the whole context.
const SEQUENCES_MAX: usize = 16;
/// Tokens of context.
const CONTEXT: usize = 4096;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, threads, rest @ ..] = arguments.as_slice() else {
        return Err("measure <file> <threads> [avx512 | avx2 | portable]".into());
    };
    let instructions = match rest.first().map(String::as_str) {
        None => None,
        Some("avx512") => Some(Instructions::Avx512),
        Some("avx2") => Some(Instructions::Avx2),
        Some("portable") => Some(Instructions::Portable),
        Some(other) => return Err(format!("no path is called {other}").into()),
    };
    let options = CpuOptions {
        threads: threads.parse()?,
        cache_bytes: 2 << 30,
        context_length_max: Some(CONTEXT),
        instructions,
        ..Default::default()
    };
    let mut measured = Measured { decoder: open(&Gguf::open(file.as_ref())?, &options)?, logits: Vec::new() };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<std::result::Result<Vec<u32>, _>>()?;
        println!("{}", measured.answer(command, &numbers)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}

struct Measured {
    decoder: Box<dyn Decoder>,
    logits: Vec<f32>,
}

impl Measured {
    fn answer(&mut self, command: &str, numbers: &[u32]) -> Result<String> {
        match (command, numbers) {
            ("prompt", &[tokens]) => self.prompt(tokens),
            ("decode", &[sequences, position, steps]) => {
                self.decode(sequences as usize, position as usize, steps as usize)
            }
            ("greedy", [steps, tokens @ ..]) if !tokens.is_empty() => self.greedy(*steps, tokens),
            ("logits", [count, rest @ ..]) if rest.len() > *count as usize => {
                let (wanted, tokens) = rest.split_at(*count as usize);
                self.compute(tokens, 0)?;
                let logits = wanted.iter().map(|&token| self.logits[token as usize].to_string());
                Ok(logits.collect::<Vec<_>>().join(" "))
            }
            _ => Err(format!("not a command: {command} {numbers:?}").into()),
        }
    }

    fn blocks(&self, sequence: usize) -> Vec<u32> {
        let each = CONTEXT.div_ceil(self.decoder.shape().block_tokens);
        (sequence * each..(sequence + 1) * each).map(|block| block as u32).collect()
    }

    /// Computes tokens of sequence 0 from a position on, and the logits after the last.
    fn compute(&mut self, tokens: &[u32], position: usize) -> Result<()> {
        let blocks = self.blocks(0);
        let most = self.decoder.shape().step_tokens_max;
        for (index, chunk) in tokens.chunks(most).enumerate() {
            let wants_logits = (index + 1) * most >= tokens.len();
            let part = StepSequence { tokens: chunk, position: position + index * most, blocks: &blocks, wants_logits };
            self.decoder.step(&[part], &mut self.logits)?;
        }
        Ok(())
    }

    fn prompt(&mut self, tokens: u32) -> Result<String> {
        let tokens: Vec<u32> = (0..tokens).map(|index| (index * 7919 + 13) % 49_000).collect();
        let clock = Clock::start();
        self.compute(&tokens, 0)?;
        Ok(clock.stop())
    }

    fn decode(&mut self, sequences: usize, position: usize, steps: usize) -> Result<String> {
        if !(1..=SEQUENCES_MAX).contains(&sequences) || position + steps > CONTEXT {
            return Err("too many sequences, or too long".into());
        }
        let blocks: Vec<Vec<u32>> = (0..sequences).map(|sequence| self.blocks(sequence)).collect();
        let clock = Clock::start();
        for step in 0..steps {
            let tokens = [(step as u32 * 7919 + 13) % 49_000];
            let position = position + step;
            let parts: Vec<_> = blocks
                .iter()
                .map(|blocks| StepSequence { tokens: &tokens, position, blocks, wants_logits: true })
                .collect();
            self.decoder.step(&parts, &mut self.logits)?;
        }
        Ok(clock.stop())
    }

    fn greedy(&mut self, steps: u32, tokens: &[u32]) -> Result<String> {
        self.compute(tokens, 0)?;
        let mut chosen = Vec::new();
        for step in 0..steps as usize {
            let likeliest = self.likeliest();
            chosen.push(likeliest.to_string());
            self.compute(&[likeliest], tokens.len() + step)?;
        }
        Ok(chosen.join(" "))
    }

    fn likeliest(&self) -> u32 {
        let first = (0, f32::NEG_INFINITY);
        let likelier = |best: (u32, f32), (token, &logit): (usize, &f32)| {
            if logit > best.1 { (token as u32, logit) } else { best }
        };
        self.logits.iter().enumerate().fold(first, likelier).0
    }
}

struct Clock {
    wall: Instant,
    processor: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: processor_time() }
    }

    fn stop(self) -> String {
        format!("{} {}", self.wall.elapsed().as_nanos(), (processor_time() - self.processor).as_nanos())
    }
}

/// Processor time of this process, of all threads.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
