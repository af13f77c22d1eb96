//! The referee: what came of a topic, counted in PostgreSQL and in Kafka. Every message is one row or one dead letter,
//! none is both, none is missing, and the sums in `consumer_offsets` agree. It says what is wrong; it never panics.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};

use crate::database::Database;
use crate::services::Postgres;
use crate::services::kafka_admin::PartitionLag;

/// The built-in tables.
pub const TABLES: [&str; 2] = ["server_metrics", "application_metrics"];

/// What came of a topic, as PostgreSQL has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Rows of the built-in tables.
    pub rows: u64,
    /// Rows of `dead_letters`.
    pub dead_letters: u64,
    /// The sums of `consumer_offsets`.
    pub stored: u64,
    /// The same.
    pub dead_lettered: u64,
    /// The same.
    pub skipped: u64,
}

impl Count {
    /// Counts; what can't be counted (yet) is 0, as before the first migration.
    pub fn of(database: &mut Database) -> Self {
        let [one, other] = TABLES;
        let rows = format!("SELECT (SELECT count(*) FROM {one}) + (SELECT count(*) FROM {other})");
        let sums = Self::of_offsets(database);
        let mut number = |sql: &str| database.number(sql).unwrap_or(0);
        Self {
            rows: number(&rows),
            dead_letters: number("SELECT count(*) FROM dead_letters"),
            ..sums
        }
    }

    /// The same without rows and dead letters, which takes no time.
    pub fn of_offsets(database: &mut Database) -> Self {
        let mut sum = |column: &str| {
            let sql = format!("SELECT coalesce(sum({column}), 0)::bigint FROM consumer_offsets");
            database.number(&sql).unwrap_or(0)
        };
        Self {
            stored: sum("stored"),
            dead_lettered: sum("dead_lettered"),
            skipped: sum("skipped"),
            ..Self::default()
        }
    }

    /// Messages of which it is decided what became of them.
    pub fn settled(&self) -> u64 {
        self.stored + self.dead_lettered + self.skipped
    }

    /// A sentence for each sum that does not agree.
    pub fn disagreements(&self, messages: u64) -> Vec<String> {
        let sums = [
            (
                "consumed = stored + dead-lettered + skipped",
                self.settled(),
                messages,
            ),
            ("no row lost, none twice", self.rows, self.stored),
            (
                "no dead letter lost, none twice",
                self.dead_letters,
                self.dead_lettered,
            ),
        ];
        sums.iter()
            .filter(|(_, found, expected)| found != expected)
            .map(|(what, found, expected)| format!("{what}: {found} of {expected} in {self:?}"))
            .collect()
    }
}

/// Adds the columns that prove where a row came from.
pub fn add_coordinates(postgres: &Postgres, database: &str) -> anyhow::Result<()> {
    TABLES.iter().try_for_each(|table| {
        let sql = format!("ALTER TABLE {table} ADD kafka_partition integer, ADD kafka_offset bigint");
        postgres.execute(database, &sql)
    })
}

/// Has PostgreSQL refuse a row that is stored twice, which the sums would show.
pub fn refuse_doubles(postgres: &Postgres, database: &str) -> anyhow::Result<()> {
    TABLES.iter().try_for_each(|table| {
        let sql = format!("CREATE UNIQUE INDEX {table}_position ON {table} (kafka_partition, kafka_offset)");
        postgres.execute(database, &sql)
    })
}

/// Whether a group has been told of all that a topic holds.
pub fn no_lag(partitions: &[PartitionLag]) -> bool {
    partitions
        .iter()
        .all(|partition| partition.lag == Some(0) || partition.log_end_offset == Some(0))
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is nowhere.
    Lost,
    /// It is in more than one place.
    Doubled,
    /// Kafka has no message at this position, or the row has none.
    Stray,
}

/// A message that is not in exactly one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub wrong: Wrong,
    /// Its partition; −1 where a row has none.
    pub partition: i32,
    /// Its offset; −1 where a row has none.
    pub offset: i64,
}

/// Every message that is not in exactly one place, up to some thousands of them. Relies on the columns of
/// `add_coordinates`, on a log without gaps (no transactions, no compaction), and on no index: it counts.
pub fn findings(database: &mut Database, topic: &str, ends: &[(i32, i64)]) -> anyhow::Result<Vec<Finding>> {
    if ends.is_empty() {
        bail!("topic {topic} has no partitions");
    }
    let rows = database.query(&findings_sql(topic, ends))?;
    rows.iter()
        .map(|row| {
            let [Some(wrong), Some(partition), Some(offset)] = &row[..] else {
                bail!("the referee's own query answers {row:?}");
            };
            Ok(Finding {
                wrong: match wrong.as_str() {
                    "lost" => Wrong::Lost,
                    "doubled" => Wrong::Doubled,
                    _ => Wrong::Stray,
                },
                partition: partition.parse()?,
                offset: offset.parse()?,
            })
        })
        .collect()
}

fn findings_sql(topic: &str, ends: &[(i32, i64)]) -> String {
    let mut sql = String::from("WITH place AS (");
    for table in TABLES {
        let _ = write!(
            sql,
            "SELECT kafka_partition AS partition, kafka_offset AS \"offset\" FROM {table} UNION ALL "
        );
    }
    let ends: Vec<String> = ends
        .iter()
        .map(|(partition, end)| format!("({partition}, {end}::bigint)"))
        .collect();
    let _ = write!(
        sql,
        "SELECT partition, \"offset\" FROM dead_letters WHERE topic = '{}'),
         log (partition, log_end) AS (VALUES {}),
         message AS (SELECT partition, generate_series(0, log_end - 1) AS \"offset\" FROM log),
         found AS (SELECT partition, \"offset\", count(*) AS times FROM place GROUP BY 1, 2)
         SELECT CASE WHEN times IS NULL THEN 'lost' WHEN message.partition IS NULL THEN 'stray' ELSE 'doubled' END,
                coalesce(message.partition, found.partition, -1), coalesce(message.\"offset\", found.\"offset\", -1)
         FROM message FULL JOIN found
           ON message.partition = found.partition AND message.\"offset\" = found.\"offset\"
         WHERE times IS NULL OR times > 1 OR message.partition IS NULL
         LIMIT 5000",
        topic.replace('\'', "''"),
        ends.join(", ")
    );
    sql
}

/// A sentence for each partition whose row in `consumer_offsets` disagrees with the log's end.
pub fn partitions_that_disagree(
    database: &mut Database,
    topic: &str,
    ends: &[(i32, i64)],
) -> anyhow::Result<Vec<String>> {
    let sql = format!(
        "SELECT partition, next_offset, stored + dead_lettered + skipped FROM consumer_offsets WHERE topic = '{}'",
        topic.replace('\'', "''")
    );
    let mut rows = database.query(&sql)?;
    let mut told = Vec::new();
    for (partition, end) in ends {
        let name = Some(partition.to_string());
        let Some(at) = rows.iter().position(|row| row.first() == Some(&name)) else {
            told.push(format!("partition {partition} has no row in consumer_offsets"));
            continue;
        };
        let row = rows.swap_remove(at);
        let number = |column: usize| -> anyhow::Result<i64> {
            let text = row.get(column).and_then(Option::as_deref).context("no number")?;
            Ok(text.parse()?)
        };
        let (next, settled) = (number(1)?, number(2)?);
        if next != *end || settled != *end {
            told.push(format!(
                "partition {partition}: the log ends at {end}, the stored offset is {next}, {settled} are settled"
            ));
        }
    }
    told.extend(
        rows.iter()
            .map(|row| format!("a row of consumer_offsets for no partition: {row:?}")),
    );
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sum_that_does_not_agree_is_told() {
        let fine = Count {
            rows: 90,
            dead_letters: 10,
            stored: 90,
            dead_lettered: 10,
            skipped: 0,
        };
        assert_eq!(fine.disagreements(100), Vec::<String>::new());
        assert_eq!(fine.disagreements(101).len(), 1);
        let twice = Count { rows: 91, ..fine };
        let told = twice.disagreements(100);
        assert!(
            told.len() == 1 && told[0].starts_with("no row lost, none twice: 91 of 90"),
            "{told:?}"
        );
    }

    #[test]
    fn a_group_without_an_offset_has_a_lag_unless_there_is_nothing_to_read() {
        let partition = |current_offset: Option<i64>, end: i64| PartitionLag {
            topic: "t".to_owned(),
            partition: 0,
            current_offset,
            log_end_offset: Some(end),
            lag: current_offset.map(|current| end - current),
        };
        assert!(no_lag(&[partition(Some(7), 7), partition(None, 0)]));
        assert!(!no_lag(&[partition(None, 1)]));
        assert!(!no_lag(&[partition(Some(6), 7)]));
    }
}
