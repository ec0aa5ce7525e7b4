//! The engine as a process. Started by the server with shared memory (`--shared-memory`), or by hand as an engine for
//! servers on other hosts (`--listen`, gRPC). `--help` tells the rest.

mod arguments;
mod grpc;
mod shared;

use arguments::{Arguments, Transport};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(sentence) => return refuse(&sentence),
    };
    let served = match arguments.transport {
        Transport::SharedMemory => shared::serve(arguments.engine),
        Transport::Listen(settings) => grpc::serve(arguments.engine, settings),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => refuse(&sentence),
    }
}

fn refuse(sentence: &str) -> ExitCode {
    eprintln!("treeline-engine: {sentence}");
    ExitCode::from(2)
}
