//! Owns what a run of faults is asked for: `CHAOS_…` variables, every mistake told at once, and the text that explains
//! them.

use std::path::PathBuf;
use std::time::Duration;

use super::fault::Kind;
use crate::variables::value;

/// What the variables mean.
pub const HELP: &str = "\
Environment:
  CHAOS_SECONDS   how long faults are made [default: 300]; what is under way is settled after that
  CHAOS_SEED      the same seed makes the same faults in the same order [default: drawn, and told]
  CHAOS_RATE      events a second [default: 3000]
  CHAOS_ONLY      only these faults, with commas between, as consumer-killed,network-silent [default: all]
  CHAOS_RESULTS   a folder for the run's results, chaos-SEED.json [default: none are written]
  CHAOS_REPORT    for `chaos report`: the document whose table is filled [default: docs/reliability.md]
  STORAGE_CONSUMER_BIN  another consumer than the one beside this program
`chaos` makes faults and lets the referee count; `chaos report` fills the table from all results in CHAOS_RESULTS
[default: workbench/results].";

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long faults are made.
    pub seconds: Duration,
    /// Chooses the faults.
    pub seed: u64,
    /// Events a second.
    pub rate: f64,
    /// A folder for the results.
    pub results: Option<PathBuf>,
    /// The document with the table.
    pub report: PathBuf,
    pub(super) only: Vec<Kind>,
}

impl Settings {
    /// Reads the variables through `lookup`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let seconds: f64 = value(&lookup, &mut mistakes, "CHAOS_SECONDS", 300.0);
        let rate: f64 = value(&lookup, &mut mistakes, "CHAOS_RATE", 3_000.0);
        let results = value(&lookup, &mut mistakes, "CHAOS_RESULTS", PathBuf::new());
        let only = value(&lookup, &mut mistakes, "CHAOS_ONLY", String::new());
        let mut kinds = Vec::new();
        for name in only.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.parse() {
                Ok(kind) => kinds.push(kind),
                Err(choice) => mistakes.push(format!("CHAOS_ONLY: there is no {name}: {choice}")),
            }
        }
        if kinds.is_empty() {
            kinds.extend(Kind::all());
        }
        let settings = Self {
            seconds: Duration::try_from_secs_f64(seconds).unwrap_or_else(|_| {
                mistakes.push("CHAOS_SECONDS: must be 0 or more".to_owned());
                Duration::ZERO
            }),
            seed: value(
                &lookup,
                &mut mistakes,
                "CHAOS_SEED",
                rand::random_range(0..1_000_000),
            ),
            rate,
            results: Some(results).filter(|folder| !folder.as_os_str().is_empty()),
            report: value(
                &lookup,
                &mut mistakes,
                "CHAOS_REPORT",
                PathBuf::from("docs/reliability.md"),
            ),
            only: kinds,
        };
        if !(1.0..=100_000.0).contains(&rate) {
            mistakes.push("CHAOS_RATE: must be from 1 to 100000 events a second".to_owned());
        }
        if mistakes.is_empty() {
            Ok(settings)
        } else {
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once_by_name() {
        let lookup = |name: &str| match name {
            "CHAOS_SECONDS" => Some("-1".to_owned()),
            "CHAOS_SEED" => Some("x".to_owned()),
            "CHAOS_RATE" => Some("0".to_owned()),
            "CHAOS_ONLY" => Some("consumer-killed,meteor".to_owned()),
            _ => None,
        };
        let mistakes = Settings::read(lookup).expect_err("all are wrong");
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        for name in ["CHAOS_SECONDS", "CHAOS_SEED", "CHAOS_RATE", "CHAOS_ONLY"] {
            assert!(HELP.contains(name));
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(name)),
                "{mistakes:?}"
            );
        }
        let all = Settings::read(|_| None).expect("defaults are fine");
        assert_eq!(all.only.len(), Kind::all().count());
    }
}
