//! The engine for servers on other hosts: `treeline.engine.v1.EngineService`.

mod service;
mod sink;

use engine::{Engine, EngineConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

/// The generated service.
#[allow(missing_docs, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/treeline.engine.v1.rs"));
}

/// Bytes of a message, either way, at most. The same in the server's package `engine/grpc`.
pub const MESSAGE_BYTES_MAX: usize = 257 << 20;
/// Calls of one connection that run at once, at most.
const CONCURRENCY_MAX: u32 = 1024;
/// Bytes of one call that may be on the way before the reader has taken them.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// The same for all calls of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Where, and by which certificates.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// None: without TLS.
    pub tls: Option<TlsFiles>,
}

/// PEM files.
#[derive(Debug)]
pub struct TlsFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs clients' certificates; none: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT, then finishes what runs. Prints `listening on ADDRESS` once it does.
pub fn serve(config: EngineConfig, settings: Settings) -> Result<(), String> {
    let engine = Arc::new(Engine::open(config).map_err(|error| error.message)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(service::BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| format!("No threads: {error}."))?;
    runtime.block_on(run(engine, settings))
}

async fn run(engine: Arc<Engine>, settings: Settings) -> Result<(), String> {
    let incoming = TcpIncoming::bind(settings.address)
        .map_err(|error| format!("Cannot listen on {}: {error}.", settings.address))?;
    let incoming = incoming.with_nodelay(Some(true));
    let address = incoming.local_addr().map_err(|error| format!("The socket has no address: {error}."))?;
    let service = generated::engine_service_server::EngineServiceServer::new(service::Service::new(engine.clone()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut server = Server::builder()
        .concurrency_limit_per_connection(CONCURRENCY_MAX as usize)
        .max_concurrent_streams(CONCURRENCY_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)));
    if let Some(files) = &settings.tls {
        server = server.tls_config(tls(files)?).map_err(|error| format!("The certificates do not serve: {error}."))?;
    }
    println!("listening on {address}");
    server
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, ended(engine))
        .await
        .map_err(|error| format!("The gRPC server failed: {error}."))
}

async fn ended(engine: Arc<Engine>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    engine.drain();
}

fn tls(files: &TlsFiles) -> Result<ServerTlsConfig, String> {
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(read(&files.certificate)?, read(&files.key)?));
    if let Some(file) = &files.client_ca {
        tls = tls.client_ca_root(Certificate::from_pem(read(file)?));
    }
    Ok(tls)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}.", file.display()))
}
