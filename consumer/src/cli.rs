//! Owns the command line: its commands, their help and their exit codes. The options that several commands take come from
//! the table of settings; what a single command takes beside them, its own module says (`commands`).

mod specs; // the commands: their names, help and examples

pub use crate::config::Command;

use self::specs::{COMMANDS, FAMILIES, Spec};
use crate::commands::Task;
use crate::config::settings::{Group, Kind, SETTINGS, Setting};
use crate::config::{Config, ConfigError, Sources};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};
use std::ffi::OsString;
use std::fmt;
use std::io::Write;

/// The exit code of a mistake in the command line or in the configuration (`EX_USAGE` of `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// The program's name.
pub const PROGRAM: &str = "storage-consumer";

/// What the program was asked to do, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Which settings it takes.
    pub command: Command,
    /// What to do.
    pub task: Task,
    /// How.
    pub config: Config,
    /// Where that comes from.
    pub sources: Sources,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum CliError {
    /// Help, version, or a command line that cannot be understood.
    CommandLine(clap::Error),
    /// Mistakes in the configuration of the command of this name.
    Config(String, ConfigError),
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
            CliError::Config(name, error) => {
                write!(f, "{error}\n\nFor all options, try '{PROGRAM} {name} --help'.")
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
    let mut words = Vec::new();
    let mut innermost = &matches;
    while let Some((name, matches)) = innermost.subcommand() {
        words.push(name);
        innermost = matches;
    }
    let spec = COMMANDS
        .iter()
        .find(|spec| spec.words == words)
        .expect("a command is required, and only these were declared");
    let task = (spec.task)(innermost).map_err(CliError::CommandLine)?;
    let sources = Sources::new(spec.command, options(spec.command, innermost));
    match sources.read(env) {
        Ok((config, _)) => Ok(Invocation {
            command: spec.command,
            task,
            config,
            sources,
        }),
        Err(error) => Err(CliError::Config(words.join(" "), error)),
    }
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

/// The whole command line, as clap has it. `words`: values that are one of a few words are told to clap, which a shell's
/// completions are made from; otherwise each is taken as typed, so that every mistake is told together with the others.
fn line(words: bool) -> clap::Command {
    let app = clap::Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Moves metric events from a Kafka topic into PostgreSQL tables, each event exactly once")
        .max_term_width(110)
        .subcommand_required(true)
        .arg_required_else_help(true);
    COMMANDS.iter().fold(app, |app, spec| match spec.words {
        [family, _] if app.find_subcommand(family).is_none() => {
            let about = FAMILIES.iter().find(|(name, _)| name == family);
            let (_, about) = about.expect("each family says what it is");
            let members = COMMANDS.iter().filter(|other| other.words.starts_with(&[family]));
            app.subcommand(
                clap::Command::new(*family)
                    .about(*about)
                    .subcommand_required(true)
                    .arg_required_else_help(true)
                    .subcommands(members.map(|spec| subcommand(spec, words))),
            )
        }
        [_, _] => app,
        _ => app.subcommand(subcommand(spec, words)),
    })
}

/// As it is parsed.
fn app() -> clap::Command {
    line(false)
}

/// As completions and manual pages are made from it.
#[must_use]
pub fn documented() -> clap::Command {
    line(true)
}

fn subcommand(spec: &'static Spec, words: bool) -> clap::Command {
    let groups = Group::ALL
        .iter()
        .flat_map(|group| SETTINGS.iter().filter(|it| it.group == *group));
    let command = (spec.own)(clap::Command::new(*spec.words.last().expect("a name")))
        .about(spec.about)
        .after_help(spec.after)
        // As with most programs, a later option replaces an earlier one: wrappers append to a line that they don't own.
        .args_override_self(true);
    command.args(
        groups
            .filter(|setting| setting.concerns(spec.command))
            .map(|setting| arg(setting, words)),
    )
}

fn arg(setting: &'static Setting, words: bool) -> Arg {
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
    let arg = arg.action(action).value_name(setting.value);
    let choices: Vec<&str> = setting.value.split('|').collect();
    let is_choice = choices.len() > 1
        && choices
            .iter()
            .all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
    if words && is_choice {
        return arg.value_parser(choices).hide_possible_values(true);
    }
    let hint = match setting.value {
        "FILE" | "PATH" => ValueHint::FilePath,
        _ => ValueHint::Other,
    };
    arg.value_hint(hint)
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
