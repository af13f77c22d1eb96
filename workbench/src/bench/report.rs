//! Owns how results are told: tables in Markdown, for the terminal and for the document. The targets stand beside what
//! was measured.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::ensure;
use indicatif::HumanFloatCount;

use super::drain::{CPU, PEAK, POSTGRES_CPU, RATE, RATE_WITH_START, TRANSACTION};
use super::results::{Results, Spread};
use super::settings::Part;
use super::{Case, baseline, growth, indexes, latency};

/// A ratio that is told, and what it should be at least.
struct Ratio {
    what: &'static str,
    case: Case,
    to: (Part, Case),
    must: f64,
    ambition: f64,
}

const RATIOS: &[Ratio] = &[
    Ratio {
        what: "drain ÷ limit, one connection",
        case: Case::Drain {
            bare: false,
            paths: 1,
        },
        to: (
            Part::Drain,
            Case::Limit {
                bare: false,
                paths: 1,
            },
        ),
        must: 0.90,
        ambition: 0.97,
    },
    Ratio {
        what: "the same without indexes",
        case: Case::Drain { bare: true, paths: 1 },
        to: (Part::Drain, Case::Limit { bare: true, paths: 1 }),
        must: 0.90,
        ambition: 0.95,
    },
    Ratio {
        what: "drain with 2 workers ÷ limit with 2 connections",
        case: Case::Drain {
            bare: false,
            paths: 2,
        },
        to: (
            Part::Drain,
            Case::Limit {
                bare: false,
                paths: 2,
            },
        ),
        must: 0.80,
        ambition: 0.90,
    },
    Ratio {
        what: "the same without indexes",
        case: Case::Drain { bare: true, paths: 2 },
        to: (Part::Drain, Case::Limit { bare: true, paths: 2 }),
        must: 0.65,
        ambition: 0.80,
    },
    Ratio {
        what: "drain ÷ plain COPY: order of arrival, the usual collation",
        case: Case::Drain {
            bare: false,
            paths: 1,
        },
        to: (Part::Drain, Case::Plain),
        must: 1.8,
        ambition: 1.8,
    },
    Ratio {
        what: "drain ÷ Python baseline",
        case: Case::Drain {
            bare: false,
            paths: 1,
        },
        to: (Part::Baseline, Case::Baseline),
        must: 15.0,
        ambition: 20.0,
    },
];

/// The tables of all parts that a folder holds.
pub(super) fn text(folder: &Path) -> anyhow::Result<String> {
    let read = |part| Results::read(folder, part);
    let drain = read(Part::Drain)?;
    let baseline = read(Part::Baseline)?;
    let (latency, growth) = (read(Part::Latency)?, read(Part::Growth)?);
    let (mut text, mut told) = (String::new(), Vec::new());
    if let Some(drain) = &drain {
        conditions(&mut text, &mut told, "Drain", drain);
        rates(&mut text, drain);
        ratios(&mut text, drain, baseline.as_ref());
    }
    if let Some(latency) = &latency {
        conditions(&mut text, &mut told, "Latency", latency);
        text.push_str(&latency::table(latency));
    }
    if let Some(baseline) = &baseline {
        conditions(&mut text, &mut told, "The Python baseline", baseline);
        text.push_str(&baseline::table(baseline));
    }
    if let Some(growth) = &growth {
        conditions(&mut text, &mut told, "Growth", growth);
        text.push_str(&growth::table(growth));
    }
    if let Some(indexes) = &read(Part::Indexes)? {
        conditions(&mut text, &mut told, "Indexes", indexes);
        text.push_str(&indexes::table(indexes));
    }
    ensure!(!text.is_empty(), "{} holds no results", folder.display());
    Ok(text)
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

fn ratios(text: &mut String, drain: &Results, baseline: Option<&Results>) {
    text.push_str("| ratio, by round | measured | must | ambition |\n|---|---:|---:|---:|\n");
    for ratio in RATIOS {
        let (part, to) = ratio.to;
        let other = if part == Part::Drain {
            Some(drain)
        } else {
            baseline
        };
        let measured = other.and_then(|other| drain.ratio(&ratio.case.name(), other, &to.name(), RATE));
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} |",
            ratio.what,
            cell(measured, 2),
            ratio.must,
            ratio.ambition
        );
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
    use super::super::results::Sample;
    use super::*;

    #[test]
    fn a_cell_tells_the_median_and_the_spread() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(cell(spread(&[1_234_567.0]), 0), "1,234,567");
        assert_eq!(cell(spread(&[0.9, 0.954, 1.0]), 2), "0.95 (0.90–1.00)");
        assert_eq!(cell(None, 2), "–");
    }

    #[test]
    fn ratios_stand_beside_their_targets() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(text(folder.path()).is_err(), "nothing was measured");
        let sample = |case: Case, rate| Sample::new(case.name(), 1).with(RATE, rate);
        let results = Results {
            conditions: vec![("machine".to_owned(), "two cores".to_owned())],
            samples: vec![
                sample(
                    Case::Drain {
                        bare: false,
                        paths: 1,
                    },
                    270_000.0,
                ),
                sample(
                    Case::Limit {
                        bare: false,
                        paths: 1,
                    },
                    300_000.0,
                ),
            ],
        };
        results.write(folder.path(), Part::Drain).expect("written");
        let text = text(folder.path()).expect("a text");
        assert!(text.contains("- machine: two cores"), "{text}");
        assert!(
            text.contains("| drain ÷ limit, one connection | 0.90 | 0.90 | 0.97 |"),
            "{text}"
        );
        assert!(
            text.contains("| drain ÷ Python baseline | – | 15.00 | 20.00 |"),
            "{text}"
        );
    }
}
