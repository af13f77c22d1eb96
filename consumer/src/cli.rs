//! Owns the command line: its three commands, their help and their exit codes. The options themselves come from the
//! table of settings; what their values mean is `config`'s business.

pub use crate::config::Command;

use crate::config::settings::{Group, Kind, SETTINGS, Setting};
use crate::config::{Config, ConfigError};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use std::ffi::OsString;
use std::fmt;
use std::io::Write;

/// The exit code of a mistake in the command line or in the configuration (`EX_USAGE` of `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// What the program was asked to do, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// How.
    pub config: Config,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum CliError {
    /// Help, version, or a command line that cannot be understood.
    CommandLine(clap::Error),
    /// Mistakes in the configuration.
    Config(Command, ConfigError),
}

impl CliError {
    /// 0 for help and version, which were asked for; otherwise 64.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::CommandLine(error) if !error.use_stderr() => 0,
            _ => EXIT_USAGE,
        }
    }

    /// Prints it, in colour on a terminal: what was asked for to stdout, mistakes to stderr. A stream that is closed
    /// already is no mistake of ours.
    pub fn print(&self) {
        match self {
            CliError::CommandLine(error) => drop(error.print()),
            CliError::Config(..) => drop(writeln!(std::io::stderr(), "{self}")),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::CommandLine(error) => write!(f, "{}", error.render()),
            CliError::Config(command, error) => {
                let name = spec(*command).name;
                write!(
                    f,
                    "{error}\n\nFor all options, try 'storage-consumer {name} --help'."
                )
            }
        }
    }
}

/// Reads the command line, the environment (through `env`, such as `std::env::var_os`) and the file that they name.
pub fn parse<T: Into<OsString>>(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<T>,
) -> Result<Invocation, CliError> {
    let matches = app()
        .try_get_matches_from(args)
        .map_err(|error| CliError::CommandLine(discreet(error)))?;
    let (name, matches) = matches.subcommand().expect("a command is required");
    let command = COMMANDS
        .iter()
        .find(|spec| spec.name == name)
        .expect("only these were declared")
        .command;
    Config::resolve(command, options(command, matches), env)
        .map(|config| Invocation { command, config })
        .map_err(|error| CliError::Config(command, error))
}

/// A word that belongs to no option may be the rest of a secret with a space in it: it is not repeated.
fn discreet(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && !word.starts_with('-')
    {
        let what = "a value without an option before it".to_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(what));
    }
    error
}

/// The options that were given, in the order of the table.
fn options(command: Command, matches: &ArgMatches) -> Vec<(&'static Setting, OsString)> {
    let mut options = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| setting.concerns(command)) {
        if setting.kind == Kind::Flag {
            if matches.get_flag(setting.name) {
                options.push((setting, OsString::from("true")));
            }
        } else if let Some(texts) = matches.get_many::<OsString>(setting.name) {
            options.extend(texts.map(|text| (setting, text.clone())));
        }
    }
    options
}

struct Spec {
    command: Command,
    name: &'static str,
    about: &'static str,
    after: &'static str,
}

static COMMANDS: [Spec; 3] = [
    Spec {
        command: Command::Consume,
        name: "consume",
        about: "Move events from the Kafka topic into their PostgreSQL tables, each exactly once",
        after: CONSUME_EXAMPLES,
    },
    Spec {
        command: Command::Migrate,
        name: "migrate",
        about: "Create the tables, or bring them up to date, and end",
        after: "Tables that exist already are taken as they are. `consume` does the same at its start, unless \
                --no-migrate is given.\n\
                --indexes changes the built-in tables' own indexes, also later: what is written waits meanwhile.",
    },
    Spec {
        command: Command::Check,
        name: "check",
        about: "Say whether `consume` could run with these options: servers, permissions, tables",
        after: "Takes every option of `consume`, so that the same command line and environment can be checked. \
                Changes nothing.",
    },
];

const CONSUME_EXAMPLES: &str = "\
Examples:
  High throughput
    storage-consumer consume --batch-size 500 --commit-interval 10.0 --max-poll-records 1000
  Low latency
    storage-consumer consume --batch-size 50 --commit-interval 1.0
  Debugging: every step, for what arrives from now on
    storage-consumer consume --log-level DEBUG --offset-reset latest

An option comes before its environment variable, the variable before the file of --config.";

fn spec(command: Command) -> &'static Spec {
    COMMANDS
        .iter()
        .find(|spec| spec.command == command)
        .expect("every command is in the list")
}

fn app() -> clap::Command {
    clap::Command::new("storage-consumer")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Moves metric events from a Kafka topic into PostgreSQL tables, each event exactly once")
        .max_term_width(110)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(COMMANDS.iter().map(subcommand))
}

fn subcommand(spec: &'static Spec) -> clap::Command {
    let groups = Group::ALL
        .iter()
        .flat_map(|group| SETTINGS.iter().filter(|it| it.group == *group));
    clap::Command::new(spec.name)
        .about(spec.about)
        .after_help(spec.after)
        // As with most programs, a later option replaces an earlier one: wrappers append to a line that they don't own.
        .args_override_self(true)
        .args(groups.filter(|setting| setting.concerns(spec.command)).map(arg))
}

fn arg(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .help(help(setting))
        .help_heading(setting.group.heading());
    if setting.kind == Kind::Flag {
        return arg.action(ArgAction::SetTrue);
    }
    let action = if setting.kind == Kind::Pairs {
        ArgAction::Append
    } else {
        ArgAction::Set
    };
    arg.action(action)
        .value_name(setting.value)
        // Everything is taken as typed here, so that every mistake is told together with the others.
        .value_parser(value_parser!(OsString))
        .allow_negative_numbers(true)
}

/// What it does; below that, where else it can be set and what holds otherwise.
fn help(setting: &Setting) -> String {
    let env = setting.env.map(|env| format!("[env: {env}]"));
    let default = Some(setting.default_text())
        .filter(|text| !text.is_empty())
        .map(|text| {
            // Pairs that are given come beside the built-in ones, not in their place.
            let word = if setting.kind == Kind::Pairs {
                "built in"
            } else {
                "default"
            };
            format!("[{word}: {text}]")
        });
    let notes: Vec<_> = env.into_iter().chain(default).collect();
    if notes.is_empty() {
        setting.help.to_owned()
    } else {
        format!("{}\n{}", setting.help, notes.join(" "))
    }
}

#[cfg(test)]
mod tests;
