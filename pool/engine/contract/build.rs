//! Compiles `proto/*.proto` and hashes them: both sides of the boundary must have been built from the same contract.

use std::path::PathBuf;

const FILES: [&str; 2] = ["services.proto", "engine.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../../proto");
    let files = FILES.map(|name| root.join(name));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        for byte in std::fs::read(file)? {
            // FNV-1a: the hash guards against mistakes, not against people.
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=TREELINE_CONTRACT_HASH={hash:016x}");
    let descriptors = protox::compile(&files, [&root])?;
    let mut config = prost_build::Config::new();
    // Map entries keep one order, so that equal messages have equal bytes.
    config.btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
