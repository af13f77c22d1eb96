//! Owns the first step: settings as they were typed, each with its source, in the order of precedence: command line,
//! environment, file. Says nothing about what a value means, but for the shape that the file's syntax gives it.

use super::problem::{Problem, Source};
use super::properties::is_secret;
use super::settings::{self, CONFIG, Command, SETTINGS, Setting, URL};
use super::{file, url};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One text as it was typed. It may be a secret: no `Debug` on purpose.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) setting: &'static Setting,
    pub(super) source: Source,
    pub(super) text: String,
}

/// All that was typed. The highest precedence comes first.
#[derive(Default)]
pub(super) struct Typed {
    given: Vec<Given>,
    /// The user's folder, where libpq's files lie.
    pub(super) home: Option<PathBuf>,
}

impl Typed {
    /// Gathers what concerns the command from the three sources; what cannot be read is noted in `problems`.
    pub(super) fn gather<T: Into<OsString>>(
        command: Command,
        options: Vec<(&'static Setting, OsString)>,
        env: impl Fn(&str) -> Option<T>,
        problems: &mut Vec<Problem>,
    ) -> Typed {
        let mut typed = Typed::default();
        for (setting, text) in options {
            typed.push(setting, Source::CommandLine, text, problems);
        }
        for setting in SETTINGS.iter().filter(|setting| setting.concerns(command)) {
            let Some(text) = setting.env.and_then(&env).map(Into::into) else {
                continue;
            };
            // Compose files and charts pass on variables that nobody set as empty ones.
            if !text.is_empty() {
                typed.push(setting, Source::Environment, text, problems);
            }
        }
        if let Some(config) = typed.first(CONFIG) {
            let path = config.text.clone();
            match file::read(Path::new(&path)) {
                Ok(text) => file::parse(&text, &path, command, &mut typed.given, problems),
                Err(what) => problems.push(Problem::new(config.setting, config.source.clone(), what)),
            }
        }
        typed.home = env("HOME").map(|home| PathBuf::from(home.into()));
        typed.take_url_apart(problems);
        typed
    }

    /// PostgreSQL's URL, as if each of its parts had been typed in the place where the URL was.
    fn take_url_apart(&mut self, problems: &mut Vec<Problem>) {
        let Some(url) = self.first(URL).cloned() else {
            return;
        };
        let parts = url::parts(&url.text).unwrap_or_else(|what| {
            problems.push(Problem::new(url.setting, url.source.clone(), what));
            Vec::new()
        });
        for (name, text) in parts {
            if self.all(name).any(|given| given.source == url.source) {
                let what =
                    format!("gives what --{name}, from the same place, gives as well: leave out one of them");
                problems.push(Problem::new(url.setting, url.source.clone(), what));
            }
            let given = Given {
                setting: settings::setting(name),
                source: url.source.clone(),
                text,
            };
            let place = self
                .given
                .partition_point(|other| other.source.rank() <= given.source.rank());
            self.given.insert(place, given);
        }
    }

    fn push(
        &mut self,
        setting: &'static Setting,
        source: Source,
        text: OsString,
        problems: &mut Vec<Problem>,
    ) {
        match text.into_string() {
            Ok(text) => self.given.push(Given {
                setting,
                source,
                text,
            }),
            Err(_) => problems.push(Problem::new(setting, source, "is not UTF-8".to_owned())),
        }
    }

    /// The settings whose secret stands on the command line, each once. A URL is one only if it holds a password, which
    /// then is a setting of its own.
    pub(super) fn exposed(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self
            .given
            .iter()
            .filter(|given| given.source == Source::CommandLine)
            .filter(|given| match given.setting.name {
                URL => false,
                "kafka-property" => given.text.split_once('=').is_some_and(|(key, _)| is_secret(key)),
                _ => given.setting.secret,
            })
            .map(|given| given.setting.name)
            .collect();
        names.dedup();
        names
    }

    /// What counts for a setting that takes one value.
    pub(super) fn first(&self, name: &str) -> Option<&Given> {
        self.all(name).next()
    }

    /// Everything typed for a setting, the highest precedence first.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Given> + use<'a> {
        let setting = settings::setting(name);
        self.given
            .iter()
            .filter(move |given| std::ptr::eq(given.setting, setting))
    }
}
