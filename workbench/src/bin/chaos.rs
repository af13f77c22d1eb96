//! Owns nothing but the way from the environment to `chaos::run` and `chaos::report`: signals, and the exit code.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use workbench::chaos::{self, Settings, settings};
use workbench::program::{self, Program};

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let program = Program {
        name: "chaos",
        about: "Faults on a real Kafka cluster, a real PostgreSQL and real consumers, and the referee's verdict",
        help: settings::HELP,
        report: "Fill the document's table from the results of all runs",
    };
    program::main(
        &program,
        Settings::read,
        &STOP,
        |settings| chaos::report(settings).map(|()| true),
        |settings| chaos::run(settings, &STOP),
    )
}
