//! Owns the command `offsets set`. Offsets are set in one transaction that locks the group's rows, and only while Kafka says
//! that the group has no member: a consumer that starts meanwhile meets the fence.

mod show; // the command `offsets show`
mod target; // a place in a log as it is typed

pub use self::show::{ShowOptions, show};

use self::target::{Target, target};
use super::group::{Group, Members, Uncommitted, ask_kafka};
use super::terminal::{self, Cell, Paper, Tone, complain, say, several};
use super::{Trouble, stored};
use crate::config::Config;
use crate::offsets::{Log, Offset, Partition};
use crate::postgres::Connection;
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A message's timestamp may take so long to be read.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What `offsets set` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(skip)]
pub struct SetOptions {
    /// Where to go on: the log's start or end, an offset, or the first message of a time or later (RFC 3339)
    #[arg(long, value_name = "earliest|latest|OFFSET|TIME", value_parser = target)]
    to: Target,
    /// Only this partition; repeatable; without it, all of the topic
    #[arg(long, value_name = "NUMBER", action = clap::ArgAction::Append, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Show what would follow, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
}

/// What is set for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    partition: Partition,
    before: Option<Offset>,
    after: Offset,
    log: Log,
}

impl Change {
    /// Messages that will be read once more.
    fn again(&self) -> u64 {
        self.before.map_or(0, |before| {
            self.after
                .max(self.log.start)
                .distance_to(before.min(self.log.end))
        })
    }

    /// Messages that nobody will have read.
    fn skipped(&self) -> u64 {
        let from = self.before.unwrap_or(self.log.start).max(self.log.start);
        from.distance_to(self.after)
    }
}

/// Sets the stored offsets. The exit code.
pub async fn set(config: Config, options: &SetOptions) -> u8 {
    try_to_set(&config, options)
        .await
        .unwrap_or_else(|trouble| trouble.tell())
}

async fn try_to_set(config: &Config, options: &SetOptions) -> Result<u8, Trouble> {
    let (targets, logs) = look_at_topic(config, options).await?;
    let client = stored::connect(config).await?;
    let before = stored::next_offsets(&client, config).await?;
    let changes = changes(&targets, &logs, &before);
    say(&table_of(&changes));
    let moved = changes.iter().any(|change| change.before != Some(change.after));
    if !moved {
        say("nothing to set\n");
        return Ok(0);
    }
    warn_of(&changes);
    if options.dry_run {
        return Ok(0);
    }
    let group = &config.kafka.group_id;
    let question = format!("Set these offsets of group {group}?");
    if let Err(code) = terminal::agreed(options.yes, &question) {
        return Ok(code);
    }
    commit(config, &client, &targets, &before).await?;
    say(&format!("set: group {group} goes on there\n"));
    Ok(0)
}

/// Where each partition is to go on, within its log; refused while the group has members.
async fn look_at_topic(
    config: &Config,
    options: &SetOptions,
) -> Result<(BTreeMap<Partition, Offset>, BTreeMap<Partition, Log>), Trouble> {
    let wanted: BTreeSet<Partition> = options.partition.iter().copied().map(Partition).collect();
    let (to, name) = (options.to, config.kafka.group_id.clone());
    ask_kafka(config, move |group| {
        let all = group.partitions()?;
        if let Some(unknown) = wanted.iter().find(|partition| !all.contains(partition)) {
            return Err(Trouble::Refused(format!(
                "--partition {unknown}: the topic has the partitions 0 to {}",
                all.len() - 1
            )));
        }
        let has_committed = !group.committed(&all)?.is_empty();
        if let Members::Known(members) = group.members(has_committed)?
            && let Some(member) = members.first()
        {
            return Err(live(
                &name,
                &format!(
                    "{}, such as {} on {}",
                    several(members.len() as u64, "member"),
                    member.client_id,
                    member.host
                ),
            ));
        }
        let partitions: Vec<Partition> = if wanted.is_empty() {
            all
        } else {
            wanted.into_iter().collect()
        };
        let logs = group.logs(&partitions)?;
        let targets = match to {
            Target::Earliest => logs
                .iter()
                .map(|(partition, log)| (*partition, log.start))
                .collect(),
            Target::Latest => logs
                .iter()
                .map(|(partition, log)| (*partition, log.end))
                .collect(),
            Target::Offset(offset) => within_logs(Offset(offset), &logs)?,
            Target::Time(timestamp_ms) => {
                let found = group.at_time(&partitions, timestamp_ms)?;
                // Where there is no such message, what comes from now on is later.
                let of = |partition: &Partition, log: &Log| found.get(partition).copied().unwrap_or(log.end);
                logs.iter()
                    .map(|(partition, log)| (*partition, of(partition, log)))
                    .collect()
            }
        };
        Ok((targets, logs))
    })
    .await
}

fn live(group: &str, who: &str) -> Trouble {
    Trouble::Refused(format!(
        "the group {group} is live: {who}. Stop its consumers first, and wait until Kafka misses them (session.timeout.ms, 10 \
         s); nothing was changed"
    ))
}

fn within_logs(
    offset: Offset,
    logs: &BTreeMap<Partition, Log>,
) -> Result<BTreeMap<Partition, Offset>, Trouble> {
    let outside: Vec<String> = logs
        .iter()
        .filter(|(_, log)| offset < log.start || offset > log.end)
        .map(|(partition, log)| {
            format!(
                "partition {partition}: its log goes from {} to {}",
                log.start, log.end
            )
        })
        .collect();
    if outside.is_empty() {
        Ok(logs.keys().map(|partition| (*partition, offset)).collect())
    } else {
        Err(Trouble::Refused(format!(
            "--to {offset} is outside of the log ({}); name --partition, or earliest, latest or a time",
            outside.join("; ")
        )))
    }
}

fn changes(
    targets: &BTreeMap<Partition, Offset>,
    logs: &BTreeMap<Partition, Log>,
    before: &BTreeMap<Partition, Offset>,
) -> Vec<Change> {
    targets
        .iter()
        .map(|(partition, after)| Change {
            partition: *partition,
            before: before.get(partition).copied(),
            after: *after,
            log: logs[partition],
        })
        .collect()
}

fn table_of(changes: &[Change]) -> String {
    let rows: Vec<Vec<Cell>> = changes
        .iter()
        .map(|change| {
            let tone = |count: u64| if count > 0 { Tone::Doubtful } else { Tone::Quiet };
            let (again, skipped) = (change.again(), change.skipped());
            vec![
                Cell::number(i64::from(change.partition.0)),
                Cell::number(change.before.map(|offset| offset.0)),
                Cell::number(change.after.0),
                Cell::count(again).toned(tone(again)),
                Cell::count(skipped).toned(tone(skipped)),
            ]
        })
        .collect();
    Paper::new().table(&["partition", "before", "after", "read again", "skipped"], &rows)
}

fn warn_of(changes: &[Change]) {
    let again: u64 = changes.iter().map(Change::again).sum();
    let skipped: u64 = changes.iter().map(Change::skipped).sum();
    if again > 0 {
        complain(&format!(
            "{} will be read again: rows of them that are still in the tables are stored a second time, unless you delete \
             them before, or a unique index refuses them (then they become dead letters)",
            several(again, "offset")
        ));
    }
    if skipped > 0 {
        complain(&format!(
            "{} will never be stored by this group",
            several(skipped, "offset")
        ));
    }
}

/// In one transaction: the group's rows locked and as they were shown, Kafka's word that nobody is a member, the new
/// offsets. Kafka gives its word by taking the offsets itself, which it does of a group without members only.
async fn commit(
    config: &Config,
    client: &Connection,
    targets: &BTreeMap<Partition, Offset>,
    before: &BTreeMap<Partition, Offset>,
) -> Result<(), Trouble> {
    let timestamps = Arc::new(targets.clone());
    let before_them = Arc::clone(&timestamps);
    let last = ask_kafka(config, move |group| {
        let wanted = before_them
            .iter()
            .filter(|(_, offset)| offset.0 > 0)
            .map(|(partition, offset)| (*partition, Offset(offset.0 - 1)))
            .collect();
        let found = group.messages_at(&wanted, READ_WITHIN)?;
        // Of the message right before, and of no other: a timestamp of another one says nothing.
        Ok(found
            .into_iter()
            .filter(|(partition, (offset, _))| wanted[partition] == *offset)
            .filter_map(|(partition, (_, timestamp))| Some((partition, timestamp?)))
            .collect::<BTreeMap<Partition, i64>>())
    })
    .await?;

    // Kafka may take longer over its answer than an idle transaction may last.
    stored::execute(client, "SET idle_in_transaction_session_timeout = '60s'; BEGIN").await?;
    if stored::lock_offsets(client, config).await? != *before {
        return Err(live(
            &config.kafka.group_id,
            "its stored offsets have moved since they were shown",
        ));
    }
    let places: Vec<(Partition, Offset, Option<i64>)> = targets
        .iter()
        .map(|(partition, offset)| (*partition, *offset, last.get(partition).copied()))
        .collect();
    stored::set_offsets(client, config, &places).await?;
    let (kafka, targets) = (config.kafka.clone(), targets.clone());
    let taken = tokio::task::spawn_blocking(move || match Group::new(&kafka) {
        Ok(group) => group.commit(&targets),
        Err(trouble) => Err(Uncommitted::Other(trouble.to_string())),
    });
    match taken.await.expect("questions don't panic") {
        Ok(()) => {}
        Err(Uncommitted::Live) => return Err(live(&config.kafka.group_id, "Kafka says that it has members")),
        Err(Uncommitted::Other(what)) => return Err(Trouble::Unreachable(what)),
    }
    stored::execute(client, "COMMIT").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_counted_within_the_log() {
        let change = |before: Option<i64>, after: i64| {
            let change = Change {
                partition: Partition(0),
                before: before.map(Offset),
                after: Offset(after),
                log: Log {
                    start: Offset(100),
                    end: Offset(200),
                },
            };
            (change.again(), change.skipped())
        };
        assert_eq!(change(Some(150), 120), (30, 0));
        assert_eq!(change(Some(150), 200), (0, 50));
        assert_eq!(change(Some(150), 150), (0, 0));
        // Retention has passed it; the log was made anew.
        assert_eq!(change(Some(50), 200), (0, 100));
        assert_eq!(change(Some(900), 100), (100, 0));
        assert_eq!(change(None, 100), (0, 0));
        assert_eq!(change(None, 130), (0, 30));
    }
}
