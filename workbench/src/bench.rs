//! The benchmark from end to end, on a Kafka and a PostgreSQL of its own: how fast the consumer empties a topic beside
//! what PostgreSQL itself can take, what that costs, how late a row is, and what grows with what. It measures; what is
//! good enough stands in the targets of the report.

use std::fmt;
use std::sync::atomic::AtomicBool;

mod results; // samples, files, medians
pub mod settings; // what is asked for, from BENCH_… variables
mod stage; // the services, topics, an empty database for each measurement
mod drain; // the consumer, emptying a topic
mod limit; // the same rows by a client that does nothing but COPY
mod latency; // from the broker to the committed row
mod baseline; // a consumer in Python
mod growth; // more partitions, more backlog
mod targets; // what should be reached, beside what was
mod indexes; // B-tree and BRIN: what is filled, and what is read
mod report; // all of it as tables

pub use settings::Settings;

use indicatif::HumanCount;

use drain::{Drain, RATE, TRANSACTION};
use limit::Prepared;
use results::{Results, Sample};
use settings::Part;
use stage::{PARTITIONS, Shape, Stage, TOPIC};

use crate::demo::say;
use crate::document;

/// Measures what is asked for, writes each part's results when it is done, and fills the document.
pub fn run(settings: &Settings, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut stage = Stage::build(stop)?;
    for part in &settings.only {
        let mut results = Results {
            conditions: stage.conditions(settings)?,
            ..Results::default()
        };
        say(&format!("\n{}", part.name()));
        let outcome = match part {
            Part::Drain => drains(&mut stage, settings, &mut results),
            Part::Latency => latency::measure(&mut stage, settings, &mut results),
            Part::Baseline => baseline::measure(&mut stage, settings, &mut results),
            Part::Growth => growth::measure(&mut stage, settings, &mut results),
            Part::Indexes => indexes::measure(&mut stage, settings, &mut results),
        };
        // What was measured before something went wrong is kept.
        if outcome.is_ok() || !results.samples.is_empty() {
            let file = results.write(&settings.results, *part)?;
            say(&format!("results: {}", file.display()));
        }
        outcome?;
    }
    report(settings)
}

/// Fills the document from the results that are there, and shows them.
pub fn report(settings: &Settings) -> anyhow::Result<()> {
    let text = report::text(&settings.results)?;
    say(&format!("\n{text}"));
    document::fill(&settings.report, "bench", text.trim_end())
}

/// Plain COPY has transactions of so many rows, whatever the consumer's are: that is what the target is about, and more
/// than that is no faster.
const PLAIN_TRANSACTION: usize = 20_000;

/// What is measured side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The consumer; `bare` is without indexes, `paths` are workers.
    Drain { bare: bool, paths: u32 },
    /// COPY alone; `paths` are connections.
    Limit { bare: bool, paths: u32 },
    /// COPY alone, rows in order of arrival, identifiers in the usual collation.
    Plain,
    /// The Python consumer.
    Baseline,
}

impl Case {
    fn name(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bare, paths, path) = match self {
            Self::Drain { bare, paths } => ("drain", *bare, *paths, "worker"),
            Self::Limit { bare, paths } => ("limit", *bare, *paths, "connection"),
            Self::Plain => {
                return write!(
                    f,
                    "plain COPY, arrival order, {}, {} rows a transaction, 1 connection",
                    stage::USUAL_LOCALE,
                    HumanCount(PLAIN_TRANSACTION as u64)
                );
            }
            Self::Baseline => return f.write_str("Python baseline"),
        };
        let tables = if bare { "no indexes" } else { "indexes" };
        let plural = if paths == 1 { "" } else { "s" };
        write!(f, "{what}, {tables}, {paths} {path}{plural}")
    }
}

/// The consumer and the limit in turns. Every other round goes the other way round, so that what comes later is not
/// always the same.
fn drains(stage: &mut Stage<'_>, settings: &Settings, results: &mut Results) -> anyhow::Result<()> {
    // First of all: it may be missing.
    let plain = format!(
        "{}; {} rows a transaction",
        stage.plain_tables()?,
        HumanCount(PLAIN_TRANSACTION as u64)
    );
    results.conditions.push(("plain COPY".to_owned(), plain));
    stage.fill(TOPIC, PARTITIONS, settings.events)?;
    // Not counted: it warms the caches, and tells how large a transaction becomes, which is the limit's as well.
    let warm = drain_case(stage, settings, false, 1, 0)?;
    let transaction = whole(warm.values.get(TRANSACTION).copied().unwrap_or(1_000.0));
    results.conditions.push((
        "the limit's transactions".to_owned(),
        format!("{transaction} rows, as many as the consumer's"),
    ));
    for round in 1..=settings.rounds {
        let mut halves = [false, true];
        if round % 2 == 0 {
            halves.reverse();
        }
        for bare in halves {
            if round % 2 == 0 {
                both_drains(stage, settings, results, bare, round)?;
                limits(stage, settings, results, bare, transaction, round)?;
            } else {
                limits(stage, settings, results, bare, transaction, round)?;
                both_drains(stage, settings, results, bare, round)?;
            }
        }
    }
    Ok(())
}

fn both_drains(
    stage: &mut Stage<'_>,
    settings: &Settings,
    results: &mut Results,
    bare: bool,
    round: u32,
) -> anyhow::Result<()> {
    for workers in [1, 2] {
        let sample = drain_case(stage, settings, bare, workers, round)?;
        keep(results, sample);
    }
    Ok(())
}

fn drain_case(
    stage: &mut Stage<'_>,
    settings: &Settings,
    bare: bool,
    workers: u32,
    round: u32,
) -> anyhow::Result<Sample> {
    let drain = Drain {
        case: Case::Drain { bare, paths: workers }.name(),
        round,
        topic: TOPIC,
        events: settings.events,
        shape: if bare { Shape::Bare } else { Shape::Indexed },
        workers,
        before: 0,
    };
    drain.measure(stage)
}

fn limits(
    stage: &mut Stage<'_>,
    settings: &Settings,
    results: &mut Results,
    bare: bool,
    transaction: usize,
    round: u32,
) -> anyhow::Result<()> {
    let shape = if bare { Shape::Bare } else { Shape::Indexed };
    let prepared = Prepared::new(stage, shape, settings.events, transaction)?;
    for connections in [1, 2] {
        let case = Case::Limit {
            bare,
            paths: connections,
        };
        keep(
            results,
            prepared.measure(stage, case.name(), round, shape, connections as usize)?,
        );
    }
    // Two of them at once would be too large for some machines.
    drop(prepared);
    if !bare {
        // Rows for tables without a key are in order of arrival.
        let arrived = Prepared::new(stage, Shape::Bare, settings.events, PLAIN_TRANSACTION)?;
        keep(
            results,
            arrived.measure(stage, Case::Plain.name(), round, Shape::Plain, 1)?,
        );
    }
    Ok(())
}

/// Tells a sample, and takes it.
fn keep(results: &mut Results, sample: Sample) {
    let rate = sample.values.get(RATE).copied();
    say(&format!(
        "round {}: {}: {} events/s",
        sample.round,
        sample.case,
        report::cell(results::Spread::of(rate.into_iter().collect()), 0)
    ));
    results.samples.push(sample);
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of rows, not negative"
)]
fn whole(count: f64) -> usize {
    (count.round() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_told_apart_by_their_names() {
        let mut names = vec![Case::Plain.name(), Case::Baseline.name()];
        for bare in [false, true] {
            for paths in [1, 2] {
                names.push(Case::Drain { bare, paths }.name());
                names.push(Case::Limit { bare, paths }.name());
            }
        }
        assert_eq!(names[2], "drain, indexes, 1 worker");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 10);
    }
}
