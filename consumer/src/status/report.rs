//! Owns the shape of `/status`: names, units and what is left out where it is not known. Fields are added, none is renamed.
//! Times are in seconds, sizes in bytes, moments in RFC 3339.

use super::history::{INTERVAL, Point, Window};
use super::verdict::{Finding, Verdict};
use super::{Facts, micro, tenth};
use crate::dead_letter::Reason;
use crate::metrics::{Distribution, KeptLetter, PHASES, Snapshot};
use serde::Serialize;
use std::time::SystemTime;

/// Everything that changes.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    version: &'static str,
    /// When this was looked at.
    at: String,
    started: String,
    uptime_seconds: f64,
    verdict: Verdict,
    findings: Vec<Finding>,
    ready: bool,
    reasons: &'a [String],
    topic: &'a str,
    group: &'a str,
    workers: u16,
    messages: Messages,
    latency: Latency,
    lag: Lag,
    tables: Vec<Table<'a>>,
    batches: Batches,
    retries: Vec<Retry<'a>>,
    fences_missed: u64,
    rebalances: u64,
    offsets_lost: u64,
    memory: Memory,
    dead_letters: DeadLetters<'a>,
    unmapped_fields: Vec<Field<'a>>,
}

/// Messages whose fate is committed, since the start; rates a second.
#[derive(Debug, Serialize)]
struct Messages {
    consumed: u64,
    stored: u64,
    dead_lettered: u64,
    skipped: u64,
    /// consumed − stored − dead-lettered − skipped: 0, or something is wrong.
    unaccounted: i64,
    payload_bytes: u64,
    /// Over the last 10 seconds.
    rate: f64,
    /// The same in bytes of payloads.
    payload_bytes_rate: f64,
    rate_since_start: f64,
}

/// From a message's timestamp in Kafka to the commit.
#[derive(Debug, Serialize)]
struct Latency {
    /// Of the last 10 seconds.
    now: Quantiles,
    since_start: Quantiles,
    /// From the event's own timestamp, since the start.
    event_since_start: Quantiles,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

/// What is in Kafka and not stored.
#[derive(Debug, Serialize)]
struct Lag {
    messages: u64,
    /// How long the oldest has waited, at most.
    seconds: Option<f64>,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
struct Partition {
    #[serde(rename = "partition")]
    number: i32,
    stored_offset: Option<i64>,
    end_offset: Option<i64>,
    messages: Option<u64>,
    seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Table<'a> {
    table: &'a str,
    rows: u64,
}

/// Transactions, since the start.
#[derive(Debug, Serialize)]
struct Batches {
    count: u64,
    /// Over the last 10 seconds.
    rate: f64,
    last_commit: Option<String>,
    seconds_since_last_commit: Option<f64>,
    /// Messages in a batch, on average over the last 10 seconds.
    messages_mean: Option<f64>,
    messages_mean_since_start: Option<f64>,
    bytes_mean_since_start: Option<f64>,
    phases: Vec<Phase>,
}

#[derive(Debug, Serialize)]
struct Phase {
    #[serde(rename = "phase")]
    name: &'static str,
    /// Over the last 10 seconds.
    mean_seconds: Option<f64>,
    mean_seconds_since_start: Option<f64>,
    p99_seconds_since_start: Option<f64>,
}

/// Attempts that were repeated, since the start.
#[derive(Debug, Serialize)]
struct Retry<'a> {
    /// PostgreSQL's code, or `connection` or `silence`.
    sqlstate: &'a str,
    count: u64,
}

/// What is held in memory.
#[derive(Debug, Serialize)]
struct Memory {
    batches_bytes: u64,
    batches_messages: u64,
    fetched_bytes: u64,
    fetched_messages: u64,
    limit_bytes: u64,
    paused_partitions: u64,
}

#[derive(Debug, Serialize)]
struct DeadLetters<'a> {
    /// Since the start.
    count: u64,
    /// In the last 15 minutes.
    lately: u64,
    reasons: Vec<ReasonCount>,
    /// The newest first, since the start of this process. Older ones are in the table.
    newest: Vec<Letter<'a>>,
}

#[derive(Debug, Serialize)]
struct ReasonCount {
    reason: &'static str,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Letter<'a> {
    at: String,
    partition: i32,
    offset: i64,
    reason: &'static str,
    detail: &'a str,
    sqlstate: Option<&'a str>,
    event_type: Option<&'a str>,
    table: Option<&'a str>,
    /// Its beginning; what is no UTF-8 is replaced.
    payload: String,
    payload_bytes: Option<usize>,
    /// Whether there is more than its beginning.
    payload_cut: bool,
    /// The command that replays it.
    replay: String,
}

#[derive(Debug, Serialize)]
struct Field<'a> {
    field: &'a str,
    count: u64,
}

/// A setting as `/status` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name, as an option without the dashes.
    pub setting: String,
    /// What holds; `***` for a secret.
    pub value: String,
    /// `option`, `variable`, `file` or `default`.
    pub source: String,
}

/// What `/status` tells beside the report, and an event does not.
#[derive(Debug, Serialize)]
pub(super) struct Whole<'a> {
    #[serde(flatten)]
    pub(super) report: Report<'a>,
    pub(super) configuration: &'a [Setting],
    pub(super) history: Ring,
}

/// The last 15 minutes.
#[derive(Debug, Serialize)]
pub(super) struct Ring {
    interval_seconds: u64,
    points: Vec<Point>,
}

/// What an event tells beside the report.
#[derive(Debug, Serialize)]
pub(super) struct Live<'a> {
    #[serde(flatten)]
    pub(super) report: Report<'a>,
    /// The newest point of the history.
    pub(super) point: Option<Point>,
}

impl Ring {
    pub(super) fn of(points: impl Iterator<Item = Point>) -> Self {
        Self {
            interval_seconds: INTERVAL.as_secs(),
            points: points.collect(),
        }
    }
}

/// What a report is made from.
pub(super) struct Seen<'a> {
    pub(super) facts: &'a Facts,
    pub(super) now: &'a Snapshot,
    pub(super) window: &'a Window,
    pub(super) letters: &'a [KeptLetter],
    pub(super) reasons: &'a [String],
    pub(super) dead_letters_lately: u64,
    pub(super) verdict: Verdict,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) fn of(seen: Seen<'a>) -> Self {
        let Seen {
            facts, now, window, ..
        } = seen;
        let settled = &now.settled;
        let uptime = now
            .at
            .duration_since(facts.started)
            .unwrap_or_default()
            .as_secs_f64();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            at: moment(now.at),
            started: moment(facts.started),
            uptime_seconds: tenth(uptime),
            verdict: seen.verdict,
            findings: seen.findings,
            ready: seen.reasons.is_empty(),
            reasons: seen.reasons,
            topic: &facts.topic,
            group: &facts.group,
            workers: facts.workers,
            messages: Messages {
                consumed: settled.messages,
                stored: settled.all_rows(),
                dead_lettered: settled.all_dead_letters(),
                skipped: settled.skipped,
                unaccounted: settled.unaccounted(),
                payload_bytes: settled.payload_bytes,
                rate: tenth(window.per_second(window.messages)),
                payload_bytes_rate: tenth(window.per_second(window.payload_bytes)),
                rate_since_start: tenth(super::as_float(settled.messages) / uptime.max(1e-3)),
            },
            latency: Latency {
                now: quantiles(&window.latency),
                since_start: quantiles(&settled.latency),
                event_since_start: quantiles(&settled.event_latency),
            },
            lag: lag(now),
            tables: now
                .tables
                .iter()
                .zip(&settled.rows)
                .map(|(table, rows)| Table { table, rows: *rows })
                .collect(),
            batches: batches(now, window),
            retries: now
                .retries
                .iter()
                .map(|(sqlstate, count)| Retry {
                    sqlstate,
                    count: *count,
                })
                .collect(),
            fences_missed: now.fences_missed,
            rebalances: now.rebalances,
            offsets_lost: now.offsets_lost,
            memory: Memory {
                batches_bytes: now.workers.batches.bytes,
                batches_messages: now.workers.batches.messages,
                fetched_bytes: now.workers.client.fetched.bytes,
                fetched_messages: now.workers.client.fetched.messages,
                limit_bytes: now.buffer_limit,
                paused_partitions: now.workers.paused,
            },
            dead_letters: DeadLetters {
                count: settled.all_dead_letters(),
                lately: seen.dead_letters_lately,
                reasons: Reason::ALL
                    .iter()
                    .zip(settled.dead_letters)
                    .filter(|(_, count)| *count > 0)
                    .map(|(reason, count)| ReasonCount {
                        reason: reason.as_str(),
                        count,
                    })
                    .collect(),
                newest: seen.letters.iter().map(letter).collect(),
            },
            unmapped_fields: now
                .unmapped_fields
                .iter()
                .map(|(field, count)| Field { field, count: *count })
                .collect(),
        }
    }
}

fn lag(now: &Snapshot) -> Lag {
    let partitions = now.partitions.iter().map(|partition| Partition {
        number: partition.partition.0,
        stored_offset: partition.next.map(|offset| offset.0),
        // The end is heard of once a second: what was stored since lies before it, too.
        end_offset: partition
            .end
            .max(partition.next.filter(|_| partition.end.is_some()))
            .map(|offset| offset.0),
        messages: partition.lag,
        seconds: partition.lag_time.map(|time| tenth(time.as_secs_f64())),
    });
    Lag {
        messages: now.lag(),
        seconds: now.lag_time().map(|time| tenth(time.as_secs_f64())),
        partitions: partitions.collect(),
    }
}

fn batches(now: &Snapshot, window: &Window) -> Batches {
    let settled = &now.settled;
    let phases = PHASES.iter().zip(&settled.phases).zip(&window.phases);
    Batches {
        count: settled.batches,
        rate: tenth(window.per_second(window.batches)),
        last_commit: settled.last_commit.map(moment),
        seconds_since_last_commit: settled
            .last_commit
            .and_then(|at| now.at.duration_since(at).ok())
            .map(|age| tenth(age.as_secs_f64())),
        messages_mean: window.batch_messages.mean().map(tenth),
        messages_mean_since_start: settled.batch_messages.mean().map(tenth),
        bytes_mean_since_start: settled.batch_bytes.mean().map(f64::round),
        phases: phases
            .map(|(((_, name), since_start), lately)| Phase {
                name,
                mean_seconds: lately.mean().map(micro),
                mean_seconds_since_start: since_start.mean().map(micro),
                p99_seconds_since_start: since_start.quantile(0.99).map(micro),
            })
            .collect(),
    }
}

fn quantiles(distribution: &Distribution) -> Quantiles {
    Quantiles {
        p50_seconds: distribution.quantile(0.5).map(micro),
        p99_seconds: distribution.quantile(0.99).map(micro),
    }
}

fn letter(kept: &KeptLetter) -> Letter<'_> {
    let (partition, offset) = (kept.partition.0, kept.offset.0);
    Letter {
        at: moment(kept.at),
        partition,
        offset,
        reason: kept.reason.as_str(),
        detail: &kept.detail,
        sqlstate: kept.sqlstate.as_deref(),
        event_type: kept.event_type.as_deref(),
        table: kept.table.as_deref(),
        payload: String::from_utf8_lossy(&kept.payload).into_owned(),
        payload_bytes: kept.payload_bytes,
        payload_cut: kept.payload_bytes.is_some_and(|bytes| bytes > kept.payload.len()),
        replay: format!("storage-consumer replay --partition {partition} --offset {offset}"),
    }
}

fn moment(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
