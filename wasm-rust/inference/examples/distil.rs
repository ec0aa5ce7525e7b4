//! `cargo run --release --example distil -- <all-minilm-l6-v2.tlm> <result>`: makes the static model out of the encoder,
//! as `pkg/model-tool` does without Rust, to the same byte.

use inference::backend::{Embedder, open};
use inference::distil::{Distillation, distil};
use inference::file::{Buffer, File};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [encoder, result] = [1, 2].map(|at| std::env::args().nth(at).ok_or("usage: distil <encoder.tlm> <result>"));
    let file = File::open(Buffer::from_bytes(&std::fs::read(encoder?)?)?)?;
    let vocabulary = file.text("vocabulary")?.to_owned();
    let mut embedder = Embedder::new(open(file)?);
    let progress = &mut |share: f64| eprint!("\r{:3.0} %", share * 100.0);
    let bytes = distil("treeline-static-v1", &mut embedder, &vocabulary, Distillation::MINILM, progress)?;
    std::fs::write(result?, bytes)?;
    Ok(())
}
