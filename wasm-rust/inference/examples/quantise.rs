//! `cargo run --release --example quantise -- <folder>`: makes `all-minilm-l6-v2.tlm` beside `model.safetensors` and
//! `tokenizer.json`, as `pkg/model-tool` does without Rust.

use inference::quantise::{Shape, quantise_bert};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: quantise <folder>")?);
    let safetensors = std::fs::read(folder.join("model.safetensors"))?;
    let tokenizer = std::fs::read_to_string(folder.join("tokenizer.json"))?;
    let file = quantise_bert("all-minilm-l6-v2", Shape::MINILM, &safetensors, &tokenizer, &mut |_| {})?;
    std::fs::write(folder.join("all-minilm-l6-v2.tlm"), file)?;
    Ok(())
}
