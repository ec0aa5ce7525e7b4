//! The command line, read once.

use crate::grpc::Settings;
use engine::EngineConfig;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
treeline-engine: the inference engine as a process

  --shared-memory           serve the server that started this process, through memory that it passed on
  --listen ADDRESS:PORT     serve treeline.engine.v1.EngineService by gRPC; port 0: any, printed at the start
  --tls-cert FILE           certificate chain (PEM) for --listen
  --tls-key FILE            its key (PEM)
  --tls-client-ca FILE      clients must show a certificate of one of these (PEM)

  --config JSON             the engine's settings as one JSON object; the flags below go over it
  --repository FOLDER       the model repository
  --memory-bytes-max BYTES  bytes that loaded models may hold together
  --threads COUNT           threads for computing; 0: as many as the machine has
  --load NAME[:VERSION]     a model to load at the start; may be repeated";

/// How calls come.
#[derive(Debug)]
pub enum Transport {
    /// From the server that started us.
    SharedMemory,
    /// By gRPC.
    Listen(Settings),
}

/// The command line.
#[derive(Debug)]
pub struct Arguments {
    /// How calls come.
    pub transport: Transport,
    /// The engine's settings.
    pub engine: EngineConfig,
}

#[derive(Default)]
struct Flags {
    shared_memory: bool,
    listen: Option<SocketAddr>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
}

impl Arguments {
    /// Reads the command line; `None` where help was asked for. An error is a sentence.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments = arguments.peekable();
        let mut flags = Flags::default();
        let mut engine = EngineConfig::default();
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--shared-memory" => {
                    flags.shared_memory = true;
                    continue;
                }
                _ => {}
            }
            let value = arguments.next().ok_or_else(|| format!("{flag} needs a value, or is no flag; see --help."))?;
            match flag.as_str() {
                "--listen" => flags.listen = Some(parsed(&flag, &value)?),
                "--tls-cert" => flags.certificate = Some(value.into()),
                "--tls-key" => flags.key = Some(value.into()),
                "--tls-client-ca" => flags.client_ca = Some(value.into()),
                "--config" => engine = serde_json::from_str(&value).map_err(|error| format!("--config: {error}."))?,
                "--repository" => engine.repository = value.into(),
                "--memory-bytes-max" => engine.memory_bytes_max = parsed(&flag, &value)?,
                "--threads" => engine.threads = parsed(&flag, &value)?,
                "--load" => engine.load.push(value),
                _ => return Err(format!("There is no flag {flag}; see --help.")),
            }
        }
        Ok(Some(Self { transport: flags.transport()?, engine }))
    }
}

impl Flags {
    fn transport(self) -> Result<Transport, String> {
        let tls = match (self.certificate, self.key) {
            (None, None) if self.client_ca.is_none() => None,
            (Some(certificate), Some(key)) => {
                Some(crate::grpc::TlsFiles { certificate, key, client_ca: self.client_ca })
            }
            _ => return Err("--tls-cert and --tls-key belong together, and --tls-client-ca needs both.".to_owned()),
        };
        match (self.shared_memory, self.listen) {
            (true, None) if tls.is_none() => Ok(Transport::SharedMemory),
            (false, Some(address)) => Ok(Transport::Listen(Settings { address, tls })),
            _ => Err("Either --shared-memory or --listen (with its TLS flags) is needed; see --help.".to_owned()),
        }
    }
}

fn parsed<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{flag} cannot be \"{value}\"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_go_over_the_configuration_as_json() {
        let line = r#"--listen 127.0.0.1:0 --config {"repository":"a","threads":3} --repository b --load m --load n:2"#;
        let engine = parse(line).unwrap().unwrap().engine;
        assert_eq!((engine.repository, engine.threads), (PathBuf::from("b"), 3));
        assert_eq!(engine.load, ["m", "n:2"]);
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_a_sentence() {
        for line in [
            "",
            "--listen",
            "--listen nowhere",
            "--shared-memory --listen 127.0.0.1:0",
            "--listen 127.0.0.1:0 --tls-cert a",
            "--listen 127.0.0.1:0 --tls-client-ca a",
            "--shared-memory --tls-cert a --tls-key b",
            "--shared-memory --threads many",
            "--shared-memory --config {",
            "--shared-memory --unknown 1",
        ] {
            let sentence = parse(line).expect_err(line);
            assert!(sentence.ends_with('.'), "{sentence}");
        }
    }
}
