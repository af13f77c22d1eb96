//! Owns the numbers: what was counted and measured, for the statistics line, for Prometheus and for whoever asks.
//! Messages are counted when their batch is committed, so that the sums agree with the tables. Says nothing about health.

mod distribution; // values by size
mod exposition; // all of it as Prometheus' text
mod labelled; // counts by a bounded set of labels
mod newest; // the newest dead letters
mod partitions; // where partitions stand, and their lag
mod process; // what the kernel says of the process
mod settled; // what committed batches came to
mod statistics; // the line of every 10 seconds
mod workers; // what workers hold, what their Kafka clients say

pub use self::distribution::Distribution;
pub use self::labelled::OTHER;
pub use self::newest::KeptLetter;
pub use self::partitions::PartitionNow;
pub use self::process::ProcessNow;
pub use self::settled::{PHASES, Phase, Settled, Stored};
pub use self::statistics::Statistics;
pub use self::workers::{Broker, Buffered, ClientCounts, ClientNow, WorkersNow};

use self::labelled::Labelled;
use self::newest::Newest;
use self::partitions::Partitions;
use self::workers::Workers;
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::Batch;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// So many names of fields without a column are told apart, whatever producers send.
const MOST_FIELDS: usize = 100;

/// So many SQLSTATEs are told apart: a trigger may raise any.
const MOST_CAUSES: usize = 100;

/// All numbers of the process.
#[derive(Debug)]
pub struct Metrics {
    /// Tables come with new routes; none goes, for counts only grow.
    tables: Mutex<Vec<String>>,
    buffer_limit: u64,
    settled: Mutex<Settled>,
    /// Batches whose fence missed.
    pub fences_missed: Count,
    /// Assignments that were given or taken.
    pub rebalances: Count,
    /// Offsets that Kafka's retention removed before they were read.
    pub offsets_lost: Count,
    retries: Labelled,
    unmapped_fields: Labelled,
    partitions: Partitions,
    workers: Workers,
    newest: Newest,
}

/// All numbers at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub at: SystemTime,
    /// The routed tables, in the order of `Settled::rows`.
    pub tables: Vec<String>,
    /// What committed batches came to.
    pub settled: Settled,
    /// Batches whose fence missed.
    pub fences_missed: u64,
    /// Assignments that were given or taken.
    pub rebalances: u64,
    /// Offsets that Kafka's retention removed before they were read.
    pub offsets_lost: u64,
    /// Attempts that PostgreSQL did not take, by SQLSTATE, or `connection` or `silence` where there is none.
    pub retries: BTreeMap<String, u64>,
    /// Fields that no column takes, by name; those of too many names as `(other)`.
    pub unmapped_fields: BTreeMap<String, u64>,
    /// The partitions of this process.
    pub partitions: Vec<PartitionNow>,
    /// What its workers hold, and what their Kafka clients say.
    pub workers: WorkersNow,
    /// The most that batches and Kafka clients are meant to hold, in bytes.
    pub buffer_limit: u64,
}

impl Snapshot {
    /// Messages in Kafka that are not stored yet, in the partitions of this process whose end is known.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partitions.iter().filter_map(|partition| partition.lag).sum()
    }

    /// How long the oldest of them has waited, at most.
    #[must_use]
    pub fn lag_time(&self) -> Option<Duration> {
        self.partitions
            .iter()
            .filter_map(|partition| partition.lag_time)
            .max()
    }
}

impl Metrics {
    /// Numbers for these tables, all zero. `buffer_limit` are the bytes that batches and Kafka clients may hold.
    #[must_use]
    pub fn new(tables: Vec<String>, buffer_limit: u64) -> Self {
        Self {
            settled: Mutex::new(Settled::new(tables.len())),
            tables: Mutex::new(tables),
            buffer_limit,
            fences_missed: Count::default(),
            rebalances: Count::default(),
            offsets_lost: Count::default(),
            retries: Labelled::new(MOST_CAUSES),
            unmapped_fields: Labelled::new(MOST_FIELDS),
            partitions: Partitions::default(),
            workers: Workers::default(),
            newest: Newest::default(),
        }
    }

    /// Where rows of these tables are counted; tables that were not known before are from now on.
    pub fn places(&self, tables: &[String]) -> Vec<usize> {
        let mut known = self.tables.lock().expect("not poisoned");
        let mut place = |table: &String| {
            let found = known.iter().position(|known| known == table);
            found.unwrap_or_else(|| {
                known.push(table.clone());
                known.len() - 1
            })
        };
        tables.iter().map(&mut place).collect()
    }

    /// Counts what a committed batch held, whose rows are for these tables.
    pub fn batch_stored(&self, batch: &Batch, tables: &[String], stored: &Stored<'_>) {
        let now = SystemTime::now();
        // Looked at outside of the lock: other workers and whoever asks don't wait for it.
        let held = settled::Held::of(batch, now);
        let places = self.places(tables);
        self.settled
            .lock()
            .expect("not poisoned")
            .add(batch, &places, &held, stored, now);
        self.partitions.stored(batch.ranges(), now);
        self.newest.add(batch, tables, now);
    }

    /// How long it took to take a batch's messages from the Kafka client, to decode and to encode them.
    pub fn batch_decoded(&self, time: Duration) {
        self.settled
            .lock()
            .expect("not poisoned")
            .phase(Phase::Decode, time);
    }

    /// An attempt that will be repeated, by SQLSTATE, or `connection` or `silence` where there is none.
    pub fn retried(&self, cause: &str) {
        self.retries.add(cause, 1);
    }

    /// Fields that no column takes. Whether the name is a new one.
    pub fn unmapped_field(&self, name: &str, count: u64) -> bool {
        self.unmapped_fields.add(name, count)
    }

    /// The group has given a partition to the worker.
    pub fn partition_assigned(&self, worker: u16, partition: Partition) {
        self.partitions.assigned(worker, partition, SystemTime::now());
    }

    /// The worker reads the partition now, from that stored offset on; the timestamp (milliseconds since the Unix epoch) is
    /// that of the message before it, where it is known.
    pub fn partition_starts(
        &self,
        worker: u16,
        partition: Partition,
        next: Offset,
        last_timestamp_ms: Option<i64>,
    ) {
        self.partitions
            .starts(worker, partition, next, last_timestamp_ms, SystemTime::now());
    }

    /// The end of a partition's log, as the worker last heard of it.
    pub fn partition_ends(&self, worker: u16, partition: Partition, end: Offset) {
        self.partitions.ends(worker, partition, end, SystemTime::now());
    }

    /// The worker reads the partition no more.
    pub fn partition_leaves(&self, worker: u16, partition: Partition) {
        self.partitions.leaves(worker, partition);
    }

    /// What the worker's batches hold, and how many of its partitions are paused.
    pub fn worker_holds(&self, worker: u16, batches: Buffered, paused: u64) {
        self.workers.holds(worker, batches, paused);
    }

    /// What the worker's Kafka client says of itself.
    pub fn client_says(&self, worker: u16, client: ClientNow) {
        self.workers.client_says(worker, client);
    }

    /// The newest dead letters that this process has made, the newest first; so many of them, and of each so much.
    #[must_use]
    pub fn newest_dead_letters(&self) -> Vec<KeptLetter> {
        self.newest.get()
    }

    /// Everything as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let at = SystemTime::now();
        // Kept locked for both: every table that has been counted is among them.
        let tables = self.tables.lock().expect("not poisoned");
        let mut settled = self.settled.lock().expect("not poisoned").clone();
        settled.count_tables(tables.len());
        Snapshot {
            at,
            tables: tables.clone(),
            settled,
            fences_missed: self.fences_missed.get(),
            rebalances: self.rebalances.get(),
            offsets_lost: self.offsets_lost.get(),
            retries: self.retries.get(),
            unmapped_fields: self.unmapped_fields.get(),
            partitions: self.partitions.get(at),
            workers: self.workers.get(),
            buffer_limit: self.buffer_limit,
        }
    }

    /// Everything in Prometheus' text format. `ready` is `health`'s to say.
    #[must_use]
    pub fn render(&self, ready: bool) -> String {
        exposition::text(&self.snapshot(), &ProcessNow::read(), ready)
    }
}

/// Counts are far below 2^53, where floats stop being exact.
#[allow(clippy::cast_precision_loss)]
fn as_float(count: u64) -> f64 {
    count as f64
}
