//! Owns nothing but the way from the environment to `bench::run` and `bench::report`: signals, and the exit code.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use workbench::bench::{self, Settings, settings};
use workbench::program::{self, Program};

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let program = Program {
        name: "bench",
        about: "How close the consumer comes to PostgreSQL itself, on a real Kafka and a real PostgreSQL",
        help: settings::HELP,
        report: "Fill the document from the results that are there",
    };
    program::main(
        &program,
        Settings::read,
        &STOP,
        |settings| bench::report(settings).map(|()| true),
        |settings| bench::run(settings, &STOP).map(|()| true),
    )
}
