//! Holds who may import whom (`ARCHITECTURE.md`): reads the sources, finds every path that they name, and compares.
//! Comments, texts and test modules are left out. Plain `std`, so that it needs nothing but the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// No I/O and no clock: time is an argument. `table` without its submodule.
const PURE: &[&str] = &[
    "offsets",
    "dead_letter",
    "table",
    "pipeline::routing",
    "pipeline::decode",
    "pipeline::encode",
    "pipeline::batch",
    "pipeline::exchange",
    "pipeline::assignment",
    "pipeline::flow",
];

/// What is I/O or a clock, by the end or the beginning of a path.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "axum",
    "rdkafka",
    "tokio",
    "tokio_postgres",
    "tracing",
    "Instant::now",
    "SystemTime::now",
];

/// They know rdkafka, and nothing of PostgreSQL.
const KAFKA: &[&str] = &[
    "pipeline::consume",
    "pipeline::rebalance",
    "pipeline::commit",
    "commands::group",
];

/// They know tokio-postgres, and nothing of Kafka.
const POSTGRES: &[&str] = &[
    "pipeline::store",
    "postgres",
    "schema",
    "table::catalog",
    "commands::stored",
];

/// The only ones that may know both: they wire the two together, or look at both.
const BOTH: &[&str] = &[
    "pipeline",
    "commands::check",
    "commands::status",
    "commands::offsets",
    "commands::offsets::show",
    "main",
];

/// A file is read at a sitting.
const LONGEST: usize = 450;

/// A module: its name as a path, and every path that its code names.
struct Module {
    name: String,
    paths: BTreeSet<String>,
}

#[test]
fn what_is_pure_does_no_io_and_reads_no_clock() {
    let mut findings = Vec::new();
    for module in modules().iter().filter(|module| is_pure(&module.name)) {
        for path in &module.paths {
            let forbidden = IMPURE
                .iter()
                .any(|impure| lies_in(path, impure) || path.ends_with(&format!("::{impure}")));
            let leads_out = path
                .strip_prefix("crate::")
                .is_some_and(|path| !is_pure(path) && !lies_in(path, "config"));
            if forbidden || leads_out {
                findings.push(format!("{} is pure and names {path}", module.name));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn kafka_and_postgres_meet_in_the_pipeline_only() {
    let mut findings = Vec::new();
    for Module { name, paths } in modules() {
        let knows = |side: &[&'static str], of_side: &str| -> Vec<&'static str> {
            side.iter()
                .copied()
                .filter(|module| {
                    paths
                        .iter()
                        .any(|path| lies_in(path, &format!("crate::{module}")))
                })
                .chain(
                    paths
                        .iter()
                        .any(|path| lies_in(path, of_side))
                        .then_some("its client"),
                )
                .collect()
        };
        let is_of = |side: &[&str]| side.iter().any(|module| lies_in(&name, module));
        let (kafka, postgres) = (knows(KAFKA, "rdkafka"), knows(POSTGRES, "tokio_postgres"));
        let forbidden: &[&str] = match (is_of(KAFKA), is_of(POSTGRES)) {
            (true, _) => &postgres,
            (_, true) => &kafka,
            _ if BOTH.contains(&name.as_str()) => &[],
            // Elsewhere both are too many, and a client is one: the modules of its side are there for it.
            _ if !kafka.is_empty() && !postgres.is_empty() => &["both sides"],
            _ if kafka.contains(&"its client") || postgres.contains(&"its client") => &["a client"],
            _ => &[],
        };
        findings.extend(forbidden.iter().map(|module| format!("{name} knows of {module}")));
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn what_is_shown_is_seen_through_health_and_metrics() {
    sees_only("http", &["health", "metrics", "status", "http"]);
    // It shows dead letters and positions in the words that they have.
    sees_only("status", &["health", "metrics", "dead_letter", "status"]);
    sees_only("supervisor", &["health", "metrics", "supervisor"]);
}

/// The module, and what lies in it, names nothing else of the product.
fn sees_only(shown: &str, allowed: &[&str]) {
    let modules = modules();
    let seen: Vec<&Module> = modules
        .iter()
        .filter(|module| lies_in(&module.name, shown))
        .collect();
    assert!(!seen.is_empty(), "{shown} is not there");
    let more: Vec<_> = seen
        .iter()
        .flat_map(|module| &module.paths)
        .filter(|path| lies_in(path, "crate"))
        .filter(|path| {
            !allowed
                .iter()
                .any(|module| lies_in(path, &format!("crate::{module}")))
        })
        .collect();
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn stages_get_their_section_of_the_configuration() {
    for module in modules() {
        let whole = module.paths.contains("crate::config::Config");
        assert!(
            !module.name.starts_with("pipeline::") || !whole,
            "{}",
            module.name
        );
    }
}

#[test]
fn the_product_knows_nothing_of_the_workbench() {
    let manifest = format!("{}/Cargo.toml", root("consumer"));
    assert!(
        !fs::read_to_string(manifest)
            .expect("it is there")
            .contains("workbench")
    );
    for module in modules() {
        assert!(
            !module.paths.iter().any(|path| lies_in(path, "workbench")),
            "{}",
            module.name
        );
    }
}

#[test]
fn files_say_what_they_own_and_are_read_at_a_sitting() {
    let mut findings = Vec::new();
    for member in ["consumer", "workbench"] {
        for (file, text) in files(&root(member)) {
            let file = format!("{member}/{file}");
            if !text.starts_with("//! ") {
                findings.push(format!("{file}: does not open with what it owns"));
            }
            // The lint's name in two parts, or this file would be found.
            let lint = concat!("unsafe", "_code");
            if text.contains(lint) && !file.ends_with("pipeline/consume/messages.rs") {
                findings.push(format!("{file}: unsafe code"));
            }
            let lines = text.lines().count();
            if lines > LONGEST {
                findings.push(format!("{file}: {lines} lines, more than {LONGEST}"));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

// ---- Paths --------------------------------------------------------------------------------------------------

fn is_pure(path: &str) -> bool {
    !lies_in(path, "table::catalog") && PURE.iter().any(|module| lies_in(path, module))
}

/// Whether the path is the module or something in it.
fn lies_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every module of the product, its tests left out.
fn modules() -> Vec<Module> {
    let sources: Vec<(String, Vec<String>)> = files(&format!("{}/src", root("consumer")))
        .into_iter()
        .map(|(file, text)| (file.trim_end_matches(".rs").replace('/', "::"), tokens(&text)))
        .collect();
    let tests: Vec<String> = sources
        .iter()
        .flat_map(|(name, tokens)| test_modules(name, tokens))
        .collect();
    sources
        .into_iter()
        .filter(|(name, _)| !tests.iter().any(|test| lies_in(name, test)))
        .map(|(name, tokens)| {
            let paths = paths(&name, without_inline_tests(&tokens));
            Module { name, paths }
        })
        .collect()
}

const OF_TESTS: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];

/// `#[cfg(test)] mod tests;`: the files that are compiled for tests only.
fn test_modules(name: &str, tokens: &[String]) -> Vec<String> {
    let window = tokens.windows(OF_TESTS.len() + 2);
    let declared =
        window.filter(|window| window[..OF_TESTS.len()] == OF_TESTS && window[OF_TESTS.len() + 1] == ";");
    declared
        .map(|window| format!("{name}::{}", window[OF_TESTS.len()]))
        .collect()
}

/// `#[cfg(test)] mod tests {` is the last thing in a file.
fn without_inline_tests(tokens: &[String]) -> &[String] {
    let mut window = tokens.windows(OF_TESTS.len() + 2);
    let start =
        window.position(|window| window[..OF_TESTS.len()] == OF_TESTS && window[OF_TESTS.len() + 1] == "{");
    &tokens[..start.unwrap_or(tokens.len())]
}

/// All paths of more than one word and all imports, in full: `super::a::{b, c}` in `x::y` is `crate::x::a::b` and
/// `crate::x::a::c`.
fn paths(module: &str, tokens: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        // Not in the middle of a path, and not `pub(in path)`, which names who may look in.
        let starts = is_word(&tokens[at]) && (at == 0 || !["::", "in"].contains(&tokens[at - 1].as_str()));
        if starts && tokens.get(at + 1).is_some_and(|next| next == "::") {
            at = expand(tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    let outer = |levels: usize| {
        let words: Vec<&str> = module.split("::").collect();
        ["crate"]
            .into_iter()
            .chain(words[..words.len().saturating_sub(levels)].iter().copied())
            .collect::<Vec<_>>()
            .join("::")
    };
    let in_full = |path: String| {
        let mut words: Vec<&str> = path.split("::").collect();
        let levels = words.iter().take_while(|word| **word == "super").count();
        match words[0] {
            "super" => [outer(levels), words.split_off(levels).join("::")].join("::"),
            "self" => [outer(0), words.split_off(1).join("::")].join("::"),
            "storage_consumer" => ["crate".to_owned(), words.split_off(1).join("::")].join("::"),
            _ => path,
        }
    };
    found.into_iter().map(in_full).collect()
}

/// Reads one path, or a tree of them, and says where it ends.
fn expand(tokens: &[String], mut at: usize, before: &str, found: &mut BTreeSet<String>) -> usize {
    let mut path = before.to_owned();
    while let Some(token) = tokens.get(at) {
        if token == "{" && path.ends_with("::") {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                at = match tokens[at].as_str() {
                    "," => at + 1,
                    "as" => at + 2,
                    _ => expand(tokens, at, &path, found),
                };
            }
            return at + 1;
        }
        let continues =
            token == "::" || ((path.is_empty() || path.ends_with("::")) && (is_word(token) || token == "*"));
        if !continues {
            break;
        }
        path += token;
        at += 1;
    }
    found.insert(path.trim_end_matches("::").trim_end_matches("::self").to_owned());
    // What no path begins with is passed over.
    if path == before { at + 1 } else { at }
}

// ---- Text ---------------------------------------------------------------------------------------------------

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and single signs; without comments and the content of texts.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            2 + hashes + rest[2 + hashes..].find(&end).map_or(0, |at| at + end.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            // A lifetime has no second quote where a character has one.
            if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') {
                quoted(rest, '\'')
            } else {
                1
            }
        } else if is_word(rest) {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else {
            let sign = if rest.starts_with("::") {
                "::"
            } else {
                &rest[..first.len_utf8()]
            };
            if !first.is_whitespace() {
                tokens.push(sign.to_owned());
            }
            sign.len()
        };
        rest = &rest[length..];
    }
    tokens
}

/// How long a text or character is, its quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The folder of a crate of this workspace.
fn root(member: &str) -> String {
    format!("{}/../{member}", env!("CARGO_MANIFEST_DIR"))
}

/// The sources below a folder with their text, by name.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(folder).to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                let name = path
                    .strip_prefix(folder)
                    .expect("it lies below")
                    .display()
                    .to_string();
                found.push((name, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

#[test]
fn paths_are_read_as_rust_reads_them() {
    let code = r#"
        //! crate::comment
        use super::a::{self, b::{c, d as e}, f};
        use crate::{g, h::*};
        fn x<'a>() -> std::io::Result<()> { let _ = ("crate::text", '"', self::i::j::<K::L>()); }
        #[cfg(test)]
        mod tests { use crate::tested; }
    "#;
    let found = paths("x::y", without_inline_tests(&tokens(code)));
    let wanted = [
        "K::L",
        "crate::g",
        "crate::h::*",
        "crate::x::a",
        "crate::x::a::b::c",
        "crate::x::a::b::d",
        "crate::x::a::f",
        "crate::x::y::i::j",
        "std::io::Result",
    ];
    assert_eq!(
        found
            .iter()
            .map(String::as_str)
            .filter(|path| path.contains("::"))
            .collect::<Vec<_>>(),
        wanted
    );
}
