//! Tokens a second of a GGUF file by candle on the processor and by the kernels of the crate `llm`, in turns:
//! `measure_candle <file> <threads> <rounds>`. `CANDLE_NUM_THREADS` bounds candle's threads.
//!
//! Each round prints wall and processor milliseconds a token of a prompt of 256 tokens, of 16 tokens after it one by one, and
//! of 16 steps of 8 sequences.

use backend_candle::{CandleOptions, open_decoder};
use llm::cpu::CpuOptions;
use llm::gguf::Gguf;
use llm::{Decoder, StepSequence};
use std::time::{Duration, Instant};

const PROMPT: usize = 256;
const STEPS: usize = 16;
const SEQUENCES: u32 = 8;
const BLOCKS_EACH: u32 = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, threads, rounds] = arguments.as_slice() else {
        return Err("measure_candle <file> <threads> <rounds>".into());
    };
    let file = Gguf::open(file.as_ref())?;
    let native = CpuOptions { threads: threads.parse()?, cache_bytes: 256 << 20, ..Default::default() };
    let candle = CandleOptions { cache_bytes: 256 << 20, ..Default::default() };
    let mut decoders = [("native", llm::cpu::open(&file, &native)?), ("candle", open_decoder(&file, &candle)?)];
    for round in 0..rounds.parse()? {
        for (name, decoder) in &mut decoders {
            let [prompt, alone, together] = measure(&mut **decoder)?;
            println!("{round} {name}: prompt {prompt}, alone {alone}, {SEQUENCES} together {together}");
        }
    }
    Ok(())
}

fn measure(decoder: &mut dyn Decoder) -> Result<[String; 3], engine_core::EngineError> {
    let mut logits = Vec::new();
    let tokens: Vec<u32> = (0..PROMPT as u32).map(|index| (index * 7919 + 13) % 49_000).collect();
    let blocks: Vec<Vec<u32>> =
        (0..SEQUENCES).map(|sequence| (sequence * BLOCKS_EACH..(sequence + 1) * BLOCKS_EACH).collect()).collect();
    let clock = Clock::start();
    decoder
        .step(&[StepSequence { tokens: &tokens, position: 0, blocks: &blocks[0], wants_logits: true }], &mut logits)?;
    let prompt = clock.stop(PROMPT);
    let mut steps = |sequences: &[Vec<u32>]| -> Result<String, engine_core::EngineError> {
        let clock = Clock::start();
        for step in 0..STEPS {
            let part = |blocks| StepSequence {
                tokens: &tokens[step..=step],
                position: PROMPT + step,
                blocks,
                wants_logits: true,
            };
            let parts: Vec<StepSequence<'_>> = sequences.iter().map(|blocks| part(blocks)).collect();
            decoder.step(&parts, &mut logits)?;
        }
        Ok(clock.stop(STEPS * sequences.len()))
    };
    Ok([prompt, steps(&blocks[..1])?, steps(&blocks)?])
}

struct Clock {
    wall: Instant,
    processor: Duration,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: processor_time() }
    }

    /// Wall and processor milliseconds a token, and tokens a second of wall time.
    fn stop(self, tokens: usize) -> String {
        let (wall, processor) = (self.wall.elapsed(), processor_time() - self.processor);
        let each = |time: Duration| time.as_secs_f64() * 1e3 / tokens as f64;
        format!("{:.2} ms wall {:.2} ms cpu ({:.1}/s)", each(wall), each(processor), tokens as f64 / wall.as_secs_f64())
    }
}

/// Processor time of this process, of all threads.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
