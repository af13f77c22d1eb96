//! Owns what a benchmark is asked for: `BENCH_…` variables, every mistake told at once, and the text that explains
//! them.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::variables::value;

/// What the variables mean.
pub const HELP: &str = "\
Environment:
  BENCH_EVENTS    events in the topic that is drained [default: 2000000]
  BENCH_ROUNDS    how often each case is measured, in turns [default: 3]
  BENCH_ONLY      only these parts, with commas between: drain,latency,baseline,growth,indexes
                  [default: all but indexes]
  BENCH_RATES     events a second for the latency [default: 100,1000,5000,10000,50000]
  BENCH_SECONDS   how long each of them is measured [default: 10]
  BENCH_TABLES    rows that a table holds already when it is filled, as 10000000,50000000: minutes, and 250 bytes a row
                  [default: none but empty tables]
  BENCH_ROWS      rows of the tables that are read, for the indexes [default: 6000000]
  BENCH_RESULTS   a folder for the results, bench-PART.json [default: workbench/results]
  BENCH_REPORT    the document that is filled from them [default: docs/benchmarks.md]
  STORAGE_CONSUMER_BIN  another consumer than the one beside this program
`bench` measures and fills the document; `bench report` fills it from the results that are there.";

/// A part of the benchmark, with results of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// How fast a backlog is stored, beside the limit, and what that costs.
    Drain,
    /// From the broker to the committed row.
    Latency,
    /// What a Python consumer does.
    Baseline,
    /// What should stay as it is when there is more of something.
    Growth,
    /// What is gained and lost without a B-tree.
    Indexes,
}

impl Part {
    pub(super) const ALL: [Self; 5] = [
        Self::Drain,
        Self::Latency,
        Self::Baseline,
        Self::Growth,
        Self::Indexes,
    ];
    /// Those that are about the consumer.
    pub(super) const USUAL: [Self; 4] = [Self::Drain, Self::Latency, Self::Baseline, Self::Growth];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Latency => "latency",
            Self::Baseline => "baseline",
            Self::Growth => "growth",
            Self::Indexes => "indexes",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Events in the topic that is drained.
    pub events: u64,
    /// How often each case is measured.
    pub rounds: u32,
    /// A folder for the results.
    pub results: PathBuf,
    /// The document that is filled.
    pub report: PathBuf,
    pub(super) rates: Vec<u32>,
    pub(super) seconds: Duration,
    pub(super) tables: Vec<u64>,
    pub(super) rows: u64,
    pub(super) only: Vec<Part>,
}

impl Settings {
    /// Reads the variables through `lookup`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let only = value(&lookup, &mut mistakes, "BENCH_ONLY", List::<String>(Vec::new())).0;
        let mut parts = Vec::new();
        for name in only {
            if let Some(part) = Part::ALL.into_iter().find(|part| part.name() == name) {
                parts.push(part);
            } else {
                let names = Part::ALL.map(Part::name).join(", ");
                mistakes.push(format!("BENCH_ONLY: there is no {name}: choose from {names}"));
            }
        }
        if parts.is_empty() {
            parts.extend(Part::USUAL);
        }
        let rates = List(vec![100, 1_000, 5_000, 10_000, 50_000]);
        let seconds: u64 = value(&lookup, &mut mistakes, "BENCH_SECONDS", 10);
        let settings = Self {
            events: value(&lookup, &mut mistakes, "BENCH_EVENTS", 2_000_000),
            rounds: value(&lookup, &mut mistakes, "BENCH_ROUNDS", 3),
            results: value(
                &lookup,
                &mut mistakes,
                "BENCH_RESULTS",
                PathBuf::from("workbench/results"),
            ),
            report: value(
                &lookup,
                &mut mistakes,
                "BENCH_REPORT",
                PathBuf::from("docs/benchmarks.md"),
            ),
            rates: value(&lookup, &mut mistakes, "BENCH_RATES", rates).0,
            seconds: Duration::from_secs(seconds),
            tables: value(&lookup, &mut mistakes, "BENCH_TABLES", List(Vec::new())).0,
            rows: value(&lookup, &mut mistakes, "BENCH_ROWS", 6_000_000),
            only: parts,
        };
        let mut check = |fine: bool, mistake: &str| {
            if !fine {
                mistakes.push(mistake.to_owned());
            }
        };
        // The limit keeps all rows in memory, some 250 bytes each.
        check(
            (1_000..=20_000_000).contains(&settings.events),
            "BENCH_EVENTS: must be from 1000 to 20000000",
        );
        check(
            (200_000..=100_000_000).contains(&settings.rows),
            "BENCH_ROWS: must be from 200000 to 100000000",
        );
        check(
            (1..=100).contains(&settings.rounds),
            "BENCH_ROUNDS: must be from 1 to 100",
        );
        check(
            (1..=3_600).contains(&seconds),
            "BENCH_SECONDS: must be from 1 to 3600",
        );
        check(
            settings.rates.iter().all(|rate| (1..=1_000_000).contains(rate)),
            "BENCH_RATES: must be from 1 to 1000000 each",
        );
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(mistakes)
        }
    }
}

/// Values with commas between.
struct List<T>(Vec<T>);

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        values.map(str::parse).collect::<Result<_, _>>().map(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once_by_name() {
        let all = [
            ("BENCH_EVENTS", "1"),
            ("BENCH_ROUNDS", "0"),
            ("BENCH_ONLY", "drain,rain"),
            ("BENCH_RATES", "100,x"),
            ("BENCH_SECONDS", "0"),
            ("BENCH_TABLES", "1e6"),
            ("BENCH_ROWS", "1"),
        ];
        let lookup = |name: &str| {
            let found = all.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mistakes = Settings::read(lookup).expect_err("all are wrong");
        assert_eq!(mistakes.len(), all.len(), "{mistakes:?}");
        for (name, _) in all {
            assert!(HELP.contains(name));
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(name)),
                "{mistakes:?}"
            );
        }
        let defaults = Settings::read(|_| None).expect("they are fine");
        assert_eq!(defaults.only, Part::USUAL);
        assert_eq!(defaults.rates, [100, 1_000, 5_000, 10_000, 50_000]);
    }
}
