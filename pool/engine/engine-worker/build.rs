//! Generates the gRPC service of `engine.proto`; its messages are those of the crate `contract`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../../proto");
    let file = root.join("engine.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [&root])?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".treeline.engine.v1", "::contract::engine")
        .compile_fds(descriptors)?;
    Ok(())
}
