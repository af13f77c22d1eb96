//! Holds `docs/configuration.md` and `README.md` to the table of settings: what stands between the markers is made from it.
//! `UPDATE_DOCS=1 cargo test -p consumer documentation` writes it anew.

use super::properties;
use super::settings::{self, Default, Group, SETTINGS, Setting};
use super::{Command, Config};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const HEAD: &str = "| option | environment | default | meaning |\n|---|---|---|---|\n";

fn options() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        writeln!(text, "\n### {}\n", group.heading()).expect("into memory");
        text += HEAD;
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            writeln!(text, "{}", row(setting)).expect("into memory");
        }
    }
    text + "\n"
}

/// All of them in one table, without headings.
fn short() -> String {
    let mut text = format!("\n{HEAD}");
    for group in Group::ALL {
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            writeln!(text, "{}", row(setting)).expect("into memory");
        }
    }
    text + "\n"
}

fn row(setting: &Setting) -> String {
    let value = setting.value.replace('|', "\\|");
    let option = if value.is_empty() {
        String::new()
    } else {
        format!(" {value}")
    };
    let env = setting.env.map_or_else(String::new, |env| format!("`{env}`"));
    let default = match setting.default {
        Default::Unset(note) => note.to_owned(),
        Default::Values(values) => values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(" "),
    };
    format!(
        "| `--{}{option}` | {env} | {default} | {} |",
        setting.name,
        setting.help.replace('|', "\\|")
    )
}

fn refused() -> String {
    let mut text = "\n| property | why not |\n|---|---|\n".to_owned();
    for (key, why) in properties::REFUSED {
        writeln!(text, "| `{key}` | {why} |").expect("into memory");
    }
    text + "\n"
}

#[test]
fn the_documentation_says_what_the_table_says() {
    hold(PAGE, &[("options", options()), ("refused properties", refused())]);
    hold(README, &[("options", short())]);
}

/// The page holds these contents between their markers; written anew where that is asked for.
fn hold(path: &str, parts: &[(&str, String)]) {
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut wanted = page.clone();
    for (name, content) in parts {
        let (begin, end) = (format!("<!-- {name}: begin"), format!("<!-- {name}: end"));
        let begin = wanted.find(&begin).expect("the marker of the beginning");
        let begin = begin + wanted[begin..].find('\n').expect("a line") + 1;
        let end = begin + wanted[begin..].find(&end).expect("the marker of the end");
        wanted.replace_range(begin..end, content);
    }
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| !value.is_empty()) {
        std::fs::write(path, &wanted).expect("the page is written");
    } else {
        assert!(
            page == wanted,
            "{path} is out of date: run this test with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn the_documentation_shows_a_file_that_is_valid() {
    let page = std::fs::read_to_string(PAGE).expect("docs/configuration.md is there");
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    // The files of the passwords are nowhere but on the machine that the example speaks of.
    let example = example.replace("-password-file", "-password");
    file.write_all(example.as_bytes()).expect("written");
    let option = (settings::setting(settings::CONFIG), file.path().into());
    let config = Config::resolve(Command::Consume, vec![option], |_| None::<OsString>).expect("valid");
    assert_eq!(config.kafka.properties.len(), 6);
    assert_eq!(config.routes.len(), 4);
}
