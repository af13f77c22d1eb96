//! Owns where a configuration comes from: the command's options as they were typed, to be read together with the
//! environment and the file once more, and what differs between two readings.

use super::settings::{Command, Kind, SETTINGS, Setting};
use super::typed::Typed;
use super::{Config, ConfigError, Held, properties};
use std::ffi::OsString;
use std::fmt;

/// The options that a command was given, and the command that they were given to.
#[derive(Clone, PartialEq, Eq)]
pub struct Sources {
    command: Command,
    options: Vec<(&'static Setting, OsString)>,
}

impl Sources {
    /// The options of a command, in the order in which they were typed.
    #[must_use]
    pub fn new(command: Command, options: Vec<(&'static Setting, OsString)>) -> Self {
        Self { command, options }
    }

    /// The configuration as options, environment (through `env`) and file give it now, and what was read for it.
    pub fn read<T: Into<OsString>>(
        &self,
        env: impl Fn(&str) -> Option<T>,
    ) -> Result<(Config, Reading), ConfigError> {
        let mut problems = Vec::new();
        let typed = Typed::gather(self.command, self.options.clone(), &env, &mut problems);
        let config = super::resolve::config(&typed, problems)?;
        let shown = config.effective.iter().cloned().collect();
        let settings = SETTINGS.iter();
        let secrets = settings
            .map(|setting| (setting, secrets(setting, &typed)))
            .collect();
        Ok((config, Reading { shown, secrets }))
    }
}

impl fmt::Debug for Sources {
    /// Only the options' names: what was typed may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.options.iter().map(|(setting, _)| setting.name);
        f.debug_list().entries(names).finish()
    }
}

/// What was in effect at one reading. It holds secrets: no `Debug` on purpose.
#[derive(Clone)]
pub struct Reading {
    /// All settings, without secrets.
    shown: Vec<Held>,
    /// The secrets, by setting.
    secrets: Vec<(&'static Setting, Vec<String>)>,
}

impl Reading {
    /// The names of the settings that have other values in the other one.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        fn values<'a>(reading: &'a Reading, setting: &'a Setting) -> impl Iterator<Item = &'a str> {
            let of_it = reading.shown.iter().filter(move |held| held.setting == setting);
            of_it.map(|held| held.value.as_str())
        }
        let both = self.secrets.iter().zip(&other.secrets);
        both.filter(|((setting, before), (_, after))| {
            before != after || values(self, setting).ne(values(other, setting))
        })
        .map(|((setting, _), _)| setting.name)
    }
}

/// The secrets that were typed for a setting.
fn secrets(setting: &'static Setting, typed: &Typed) -> Vec<String> {
    let is_secret = |text: &str| match (setting.kind, text.split_once('=')) {
        (Kind::Pairs, Some((key, _))) => properties::is_secret(key),
        _ => setting.secret,
    };
    let texts = typed.all(setting.name).map(|given| &given.text);
    texts.filter(|text| is_secret(text)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::setting;

    #[test]
    fn two_readings_differ_in_what_counts_secrets_included() {
        let options = vec![(setting("topic"), "typed".into())];
        let sources = Sources::new(Command::Consume, options);
        let read = |password: &'static str, topic: &'static str, size: &'static str| {
            let env = move |name: &str| match name {
                "POSTGRES_PASSWORD" => Some(password),
                "KAFKA_TOPIC" => Some(topic),
                "BATCH_SIZE" => Some(size),
                _ => None,
            };
            sources.read(env).expect("valid").1
        };
        let before = read("hunter2", "a", "7");
        let differences = |after: &Reading| before.differences(after).collect::<Vec<_>>();
        assert_eq!(
            differences(&read("hunter2", "b", "7")),
            [""; 0],
            "an option stays"
        );
        assert_eq!(differences(&read("hunter3", "a", "7")), ["postgres-password"]);
        assert_eq!(differences(&read("hunter2", "a", "8")), ["batch-size"]);
        assert!(!format!("{sources:?}").contains("typed"));
    }
}
