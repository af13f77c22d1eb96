//! Owns what was seen lately: the looks of the last seconds, which rates are made from, and a point every few seconds for
//! the last 15 minutes. Bounded, and without a clock: time is an argument.

use crate::metrics::{Distribution, Settled, Snapshot};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

/// Rates and latencies of "now" are those of so long.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// A point comes so often.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// So many points: 15 minutes.
const POINTS: usize = 180;

/// The state at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Messages settled a second, over the window before.
    pub rate: f64,
    /// From a message's timestamp in Kafka to the commit, in seconds; none where nothing was committed.
    pub latency_p50: Option<f64>,
    /// The same for 99 of 100.
    pub latency_p99: Option<f64>,
    /// Messages in Kafka that are not stored yet.
    pub lag: u64,
    /// How long the oldest of them has waited, in seconds, at most.
    pub lag_seconds: Option<f64>,
    /// Whether the process was ready.
    pub ready: bool,
}

/// What only grows and is told as "in the last 15 minutes".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) dead_letters: u64,
    pub(super) retries: u64,
    pub(super) fences_missed: u64,
}

impl Totals {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            dead_letters: snapshot.settled.all_dead_letters(),
            retries: snapshot.retries.values().sum(),
            fences_missed: snapshot.fences_missed,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            dead_letters: self.dead_letters - before.dead_letters,
            retries: self.retries - before.retries,
            fences_missed: self.fences_missed - before.fences_missed,
        }
    }
}

struct Look {
    at: Instant,
    settled: Settled,
}

/// What came in the window.
pub(super) struct Window {
    /// How long it was; zero at the first look.
    pub(super) time: Duration,
    pub(super) messages: u64,
    pub(super) payload_bytes: u64,
    pub(super) batches: u64,
    pub(super) latency: Distribution,
    pub(super) phases: Vec<Distribution>,
    pub(super) batch_messages: Distribution,
}

impl Window {
    /// A number of the window, a second.
    pub(super) fn per_second(&self, count: u64) -> f64 {
        if self.time.is_zero() {
            return 0.0;
        }
        super::as_float(count) / self.time.as_secs_f64()
    }
}

/// What was seen lately.
#[derive(Default)]
pub(super) struct History {
    looks: VecDeque<Look>,
    points: VecDeque<(Point, Totals)>,
    next_point: Option<Instant>,
    /// Since when the process is not ready; `None` while it is.
    not_ready_since: Option<Instant>,
    was_ready: bool,
}

impl History {
    /// Takes note of whether the process is ready: whoever asks has seen it, too.
    pub(super) fn is_ready(&mut self, now: Instant, ready: bool) {
        self.was_ready |= ready;
        self.not_ready_since = if ready {
            None
        } else {
            self.not_ready_since.or(Some(now))
        };
    }

    /// Takes note of a look.
    pub(super) fn look(&mut self, now: Instant, snapshot: &Snapshot, ready: bool) {
        self.is_ready(now, ready);
        self.looks.push_back(Look {
            at: now,
            settled: snapshot.settled.clone(),
        });
        // The newest look that is a window old or older is where the window begins.
        while self.looks.get(1).is_some_and(|second| now - second.at >= WINDOW) {
            self.looks.pop_front();
        }
        if self.next_point.is_none_or(|next| now >= next) {
            self.next_point = Some(now + INTERVAL);
            if self.points.len() == POINTS {
                self.points.pop_front();
            }
            self.points
                .push_back((self.point(snapshot, ready), Totals::of(snapshot)));
        }
    }

    fn point(&self, snapshot: &Snapshot, ready: bool) -> Point {
        let window = self.window();
        let at = snapshot
            .at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let seconds = |value: Option<f64>| value.map(super::micro);
        Point {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            rate: super::tenth(window.per_second(window.messages)),
            latency_p50: seconds(window.latency.quantile(0.5)),
            latency_p99: seconds(window.latency.quantile(0.99)),
            lag: snapshot.lag(),
            lag_seconds: seconds(snapshot.lag_time().map(|time| time.as_secs_f64())),
            ready,
        }
    }

    /// What came between the looks that are kept. There must have been one.
    pub(super) fn window(&self) -> Window {
        let (first, last) = (&self.looks[0], &self.looks[self.looks.len() - 1]);
        let (then, now) = (&first.settled, &last.settled);
        Window {
            time: last.at - first.at,
            messages: now.messages - then.messages,
            payload_bytes: now.payload_bytes - then.payload_bytes,
            batches: now.batches - then.batches,
            latency: now.latency.since(&then.latency),
            phases: now
                .phases
                .iter()
                .zip(&then.phases)
                .map(|(now, then)| now.since(then))
                .collect(),
            batch_messages: now.batch_messages.since(&then.batch_messages),
        }
    }

    /// All points, the oldest first.
    pub(super) fn points(&self) -> impl DoubleEndedIterator<Item = Point> + '_ {
        self.points.iter().map(|(point, _)| *point)
    }

    /// What the totals have grown by since the oldest point.
    pub(super) fn lately(&self, snapshot: &Snapshot) -> Totals {
        // Until the ring is full, everything since the start came lately.
        let full = self.points.len() == POINTS;
        let before = self.points.front().filter(|_| full).map(|(_, totals)| *totals);
        Totals::of(snapshot).since(before.unwrap_or_default())
    }

    /// The lag of about a minute ago, and how long ago that was.
    pub(super) fn lag_before(&self) -> Option<(u64, Duration)> {
        const BACK: u32 = 12;
        let (point, _) = self.points.iter().rev().nth(BACK as usize)?;
        Some((point.lag, INTERVAL * BACK))
    }

    /// For how long the process has not been ready.
    pub(super) fn not_ready_for(&self, now: Instant) -> Option<Duration> {
        self.not_ready_since.map(|since| now - since)
    }

    /// Whether it has ever been.
    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn snapshot(messages: u64) -> Snapshot {
        let mut snapshot = Metrics::new(vec!["t".to_owned()], 0).snapshot();
        snapshot.settled.messages = messages;
        snapshot.settled.dead_letters[0] = messages / 100;
        snapshot
    }

    #[test]
    fn the_rate_is_that_of_the_window_and_follows_within_it() {
        let start = Instant::now();
        let mut history = History::default();
        history.look(start, &snapshot(0), true);
        assert!(history.window().per_second(5) < 1e-9, "one look is no rate");
        for second in 1..=30 {
            history.look(
                start + Duration::from_secs(second),
                &snapshot(second * 1000),
                true,
            );
        }
        let window = history.window();
        assert_eq!(window.time, WINDOW);
        assert!((window.per_second(window.messages) - 1000.0).abs() < 1e-9);
        for second in 31..=41 {
            history.look(start + Duration::from_secs(second), &snapshot(30_000), true);
        }
        assert_eq!(history.window().messages, 0);
    }

    #[test]
    fn fifteen_minutes_are_kept_and_no_more() {
        let start = Instant::now();
        let mut history = History::default();
        for second in 0..2000 {
            history.look(
                start + Duration::from_secs(second),
                &snapshot(second * 100),
                second != 1999,
            );
        }
        assert_eq!(history.points().count(), POINTS);
        assert!(history.looks.len() <= 11);
        // The oldest point is one interval short of 15 minutes before the newest.
        assert_eq!(history.lately(&snapshot(199_900)).dead_letters, 1999 - 1100);
        assert_eq!(
            history.not_ready_for(start + Duration::from_secs(2005)),
            Some(Duration::from_secs(6))
        );
        assert!(history.was_ready());
    }
}
