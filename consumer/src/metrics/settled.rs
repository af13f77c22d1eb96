//! Owns what committed batches came to: each count kept where it arises, so that the sums prove each other.

use super::{Distribution, as_float};
use crate::dead_letter::Reason;
use crate::pipeline::batch::Batch;
use std::time::{Duration, SystemTime};

/// Upper bounds of the histograms of latency, in seconds.
const LATENCY: [f64; 19] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0,
    3600.0, 86400.0,
];

/// Upper bounds of the histograms of a batch's phases, in seconds.
const PHASE: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Upper bounds of the histograms of batches' sizes, in messages.
const MESSAGES: [f64; 11] = [1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1e3, 5e3, 1e4, 5e4, 1e5];

/// The same in bytes.
const BYTES: [f64; 9] = [
    1024.0,
    10_240.0,
    102_400.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    33_554_432.0,
    134_217_728.0,
];

/// A part of a batch's way that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its messages are taken from the Kafka client, decoded and encoded.
    Decode,
    /// BEGIN, the fence, the locks, the proof that the tables are the ones that it was encoded for.
    Fence,
    /// COPY, all tables.
    Copy,
    /// INSERT of its dead letters.
    DeadLetters,
    /// COMMIT.
    Commit,
}

/// All phases, with their names, in the order of the way.
pub const PHASES: [(Phase, &str); 5] = [
    (Phase::Decode, "decode"),
    (Phase::Fence, "fence"),
    (Phase::Copy, "copy"),
    (Phase::DeadLetters, "dead_letters"),
    (Phase::Commit, "commit"),
];

/// What is known of a batch only where it was stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored<'a> {
    /// How long the phases from `Fence` on took; none where the answer to COMMIT was lost.
    pub phases: Option<[Duration; 4]>,
    /// Moments of its events by their own `timestamp` (microseconds since the Unix epoch), each with how many events it
    /// stands for.
    pub event_times: &'a [(i64, u64)],
}

/// What committed batches came to, since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// Messages that were taken into them.
    pub messages: u64,
    /// Bytes of those messages' payloads.
    pub payload_bytes: u64,
    /// Rows in them, by table.
    pub rows: Vec<u64>,
    /// Dead letters in them, in the order of `Reason::ALL`.
    pub dead_letters: [u64; Reason::ALL.len()],
    /// Messages in them that are left out on purpose.
    pub skipped: u64,
    /// Messages in them whose type has no route, be it that they are dead letters or left out.
    pub unknown_type: u64,
    /// How many batches.
    pub batches: u64,
    /// When the last one was committed.
    pub last_commit: Option<SystemTime>,
    /// From a message's timestamp in Kafka to the commit, in seconds.
    pub latency: Distribution,
    /// From an event's own `timestamp` to the commit, in seconds; of large batches, a sample.
    pub event_latency: Distribution,
    /// Messages in a batch.
    pub batch_messages: Distribution,
    /// Bytes that a batch occupied.
    pub batch_bytes: Distribution,
    /// How long each phase took, in seconds, in the order of `PHASES`.
    pub phases: [Distribution; PHASES.len()],
}

/// What a batch's messages add up to.
pub(super) struct Held {
    messages: u64,
    payload_bytes: u64,
    latency: Distribution,
    dead_letters: [u64; Reason::ALL.len()],
    unknown_type: u64,
}

impl Held {
    pub(super) fn of(batch: &Batch, now: SystemTime) -> Self {
        let now_ms = micros(now) / 1000;
        let mut held = Self {
            messages: 0,
            payload_bytes: 0,
            latency: Distribution::new(&LATENCY),
            dead_letters: batch.reasons(),
            unknown_type: batch.unknown_types(),
        };
        for (payload_bytes, timestamp_ms) in batch.measures() {
            held.messages += 1;
            held.payload_bytes += payload_bytes as u64;
            if let Some(timestamp_ms) = timestamp_ms {
                let waited_ms = now_ms.saturating_sub(timestamp_ms).max(0).unsigned_abs();
                held.latency.record(as_float(waited_ms) / 1e3, 1);
            }
        }
        held
    }
}

impl Settled {
    pub(super) fn new(tables: usize) -> Self {
        Self {
            messages: 0,
            payload_bytes: 0,
            rows: vec![0; tables],
            dead_letters: Default::default(),
            skipped: 0,
            unknown_type: 0,
            batches: 0,
            last_commit: None,
            latency: Distribution::new(&LATENCY),
            event_latency: Distribution::new(&LATENCY),
            batch_messages: Distribution::new(&MESSAGES),
            batch_bytes: Distribution::new(&BYTES),
            phases: PHASES.map(|_| Distribution::new(&PHASE)),
        }
    }

    /// `places`: where rows of the batch's tables are counted.
    pub(super) fn add(
        &mut self,
        batch: &Batch,
        places: &[usize],
        held: &Held,
        stored: &Stored<'_>,
        now: SystemTime,
    ) {
        self.messages += held.messages;
        self.payload_bytes += held.payload_bytes;
        self.latency.add(&held.latency);
        for (table, place) in places.iter().enumerate() {
            self.count_tables(place + 1);
            self.rows[*place] += batch.rows(table) as u64;
        }
        for (count, of_batch) in self.dead_letters.iter_mut().zip(held.dead_letters) {
            *count += of_batch;
        }
        self.skipped += batch.tally().skipped;
        self.unknown_type += held.unknown_type;
        self.batches += 1;
        self.last_commit = Some(now);
        self.batch_messages.record(as_float(held.messages), 1);
        self.batch_bytes.record(as_float(batch.bytes() as u64), 1);
        let now_us = micros(now);
        for (event_us, events) in stored.event_times {
            let waited_us = now_us.saturating_sub(*event_us).max(0).unsigned_abs();
            self.event_latency.record(as_float(waited_us) / 1e6, *events);
        }
        for (distribution, time) in self.phases[1..]
            .iter_mut()
            .zip(stored.phases.into_iter().flatten())
        {
            distribution.record(time.as_secs_f64(), 1);
        }
    }

    /// There are so many tables now, at least.
    pub(super) fn count_tables(&mut self, count: usize) {
        self.rows.resize(self.rows.len().max(count), 0);
    }

    pub(super) fn phase(&mut self, phase: Phase, time: Duration) {
        self.phases[phase as usize].record(time.as_secs_f64(), 1);
    }

    /// Rows in all tables.
    #[must_use]
    pub fn all_rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// Dead letters of all reasons.
    #[must_use]
    pub fn all_dead_letters(&self) -> u64 {
        self.dead_letters.iter().sum()
    }

    /// Messages that were taken into batches and are neither rows nor dead letters nor left out: 0, or something is wrong
    /// (promise 4).
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let accounted = self.all_rows() + self.all_dead_letters() + self.skipped;
        i64::try_from(i128::from(self.messages) - i128::from(accounted)).unwrap_or(i64::MAX)
    }
}

/// Microseconds since the Unix epoch.
fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Refusal;
    use crate::metrics::Metrics;
    use crate::offsets::{Offset, Partition};
    use crate::pipeline::batch::{Fate, Incoming};
    use crate::table::Coordinates;
    use std::time::Instant;

    /// A row, a dead letter and a skipped message, all three `age` old, of a batch that holds a forgotten one, too.
    fn batch(age: Duration) -> Batch {
        let refused = || Fate::Refused {
            event_type: None,
            table: None,
            refusal: Refusal::new(Reason::UnknownType, String::new()),
        };
        let mut batch = Batch::default();
        batch.open(1, 1, Instant::now());
        let timestamp_ms = micros(SystemTime::now() - age) / 1000;
        let fates = [Fate::Row { table: 0 }, refused(), Fate::Skipped, refused()];
        for (fate, partition) in fates.into_iter().zip([0, 0, 0, 1]) {
            let at = Coordinates {
                topic: "events",
                partition: Partition(partition),
                offset: Offset(0),
                timestamp_ms: Some(timestamp_ms),
                key: None,
            };
            let incoming = Incoming {
                at,
                payload: Some(b"12345"),
            };
            batch.push(&incoming, Offset(0), fate);
        }
        batch.forget(&|partition| partition == Partition(1));
        batch
    }

    #[test]
    fn every_message_of_a_committed_batch_is_counted_once_in_one_place() {
        let metrics = Metrics::new(vec!["server_metrics".to_owned()], 0);
        let stored = Stored {
            phases: Some([1, 2, 3, 4].map(Duration::from_secs)),
            event_times: &[(micros(SystemTime::now()) - 20_000_000, 3)],
        };
        let tables = ["server_metrics".to_owned()];
        metrics.batch_stored(&batch(Duration::from_secs(7)), &tables, &stored);
        let now = metrics.snapshot().settled;
        assert_eq!((now.messages, now.payload_bytes, now.batches), (3, 15, 1));
        assert_eq!((now.all_rows(), now.all_dead_letters(), now.skipped), (1, 1, 1));
        assert_eq!((now.unknown_type, now.unaccounted()), (2, 0));
        assert!((7.0..60.0).contains(&now.latency.mean().expect("three")));
        assert_eq!((now.latency.count(), now.event_latency.count()), (3, 3));
        assert!((20.0..80.0).contains(&now.event_latency.mean().expect("three")));
        let phases = now.phases.each_ref().map(Distribution::sum);
        assert!((phases[Phase::Copy as usize] - 2.0).abs() < 1e-9, "{phases:?}");
        assert_eq!(now.phases[Phase::Decode as usize].count(), 0);
    }

    #[test]
    fn a_message_that_is_nowhere_breaks_the_sum() {
        // As if the table's rows had not been counted.
        let metrics = Metrics::new(Vec::new(), 0);
        metrics.batch_stored(&batch(Duration::ZERO), &[], &Stored::default());
        assert_eq!(metrics.snapshot().settled.unaccounted(), 1);
        assert!(
            metrics
                .render(true)
                .contains("storage_consumer_unaccounted_messages 1\n")
        );
    }
}
