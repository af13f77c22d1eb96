//! Owns nothing but the way from the command line to `generator::publish`: signals, a progress bar on a
//! terminal, the summary on standard output, exit codes.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use tracing_subscriber::filter::LevelFilter;
use workbench::generator::{Settings, Summary, options, publish};
use workbench::signals::stop_on_signals;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let options = match options::parse(std::env::args(), |name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(stop) if stop.code == 0 => {
            write!(std::io::stdout(), "{}", stop.message).ok();
            return ExitCode::SUCCESS;
        }
        Err(stop) => {
            write!(std::io::stderr(), "{}", stop.message).ok();
            return ExitCode::from(stop.code);
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::WARN)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Err(error) = stop_on_signals(&STOP) {
        tracing::warn!(%error, "signals end the generator without a summary");
    }
    let bar = bar(&options.settings);
    let result = publish::run(&options.settings, &STOP, |so_far| show(&bar, so_far));
    bar.finish_and_clear();
    match result {
        Ok(summary) => {
            let mut out = std::io::stdout();
            if options.summary_json {
                writeln!(out, "{}", summary.to_json()).ok();
            } else {
                write!(out, "{summary}").ok();
            }
            if summary.failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            writeln!(std::io::stderr(), "event-generator: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn bar(settings: &Settings) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match settings.count {
        Some(count) => (
            ProgressBar::new(count),
            "{elapsed_precise} {wide_bar} {human_pos}/{human_len} {per_sec} {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{elapsed_precise} {spinner} {human_pos} events {per_sec} {msg}",
        ),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
    bar
}

fn show(bar: &ProgressBar, so_far: &Summary) {
    bar.set_position(so_far.produced);
    if so_far.failed > 0 {
        bar.set_message(format!("{} failed", so_far.failed));
    }
}
