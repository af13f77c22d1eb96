//! Owns what the audit counts in PostgreSQL, all of it in one snapshot.

use crate::commands::{Trouble, stored};
use crate::config::Config;
use crate::offsets::{Offset, Partition, Tally};
use crate::postgres::Connection;
use crate::table::{TableName, quote};
use std::collections::BTreeMap;
use std::time::Duration;

/// Counting a large table may take so long.
const COUNTING: Duration = Duration::from_hours(6);

/// What was counted in one snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// The group's rows of `consumer_offsets`.
    pub(super) offsets: Vec<(Partition, Offset, Tally)>,
    /// Dead letters of the topic by partition that are the group's, or nobody's in particular.
    pub(super) letters: BTreeMap<Partition, u64>,
    /// Rows by table.
    pub(super) tables: Vec<CountedTable>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CountedTable {
    pub(super) name: String,
    pub(super) rows: u64,
    /// Rows and different offsets by partition, where the table has the columns that say so.
    pub(super) positions: Option<BTreeMap<Partition, (u64, u64)>>,
}

/// Counts, in one snapshot.
pub(super) async fn count(config: &Config) -> Result<Counted, Trouble> {
    let mut client = stored::connect(config).await?;
    client.limit_statements(COUNTING).await?;
    let client = &client;
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let rows = stored::offsets(client, config).await?;
    let mut counted = Counted {
        offsets: rows
            .into_iter()
            .map(|row| (row.partition, row.next, row.tally))
            .collect(),
        ..Counted::default()
    };
    let query = "SELECT partition, count(*) FROM dead_letters
                 WHERE topic = $1 AND (group_id = $2 OR group_id IS NULL) GROUP BY 1";
    for row in client
        .query(query, &[&config.kafka.topic, &config.kafka.group_id])
        .await?
    {
        counted
            .letters
            .insert(Partition(row.try_get(0)?), unsigned(row.try_get(1)?));
    }
    for name in config.table_routes().tables() {
        counted
            .tables
            .push(count_table(client, name, &config.kafka.topic).await?);
    }
    client.batch_execute("COMMIT").await?;
    Ok(counted)
}

async fn count_table(client: &Connection, name: &TableName, topic: &str) -> Result<CountedTable, Trouble> {
    let table = name.quoted();
    let query = "SELECT attname::text FROM pg_attribute
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND starts_with(attname::text, 'kafka_')";
    let mut columns = Vec::new();
    for row in client.query(query, &[&table]).await? {
        columns.push(row.try_get::<_, String>(0)?);
    }
    let has = |column: &str| columns.iter().any(|known| known == column);
    let mut counted = CountedTable {
        name: name.to_string(),
        ..CountedTable::default()
    };
    let of_topic = if has("kafka_topic") {
        format!("WHERE {} = $1", quote("kafka_topic"))
    } else {
        "WHERE $1::text IS NOT NULL".to_owned()
    };
    if has("kafka_partition") && has("kafka_offset") {
        let query = format!(
            "SELECT coalesce(kafka_partition, -1)::integer, count(*), count(DISTINCT kafka_offset) FROM {table} {of_topic} \
             GROUP BY 1"
        );
        let mut positions = BTreeMap::new();
        for row in client.query(&query, &[&topic]).await? {
            let (rows, different) = (unsigned(row.try_get(1)?), unsigned(row.try_get(2)?));
            positions.insert(Partition(row.try_get(0)?), (rows, different));
            counted.rows += rows;
        }
        counted.positions = Some(positions);
    } else {
        let row = client
            .query_one(&format!("SELECT count(*) FROM {table} {of_topic}"), &[&topic])
            .await?;
        counted.rows = unsigned(row.try_get(0)?);
    }
    Ok(counted)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
