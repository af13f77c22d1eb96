//! Owns the proof: what the generator sent and Kafka acknowledged, against what PostgreSQL holds, and a sentence for
//! each sum that does not agree.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::figures::Figures;
use super::panel::count;
use super::{Stage, stage};
use crate::database::Database;
use crate::generator::Summary;

/// An answer of the broker may take so long.
const LIMIT: Duration = Duration::from_secs(10);

/// What was sent of something, and what is there of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) produced: u64,
    pub(super) found: u64,
}

/// The sums of `consumer_offsets`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) next_offset: u64,
    pub(super) stored: u64,
    pub(super) dead_lettered: u64,
    pub(super) skipped: u64,
}

/// The account.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// Messages that Kafka acknowledged.
    pub(super) acknowledged: u64,
    /// Messages that it did not.
    pub(super) failed: u64,
    /// The sum of where the partitions' logs end.
    pub(super) log_end: u64,
    /// Rows by table.
    pub(super) tables: Vec<Entry>,
    /// Dead letters by reason.
    pub(super) reasons: Vec<Entry>,
    pub(super) offsets: Offsets,
    /// Messages that the broker removed before they were read.
    pub(super) lost: u64,
    /// Whether the broker is one that forgets soon.
    pub(super) forgets: bool,
}

impl Account {
    /// Counts everything anew, in Kafka and in PostgreSQL.
    pub(super) fn draw_up(
        stage: &Stage,
        database: &mut Database,
        produced: &Summary,
        figures: &Figures,
    ) -> anyhow::Result<Self> {
        let mut tables = Vec::new();
        for (name, produced) in [
            ("server_metrics", produced.server_metrics),
            ("application_metrics", produced.application_metrics),
        ] {
            tables.push(Entry {
                name: name.to_owned(),
                produced,
                found: database.number(&format!("SELECT count(*) FROM {name}"))?,
            });
        }
        let mut found = BTreeMap::new();
        for row in database.query("SELECT reason, count(*) FROM dead_letters GROUP BY reason")? {
            if let [Some(reason), Some(count)] = &row[..] {
                found.insert(reason.clone(), count.parse()?);
            }
        }
        let mut sum = |column: &str| {
            database.number(&format!(
                "SELECT coalesce(sum({column}), 0)::bigint FROM consumer_offsets"
            ))
        };
        Ok(Self {
            acknowledged: produced.produced - produced.failed,
            failed: produced.failed,
            log_end: log_end(&stage.bootstrap()).context("Kafka does not say where its log ends")?,
            tables,
            reasons: by_reason(&produced.malformed_by_reason(), found),
            offsets: Offsets {
                next_offset: sum("next_offset")?,
                stored: sum("stored")?,
                dead_lettered: sum("dead_lettered")?,
                skipped: sum("skipped")?,
            },
            lost: figures.newest().map_or(0, |newest| newest.lost),
            forgets: stage.forgets(),
        })
    }

    /// Rows in tables.
    pub(super) fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.found).sum()
    }

    /// Rows in `dead_letters`.
    pub(super) fn dead_letters(&self) -> u64 {
        self.reasons.iter().map(|reason| reason.found).sum()
    }

    /// A sentence for each sum that does not agree.
    pub(super) fn disagreements(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut equal = |what: &str, expected: u64, found: u64| {
            if expected != found {
                told.push(format!(
                    "{what}: expected {}, found {}",
                    count(expected),
                    count(found)
                ));
            }
        };
        equal("messages in Kafka's log", self.acknowledged, self.log_end);
        equal(
            "rows and dead letters together",
            self.acknowledged,
            self.rows() + self.dead_letters(),
        );
        // Which kind the messages were of that Kafka did not take, nobody knows.
        if self.failed == 0 {
            for table in &self.tables {
                equal(&format!("rows in {}", table.name), table.produced, table.found);
            }
            for reason in &self.reasons {
                equal(
                    &format!("dead letters for {}", reason.name),
                    reason.produced,
                    reason.found,
                );
            }
        }
        equal(
            "consumer_offsets.next_offset, summed",
            self.acknowledged,
            self.offsets.next_offset,
        );
        equal(
            "consumer_offsets.stored, summed",
            self.rows(),
            self.offsets.stored,
        );
        equal(
            "consumer_offsets.dead_lettered, summed",
            self.dead_letters(),
            self.offsets.dead_lettered,
        );
        equal("consumer_offsets.skipped, summed", 0, self.offsets.skipped);
        if self.lost > 0 {
            let remedy = if self.forgets {
                "; the mock broker keeps little: lower DEMO_RATE or DEMO_MAX_LAG, or take DEMO_KAFKA=apache"
            } else {
                ""
            };
            told.insert(
                0,
                format!(
                    "the broker removed {} events before the consumer had read them{remedy}",
                    count(self.lost)
                ),
            );
        }
        told
    }
}

fn by_reason(produced: &BTreeMap<&'static str, u64>, mut found: BTreeMap<String, u64>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = produced
        .iter()
        .map(|(name, count)| Entry {
            name: (*name).to_owned(),
            produced: *count,
            found: found.remove(*name).unwrap_or(0),
        })
        .collect();
    entries.extend(found.into_iter().map(|(name, count)| Entry {
        name,
        produced: 0,
        found: count,
    }));
    entries
}

/// How many messages the topic has got, ever.
fn log_end(bootstrap: &str) -> anyhow::Result<u64> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    let mut sum = 0;
    for partition in 0..stage::PARTITIONS {
        let (_, end) = client.fetch_watermarks(stage::TOPIC, partition, LIMIT)?;
        sum += u64::try_from(end)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balanced() -> Account {
        let entry = |name: &str, count| Entry {
            name: name.to_owned(),
            produced: count,
            found: count,
        };
        Account {
            acknowledged: 100,
            log_end: 100,
            tables: vec![entry("server_metrics", 60), entry("application_metrics", 38)],
            reasons: vec![entry("invalid_json", 2)],
            offsets: Offsets {
                next_offset: 100,
                stored: 98,
                dead_lettered: 2,
                skipped: 0,
            },
            ..Account::default()
        }
    }

    #[test]
    fn sums_that_agree_need_no_words() {
        assert_eq!(balanced().disagreements(), Vec::<String>::new());
        // Five that Kafka did not take: of which kind, nobody knows.
        let mut partly = balanced();
        partly.failed = 5;
        partly.tables[0].produced = 65;
        assert_eq!(partly.disagreements(), Vec::<String>::new());
    }

    #[test]
    fn whatever_is_missing_or_too_much_is_told() {
        let mut doubled = balanced();
        doubled.tables[1].found += 1;
        assert_eq!(doubled.disagreements().len(), 3, "{:?}", doubled.disagreements());
        let mut mistaken = balanced();
        mistaken.reasons = by_reason(
            &BTreeMap::from([("invalid_json", 2)]),
            BTreeMap::from([("unknown_type".to_owned(), 2)]),
        );
        assert_eq!(
            mistaken.disagreements().len(),
            2,
            "{:?}",
            mistaken.disagreements()
        );
        let mut lost = balanced();
        (lost.lost, lost.forgets) = (7, true);
        lost.tables[0].found -= 7;
        lost.offsets.stored -= 7;
        let told = lost.disagreements();
        assert!(
            told[0].contains("removed 7 events") && told[0].contains("DEMO_KAFKA=apache"),
            "{told:?}"
        );
        assert_eq!(told.len(), 3, "{told:?}");
    }
}
