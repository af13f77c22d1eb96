//! Owns where a configuration comes from: the command's options as they were typed, to be read together with the
//! environment and the file once more (a reload), and to be shown with the place of each value. No secret is shown.

use super::problem::Source;
use super::settings::{self, Command, Default, Kind, SETTINGS, Setting};
use super::typed::{Given, Typed};
use super::{Config, ConfigError, properties};
use std::ffi::OsString;
use std::fmt;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// The options that a command was given, and the command that they were given to.
#[derive(Clone, PartialEq, Eq)]
pub struct Sources {
    command: Command,
    options: Vec<(&'static Setting, OsString)>,
}

/// A setting as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Its values, each with its place: one, several of a setting that may be repeated, none where it is given nowhere and
    /// has no default. In the place of a secret stands `***`.
    pub values: Vec<(String, Source)>,
    /// One of the values is a secret.
    pub hidden: bool,
}

impl Sources {
    /// The options of a command, in the order in which they were typed.
    #[must_use]
    pub fn new(command: Command, options: Vec<(&'static Setting, OsString)>) -> Self {
        Self { command, options }
    }

    /// The configuration as options, environment (through `env`) and file give it now.
    pub fn config<T: Into<OsString>>(&self, env: impl Fn(&str) -> Option<T>) -> Result<Config, ConfigError> {
        Config::resolve(self.command, self.options.clone(), env)
    }

    /// The same, with what was typed for each setting, to be compared with a later reading.
    pub fn read<T: Into<OsString>>(
        &self,
        env: impl Fn(&str) -> Option<T>,
    ) -> Result<(Config, Reading), ConfigError> {
        let mut problems = Vec::new();
        let typed = Typed::gather(self.command, self.options.clone(), &env, &mut problems);
        let config = super::resolve::config(&typed, problems)?;
        let settings = SETTINGS.iter().filter(|setting| setting.concerns(self.command));
        let texts = settings.map(|setting| {
            let given = in_effect(setting, &typed);
            (setting.name, given.into_iter().map(|given| given.text).collect())
        });
        Ok((config, Reading(texts.collect())))
    }

    /// The configuration and each setting's values with their places, in the order of the help.
    pub fn effective<T: Into<OsString>>(
        &self,
        env: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<Effective>, ConfigError> {
        let mut problems = Vec::new();
        let typed = Typed::gather(self.command, self.options.clone(), &env, &mut problems);
        super::resolve::config(&typed, problems)?;
        let groups = settings::Group::ALL.iter();
        let all = groups.flat_map(|group| SETTINGS.iter().filter(|it| it.group == *group));
        Ok(all
            .filter(|setting| setting.concerns(self.command))
            .map(|setting| effective(setting, &typed))
            .collect())
    }
}

/// What was in effect at one reading. It holds secrets: no `Debug` on purpose.
#[derive(Clone)]
pub struct Reading(Vec<(&'static str, Vec<String>)>);

impl Reading {
    /// The names of the settings that have other values in the other one.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        let both = self.0.iter().zip(&other.0);
        both.filter(|(one, other)| one != other)
            .map(|((name, _), _)| *name)
    }
}

impl fmt::Debug for Sources {
    /// Only the options' names: what was typed may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.options.iter().map(|(setting, _)| setting.name);
        f.debug_list().entries(names).finish()
    }
}

/// What counts of all that was typed for a setting, or its default: of one that takes one value, and of each key of one that
/// takes several, the first.
fn in_effect(setting: &'static Setting, typed: &Typed) -> Vec<Given> {
    let defaults = match setting.default {
        Default::Values(values) => values,
        Default::Unset(_) => &[],
    };
    let by_default = defaults.iter().map(|text| Given {
        setting,
        source: Source::Default,
        text: (*text).to_owned(),
    });
    let mut counts: Vec<Given> = Vec::new();
    for given in typed.all(setting.name).cloned().chain(by_default) {
        let key = key_of(&given);
        if counts.iter().all(|known| key_of(known) != key) {
            counts.push(given);
        }
    }
    counts
}

fn effective(setting: &'static Setting, typed: &Typed) -> Effective {
    let mut hidden = false;
    let mut values: Vec<(String, Source)> = Vec::new();
    for given in in_effect(setting, typed) {
        let key = key_of(&given);
        let is_secret = given.source != Source::Default
            && (setting.secret || (setting.kind == Kind::Pairs && properties::is_secret(&key)));
        hidden |= is_secret;
        let text = match (is_secret, setting.kind) {
            (false, _) => given.text,
            (true, Kind::Pairs) => format!("{key}={HIDDEN}"),
            (true, _) => HIDDEN.to_owned(),
        };
        values.push((text, given.source));
    }
    // A password's default does not count where a file or the like is given in its place.
    if setting.secret && values.iter().all(|(_, source)| *source == Source::Default) {
        let file = format!("{}-file", setting.name);
        let replaced = SETTINGS
            .iter()
            .any(|other| other.name == file && typed.first(other.name).is_some());
        if replaced {
            values.clear();
        }
    }
    Effective {
        setting,
        values,
        hidden,
    }
}

/// The key of a pair; empty for a setting that takes one value.
fn key_of(given: &Given) -> String {
    let pair = (given.setting.kind == Kind::Pairs)
        .then(|| given.text.split_once('='))
        .flatten();
    pair.map_or_else(String::new, |(key, _)| key.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::setting;

    #[test]
    fn each_value_is_shown_with_its_place_and_secrets_are_not() {
        let options = vec![
            (setting("topic"), OsString::from("typed")),
            (setting("kafka-property"), OsString::from("sasl.password=hunter2")),
            (setting("kafka-property"), OsString::from("client.id=me")),
            (setting("route"), OsString::from("server_metric=other")),
        ];
        let sources = Sources::new(Command::ShowConfig, options);
        let env = |name: &str| match name {
            "KAFKA_TOPIC" => Some("from-env"),
            "POSTGRES_PASSWORD" => Some("hunter2"),
            "BATCH_SIZE" => Some("7"),
            _ => None,
        };
        let effective = sources.effective(env).expect("valid");
        let of = |name: &str| {
            let found = effective
                .iter()
                .find(|it| it.setting.name == name)
                .expect("there");
            let values = found.values.iter();
            values
                .map(|(text, source)| format!("{text} {source}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(of("topic"), "typed from the command line");
        assert_eq!(of("batch-size"), "7 from the environment");
        assert_eq!(of("commit-interval"), "5.0 by default");
        assert_eq!(of("duration"), "");
        assert_eq!(of("postgres-password"), "*** from the environment");
        assert_eq!(
            of("kafka-property"),
            "sasl.password=*** from the command line, client.id=me from the command line"
        );
        assert_eq!(
            of("route"),
            "server_metric=other from the command line, application_metric=application_metrics by default"
        );
        let shown = format!("{effective:?} {sources:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn two_readings_differ_in_what_was_typed_secrets_included() {
        let sources = Sources::new(Command::Consume, vec![(setting("topic"), "typed".into())]);
        let read = |password: &'static str, topic: &'static str| {
            let env = move |name: &str| match name {
                "POSTGRES_PASSWORD" => Some(password),
                "KAFKA_TOPIC" => Some(topic),
                _ => None,
            };
            sources.read(env).expect("valid").1
        };
        let before = read("one", "a");
        assert_eq!(
            before.differences(&read("one", "b")).count(),
            0,
            "an option stays"
        );
        assert_eq!(
            before.differences(&read("two", "a")).collect::<Vec<_>>(),
            ["postgres-password"]
        );
    }

    #[test]
    fn a_mistake_is_told_as_when_it_is_used() {
        let sources = Sources::new(Command::ShowConfig, vec![(setting("batch-size"), "0".into())]);
        let error = sources.effective(|_| None::<OsString>).expect_err("a mistake");
        assert!(error.to_string().contains("--batch-size"), "{error}");
    }
}
