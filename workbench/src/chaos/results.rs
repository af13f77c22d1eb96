//! Owns what a run has shown, as a file that outlives it, and the table that the files of several runs make together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};

use super::fault::Kind;
use crate::document;
use crate::referee::Finding;

/// A fault that was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) lasts_seconds: f64,
    pub(super) dice: usize,
    /// Somebody felt it.
    pub(super) happened: bool,
}

/// One step of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct StepResult {
    /// Seconds since the load began.
    pub(super) at_seconds: f64,
    pub(super) faults: Vec<Made>,
    /// Messages that were sent until all that had been sent before was settled again.
    pub(super) produced: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// The longest time without any newly settled message.
    pub(super) stall_seconds: f64,
    /// The same of one partition.
    pub(super) partition_stall_seconds: f64,
    /// From the repair until all that had been sent before it was settled.
    pub(super) recovery_seconds: f64,
    /// Where consumption stood at the beginning and at the end.
    #[serde(skip)]
    pub(super) from: BTreeMap<i32, i64>,
    #[serde(skip)]
    pub(super) to: BTreeMap<i32, i64>,
}

impl StepResult {
    /// Whether a message was consumed during this step.
    pub(super) fn covers(&self, finding: &Finding) -> bool {
        let from = self.from.get(&finding.partition).copied().unwrap_or(0);
        let to = self.to.get(&finding.partition).copied().unwrap_or(0);
        (from..to).contains(&finding.offset)
    }
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) rate: f64,
    /// Messages handed to the producer, acknowledged by the brokers, and found in the log.
    pub(super) produced: u64,
    pub(super) acknowledged: u64,
    pub(super) log: u64,
    pub(super) rows: u64,
    pub(super) dead_letters: u64,
    /// Dead letters that only the database refused.
    pub(super) refused_by_database: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) peak_memory_mib: u64,
    pub(super) settled_after_seconds: f64,
    /// A sentence for whatever is wrong.
    pub(super) wrong: Vec<String>,
    pub(super) steps: Vec<StepResult>,
}

impl Results {
    /// Writes them into a folder, and says where.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join(format!("chaos-{}.json", self.seed));
        fs::write(&file, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// All that a folder holds, by seed.
    fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("chaos-") && name.ends_with(".json") {
                let text = fs::read_to_string(&path)?;
                let results: Self = serde_json::from_str(&text)
                    .with_context(|| format!("{} holds no results", path.display()))?;
                all.push(results);
            }
        }
        all.sort_by_key(|results| results.seed);
        Ok(all)
    }
}

/// Fills a document's table from all results in a folder.
pub(super) fn fill(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let all = Results::read_all(folder)?;
    ensure!(!all.is_empty(), "{} holds no results of runs", folder.display());
    document::fill(file, "chaos", &table(&all))
}

#[derive(Default)]
struct Line {
    times: u64,
    produced: u64,
    lost: u64,
    doubled: u64,
    stall: f64,
    partition_stall: f64,
}

impl Line {
    fn add(&mut self, step: &StepResult) {
        self.times += 1;
        self.produced += step.produced;
        self.lost += step.lost;
        self.doubled += step.doubled;
        self.stall = self.stall.max(step.stall_seconds);
        self.partition_stall = self.partition_stall.max(step.partition_stall_seconds);
    }

    fn cells(&self) -> String {
        format!(
            "{} | {} | {} | {} | {:.1} s | {:.1} s",
            self.times,
            HumanCount(self.produced),
            HumanCount(self.lost),
            HumanCount(self.doubled),
            self.stall,
            self.partition_stall
        )
    }
}

/// The table of one run or several, as Markdown.
pub(super) fn table(all: &[Results]) -> String {
    let steps = || all.iter().flat_map(|results| &results.steps);
    let mut text = String::new();
    for results in all {
        let _ = writeln!(
            text,
            "- Seed {}, {:.0} s at {:.0} events a second: {} messages in the log, {} rows and {} dead letters ({} refused \
             by the database only), {} lost, {} doubled; {} steps; at most {} MiB of memory. {}",
            results.seed,
            results.seconds,
            results.rate,
            HumanCount(results.log),
            HumanCount(results.rows),
            HumanCount(results.dead_letters),
            HumanCount(results.refused_by_database),
            results.lost,
            results.doubled,
            results.steps.len(),
            results.peak_memory_mib,
            if results.wrong.is_empty() {
                "Nothing wrong.".to_owned()
            } else {
                format!("Wrong: {}", results.wrong.join("; "))
            }
        );
    }
    let _ = writeln!(
        text,
        "\n| fault | what it is | times | messages meanwhile | lost | duplicated | longest stall | … of one partition |\n\
         |---|---|---:|---:|---:|---:|---:|---:|"
    );
    for kind in Kind::all() {
        let mut line = Line::default();
        let felt = |step: &&StepResult| {
            step.faults
                .iter()
                .any(|made| made.happened && made.name == kind.name())
        };
        steps().filter(felt).for_each(|step| line.add(step));
        if line.times > 0 {
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                kind.name(),
                kind.meaning(),
                line.cells()
            );
        }
    }
    let mut line = Line::default();
    steps().for_each(|step| line.add(step));
    let _ = writeln!(text, "| **steps in all** | | {} |", line.cells());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::referee::Wrong;

    fn results(seed: u64) -> Results {
        let made = |name: &str, happened| Made {
            name: name.to_owned(),
            happened,
            ..Made::default()
        };
        let step = StepResult {
            faults: vec![made("deadlock", true), made("broker-killed", false)],
            produced: 1_000,
            stall_seconds: 2.0,
            from: [(0, 10)].into(),
            to: [(0, 20)].into(),
            ..StepResult::default()
        };
        Results {
            seed,
            steps: vec![step],
            ..Results::default()
        }
    }

    #[test]
    fn the_table_sums_runs_and_leaves_out_what_nobody_felt() {
        let text = table(&[results(1), results(2)]);
        let line = text
            .lines()
            .find(|line| line.starts_with("| deadlock |"))
            .expect("a line");
        assert!(line.ends_with("| 2 | 2,000 | 0 | 0 | 2.0 s | 0.0 s |"), "{line}");
        assert!(!text.contains("broker-killed"), "{text}");
    }

    #[test]
    fn results_are_kept_and_fill_the_document() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = folder.path().join("document.md");
        fs::write(&document, "<!-- chaos: begin -->\n<!-- chaos: end -->\n").expect("written");
        results(1).write(folder.path()).expect("written");
        fill(&document, folder.path()).expect("filled");
        let text = fs::read_to_string(&document).expect("a document");
        assert!(text.contains("| deadlock |"), "{text}");
    }

    #[test]
    fn a_finding_belongs_to_the_step_that_read_it() {
        let step = &results(1).steps[0];
        let finding = |offset| Finding {
            wrong: Wrong::Lost,
            partition: 0,
            offset,
        };
        assert!(step.covers(&finding(10)) && step.covers(&finding(19)));
        assert!(!step.covers(&finding(9)) && !step.covers(&finding(20)));
    }
}
