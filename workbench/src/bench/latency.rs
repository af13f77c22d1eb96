//! Owns how late a row is: from the timestamp that the broker gives a message to the first look of another session that
//! finds its offset committed. Looks come every millisecond or so, and the broker's timestamps are whole
//! milliseconds: what is told is that much too long, never too short.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, ensure};
use rdkafka::Message as _;
use tokio_postgres::NoTls;

use super::drain::PEAK;
use super::report::lines;
use super::results::{Results, Sample, per_mille, per_second};
use super::settings::Settings;
use super::stage::{PARTITIONS, Shape, Stage};
use crate::demo::say;
use crate::generator::publish;
use crate::referee::Count;
use crate::services::process::Signal;
use crate::services::{block_on, wait_until};
use crate::subject::Subject;
use crate::usage;

/// Two ways to run the consumer: its defaults, and as small and soon as it goes.
const MODES: [(&str, &[&str]); 2] = [
    (DEFAULTS, &[]),
    (SOON, &["--batch-size", "1", "--commit-interval", "0"]),
];
pub(super) const DEFAULTS: &str = "defaults";
pub(super) const SOON: &str = "--batch-size 1 --commit-interval 0";

/// What has a target is measured in each round, everything else once: each takes 20 seconds.
const TARGETED: [(u32, &str); 3] = [(1_000, DEFAULTS), (5_000, SOON), (50_000, DEFAULTS)];

/// Messages of this time are not counted: producer and consumer get going.
const WARM_UP: Duration = Duration::from_secs(3);
/// Nor are those of this time at the end: with a batch size of 100, the last ones wait for others in vain.
const COOL_DOWN: Duration = Duration::from_secs(2);
/// Between two looks.
const TURN: Duration = Duration::from_millis(1);
/// The group, the last rows, the end.
const PATIENCE: Duration = Duration::from_mins(2);

/// Names of values.
pub(super) const P50: &str = "p50_ms";
pub(super) const P99: &str = "p99_ms";
pub(super) const RESIDENT: &str = "consumer_resident_megabytes";
const MAX: &str = "max_ms";
const MESSAGES: &str = "messages";
const CORES: &str = "consumer_cores";
const LOOK: &str = "longest_between_looks_ms";

pub(super) fn measure(
    stage: &mut Stage<'_>,
    settings: &Settings,
    results: &mut Results,
) -> anyhow::Result<()> {
    // Not counted: a broker that has just been started compiles itself for some ten seconds, on the same cores.
    if let Some(rate) = settings.rates.iter().max() {
        at_rate(stage, settings, *rate, MODES[0], 0)?;
    }
    for round in 1..=settings.rounds {
        for rate in &settings.rates {
            for (mode, options) in MODES {
                if round > 1 && !TARGETED.contains(&(*rate, mode)) {
                    continue;
                }
                let sample = at_rate(stage, settings, *rate, (mode, options), round)?;
                let value = |name| sample.values.get(name).copied().unwrap_or_default();
                say(&format!(
                    "round {round}: {}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                    sample.case,
                    value(P50),
                    value(P99),
                    value(MAX)
                ));
                results.samples.push(sample);
            }
        }
    }
    Ok(())
}

/// The name of a case.
pub(super) fn case_name(rate: u32, mode: &str) -> String {
    format!("{rate}/s, {mode}")
}

fn at_rate(
    stage: &mut Stage<'_>,
    settings: &Settings,
    rate: u32,
    (mode, options): (&str, &[&str]),
    round: u32,
) -> anyhow::Result<Sample> {
    let topic = format!("latency-{rate}-{}-{round}", options.len());
    // The broker's clock, not the producer's: how long a producer gathers is its own affair.
    let config = [("message.timestamp.type", "LogAppendTime")];
    stage.kafka.create_topic(&topic, PARTITIONS, &config)?;
    let surroundings = stage.fresh(&topic, Shape::Indexed)?;
    let launch = surroundings.launch("consume", &stage.log("consume"))?;
    let mut subject = Subject::start(launch.args(options))?;
    subject.wait_for_line("partitions assigned", PATIENCE)?;

    let mut load = stage.load(&topic, PARTITIONS);
    load.rate = f64::from(rate);
    load.duration = Some(WARM_UP + settings.seconds + COOL_DOWN);
    // Apache Kafka's own default.
    load.kafka_properties = vec![("linger.ms".to_owned(), "5".to_owned())];
    let from = SystemTime::now() + WARM_UP;
    let counted = unix_micros(from)?..unix_micros(from + settings.seconds)?;
    let over = AtomicBool::new(false);
    let config = stage.config();
    let (summary, resident, looks) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&config, &surroundings.group, &over));
        let summary = publish::run(&load, stage.stop(), |_| {});
        // Before the consumer has nothing to do any more.
        let resident = usage::resident_megabytes(subject.id());
        let settled = summary.and_then(|summary| {
            let mut database = stage.measured()?;
            let all = wait_until(PATIENCE, || {
                Count::of_offsets(&mut database).settled() >= summary.produced
            });
            ensure!(
                all,
                "not all of {} events are stored\n{}",
                summary.produced,
                subject.text()
            );
            Ok(summary)
        });
        over.store(true, Ordering::Relaxed);
        let looks = watch
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the watch panicked")));
        anyhow::Ok((settled?, resident, looks?))
    })?;
    let cores = usage::cpu_seconds(subject.id()) / summary.elapsed.as_secs_f64().max(1e-3);
    let peak = usage::peak_megabytes(subject.id());
    subject.signal(Signal::TERM)?;
    ensure!(subject.wait(PATIENCE)?.success(), "the consumer failed");

    let mut latencies = Vec::new();
    stage.read(&topic, PARTITIONS, summary.produced, |message| {
        let timestamp = 1_000 * message.timestamp().to_millis().context("no timestamp")?;
        if counted.contains(&timestamp) {
            let seen = looks.seen(message.partition(), message.offset());
            let seen = seen.context("a message was never seen to be stored")?;
            latencies.push(u32::try_from(seen - timestamp).unwrap_or(0));
        }
        Ok(())
    })?;
    latencies.sort_unstable();
    let millis = |micros| f64::from(micros) / 1e3;
    let at = |mille| per_mille(&latencies, mille).map(millis);
    let none = || format!("no messages at {rate}/s");
    Ok(Sample::new(case_name(rate, mode), round)
        .with(P50, at(500).with_context(none)?)
        .with(P99, at(990).with_context(none)?)
        .with(MAX, at(1_000).with_context(none)?)
        .with(MESSAGES, per_second(latencies.len() as u64, 1.0))
        .with(LOOK, millis(looks.longest_between(&counted)))
        .with(CORES, cores)
        .with(RESIDENT, resident)
        .with(PEAK, peak))
}

/// When each partition was first seen to have come how far, in microseconds since the Unix epoch.
#[derive(Debug, Default)]
struct Looks {
    by_partition: BTreeMap<i32, Vec<(i64, i64)>>,
    /// When it was looked at all.
    times: Vec<i64>,
}

impl Looks {
    fn add(&mut self, partition: i32, next: i64, now: i64) {
        let looks = self.by_partition.entry(partition).or_default();
        if looks.last().is_none_or(|(known, _)| *known < next) {
            looks.push((next, now));
        }
    }

    /// The longest time from one look to the next, in microseconds, of those that begin in this time: so much too long a
    /// latency can be, however early the row came.
    fn longest_between(&self, counted: &Range<i64>) -> u32 {
        let pairs = self.times.iter().zip(self.times.iter().skip(1));
        let gaps = pairs.filter_map(|(look, next)| counted.contains(look).then_some(next - look));
        gaps.max().and_then(|gap| u32::try_from(gap).ok()).unwrap_or(0)
    }

    /// When a message was first seen to be stored.
    fn seen(&self, partition: i32, offset: i64) -> Option<i64> {
        let looks = self.by_partition.get(&partition)?;
        let at = looks.partition_point(|(next, _)| *next <= offset);
        looks.get(at).map(|(_, now)| *now)
    }
}

/// Looks until it is over, from a session of its own, and once more after that.
fn watch(config: &tokio_postgres::Config, group: &str, over: &AtomicBool) -> anyhow::Result<Looks> {
    block_on(async {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection); // its error is the client's, too
        let query = client
            .prepare("SELECT partition, next_offset FROM consumer_offsets WHERE group_id = $1")
            .await?;
        let mut looks = Looks::default();
        loop {
            let last = over.load(Ordering::Relaxed);
            let rows = client.query(&query, &[&group]).await?;
            let now = unix_micros(SystemTime::now())?;
            looks.times.push(now);
            for row in rows {
                looks.add(row.try_get(0)?, row.try_get(1)?, now);
            }
            if last {
                return Ok(looks);
            }
            tokio::time::sleep(TURN).await;
        }
    })
}

fn unix_micros(time: SystemTime) -> anyhow::Result<i64> {
    Ok(i64::try_from(time.duration_since(UNIX_EPOCH)?.as_micros())?)
}

/// A line for each rate and mode.
pub(super) fn table(results: &Results) -> String {
    let columns = [
        ("p50 ms", P50, 1),
        ("p99 ms", P99, 1),
        ("max ms", MAX, 1),
        ("longest between looks, ms", LOOK, 1),
        ("messages", MESSAGES, 0),
        ("consumer, cores", CORES, 2),
        ("consumer's memory, MB", RESIDENT, 0),
        ("consumer's peak, MB", PEAK, 0),
    ];
    let mut text = String::new();
    lines(&mut text, results, "rate, options", &columns);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_looks_of_the_counted_time_tell_how_far_they_were_apart() {
        let looks = Looks {
            times: vec![0, 100, 103, 110, 190],
            ..Looks::default()
        };
        assert_eq!(looks.longest_between(&(100..110)), 7);
        assert_eq!(looks.longest_between(&(0..110)), 100);
        assert_eq!(looks.longest_between(&(190..200)), 0, "nothing came after it");
    }

    #[test]
    fn a_message_is_seen_with_the_first_offset_behind_it() {
        let mut looks = Looks::default();
        for (next, now) in [(0, 10), (5, 20), (5, 30), (9, 40)] {
            looks.add(3, next, now);
        }
        assert_eq!(looks.seen(3, 0), Some(20));
        assert_eq!(looks.seen(3, 4), Some(20));
        assert_eq!(looks.seen(3, 5), Some(40));
        assert_eq!(looks.seen(3, 9), None, "not stored yet");
        assert_eq!(looks.seen(0, 0), None, "another partition");
    }
}
