//! Owns what a person is shown of the configuration: every setting, what holds for it, and who said so. Secrets never get
//! in: neither the texts of secret settings nor those of the Kafka client's secret properties.

use super::problem::Source;
use super::properties;
use super::resolve::defaults;
use super::settings::{Group, Kind, SETTINGS, Setting};
use super::typed::Typed;
use std::fmt;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// A setting, and what holds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The setting.
    pub setting: &'static Setting,
    /// The value as it was typed, or the default; what it means that there is none, where there is none.
    pub value: String,
    /// Where it was given.
    pub source: Source,
}

/// All settings, in the order of the help. One that takes several values is there for each of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Effective(Vec<Held>);

impl Effective {
    pub(super) fn of(typed: &Typed) -> Self {
        Self(in_order().flat_map(|setting| held(setting, typed)).collect())
    }

    /// The same, but for the settings of these names what `other` says.
    #[must_use]
    pub fn with(&self, names: &[&str], other: &Self) -> Self {
        let all = in_order().flat_map(|setting| {
            let of = if names.contains(&setting.name) {
                other
            } else {
                self
            };
            of.0.iter().filter(move |held| held.setting == setting)
        });
        Self(all.cloned().collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }
}

fn in_order() -> impl Iterator<Item = &'static Setting> {
    Group::ALL
        .iter()
        .flat_map(|group| SETTINGS.iter().filter(|setting| setting.group == *group))
}

impl fmt::Debug for Effective {
    /// Nothing: the values themselves stand beside it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effective(..)")
    }
}

fn held(setting: &'static Setting, typed: &Typed) -> Vec<Held> {
    let is = |value: String, source: Source| Held {
        setting,
        value,
        source,
    };
    if setting.kind != Kind::Pairs {
        return vec![match typed.first(setting.name) {
            Some(given) if setting.secret => is(HIDDEN.to_owned(), given.source.clone()),
            Some(given) => is(given.text.clone(), given.source.clone()),
            None if setting.secret && !defaults(setting).is_empty() => is(HIDDEN.to_owned(), Source::Default),
            None => is(setting.default_text(), Source::Default),
        }];
    }
    // A key that several sources give has the value of the highest.
    let given = typed
        .all(setting.name)
        .map(|given| (given.text.as_str(), given.source.clone()));
    let built_in = defaults(setting).iter().map(|text| (*text, Source::Default));
    let mut taken: Vec<(&str, Held)> = Vec::new();
    for (text, source) in given.chain(built_in) {
        let (key, value) = text.split_once('=').unwrap_or(("", text));
        if taken.iter().any(|(known, _)| *known == key.trim()) {
            continue;
        }
        let hidden = setting.secret || key.is_empty() || properties::is_secret(key);
        let value = if hidden { HIDDEN } else { value };
        taken.push((key.trim(), is(format!("{}={value}", key.trim()), source)));
    }
    taken.into_iter().map(|(_, held)| held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::setting;
    use crate::config::{Command, Config};
    use std::ffi::OsString;

    #[test]
    fn everything_is_told_with_its_source_and_secrets_are_not() {
        let options = [
            ("postgres-password", "hunter2"),
            ("kafka-property", "sasl.password=hunter2"),
            ("kafka-property", "client.id=me"),
            ("route", "server_metric=elsewhere"),
            ("route", "gpu_metric=gpu"),
        ];
        let options = options.map(|(name, text)| (setting(name), OsString::from(text)));
        let env = |name: &str| (name == "KAFKA_TOPIC").then_some("from-env");
        let config = Config::resolve(Command::Consume, options.to_vec(), env).expect("valid");
        let told: Vec<String> = config
            .effective
            .iter()
            .map(|held| format!("{} {} {}", held.setting.name, held.value, held.source.as_str()))
            .collect();
        for line in [
            "kafka-servers localhost:9092 default",
            "topic from-env variable",
            "kafka-property sasl.password=*** option",
            "kafka-property client.id=me option",
            "postgres-password *** option",
            "route server_metric=elsewhere option",
            "route application_metric=application_metrics default",
            "route gpu_metric=gpu option",
            "duration without end default",
        ] {
            assert!(told.iter().any(|told| told == line), "{line} in {told:#?}");
        }
        assert!(!told.concat().contains("hunter2"));
        let every = SETTINGS.iter().filter(|setting| setting.kind != Kind::Pairs);
        for setting in every {
            assert!(
                config.effective.iter().any(|held| held.setting == setting),
                "{}",
                setting.name
            );
        }
    }
}
