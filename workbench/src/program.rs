//! Owns how a program with settings in the environment and a command `report` starts and ends: mistakes, signals, the
//! exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use crate::demo::settings::EXIT_USAGE;
use crate::signals::stop_on_signals;

/// What a program says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its variables.
    pub help: &'static str,
    /// What its command `report` does.
    pub report: &'static str,
}

/// Reads the settings and does what is asked for; `false` is a failure that has been told.
pub fn main<S>(
    program: &Program,
    read: impl Fn(fn(&str) -> Option<String>) -> Result<S, Vec<String>>,
    stop: &'static AtomicBool,
    report: impl FnOnce(&S) -> anyhow::Result<bool>,
    run: impl FnOnce(&S) -> anyhow::Result<bool>,
) -> ExitCode {
    let name = program.name;
    let command = clap::Command::new(name)
        .about(program.about)
        .subcommand(clap::Command::new("report").about(program.report))
        .after_help(program.help);
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let settings = match read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            complain(&mistakes.join("\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = stop_on_signals(stop) {
        complain(&format!("{name}: signals end it at once: {error}"));
    }
    let outcome = match matches.subcommand_name() {
        Some(_) => report(&settings),
        None => run(&settings),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
