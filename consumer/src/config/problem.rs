//! Owns how mistakes in the configuration are told: all at once, each with the setting's names, where it was given,
//! what is wrong and what would be right. A secret's value never gets in.

use super::settings::Setting;
use std::fmt;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// As an option.
    CommandLine,
    /// As a variable.
    Environment,
    /// In the file of this path.
    File(String),
    /// Nowhere.
    Default,
}

impl Source {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Source::CommandLine => "option",
            Source::Environment => "variable",
            Source::File(_) => "file",
            Source::Default => "default",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::CommandLine => f.write_str("from the command line"),
            Source::Environment => f.write_str("from the environment"),
            Source::File(path) => write!(f, "from {}", printable(path)),
            Source::Default => f.write_str("by default"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting; none where the file holds something that is no setting.
    pub setting: Option<&'static Setting>,
    /// Where it was given.
    pub source: Source,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Problem {
    /// A mistake in a setting.
    pub(super) fn new(setting: &'static Setting, source: Source, what: String) -> Problem {
        Problem {
            setting: Some(setting),
            source,
            what,
        }
    }

    /// A mistake in a value: shows it, unless it is a secret.
    pub(super) fn value(setting: &'static Setting, source: Source, value: &str, what: &str) -> Problem {
        let shown = if setting.secret {
            "the value".to_owned()
        } else {
            shown(value)
        };
        Problem::new(setting, source, format!("{shown} {what}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.setting {
            Some(Setting {
                name, env: Some(env), ..
            }) => {
                write!(f, "--{name} ({env}, {}): {}", self.source, self.what)
            }
            Some(Setting { name, env: None, .. }) => write!(f, "--{name} ({}): {}", self.source, self.what),
            None => match &self.source {
                Source::File(path) => write!(f, "{}: {}", printable(path), self.what),
                source => write!(f, "{source}: {}", self.what),
            },
        }
    }
}

/// All mistakes of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has a mistake:")?,
            count => write!(f, "the configuration has {count} mistakes:")?,
        }
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// A value in quotes, on one line and of a bounded length, whatever it holds.
pub(super) fn shown(value: &str) -> String {
    const LIMIT: usize = 80;
    match value.char_indices().nth(LIMIT) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", &value[..end]),
    }
}

/// A path without quotes, still on one line.
fn printable(path: &str) -> String {
    path.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::setting;

    #[test]
    fn a_secret_is_not_shown() {
        let problem = Problem::value(
            setting("postgres-password"),
            Source::Environment,
            "hunter2",
            "is bad",
        );
        assert_eq!(
            problem.to_string(),
            "--postgres-password (POSTGRES_PASSWORD, from the environment): the value is bad"
        );
    }

    #[test]
    fn a_value_stays_on_its_line() {
        assert_eq!(shown("a\nb\u{1b}[31m"), r#""a\nb\u{1b}[31m""#);
        assert_eq!(shown(&"é".repeat(90)), format!("\"{}\"…", "é".repeat(80)));
    }
}
