//! The messages of `proto/`, as Rust types. Generated at build time; nothing here is written by hand but this page.

/// The messages of `services.proto`.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/treeline.v1.rs"));
}

/// The messages of `engine.proto`.
#[allow(missing_docs, clippy::all)]
pub mod engine {
    include!(concat!(env!("OUT_DIR"), "/treeline.engine.v1.rs"));
}

/// Layout of the C structures and of the shared ring. Raised by every change that the other side would misread.
pub const ABI_VERSION: u32 = 1;

/// Hash of the proto files that this was built from; the server refuses an engine that has another.
pub const CONTRACT_HASH: &str = env!("TREELINE_CONTRACT_HASH");
