//! Owns nothing but the way from the environment to `chaos::run` and `chaos::report`: signals, and the exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use workbench::chaos::{self, Settings, settings};
use workbench::demo::settings::EXIT_USAGE;
use workbench::signals::stop_on_signals;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let report = clap::Command::new("report").about("Fill the document's table from the results of all runs");
    let command = clap::Command::new("chaos")
        .about(
            "Faults on a real Kafka cluster, a real PostgreSQL and real consumers, and the referee's verdict",
        )
        .subcommand(report)
        .after_help(settings::HELP);
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let settings = match Settings::read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            complain(&mistakes.join("\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = stop_on_signals(&STOP) {
        complain(&format!("chaos: signals end it without a verdict: {error}"));
    }
    let outcome = match matches.subcommand_name() {
        Some(_) => chaos::report(&settings).map(|()| true),
        None => chaos::run(&settings, &STOP),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("chaos: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
