//! Owns how results are told: tables in Markdown, for the terminal and for the document, the targets first.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;
use indicatif::HumanFloatCount;

use super::drain::{CPU, PEAK, POSTGRES_CPU, RATE, RATE_WITH_START, TRANSACTION};
use super::results::{Results, Spread};
use super::targets::{self, Parts};
use super::{baseline, growth, indexes, latency};

/// The tables of all parts that a folder holds.
pub(super) fn text(folder: &Path) -> anyhow::Result<String> {
    let parts = Parts::read(folder)?;
    let (mut text, mut told) = (String::new(), Vec::new());
    if let Some(drain) = &parts.drain {
        conditions(&mut text, &mut told, "Drain", drain);
        rates(&mut text, drain);
    }
    if let Some(latency) = &parts.latency {
        conditions(&mut text, &mut told, "Latency", latency);
        text.push_str(&latency::table(latency));
    }
    if let Some(baseline) = &parts.baseline {
        conditions(&mut text, &mut told, "The Python baseline", baseline);
        text.push_str(&baseline::table(baseline));
    }
    if let Some(growth) = &parts.growth {
        conditions(&mut text, &mut told, "Growth", growth);
        text.push_str(&growth::table(growth));
    }
    if let Some(indexes) = &parts.indexes {
        conditions(&mut text, &mut told, "Indexes", indexes);
        text.push_str(&indexes::table(indexes));
    }
    ensure!(!text.is_empty(), "{} holds no results", folder.display());
    Ok(format!("### Targets\n\n{}{text}", targets::table(&parts)))
}

/// What a part's numbers hold for, as far as it is not told already.
fn conditions<'a>(
    text: &mut String,
    told: &mut Vec<&'a (String, String)>,
    title: &str,
    results: &'a Results,
) {
    let _ = writeln!(text, "### {title}\n");
    for condition in &results.conditions {
        if !told.contains(&condition) {
            let (name, value) = condition;
            let _ = writeln!(text, "- {name}: {value}");
            told.push(condition);
        }
    }
    text.push('\n');
}

/// Rates and costs, a line a case.
pub(super) fn rates(text: &mut String, results: &Results) {
    let columns = [
        ("events/s", RATE, 0),
        ("with the start", RATE_WITH_START, 0),
        ("consumer, CPU s per million", CPU, 2),
        ("PostgreSQL, CPU s per million", POSTGRES_CPU, 2),
        ("consumer's peak, MB", PEAK, 0),
        ("rows a transaction", TRANSACTION, 0),
    ];
    lines(text, results, "case", &columns);
}

/// A line a case; a column is a title, a value and how many decimals are told of it.
pub(super) fn lines(text: &mut String, results: &Results, first: &str, columns: &[(&str, &str, usize)]) {
    let mut line = |cells: &[String]| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    let titles = columns.iter().map(|(title, ..)| (*title).to_owned());
    line(&[first.to_owned()].into_iter().chain(titles).collect::<Vec<_>>());
    let rules = columns.iter().map(|_| "---:".to_owned());
    line(&["---".to_owned()].into_iter().chain(rules).collect::<Vec<_>>());
    for case in results.cases() {
        let cells = columns
            .iter()
            .map(|(_, value, decimals)| cell(results.spread(case, value), *decimals));
        line(&[case.to_owned()].into_iter().chain(cells).collect::<Vec<_>>());
    }
    text.push('\n');
}

/// The median, and the least and the most where there are several.
pub(super) fn cell(spread: Option<Spread>, decimals: usize) -> String {
    let Some(Spread { median, min, max }) = spread else {
        return "–".to_owned();
    };
    let number = |value: f64| {
        if decimals == 0 {
            HumanFloatCount(value.round()).to_string()
        } else {
            format!("{value:.decimals$}")
        }
    };
    if number(min) == number(max) {
        number(median)
    } else {
        format!("{} ({}–{})", number(median), number(min), number(max))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Case;
    use super::super::results::Sample;
    use super::super::settings::Part;
    use super::*;

    #[test]
    fn a_cell_tells_the_median_and_the_spread() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(cell(spread(&[1_234_567.0]), 0), "1,234,567");
        assert_eq!(cell(spread(&[0.9, 0.954, 1.0]), 2), "0.95 (0.90–1.00)");
        assert_eq!(cell(None, 2), "–");
    }

    #[test]
    fn the_targets_come_first_and_then_the_parts_with_their_conditions() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(text(folder.path()).is_err(), "nothing was measured");
        let case = Case::Drain {
            bare: false,
            paths: 1,
        };
        let results = Results {
            conditions: vec![("machine".to_owned(), "two cores".to_owned())],
            samples: vec![Sample::new(case.name(), 1).with(RATE, 270_000.0).with(CPU, 0.75)],
        };
        results.write(folder.path(), Part::Drain).expect("written");
        let text = text(folder.path()).expect("a text");
        let (targets, rest) = text.split_once("### Drain").expect("the part that was measured");
        assert!(
            targets.contains("per million events drained | 0.75 s | ≤ 0.8 s |"),
            "{text}"
        );
        assert!(rest.contains("- machine: two cores"), "{text}");
        assert!(rest.contains("| drain, indexes, 1 worker | 270,000 |"), "{text}");
    }
}
