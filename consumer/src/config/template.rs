//! Owns the settings as a TOML file: the commented template of all of them, and those that are in effect with their
//! places. Both are made from the table of settings, and what they write, `file` reads.

use super::problem::Source;
use super::settings::{CONFIG, Default, Group, Kind, SETTINGS, Setting};
use super::{Effective, Held};
use std::fmt::Write as _;

/// Lines are broken before this column.
const WIDTH: usize = 100;

/// All settings with what they do, their names elsewhere, and their defaults. Nothing is set: a line that begins with `#`
/// and a name sets the default when the `#` is taken away; one that begins with `# ` and a name waits for a value, too.
#[must_use]
pub fn template() -> String {
    let mut text = "\
# The settings of storage-consumer. Pass this file by --config FILE or STORAGE_CONSUMER_CONFIG; options and
# variables come before it. A line `#name = …` shows the default: take the # away and change it. A line
# `# name = …` has no default, and its value is only a placeholder.
# Secrets in here: let nobody but the consumer's user read this file.
"
    .to_owned();
    for group in Group::ALL {
        write!(text, "\n# ---- {} ----\n", group.heading()).expect("into memory");
        // TOML would take what follows a table for a part of it: tables are not written here.
        for setting in SETTINGS
            .iter()
            .filter(|it| it.group == group && it.name != CONFIG)
        {
            text.push('\n');
            for line in wrapped(setting.help) {
                writeln!(text, "# {line}").expect("into memory");
            }
            writeln!(text, "# ({})", elsewhere(setting)).expect("into memory");
            text += &line(setting);
        }
    }
    text
}

/// Where else it can be set, and what holds otherwise.
fn elsewhere(setting: &Setting) -> String {
    let mut words = format!("--{}", setting.name);
    if let Some(env) = setting.env {
        write!(words, ", {env}").expect("into memory");
    }
    match setting.default {
        Default::Unset("") | Default::Values([]) => {}
        Default::Unset(meaning) => write!(words, "; otherwise {meaning}").expect("into memory"),
        Default::Values(_) if setting.kind == Kind::Pairs => words += "; these are built in",
        Default::Values(_) => {}
    }
    words
}

fn line(setting: &Setting) -> String {
    let Setting { name, kind, .. } = setting;
    match (setting.default, kind) {
        (Default::Values(values), Kind::Pairs) => format!("#{name} = {}\n", list(values)),
        (Default::Values(values), _) => {
            format!(
                "#{name} = {}\n",
                value(*kind, values.first().copied().unwrap_or_default())
            )
        }
        (Default::Unset(_), Kind::Flag) => format!("#{name} = false\n"),
        (Default::Unset(_), Kind::Pairs) => format!("# {name} = {}\n", list(&[setting.value])),
        (Default::Unset(_), _) => format!("# {name} = {}\n", quoted(setting.value)),
    }
}

/// The settings in effect, each with its place. What is hidden, and what is not set, is a comment.
#[must_use]
pub fn show(effective: &Effective) -> String {
    let mut text = String::new();
    let all: Vec<&Held> = effective.iter().collect();
    let mut group = None;
    for held in all.chunk_by(|one, next| one.setting == next.setting) {
        let setting = held[0].setting;
        if group != Some(setting.group) {
            let gap = if group.is_some() { "\n" } else { "" };
            writeln!(text, "{gap}# ---- {} ----", setting.group.heading()).expect("into memory");
            group = Some(setting.group);
        }
        text += &shown(setting, held);
    }
    text
}

fn shown(setting: &Setting, held: &[&Held]) -> String {
    let name = setting.name;
    if let [
        Held {
            value,
            source: Source::Default,
            ..
        },
    ] = held
        && matches!(setting.default, Default::Unset(_))
    {
        let meaning = if value.is_empty() {
            String::new()
        } else {
            format!(": {value}")
        };
        return format!("# {name} is not set{meaning}\n");
    }
    // A secret that is not shown, and the name of the file, which a file cannot hold.
    let is_hidden = |held: &Held| setting.secret || held.value.ends_with("=***");
    let comment = if name == CONFIG || held.iter().copied().any(is_hidden) {
        "# "
    } else {
        ""
    };
    match held {
        [only] if setting.kind != Kind::Pairs => {
            let shown = value(setting.kind, &only.value);
            format!("{comment}{name} = {shown}  # {}\n", place(only))
        }
        pairs => {
            let mut lines = format!("{comment}{name} = [\n");
            for pair in pairs {
                writeln!(lines, "{comment}  {},  # {}", quoted(&pair.value), place(pair))
                    .expect("into memory");
            }
            lines + comment + "]\n"
        }
    }
}

/// Where a value was given, by name.
#[must_use]
pub fn place(held: &Held) -> String {
    let word = held.source.as_str();
    match (&held.source, held.setting.env) {
        (Source::CommandLine, _) => format!("{word} --{}", held.setting.name),
        (Source::Environment, Some(env)) => format!("{word} {env}"),
        (Source::File(path), _) => format!("{word} {}", path.escape_debug()),
        _ => word.to_owned(),
    }
}

fn value(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Number if is_toml_number(text) => text.to_owned(),
        Kind::Flag => text.to_owned(),
        _ => quoted(text),
    }
}

fn is_toml_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole) && digits(fraction) && (whole == "0" || !whole.starts_with('0'))
}

fn list(values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|text| quoted(text)).collect();
    format!("[{}]", values.join(", "))
}

/// A TOML string on one line. JSON's escapes are TOML's, and TOML wants DEL escaped, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::setting;
    use crate::config::{Command, Config, PostgresConfig};
    use std::ffi::OsString;
    use std::io::Write as _;

    fn config_of(text: &str) -> Result<Config, crate::config::ConfigError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let option = (setting(CONFIG), file.path().into());
        Config::resolve(Command::Consume, vec![option], |_| None::<OsString>)
    }

    /// But for the places of its values, which are others.
    fn expect_same(mut found: Config, wanted: &Config) {
        found.effective = wanted.effective.clone();
        found.exposed = wanted.exposed.clone();
        assert_eq!(found, *wanted);
    }

    fn defaults() -> Config {
        Config::resolve(Command::Consume, Vec::new(), |_| None::<OsString>).expect("valid")
    }

    /// The settings that the template shows a default of, without the `#`.
    fn uncommented() -> String {
        let lines = template();
        let lines = lines.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase()) => rest,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_template_is_a_file_that_changes_nothing() {
        expect_same(config_of(&template()).expect("valid"), &defaults());
    }

    #[test]
    fn with_every_default_uncommented_it_still_changes_nothing() {
        let text = uncommented();
        expect_same(
            config_of(&text).unwrap_or_else(|error| panic!("{error}\n{text}")),
            &defaults(),
        );
        let set = text
            .lines()
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
        let with_default = SETTINGS
            .iter()
            .filter(|it| matches!(it.default, Default::Values(_)) || it.kind == Kind::Flag);
        assert_eq!(set.count(), with_default.count());
    }

    #[test]
    fn a_placeholder_is_a_line_of_toml_that_sets_its_setting() {
        let text = template();
        let without_default = SETTINGS.iter().filter(|it| {
            matches!(it.default, Default::Unset(_)) && it.kind != Kind::Flag && it.name != CONFIG
        });
        for setting in without_default {
            let line = text.lines().find_map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.starts_with(&format!("{} = ", setting.name)))
            });
            let line = line.unwrap_or_else(|| panic!("no line for {}", setting.name));
            if let Err(error) = config_of(line) {
                // Its value may be wrong, and only its value.
                assert!(
                    error
                        .problems
                        .iter()
                        .all(|problem| problem.setting.is_some() && !problem.what.contains("is a TOML")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn what_is_shown_can_be_used_as_a_file() {
        let options = vec![
            (
                setting("topic"),
                OsString::from("quoted \"name\"".replace([' ', '"'], "_")),
            ),
            (setting("route"), OsString::from("gpu=gpus")),
            (setting("max-batch-bytes"), OsString::from("1MiB")),
            (setting("no-migrate"), OsString::from("true")),
            (setting("postgres-password"), OsString::from("hunter2")),
            (setting("kafka-property"), OsString::from("client.id=a\\\"b")),
        ];
        let env = |name: &str| (name == "WORKERS").then_some("3");
        let wanted = Config::resolve(Command::ShowConfig, options, env).expect("valid");
        let text = show(&wanted.effective);
        assert!(!text.contains("hunter2"), "{text}");
        for line in [
            "workers = 3  # variable WORKERS",
            "# duration is not set: without end",
            "# postgres-password = \"***\"  # option --postgres-password",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        let again = config_of(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let postgres = PostgresConfig {
            password: again.postgres.password.clone(),
            ..wanted.postgres.clone()
        };
        expect_same(again, &Config { postgres, ..wanted });
    }
}
