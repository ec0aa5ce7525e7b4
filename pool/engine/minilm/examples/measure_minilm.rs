//! Embeds what `bench/pool/minilm/compare.py` asks for, line by line, so that it can be timed in turns with ONNX Runtime.
//!
//! `measure_minilm <file.tlm>`, then lines of `<repetitions> <token>…`; each is answered by wall and processor nanoseconds
//! of all repetitions together, and the embedding.

use minilm::MiniLm;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("measure_minilm <file.tlm>")?;
    let model = MiniLm::open(path.as_ref(), 1)?;
    for line in std::io::stdin().lock().lines() {
        let numbers = line?.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let [repetitions, tokens @ ..] = numbers.as_slice() else { return Err("no repetitions".into()) };
        let mut vectors = Vec::new();
        let (wall, processor) = (Instant::now(), processor_time());
        for _ in 0..*repetitions {
            vectors = model.embed_tokens(&[tokens])?.vectors;
        }
        print!("{} {}", wall.elapsed().as_nanos(), (processor_time() - processor).as_nanos());
        vectors.iter().for_each(|value| print!(" {value}"));
        println!();
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Processor time of this process, of all threads.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
