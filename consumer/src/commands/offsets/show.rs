//! Owns the command `offsets show`: each partition's stored offset beside its log.

use crate::commands::group::{Group, ask_kafka};
use crate::commands::stored::Row;
use crate::commands::terminal::{Cell, Paper, Tone, say};
use crate::commands::{Trouble, stored};
use crate::config::Config;
use crate::offsets::{Log, Partition};
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What `offsets show` takes.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
#[group(skip)]
pub struct ShowOptions {
    /// As a JSON object, for scripts
    #[arg(long)]
    json: bool,
}

/// Shows the stored offsets. The exit code.
pub async fn show(config: Config, options: ShowOptions) -> u8 {
    let shown = async {
        let partitions = ask_kafka(&config, Group::partitions).await?;
        let logs = ask_kafka(&config, move |group| group.logs(&partitions)).await?;
        let client = stored::connect(&config).await?;
        let rows = stored::offsets(&client, &config).await?;
        let stored: BTreeMap<Partition, Row> = rows.into_iter().map(|row| (row.partition, row)).collect();
        say(&if options.json {
            shown_as_json(&config, &logs, &stored)
        } else {
            shown_as_table(&logs, &stored)
        });
        Ok(0)
    };
    shown.await.unwrap_or_else(|trouble: Trouble| trouble.tell())
}

fn all(logs: &BTreeMap<Partition, Log>, stored: &BTreeMap<Partition, Row>) -> BTreeSet<Partition> {
    logs.keys().chain(stored.keys()).copied().collect()
}

fn shown_as_table(logs: &BTreeMap<Partition, Log>, stored: &BTreeMap<Partition, Row>) -> String {
    let mut rows = Vec::new();
    for partition in all(logs, stored) {
        let (log, row) = (logs.get(&partition), stored.get(&partition));
        let outside = log
            .zip(row)
            .is_some_and(|(log, row)| row.next < log.start || row.next > log.end);
        let next = Cell::number(row.map(|row| row.next.0));
        rows.push(vec![
            Cell::number(i64::from(partition.0)),
            if outside { next.toned(Tone::Bad) } else { next },
            Cell::number(log.map(|log| log.start.0)),
            Cell::number(log.map(|log| log.end.0)),
            Cell::number(lag(log, row)),
            Cell::number(row.map(|row| signed(row.tally.stored))),
            Cell::number(row.map(|row| signed(row.tally.dead_lettered))),
            Cell::number(row.map(|row| signed(row.tally.skipped))),
        ]);
    }
    let head = [
        "partition",
        "stored offset",
        "log start",
        "log end",
        "lag",
        "stored",
        "dead letters",
        "skipped",
    ];
    Paper::new().table(&head, &rows)
}

fn lag(log: Option<&Log>, row: Option<&Row>) -> Option<i64> {
    let log = log?;
    Some(signed(row.map_or(log.start, |row| row.next).distance_to(log.end)))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn shown_as_json(
    config: &Config,
    logs: &BTreeMap<Partition, Log>,
    stored: &BTreeMap<Partition, Row>,
) -> String {
    let partitions = all(logs, stored).into_iter().map(|partition| {
        let (log, row) = (logs.get(&partition), stored.get(&partition));
        json!({
            "partition": partition.0,
            "stored_offset": row.map(|row| row.next.0),
            "log_start": log.map(|log| log.start.0),
            "log_end": log.map(|log| log.end.0),
            "lag_messages": lag(log, row),
            "stored": row.map(|row| row.tally.stored),
            "dead_lettered": row.map(|row| row.tally.dead_lettered),
            "skipped": row.map(|row| row.tally.skipped),
        })
    });
    let answer = json!({
        "group_id": config.kafka.group_id,
        "topic": config.kafka.topic,
        "partitions": partitions.collect::<Vec<_>>(),
    });
    format!("{answer:#}\n")
}
