//! Owns the command `audit`: counts in one snapshot of PostgreSQL what the group's counts say must be there, compares, and says
//! in words what disagrees and why that may be.

mod count; // what is there

use self::count::{Counted, CountedTable, count, unsigned};
use super::Trouble;
use super::group::ask_kafka;
use super::terminal::{Paper, Tone, grouped, say, several};
use crate::config::Config;
use crate::offsets::{Log, Offset, Partition, Tally};
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What `audit` takes.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
#[group(skip)]
pub struct Options {
    /// As a JSON object, for scripts
    #[arg(long)]
    json: bool,
}

/// A comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// The partition that it is about; none where it is about all.
    partition: Option<Partition>,
    agrees: bool,
    text: String,
    /// Why it may be, where it disagrees.
    why: &'static str,
}

impl Finding {
    fn of(agrees: bool, text: String, why: &'static str) -> Self {
        Self {
            partition: None,
            agrees,
            text,
            why: if agrees { "" } else { why },
        }
    }
}

/// Audits. The exit code.
pub async fn run(config: Config, options: Options) -> u8 {
    audit(&config, options)
        .await
        .unwrap_or_else(|trouble| trouble.tell())
}

async fn audit(config: &Config, options: Options) -> Result<u8, Trouble> {
    let counted = count(config).await?;
    // After PostgreSQL, so that a log's end is not before what was stored meanwhile.
    let logs = ask_kafka(config, |group| {
        let partitions = group.partitions()?;
        group.logs(&partitions)
    })
    .await?;
    let findings = compare(&counted, &logs);
    let agrees = findings.iter().all(|finding| finding.agrees);
    if options.json {
        let findings: Vec<_> = findings
            .iter()
            .map(|it| json!({"agrees": it.agrees, "finding": it.text, "why": it.why}))
            .collect();
        let tables: BTreeMap<&str, u64> = counted
            .tables
            .iter()
            .map(|table| (table.name.as_str(), table.rows))
            .collect();
        let sums = sums(&counted);
        let answer = json!({
            "agrees": agrees,
            "consumed": sums.consumed(),
            "stored": sums.stored,
            "dead_lettered": sums.dead_lettered,
            "skipped": sums.skipped,
            "rows": tables,
            "dead_letters": counted.letters.values().sum::<u64>(),
            "findings": findings,
        });
        say(&format!("{answer:#}\n"));
    } else {
        say(&as_text(&findings));
    }
    Ok(u8::from(!agrees))
}

/// One line a finding; partitions about which all agrees are one line together.
fn as_text(findings: &[Finding]) -> String {
    let paper = Paper::new();
    let mut text = String::new();
    let shown = findings.iter().filter(|it| it.partition.is_none() || !it.agrees);
    for finding in shown {
        let word = if finding.agrees {
            paper.toned(Tone::Good, "ok     ")
        } else {
            paper.toned(Tone::Bad, "DIFFERS")
        };
        let _ = writeln!(text, "{word} {}", finding.text);
        if !finding.why.is_empty() {
            let _ = writeln!(text, "        {}", finding.why);
        }
    }
    let partitions = |agree: bool| -> BTreeSet<Partition> {
        let findings = findings.iter().filter(|finding| finding.agrees == agree);
        findings.filter_map(|finding| finding.partition).collect()
    };
    let well = partitions(true).difference(&partitions(false)).count() as u64;
    if well > 0 {
        let word = paper.toned(Tone::Good, "ok     ");
        let partitions = several(well, "partition");
        let _ = writeln!(
            text,
            "{word} {partitions}: dead letters, counts and the stored offset agree"
        );
    }
    text
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn sums(counted: &Counted) -> Tally {
    let mut sum = Tally::default();
    for (_, _, tally) in &counted.offsets {
        sum += *tally;
    }
    sum
}

fn compare(counted: &Counted, logs: &BTreeMap<Partition, Log>) -> Vec<Finding> {
    let sum = sums(counted);
    let consumed = format!(
        "consumed {} = stored {} + dead-lettered {} + skipped {}",
        grouped(signed(sum.consumed())),
        grouped(signed(sum.stored)),
        grouped(signed(sum.dead_lettered)),
        grouped(signed(sum.skipped))
    );
    let mut findings = vec![Finding::of(true, consumed, "")];
    let rows: u64 = counted.tables.iter().map(|table| table.rows).sum();
    findings.push(Finding::of(
        rows == sum.stored,
        format!("{} in the routed tables, {} counted as stored", several(rows, "row"), grouped(signed(sum.stored))),
        if rows > sum.stored {
            "More rows: another group, topic or program fills these tables, or rows of consumer_offsets were removed."
        } else {
            "Fewer rows: some were deleted (retention of the tables), a route's table is not named here (--route), or a BEFORE \
             trigger passes over rows."
        },
    ));
    findings.extend(counted.tables.iter().filter_map(doubles));
    for (partition, next, tally) in &counted.offsets {
        let about_it = compare_partition(counted, logs, *partition, *next, *tally);
        findings.extend(about_it.into_iter().map(|finding| Finding {
            partition: Some(*partition),
            ..finding
        }));
    }
    for (partition, letters) in &counted.letters {
        if !counted.offsets.iter().any(|(known, _, _)| known == partition) {
            findings.push(Finding::of(
                false,
                format!(
                    "partition {partition}: {} and no row of consumer_offsets",
                    several(*letters, "dead letter")
                ),
                "They are of another group, or the row was removed.",
            ));
        }
    }
    if counted.offsets.is_empty() {
        let text = "the group has no row of consumer_offsets for this topic".to_owned();
        findings.push(Finding::of(
            false,
            text,
            "Nothing was consumed yet, or --group-id or --topic are other ones.",
        ));
    }
    findings
}

/// A table that says where its rows came from can prove that none is there twice.
fn doubles(table: &CountedTable) -> Option<Finding> {
    let positions = table.positions.as_ref()?;
    let doubled: u64 = positions.values().map(|(rows, different)| rows - different).sum();
    Some(Finding::of(
        doubled == 0,
        format!(
            "table {}: {} at a position that another row has",
            table.name,
            several(doubled, "row")
        ),
        "The same message was stored more than once: offsets were set back, another group reads the same topic, the topic was \
         created anew, or rows have no kafka_offset.",
    ))
}

fn compare_partition(
    counted: &Counted,
    logs: &BTreeMap<Partition, Log>,
    partition: Partition,
    next: Offset,
    tally: Tally,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let letters = counted.letters.get(&partition).copied().unwrap_or(0);
    findings.push(Finding::of(
        letters == tally.dead_lettered,
        format!(
            "partition {partition}: {}, {} counted as dead-lettered",
            several(letters, "dead letter"),
            grouped(signed(tally.dead_lettered))
        ),
        if letters > tally.dead_lettered {
            "More are there: another group's from before migration V3, or the partition's row of consumer_offsets was removed."
        } else {
            "Fewer are there: some were deleted, or refused again at the same position (offsets were set back, another group \
             reads the topic): the newest is kept."
        },
    ));
    let all_say = counted.tables.iter().all(|table| table.positions.is_some());
    if all_say && !counted.tables.is_empty() {
        let of_partition =
            |table: &CountedTable| table.positions.as_ref()?.get(&partition).map(|(rows, _)| *rows);
        let rows: u64 = counted.tables.iter().filter_map(of_partition).sum();
        findings.push(Finding::of(
            rows == tally.stored,
            format!(
                "partition {partition}: {}, {} counted as stored",
                several(rows, "row"),
                grouped(signed(tally.stored))
            ),
            "As for the tables above: this is the partition that it is about.",
        ));
    }
    let passed = unsigned(next.0);
    let silent = passed.saturating_sub(tally.consumed());
    findings.push(Finding::of(
        tally.consumed() <= passed,
        format!(
            "partition {partition}: {} consumed of {} before the stored offset{}",
            grouped(signed(tally.consumed())),
            several(passed, "offset"),
            if silent > 0 {
                format!(
                    "; {} held no message, or lay before the group's start",
                    grouped(signed(silent))
                )
            } else {
                String::new()
            }
        ),
        "More than there are: offsets were set back and read again, or the topic was created anew.",
    ));
    findings.push(match logs.get(&partition) {
        Some(log) => Finding::of(
            log.start <= next && next <= log.end,
            format!(
                "partition {partition}: stored offset {}, log {} to {}",
                grouped(next.0),
                grouped(log.start.0),
                grouped(log.end.0)
            ),
            if next > log.end {
                "It is beyond the end: the topic was created anew, or Kafka has lost messages. The consumer tells it at its next \
                 start, and --offset-reset decides."
            } else {
                "It is before the start: retention has removed messages that were not read yet."
            },
        ),
        None => Finding::of(
            false,
            format!("partition {partition}: the topic has no such partition"),
            "The topic was created anew with fewer partitions.",
        ),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> (Counted, BTreeMap<Partition, Log>) {
        let tally = Tally {
            stored: 7,
            dead_lettered: 2,
            skipped: 1,
        };
        let table = CountedTable {
            name: "t".to_owned(),
            rows: 7,
            positions: Some([(Partition(0), (7, 7))].into()),
        };
        let counted = Counted {
            offsets: vec![(Partition(0), Offset(12), tally)],
            letters: [(Partition(0), 2)].into(),
            tables: vec![table],
        };
        let log = Log {
            start: Offset(0),
            end: Offset(20),
        };
        (counted, [(Partition(0), log)].into())
    }

    fn differing(change: impl FnOnce(&mut Counted)) -> Vec<String> {
        let (mut counted, logs) = fine();
        change(&mut counted);
        let findings = compare(&counted, &logs)
            .into_iter()
            .filter(|finding| !finding.agrees);
        findings
            .map(|finding| {
                assert!(!finding.why.is_empty(), "{finding:?}");
                finding.text
            })
            .collect()
    }

    #[test]
    fn sums_that_agree_are_no_difference() {
        assert_eq!(differing(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_sum_that_disagrees_is_told() {
        let told = differing(|counted| counted.tables[0].rows = 8);
        assert_eq!(told, ["8 rows in the routed tables, 7 counted as stored"]);
        let told = differing(|counted| {
            counted.tables[0].positions = Some([(Partition(0), (7, 6))].into());
        });
        assert_eq!(told, ["table t: 1 row at a position that another row has"]);
        let told = differing(|counted| counted.letters = BTreeMap::new());
        assert_eq!(told, ["partition 0: 0 dead letters, 2 counted as dead-lettered"]);
        let told = differing(|counted| counted.offsets[0].1 = Offset(9));
        assert_eq!(
            told,
            ["partition 0: 10 consumed of 9 offsets before the stored offset"]
        );
        let told = differing(|counted| counted.offsets[0].1 = Offset(21));
        assert!(
            told.len() == 1 && told[0].contains("stored offset 21, log 0 to 20"),
            "{told:?}"
        );
        let told = differing(|counted| counted.letters = [(Partition(0), 2), (Partition(4), 1)].into());
        assert_eq!(
            told,
            ["partition 4: 1 dead letter and no row of consumer_offsets"]
        );
        assert!(!differing(|counted| counted.offsets.clear()).is_empty());
    }
}
