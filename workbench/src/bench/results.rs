//! Owns what was measured: samples, files that outlive the run, and what several rounds of a case come to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::settings::Part;

/// One measurement of one case.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) case: String,
    /// Counts from 1; cases of the same round were measured side by side.
    pub(super) round: u32,
    pub(super) values: BTreeMap<String, f64>,
}

impl Sample {
    pub(super) fn new(case: impl Into<String>, round: u32) -> Self {
        Self {
            case: case.into(),
            round,
            ..Self::default()
        }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: f64) -> Self {
        self.values.insert(name.to_owned(), value);
        self
    }
}

/// All of one part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Results {
    /// Machine, versions, settings: what the numbers hold for.
    pub(super) conditions: Vec<(String, String)>,
    pub(super) samples: Vec<Sample>,
}

impl Results {
    /// Writes them into a folder, and says where.
    pub(super) fn write(&self, folder: &Path, part: Part) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = file(folder, part);
        fs::write(&file, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// What a folder holds of a part, if it does.
    pub(super) fn read(folder: &Path, part: Part) -> anyhow::Result<Option<Self>> {
        let file = file(folder, part);
        if !file.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        let results = serde_json::from_str(&text);
        results
            .map(Some)
            .with_context(|| format!("{} holds no results", file.display()))
    }

    /// The cases, in the order in which they came first.
    pub(super) fn cases(&self) -> Vec<&str> {
        let mut cases: Vec<&str> = Vec::new();
        for sample in &self.samples {
            if !cases.contains(&sample.case.as_str()) {
                cases.push(&sample.case);
            }
        }
        cases
    }

    /// What the rounds of a case come to.
    pub(super) fn spread(&self, case: &str, value: &str) -> Option<Spread> {
        Spread::of(self.of(case, value).map(|(_, value)| value).collect())
    }

    /// A case in relation to another one, round by round: what disturbed both is left out of it.
    pub(super) fn ratio(&self, case: &str, other: &Self, to: &str, value: &str) -> Option<Spread> {
        let ratios = self.of(case, value).filter_map(|(round, value_here)| {
            let (_, there) = other
                .of(to, value)
                .find(|(other_round, _)| *other_round == round)?;
            (there > 0.0).then_some(value_here / there)
        });
        Spread::of(ratios.collect())
    }

    fn of<'a>(&'a self, case: &'a str, value: &'a str) -> impl Iterator<Item = (u32, f64)> + 'a {
        let samples = self.samples.iter().filter(move |sample| sample.case == case);
        samples.filter_map(move |sample| Some((sample.round, *sample.values.get(value)?)))
    }
}

fn file(folder: &Path, part: Part) -> PathBuf {
    folder.join(format!("bench-{}.json", part.name()))
}

/// Several measurements of the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// None of none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

/// The value that so many per thousand of sorted values do not exceed.
pub(super) fn per_mille<T: Copy>(sorted: &[T], mille: usize) -> Option<T> {
    let rank = (sorted.len() * mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// So many a second.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a benchmark are far below 2^53"
)]
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(samples: &[(&str, u32, f64)]) -> Results {
        let samples = samples
            .iter()
            .map(|(case, round, value)| Sample::new(*case, *round).with("rate", *value));
        Results {
            samples: samples.collect(),
            ..Results::default()
        }
    }

    fn spread(median: f64, min: f64, max: f64) -> Spread {
        Spread { median, min, max }
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 8.0]), Some(spread(3.0, 1.0, 8.0)));
        assert_eq!(Spread::of(vec![4.0, 1.0, 8.0, 2.0]), Some(spread(3.0, 1.0, 8.0)));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let both = results(&[
            ("a", 1, 9.0),
            ("b", 1, 10.0),
            ("a", 2, 4.0),
            ("b", 2, 5.0),
            ("a", 3, 1.0),
        ]);
        assert_eq!(both.cases(), ["a", "b"]);
        let ratio = both.ratio("a", &both, "b", "rate").expect("two rounds");
        assert!((ratio.median - 0.85).abs() < 1e-9, "{ratio:?}");
        assert!((ratio.min - 0.8).abs() < 1e-9 && (ratio.max - 0.9).abs() < 1e-9);
        assert_eq!(both.ratio("a", &both, "c", "rate"), None);
        assert_eq!(both.spread("a", "no such value"), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(per_mille(&hundred, 500), Some(50));
        assert_eq!(per_mille(&hundred, 990), Some(99));
        assert_eq!(per_mille(&hundred, 1_000), Some(100));
        assert_eq!(per_mille(&[7], 1), Some(7));
        assert_eq!(per_mille::<u32>(&[], 500), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = Results::read(folder.path(), Part::Drain).expect("no mistake");
        assert!(missing.is_none());
        let written = results(&[("a", 1, 2.5)]);
        written.write(folder.path(), Part::Drain).expect("written");
        let read = Results::read(folder.path(), Part::Drain).expect("read");
        let read = read.expect("it is there");
        assert_eq!(read.spread("a", "rate"), Some(spread(2.5, 2.5, 2.5)));
    }
}
