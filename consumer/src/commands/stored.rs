//! Owns what PostgreSQL says of a group: its offsets with their counts, its newest dead letters. Knows tokio-postgres, never
//! rdkafka.

use super::Trouble;
use crate::config::Config;
use crate::offsets::{Offset, Partition, Tally};
use crate::postgres::{self, ConnectError, Connection, Fault};
use crate::schema::{self, StartError};
use std::collections::BTreeMap;

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = format!("postgres: {}", postgres::describe(&error));
        match postgres::classify(&error) {
            Fault::Transient => Self::Unreachable(text),
            Fault::Refused | Fault::Schema => Self::Refused(text),
        }
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        let ConnectError::Postgres(error) = error else {
            return Self::Unreachable(error.to_string());
        };
        error.into()
    }
}

/// A connection to a database that has all migrations.
pub(super) async fn connect(config: &Config) -> Result<Connection, Trouble> {
    let client = postgres::connect(&config.postgres).await?;
    if schema::is_current(&client).await? {
        Ok(client)
    } else {
        Err(Trouble::Refused(StartError::NotMigrated.to_string()))
    }
}

/// A partition's row of `consumer_offsets`.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) partition: Partition,
    pub(super) next: Offset,
    pub(super) tally: Tally,
    /// Seconds since a batch moved it.
    pub(super) idle: f64,
}

/// The group's rows for its topic, by partition.
pub(super) async fn offsets(
    client: &tokio_postgres::Client,
    config: &Config,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let query = include_str!("../sql/group_offsets.sql");
    let rows = client
        .query(query, &[&config.kafka.group_id, &config.kafka.topic])
        .await?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    rows.iter()
        .map(|row| {
            Ok(Row {
                partition: Partition(row.try_get(0)?),
                next: Offset(row.try_get(1)?),
                tally: Tally {
                    stored: count(row.try_get(2)?),
                    dead_lettered: count(row.try_get(3)?),
                    skipped: count(row.try_get(4)?),
                },
                idle: row.try_get(5)?,
            })
        })
        .collect()
}

/// Where the group goes on.
pub(super) async fn next_offsets(
    client: &Connection,
    config: &Config,
) -> Result<BTreeMap<Partition, Offset>, Trouble> {
    let rows = offsets(client, config).await?;
    Ok(rows.into_iter().map(|row| (row.partition, row.next)).collect())
}

/// The same, and until the end of the transaction nobody moves it.
pub(super) async fn lock_offsets(
    client: &Connection,
    config: &Config,
) -> Result<BTreeMap<Partition, Offset>, Trouble> {
    let query = include_str!("../sql/lock_offsets.sql");
    let rows = client
        .query(query, &[&config.kafka.group_id, &config.kafka.topic])
        .await?;
    let offsets = rows
        .iter()
        .map(|row| Ok((Partition(row.try_get(0)?), Offset(row.try_get(1)?))));
    Ok(offsets.collect::<Result<_, tokio_postgres::Error>>()?)
}

/// Where the group goes on from now on, each with Kafka's timestamp of the message before.
pub(super) async fn set_offsets(
    client: &Connection,
    config: &Config,
    places: &[(Partition, Offset, Option<i64>)],
) -> Result<(), Trouble> {
    let partitions: Vec<i32> = places.iter().map(|(partition, _, _)| partition.0).collect();
    let offsets: Vec<i64> = places.iter().map(|(_, offset, _)| offset.0).collect();
    let timestamps: Vec<Option<i64>> = places.iter().map(|(_, _, timestamp)| *timestamp).collect();
    let (group, topic) = (&config.kafka.group_id, &config.kafka.topic);
    let query = include_str!("../sql/set_offsets.sql");
    client
        .execute(query, &[group, topic, &partitions, &offsets, &timestamps])
        .await?;
    Ok(())
}

/// Statements without parameters.
pub(super) async fn execute(client: &Connection, sql: &str) -> Result<(), Trouble> {
    Ok(client.batch_execute(sql).await?)
}

/// A dead letter, without its bytes.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) partition: Partition,
    pub(super) offset: Offset,
    pub(super) failed_at: String,
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) sqlstate: Option<String>,
}

/// The newest dead letters of the group, the newest first.
pub(super) async fn newest_letters(
    client: &tokio_postgres::Client,
    config: &Config,
    most: i64,
) -> Result<Vec<Letter>, tokio_postgres::Error> {
    let query = include_str!("../sql/newest_letters.sql");
    let rows = client
        .query(query, &[&config.kafka.group_id, &config.kafka.topic, &most])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Letter {
                partition: Partition(row.try_get(0)?),
                offset: Offset(row.try_get(1)?),
                failed_at: row.try_get(2)?,
                reason: row.try_get(3)?,
                detail: row.try_get(4)?,
                sqlstate: row.try_get(5)?,
            })
        })
        .collect()
}
