//! Owns one measurement of the consumer: it empties a topic into empty tables, watched from outside.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::results::{Sample, per_second};
use super::stage::{Shape, Stage};
use crate::referee::Count;
use crate::services::process::Signal;
use crate::subject::Subject;
use crate::usage;

/// How often it is looked at what is stored.
const TURN: Duration = Duration::from_millis(10);
/// The slowest run on the slowest machine.
const LIMIT: Duration = Duration::from_mins(15);
/// The consumer's end.
const END: Duration = Duration::from_mins(1);

/// Fewer messages than that make no batch due (`--batch-size`): the last ones wait, on purpose, and are not timed.
const BATCH_SIZE: u64 = 100;
/// They need not wait long. While there is a backlog no batch ever waits for its time.
const COMMIT_INTERVAL: &str = "0.1";

/// Names of values.
pub(super) const RATE: &str = "events_per_second";
pub(super) const RATE_WITH_START: &str = "events_per_second_with_start";
pub(super) const CPU: &str = "consumer_cpu_seconds_per_million";
pub(super) const POSTGRES_CPU: &str = "postgres_cpu_seconds_per_million";
pub(super) const PEAK: &str = "consumer_peak_megabytes";
pub(super) const TRANSACTION: &str = "rows_per_transaction";

/// What is drained, and how.
pub(super) struct Drain<'a> {
    pub(super) case: String,
    pub(super) round: u32,
    pub(super) topic: &'a str,
    pub(super) events: u64,
    pub(super) shape: Shape,
    pub(super) workers: u32,
    /// Rows that a table holds already.
    pub(super) before: u64,
}

impl Drain<'_> {
    /// Measures. The rate is counted from the first rows that were seen to be committed to the last full batch; "with
    /// start" from the start of the process, which includes joining the group.
    pub(super) fn measure(&self, stage: &mut Stage<'_>) -> anyhow::Result<Sample> {
        let surroundings = stage.fresh(self.topic, self.shape)?;
        stage.fill_table(self.before)?;
        let mut database = stage.measured()?;
        let mut stored = || database.number("SELECT coalesce(sum(stored), 0)::bigint FROM consumer_offsets");
        stored()?;
        let launch = surroundings.launch("consume", &stage.log("consume"))?;
        let postgres = stage.postgres_id()?;
        let postgres_before = usage::cpu_seconds_of_server(postgres);
        let begun = Instant::now();
        let workers = self.workers.to_string();
        let options = ["--workers", &workers, "--commit-interval", COMMIT_INTERVAL];
        let mut subject = Subject::start(launch.args(options))?;

        let (mut first, mut last) = (None, None);
        loop {
            let (count, now) = (stored()?, Instant::now());
            if count > 0 {
                first.get_or_insert((now, count));
            }
            if count + BATCH_SIZE > self.events && last.is_none() {
                let cpu = usage::cpu_seconds(subject.id());
                let postgres_cpu = usage::cpu_seconds_of_server(postgres) - postgres_before;
                last = Some((now, count, cpu, postgres_cpu));
            }
            if count >= self.events {
                break;
            }
            if let Some(status) = subject.ended()? {
                bail!("the consumer ended with {status}\n{}", subject.text());
            }
            if begun.elapsed() > LIMIT {
                bail!("{count} of {} events are stored after {LIMIT:?}", self.events);
            }
            stage.go_on()?;
            thread::sleep(TURN);
        }
        let (first, last) = (first.context("no first look")?, last.context("no last look")?);
        let (since, count_then) = first;
        let (ended, count_now, cpu, postgres_cpu) = last;
        let peak = usage::peak_megabytes(subject.id());
        subject.signal(Signal::TERM)?;
        let status = subject.wait(END)?;
        ensure!(status.success(), "the consumer ended with {status}");

        let mut count = Count::of(&mut database);
        count.rows = count.rows.saturating_sub(self.before);
        let wrong = count.disagreements(self.events);
        ensure!(wrong.is_empty(), "{}: {}", self.case, wrong.join("; "));
        let transactions = database.number(
            "SELECT count(*) FROM (SELECT xmin::text FROM server_metrics WHERE timestamp >= '2026-01-01Z' GROUP BY 1
                                   UNION SELECT xmin::text FROM application_metrics GROUP BY 1) AS transactions",
        )?;

        let with_start = per_second(count_now, (ended - begun).as_secs_f64());
        let rate = if count_now > count_then {
            per_second(count_now - count_then, (ended - since).as_secs_f64())
        } else {
            // A topic that one commit empties has no rate of its own.
            with_start
        };
        let millions = per_second(count_now, 1e6);
        Ok(Sample::new(&self.case, self.round)
            .with(RATE, rate)
            .with(RATE_WITH_START, with_start)
            .with(CPU, cpu / millions)
            .with(POSTGRES_CPU, postgres_cpu / millions)
            .with(PEAK, peak)
            .with(
                TRANSACTION,
                per_second(self.events, 1.0) / per_second(transactions.max(1), 1.0),
            ))
    }
}
