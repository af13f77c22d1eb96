//! Owns the TOML file: its keys become settings as typed. Knows the names of settings, not what their values mean.

use super::Secret;
use super::problem::{Problem, Source};
use super::settings::{CONFIG, Command, Kind, SETTINGS, Setting};
use super::typed::Given;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use toml::{Table, Value};

/// The file's text, or what is wrong with the file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let shown = super::problem::shown(&path.to_string_lossy());
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no file {shown}"),
        io::ErrorKind::InvalidData => format!("the file {shown} is not UTF-8"),
        _ => format!("cannot read the file {shown}: {error}"),
    })
}

/// The secret that a file holds, or what is wrong with the file.
pub(super) fn secret(path: &Path) -> Result<Secret, String> {
    let content = read(path)?;
    // An editor or `echo` ends the file with a newline that is no part of the secret.
    let content = content.strip_suffix('\n').unwrap_or(&content);
    let content = content.strip_suffix('\r').unwrap_or(content);
    if content.is_empty() {
        return Err("names a file that is empty".to_owned());
    }
    super::values::secret(content).map_err(|what| format!("names a file whose content {what}"))
}

/// Adds what the file gives and what concerns the command.
pub(super) fn parse(
    text: &str,
    path: &str,
    command: Command,
    given: &mut Vec<Given>,
    problems: &mut Vec<Problem>,
) {
    let source = Source::File(path.to_owned());
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            // Without the excerpt that the error's own text has: that line may hold a secret.
            let at = error
                .span()
                .map_or_else(String::new, |span| position(text, span.start));
            let what = format!("not TOML: {at}{}", error.message().replace('\n', ", "));
            problems.push(Problem {
                setting: None,
                source,
                what,
            });
            return;
        }
    };
    let mut seen = HashSet::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        if name == CONFIG {
            let what = "a configuration file cannot name another".to_owned();
            problems.push(Problem {
                setting: None,
                source: source.clone(),
                what,
            });
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            problems.push(Problem {
                setting: None,
                source: source.clone(),
                what: unknown(&key, &name),
            });
            continue;
        };
        if !seen.insert(setting.name) {
            let what = format!(
                "is given twice, with \"-\" and with \"_\": keep {:?}",
                setting.name
            );
            problems.push(Problem::new(setting, source.clone(), what));
            continue;
        }
        // One file may serve several commands; each reads its own part.
        if setting.concerns(command) {
            match texts(setting, value) {
                Ok(texts) => given.extend(texts.into_iter().map(|text| Given {
                    setting,
                    source: source.clone(),
                    text,
                })),
                Err(what) => problems.push(Problem::new(setting, source.clone(), what)),
            }
        }
    }
}

fn unknown(key: &str, name: &str) -> String {
    let shown = super::problem::shown(key);
    match nearest(name) {
        Some(near) => format!("the key {shown} is no setting; did you mean \"{near}\"?"),
        None => format!("the key {shown} is no setting; `storage-consumer consume --help` lists them"),
    }
}

/// The setting whose name is near enough to have been meant.
fn nearest(name: &str) -> Option<&'static str> {
    SETTINGS
        .iter()
        .filter(|setting| setting.name != CONFIG)
        .map(|setting| (strsim::jaro_winkler(name, setting.name), setting.name))
        .filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A TOML value as the texts that would be typed on the command line.
fn texts(setting: &Setting, value: Value) -> Result<Vec<String>, String> {
    let kind = value.type_str();
    match (setting.kind, value) {
        (Kind::Text | Kind::Number, Value::String(text)) => Ok(vec![text]),
        (Kind::Number, Value::Integer(number)) => Ok(vec![number.to_string()]),
        (Kind::Number, Value::Float(number)) => Ok(vec![number.to_string()]),
        (Kind::Flag, Value::Boolean(flag)) => Ok(vec![flag.to_string()]),
        (Kind::Pairs, Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(format!(
                    "holds a TOML {}, where {} belongs",
                    other.type_str(),
                    setting.value
                )),
            })
            .collect(),
        (Kind::Pairs, Value::Table(table)) => {
            let mut pairs = Vec::new();
            flatten("", table, &mut pairs)?;
            Ok(pairs)
        }
        // A number as a text would be read back in another spelling than it was typed in (1.10 → 1.1).
        (Kind::Text, _) => Err(format!("is a TOML {kind}: write it in quotes")),
        (Kind::Number, _) => Err(format!("is a TOML {kind}: write a number")),
        (Kind::Flag, _) => Err(format!("is a TOML {kind}: write true or false")),
        (Kind::Pairs, _) => Err(format!(
            "is a TOML {kind}: write an array of \"{}\", or a table [{}]",
            setting.value, setting.name
        )),
    }
}

/// TOML reads a dotted key without quotes (`security.protocol = …`) as tables in tables: back to one key.
fn flatten(prefix: &str, table: Table, pairs: &mut Vec<String>) -> Result<(), String> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        let text = match value {
            Value::Table(inner) => {
                flatten(&format!("{key}."), inner, pairs)?;
                continue;
            }
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            other => {
                let shown = super::problem::shown(&key);
                return Err(format!(
                    "{shown} is a TOML {}: write it in quotes",
                    other.type_str()
                ));
            }
        };
        if key.contains('=') {
            return Err(format!("the key {} holds a \"=\"", super::problem::shown(&key)));
        }
        pairs.push(format!("{key}={text}"));
    }
    Ok(())
}

/// `line L, column C: ` of a byte of the text.
fn position(text: &str, byte: usize) -> String {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<String>, Vec<String>) {
        let (mut given, mut problems) = (Vec::new(), Vec::new());
        parse(text, "c.toml", Command::Consume, &mut given, &mut problems);
        let given = given
            .iter()
            .map(|given| format!("{}: {}", given.setting.name, given.text))
            .collect();
        (given, problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn every_shape_of_a_value() {
        let (given, problems) = parsed(
            r#"
            topic = "t"
            batch_size = 7
            commit-interval = 0.5
            max-batch-bytes = "1MiB"
            no-migrate = true
            route = ["a=b", "c=d.e"]
            [kafka-property]
            security.protocol = "SSL"
            "ssl.key" = "k"
            fetch.min.bytes = 9
            check.crcs = true
            "#,
        );
        assert!(problems.is_empty(), "{problems:?}");
        for expected in [
            "topic: t",
            "batch-size: 7",
            "commit-interval: 0.5",
            "max-batch-bytes: 1MiB",
            "no-migrate: true",
            "route: a=b",
            "route: c=d.e",
            "kafka-property: security.protocol=SSL",
            "kafka-property: ssl.key=k",
            "kafka-property: fetch.min.bytes=9",
            "kafka-property: check.crcs=true",
        ] {
            assert!(
                given.iter().any(|given| given == expected),
                "{expected} in {given:?}"
            );
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let (_, problems) = parsed(
            r#"
            topik = "t"
            zzz = 1
            config = "other.toml"
            batch-size = 1
            batch_size = 2
            postgres-password = 1.10
            no-migrate = "yes"
            kafka-property = "a=b"
            route = [1]
            "#,
        );
        let all = problems.join("\n");
        for expected in [
            "c.toml: the key \"topik\" is no setting; did you mean \"topic\"?",
            "c.toml: the key \"zzz\" is no setting; `storage-consumer consume --help` lists them",
            "c.toml: a configuration file cannot name another",
            "--batch-size (BATCH_SIZE, from c.toml): is given twice",
            "--postgres-password (POSTGRES_PASSWORD, from c.toml): is a TOML float: write it in quotes",
            "--no-migrate (from c.toml): is a TOML string: write true or false",
            "--kafka-property (from c.toml): is a TOML string: write an array of \"KEY=VALUE\", or a table",
            "--route (from c.toml): holds a TOML integer, where TYPE=TABLE belongs",
        ] {
            assert!(all.contains(expected), "{expected}\nin\n{all}");
        }
        assert_eq!(problems.len(), 8, "{all}");
    }

    #[test]
    fn broken_toml_is_placed_without_its_text() {
        let (_, problems) = parsed("topic = \"t\"\npostgres-password = \"hunter2\nbatch-size = 1");
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].starts_with("c.toml: not TOML: line 2, column "),
            "{problems:?}"
        );
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
}
