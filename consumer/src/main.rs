//! Owns the process: the command line in, the exit code out.

use std::process::ExitCode;
use storage_consumer::{cli, logging};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(invocation) => {
            logging::init(&invocation.config.log);
            ExitCode::SUCCESS
        }
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_code())
        }
    }
}
