//! Owns nothing but the way from the environment to `demo::run`: signals, and the exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use workbench::demo::{self, Settings, settings};
use workbench::signals::stop_on_signals;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let command = clap::Command::new("demo")
        .about("The whole path on this machine: events, Kafka, storage-consumer, PostgreSQL, and the proof")
        .after_help(settings::HELP);
    if let Err(error) = command.try_get_matches() {
        let _ = error.print();
        let code = if error.use_stderr() {
            settings::EXIT_USAGE
        } else {
            0
        };
        return ExitCode::from(code);
    }
    let settings = match Settings::read(|name| std::env::var(name).ok(), demo::is_watched()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            complain(&mistakes.join("\n"));
            return ExitCode::from(settings::EXIT_USAGE);
        }
    };
    if let Err(error) = stop_on_signals(&STOP) {
        complain(&format!("demo: signals end it without a summary: {error}"));
    }
    match demo::run(&settings, &STOP) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
