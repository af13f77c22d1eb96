//! Owns what was seen of a running demo: looks at the consumer, at the generator and at what the consumer uses of
//! the machine, and what follows from two of them, as rates. Shows nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::scrape::Scrape;
use crate::load::Load;
use crate::usage;

/// Rates, latency and batch sizes are those of so long.
pub(super) const WINDOW: Duration = Duration::from_secs(5);

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    /// Handed over by the generator.
    pub(super) produced: u64,
    /// Settled by the consumer: stored, dead-lettered or skipped.
    pub(super) consumed: u64,
    pub(super) rows: Vec<(String, u64)>,
    pub(super) dead_lettered: u64,
    /// Removed by the broker before the consumer read them.
    pub(super) lost: u64,
    pub(super) batches: u64,
    pub(super) latency: Histogram,
    pub(super) batch_messages: Histogram,
    pub(super) usage: Usage,
}

/// What a process has used of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) peak_megabytes: f64,
}

impl Snapshot {
    pub(super) fn new(scrape: &Scrape, load: &Load, consumer: u32) -> Self {
        Self {
            at: Instant::now(),
            produced: load.produced(),
            consumed: scrape.sum("storage_consumer_messages_consumed_total"),
            rows: scrape.by("storage_consumer_rows_stored_total", "table"),
            dead_lettered: scrape.sum("storage_consumer_dead_letters_total"),
            lost: scrape.sum("storage_consumer_offsets_lost_total"),
            batches: scrape.sum("storage_consumer_batches_total"),
            latency: scrape.histogram("storage_consumer_latency_seconds"),
            batch_messages: scrape.histogram("storage_consumer_batch_messages"),
            usage: Usage::of(consumer),
        }
    }

    pub(super) fn stored(&self) -> u64 {
        self.rows.iter().map(|(_, rows)| rows).sum()
    }

    /// Events that the generator handed over and that are not committed yet.
    pub(super) fn lag(&self) -> u64 {
        self.produced.saturating_sub(self.consumed + self.lost)
    }
}

impl Usage {
    fn of(process: u32) -> Self {
        Self {
            cpu_seconds: usage::cpu_seconds(process),
            peak_megabytes: usage::peak_megabytes(process),
        }
    }
}

/// All looks that matter still.
pub(super) struct Figures {
    pub(super) begun: Instant,
    recent: VecDeque<Snapshot>,
    /// Since when the consumer gave no answer.
    pub(super) silent_since: Option<Instant>,
    /// The newest dead letter's reason.
    pub(super) dead_letter: Option<String>,
}

/// What came within the window.
pub(super) struct Recent {
    pub(super) produced_per_second: f64,
    pub(super) stored_per_second: f64,
    pub(super) dead_lettered_per_second: f64,
    pub(super) batches_per_second: f64,
    /// Cores that the consumer kept busy.
    pub(super) cores: f64,
    pub(super) latency: Histogram,
    pub(super) batch_messages: Histogram,
}

impl Figures {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            begun,
            recent: VecDeque::new(),
            silent_since: None,
            dead_letter: None,
        }
    }

    pub(super) fn add(&mut self, snapshot: Snapshot) {
        while self
            .recent
            .front()
            .is_some_and(|first| snapshot.at - first.at > WINDOW)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(snapshot);
        self.silent_since = None;
    }

    /// The consumer gave no answer.
    pub(super) fn miss(&mut self) {
        self.silent_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn newest(&self) -> Option<&Snapshot> {
        self.recent.back()
    }

    /// What came between the oldest look of the window and the newest one.
    pub(super) fn recent(&self) -> Option<Recent> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let seconds = (last.at - first.at).as_secs_f64().max(1e-3);
        let rate = |of: &dyn Fn(&Snapshot) -> u64| per_second(of(last).saturating_sub(of(first)), seconds);
        Some(Recent {
            produced_per_second: rate(&|snapshot| snapshot.produced),
            stored_per_second: rate(&Snapshot::stored),
            dead_lettered_per_second: rate(&|snapshot| snapshot.dead_lettered),
            batches_per_second: rate(&|snapshot| snapshot.batches),
            cores: (last.usage.cpu_seconds - first.usage.cpu_seconds) / seconds,
            latency: last.latency.since(&first.latency),
            batch_messages: last.batch_messages.since(&first.batch_messages),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-3)
}
