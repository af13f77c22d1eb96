//! Owns the verdict on a run: everything is stopped and settled, now it is counted, and whatever is wrong becomes a
//! sentence.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::brokers;
use super::results::Results;
use super::stage::{DATABASE, GROUP, Stage, TOPIC};
use crate::database::Database;
use crate::generator::Summary;
use crate::referee::{self, Count, Wrong};
use crate::services::wait_until;

/// All that is under way when the load stops may take so long.
const SETTLE: Duration = Duration::from_mins(3);
/// Kafka may be told of the last offsets so late.
const TOLD: Duration = Duration::from_secs(30);
/// What a consumer may need, whatever happens.
const MEMORY_MIB: u64 = 160;
/// ERROR means that a person must act; this one does so after an end that is part of the plan.
const EXPECTED_ERRORS: [&str; 1] = ["were not stored within the shutdown timeout"];
/// So many sentences of a kind are enough.
const ENOUGH: usize = 10;

/// Waits until all is settled, stops the consumers, counts, and writes it all down in `results`.
pub(super) fn pass(stage: &mut Stage, sent: &Summary, results: &mut Results) -> anyhow::Result<()> {
    let ends = brokers::log_ends(&stage.kafka, TOPIC)?;
    let log: u64 = ends.values().map(|end| end.unsigned_abs()).sum();
    let mut database = Database::new(stage.postgres.config(DATABASE))?;
    let mut wrong = Vec::new();

    let begun = Instant::now();
    if !wait_until(SETTLE, || Count::of(&mut database).settled() >= log) {
        wrong.push(format!(
            "not all is settled {SETTLE:?} after everything was healed"
        ));
    }
    let group = || {
        stage
            .kafka
            .group_offsets(GROUP, TOPIC)
            .is_ok_and(|lag| referee::no_lag(&lag))
    };
    if !wait_until(TOLD, group) {
        wrong.push(format!("Kafka was not told of all within {TOLD:?}"));
    }
    results.settled_after_seconds = begun.elapsed().as_secs_f64();
    stage.members.look()?;
    stage.members.stop_all()?;
    // Kafka's own tool.
    let lag = stage.kafka.consumer_group_lag(GROUP)?;
    if !referee::no_lag(&lag) {
        wrong.push(format!("the group has a lag: {lag:?}"));
    }

    let count = Count::of(&mut database);
    results.acknowledged = sent.produced - sent.failed;
    results.produced = sent.produced;
    results.log = log;
    results.rows = count.rows;
    results.dead_letters = count.dead_letters;
    results.peak_memory_mib = stage.members.peak_memory_mib;
    wrong.extend(count.disagreements(log));
    if !(results.acknowledged..=sent.produced).contains(&log) {
        wrong.push(format!(
            "{} messages are acknowledged of {}, but the log holds {log}",
            results.acknowledged, sent.produced
        ));
    }
    let ends: Vec<(i32, i64)> = ends.into_iter().collect();
    wrong.extend(referee::partitions_that_disagree(&mut database, TOPIC, &ends)?);
    for finding in referee::findings(&mut database, TOPIC, &ends)? {
        if wrong.len() < ENOUGH {
            wrong.push(format!("{finding:?}"));
        }
        results.found(&finding);
    }
    wrong.extend(reasons(&mut database, sent, results)?);
    if results.peak_memory_mib >= MEMORY_MIB {
        let peak = results.peak_memory_mib;
        wrong.push(format!("a consumer needed {peak} MiB of memory"));
    }
    wrong.append(&mut stage.members.complaints);
    wrong.extend(complaints_of_logs(stage)?);
    results.wrong.append(&mut wrong);
    Ok(())
}

/// Each dead letter is one that the load meant, or one that the CHECK refused. A row that was stored twice could hide
/// behind a refusal otherwise.
fn reasons(database: &mut Database, sent: &Summary, results: &mut Results) -> anyhow::Result<Vec<String>> {
    let mut found = BTreeMap::new();
    let mut wrong = Vec::new();
    let sql = "SELECT reason, coalesce(sqlstate, ''), count(*), min(detail) FROM dead_letters GROUP BY 1, 2";
    for row in database.query(sql)? {
        let [Some(reason), Some(sqlstate), Some(count), Some(detail)] = &row[..] else {
            continue;
        };
        let count: u64 = count.parse().context("no count")?;
        match (reason.as_str(), sqlstate.as_str()) {
            ("rejected_by_database", "23514") => results.refused_by_database += count,
            ("rejected_by_database", _) => {
                wrong.push(format!(
                    "{count} rows were refused with SQLSTATE {sqlstate}: {detail}"
                ));
            }
            _ => *found.entry(reason.clone()).or_insert(0) += count,
        }
    }
    // Which kind the messages were of that Kafka did not take, nobody knows.
    if sent.failed == 0 {
        let meant: BTreeMap<String, u64> = sent
            .malformed_by_reason()
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect();
        if meant != found {
            wrong.push(format!("dead letters: meant {meant:?}, found {found:?}"));
        }
    }
    Ok(wrong)
}

/// Panics, and errors that nobody expected.
fn complaints_of_logs(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for log in stage.members.logs() {
        let text = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let name = log.file_name().unwrap_or_default().to_string_lossy();
        for line in text.lines().filter(|line| is_unexpected(line)).take(ENOUGH) {
            wrong.push(format!("{name}: {line}"));
        }
    }
    Ok(wrong)
}

/// A line may be cut in the middle where its program was killed.
fn is_unexpected(line: &str) -> bool {
    let is_error = serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"] == "ERROR");
    let expected = EXPECTED_ERRORS.iter().any(|words| line.contains(words));
    line.contains("panicked at") || (is_error && !expected)
}

impl Results {
    /// A message that is not in exactly one place belongs to the step in which its place should have been found.
    fn found(&mut self, finding: &referee::Finding) {
        let lost = u64::from(finding.wrong == Wrong::Lost);
        let doubled = 1 - lost;
        self.lost += lost;
        self.doubled += doubled;
        let step = self.steps.iter_mut().find(|step| step.covers(finding));
        if let Some(step) = step {
            step.lost += lost;
            step.doubled += doubled;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_nobody_planned_count() {
        let line =
            |level: &str, message: &str| format!("{{\"level\":\"{level}\",\"message\":\"{message}\"}}");
        assert!(is_unexpected(&line("ERROR", "offsets are gone")));
        assert!(!is_unexpected(&line("WARNING", "tried again")));
        assert!(!is_unexpected(&line(
            "ERROR",
            "the last 7 messages were not stored within the shutdown timeout"
        )));
        assert!(!is_unexpected("{\"level\":\"ERR"));
        assert!(is_unexpected("thread 'main' panicked at src/main.rs"));
    }
}
