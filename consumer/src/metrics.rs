//! Owns the numbers: what was counted and measured, for the statistics line and for Prometheus. Messages are counted
//! when their batch is committed, so that the sums agree with the tables. Says nothing about health.

mod statistics; // the line of every 10 seconds

pub use self::statistics::Statistics;

use crate::dead_letter::Reason;
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::Batch;
use metrics::{Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_util::MetricKindMask;
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

/// Counts by a label whose values are few but not known beforehand.
type Labelled = Mutex<BTreeMap<String, u64>>;

/// Upper bounds of the latency histogram, in seconds.
const LATENCY_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0,
];

/// Upper bounds of the histograms of batches' sizes, in messages.
const SIZE_BUCKETS: [f64; 10] = [1.0, 10.0, 50.0, 100.0, 500.0, 1e3, 5e3, 1e4, 5e4, 1e5];

/// A gauge that was not set for so long is left out. All that are known are set whenever the numbers are asked for.
const GAUGE_LIFE: Duration = Duration::from_secs(5);

/// Where a partition stands.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// The stored offset.
    next: Option<i64>,
    /// The end of the partition's log, as last heard.
    end: Option<i64>,
}

/// All numbers of the process.
pub struct Metrics {
    /// Rows by table. Tables come with new routes; none goes, for counts only grow.
    rows: Mutex<Vec<(String, u64)>>,
    reasons: [Count; Reason::ALL.len()],
    unknown_type: Count,
    skipped: Count,
    batches: Count,
    /// Batches whose fence missed.
    pub fences_missed: Count,
    /// Assignments that were given or taken.
    pub rebalances: Count,
    /// Offsets that Kafka's retention removed before they were read.
    pub offsets_lost: Count,
    retries: Labelled,
    unmapped_fields: Labelled,
    positions: Mutex<BTreeMap<Partition, Position>>,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    histograms: Histograms,
}

struct Histograms {
    latency: Histogram,
    batch_messages: Histogram,
    batch_bytes: Histogram,
    phases: [Histogram; 4],
}

/// The steps of a transaction that are measured.
const PHASES: [&str; 4] = ["fence", "copy", "dead_letters", "commit"];

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Metrics {
    /// Numbers for these tables, all zero.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_messages".to_owned()), &SIZE_BUCKETS)
            })
            .and_then(|builder| {
                let bytes = SIZE_BUCKETS.map(|bound| bound * 1024.0);
                builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &bytes)
            })
            .expect("the buckets are not empty")
            // The lag of a partition that another process reads by now is not told any more.
            .idle_timeout(MetricKindMask::GAUGE, Some(GAUGE_LIFE));
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let histograms = metrics::with_local_recorder(&recorder, Histograms::new);
        Self {
            rows: Mutex::new(tables.into_iter().map(|table| (table, 0)).collect()),
            reasons: Default::default(),
            unknown_type: Count::default(),
            skipped: Count::default(),
            batches: Count::default(),
            fences_missed: Count::default(),
            rebalances: Count::default(),
            offsets_lost: Count::default(),
            retries: Labelled::default(),
            unmapped_fields: Labelled::default(),
            positions: Mutex::default(),
            recorder,
            handle,
            histograms,
        }
    }

    /// Where rows of these tables are counted; tables that were not known before are from now on.
    pub fn places(&self, tables: &[String]) -> Vec<usize> {
        let mut rows = self.rows.lock().expect("not poisoned");
        let mut places = Vec::with_capacity(tables.len());
        for table in tables {
            let known = rows.iter().position(|(known, _)| known == table);
            places.push(known.unwrap_or(rows.len()));
            if known.is_none() {
                rows.push((table.clone(), 0));
            }
        }
        places
    }

    /// Counts what a committed batch held. `places`: where rows of its tables are counted; `phases` in the order fence, copy,
    /// dead letters, commit.
    pub fn batch_stored(&self, batch: &Batch, places: &[usize], phases: [f64; 4]) {
        let mut rows = self.rows.lock().expect("not poisoned");
        for (table, place) in places.iter().enumerate() {
            rows[*place].1 += batch.rows(table) as u64;
        }
        drop(rows);
        for (count, of_batch) in self.reasons.iter().zip(batch.reasons()) {
            count.increment(of_batch);
        }
        self.unknown_type.increment(batch.unknown_types());
        self.skipped.increment(batch.tally().skipped);
        self.batches.increment(1);
        for range in batch.ranges() {
            self.position(range.partition, |position| position.next = Some(range.next.0));
        }
        let histograms = &self.histograms;
        histograms.batch_messages.record(as_float(batch.len() as u64));
        histograms.batch_bytes.record(as_float(batch.bytes() as u64));
        for (histogram, seconds) in histograms.phases.iter().zip(phases) {
            histogram.record(seconds);
        }
        self.record_latencies(batch);
    }

    /// From the broker's timestamp to the commit. The messages are put into buckets here, so that a batch costs
    /// a few records and not one a message.
    fn record_latencies(&self, batch: &Batch) {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let bounds_ms = LATENCY_BUCKETS.map(|bound| bound * 1e3);
        let mut counts = [0usize; LATENCY_BUCKETS.len() + 1];
        for timestamp in batch.timestamps() {
            let latency_ms = as_float(now_ms.saturating_sub(timestamp).max(0).unsigned_abs());
            counts[bounds_ms.partition_point(|bound| *bound < latency_ms)] += 1;
        }
        for (bucket, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let value = LATENCY_BUCKETS
                .get(bucket)
                .copied()
                .unwrap_or(f64::from(u32::MAX));
            self.histograms.latency.record_many(value, count);
        }
    }

    /// An attempt that will be repeated, by SQLSTATE, or `connection` or `silence` where there is none.
    pub fn retried(&self, cause: &str) {
        *self
            .retries
            .lock()
            .expect("not poisoned")
            .entry(cause.to_owned())
            .or_default() += 1;
    }

    /// Fields that no column takes. Whether the name is a new one.
    pub fn unmapped_field(&self, name: &str, count: u64) -> bool {
        let mut fields = self.unmapped_fields.lock().expect("not poisoned");
        let known = fields.contains_key(name);
        *fields.entry(name.to_owned()).or_default() += count;
        !known
    }

    /// This process reads the partition now, from that stored offset on.
    pub fn partition_starts(&self, partition: Partition, next: Offset) {
        let position = Position {
            next: Some(next.0),
            end: None,
        };
        self.positions
            .lock()
            .expect("not poisoned")
            .insert(partition, position);
    }

    /// The end of a partition's log, as last heard.
    pub fn partition_ends(&self, partition: Partition, end: Offset) {
        self.position(partition, |position| position.end = Some(end.0));
    }

    /// This process reads the partition no more.
    pub fn partition_leaves(&self, partition: Partition) {
        self.positions.lock().expect("not poisoned").remove(&partition);
    }

    /// What is heard of a partition that another process reads by now is nothing to tell here.
    fn position(&self, partition: Partition, change: impl FnOnce(&mut Position)) {
        if let Some(position) = self.positions.lock().expect("not poisoned").get_mut(&partition) {
            change(position);
        }
    }

    /// Messages that are in Kafka and not yet stored, per partition of this process; those whose end is known.
    pub fn lags(&self) -> BTreeMap<Partition, u64> {
        let positions = self.positions.lock().expect("not poisoned");
        positions
            .iter()
            .filter_map(|(partition, position)| {
                let (next, end) = (position.next?, position.end?);
                Some((*partition, Offset(next).distance_to(Offset(end))))
            })
            .collect()
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        metrics::with_local_recorder(&self.recorder, || self.publish());
        self.handle.render()
    }

    fn publish(&self) {
        for (table, rows) in &*self.rows.lock().expect("not poisoned") {
            metrics::counter!("storage_consumer_rows_stored_total", "table" => table.clone()).absolute(*rows);
        }
        for (reason, count) in Reason::ALL.iter().zip(&self.reasons) {
            metrics::counter!("storage_consumer_dead_letters_total", "reason" => reason.as_str())
                .absolute(count.get());
        }
        let statistics = self.statistics();
        let counters = [
            (
                "storage_consumer_messages_consumed_total",
                statistics.total_consumed,
            ),
            ("storage_consumer_messages_skipped_total", self.skipped.get()),
            ("storage_consumer_unknown_type_total", statistics.unknown_type),
            ("storage_consumer_parse_errors_total", statistics.parse_errors),
            ("storage_consumer_insert_errors_total", statistics.insert_errors),
            ("storage_consumer_batches_total", self.batches.get()),
            ("storage_consumer_fences_missed_total", self.fences_missed.get()),
            ("storage_consumer_rebalances_total", self.rebalances.get()),
            ("storage_consumer_offsets_lost_total", self.offsets_lost.get()),
        ];
        for (name, value) in counters {
            metrics::counter!(name).absolute(value);
        }
        for (cause, count) in &*self.retries.lock().expect("not poisoned") {
            metrics::counter!("storage_consumer_retries_total", "sqlstate" => cause.clone()).absolute(*count);
        }
        for (name, count) in &*self.unmapped_fields.lock().expect("not poisoned") {
            metrics::counter!("storage_consumer_unmapped_fields_total", "field" => name.clone())
                .absolute(*count);
        }
        for (partition, lag) in self.lags() {
            metrics::gauge!("storage_consumer_lag_messages", "partition" => partition.to_string())
                .set(as_float(lag));
        }
    }
}

impl Histograms {
    fn new() -> Self {
        describe();
        Self {
            latency: metrics::histogram!("storage_consumer_latency_seconds"),
            batch_messages: metrics::histogram!("storage_consumer_batch_messages"),
            batch_bytes: metrics::histogram!("storage_consumer_batch_bytes"),
            phases: PHASES
                .map(|phase| metrics::histogram!("storage_consumer_phase_seconds", "phase" => phase)),
        }
    }
}

fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    counter!(
        "storage_consumer_messages_consumed_total",
        "Messages whose fate is committed"
    );
    counter!("storage_consumer_rows_stored_total", "Rows committed, by table");
    counter!(
        "storage_consumer_dead_letters_total",
        "Messages kept in dead_letters, by reason"
    );
    counter!(
        "storage_consumer_messages_skipped_total",
        "Messages left out on purpose"
    );
    counter!(
        "storage_consumer_unknown_type_total",
        "Messages whose type has no route"
    );
    counter!(
        "storage_consumer_parse_errors_total",
        "Messages that could not be decoded"
    );
    counter!(
        "storage_consumer_insert_errors_total",
        "Rows that PostgreSQL refused"
    );
    counter!("storage_consumer_batches_total", "Transactions committed");
    counter!(
        "storage_consumer_fences_missed_total",
        "Batches given up because another consumer was faster"
    );
    counter!(
        "storage_consumer_rebalances_total",
        "Assignments given or taken by the group"
    );
    counter!(
        "storage_consumer_offsets_lost_total",
        "Offsets that retention removed before they were read"
    );
    counter!(
        "storage_consumer_retries_total",
        "Attempts that PostgreSQL did not take, by SQLSTATE"
    );
    counter!(
        "storage_consumer_unmapped_fields_total",
        "Fields that no column takes, by name"
    );
    gauge!(
        "storage_consumer_lag_messages",
        "Messages in Kafka that are not stored yet, by partition"
    );
    histogram!(
        "storage_consumer_latency_seconds",
        Unit::Seconds,
        "From the broker's timestamp to the commit"
    );
    histogram!("storage_consumer_batch_messages", "Messages in a committed batch");
    histogram!(
        "storage_consumer_batch_bytes",
        Unit::Bytes,
        "Bytes that a committed batch occupied"
    );
    histogram!(
        "storage_consumer_phase_seconds",
        Unit::Seconds,
        "Duration of each step of a transaction"
    );
}

/// Counts are far below 2^53, where floats stop being exact.
#[allow(clippy::cast_precision_loss)]
fn as_float(count: u64) -> f64 {
    count as f64
}
