//! Owns the state of the process as people are shown it: the verdict in words, numbers made from two looks, the last 15
//! minutes. Made of `metrics` and `health`; knows nothing of the pipeline, nor of HTTP, which serves it.

mod history; // the looks of the last seconds, the points of the last 15 minutes
mod verdict; // is it keeping up, and is anything wrong?
mod report; // the shape of /status
mod words; // numbers and times, spelled for people

pub use self::history::Point;
pub use self::report::Setting;
pub use self::verdict::{Finding, Level, State, Verdict};

use self::history::History;
use self::report::{Live, Report, Ring, Seen, Whole};
use self::verdict::Circumstances;
use crate::health::Health;
use crate::metrics::Metrics;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Somebody looks so often, whoever watches: rates are made from looks.
pub const LOOK: Duration = Duration::from_secs(1);

/// What does not change.
#[derive(Clone, Debug)]
pub struct Facts {
    /// When the process started.
    pub started: SystemTime,
    /// Where events come from.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Consumers in this process.
    pub workers: u16,
    /// How long a message may wait on purpose.
    pub commit_interval: Duration,
}

/// The state of the process.
pub struct Status {
    facts: Facts,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: Arc<AtomicBool>,
    configuration: Mutex<Vec<Setting>>,
    history: Mutex<History>,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Status {
    /// Takes its first look. `stop` says that the process was asked to stop.
    #[must_use]
    pub fn new(facts: Facts, metrics: Arc<Metrics>, health: Arc<Health>, stop: Arc<AtomicBool>) -> Self {
        let status = Self {
            facts,
            metrics,
            health,
            stop,
            configuration: Mutex::default(),
            history: Mutex::default(),
        };
        status.look(Instant::now());
        status
    }

    /// What holds from now on; secrets are hidden already.
    pub fn configured(&self, settings: Vec<Setting>) {
        *self.configuration.lock().expect("not poisoned") = settings;
    }

    /// Takes note of the state as it is now; due every `LOOK`.
    pub fn look(&self, now: Instant) {
        let snapshot = self.metrics.snapshot();
        let ready = self.health.not_ready(now).is_empty();
        self.history
            .lock()
            .expect("not poisoned")
            .look(now, &snapshot, ready);
    }

    /// Looks for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(Instant::now());
        }
    }

    /// All of it, as JSON.
    #[must_use]
    pub fn whole(&self, now: Instant) -> Vec<u8> {
        self.told(now, |report, history| {
            let configuration = self.configuration.lock().expect("not poisoned");
            json(&Whole {
                report,
                configuration: &configuration,
                history: Ring::of(history.points()),
            })
        })
    }

    /// What changes, as JSON: the configuration is left out, and of the history all but the newest point.
    #[must_use]
    pub fn live(&self, now: Instant) -> Vec<u8> {
        self.told(now, |report, history| {
            json(&Live {
                report,
                point: history.points().next_back(),
            })
        })
    }

    fn told(&self, now: Instant, tell: impl FnOnce(Report<'_>, &History) -> Vec<u8>) -> Vec<u8> {
        let snapshot = self.metrics.snapshot();
        let letters = self.metrics.newest_dead_letters();
        let reasons = self.health.not_ready(now);
        let mut history = self.history.lock().expect("not poisoned");
        history.is_ready(now, reasons.is_empty());
        let window = history.window();
        let lately = history.lately(&snapshot);
        let circumstances = Circumstances {
            reasons: &reasons,
            not_ready_for: history.not_ready_for(now).unwrap_or_default(),
            was_ready: history.was_ready(),
            stopping: self.stop.load(Ordering::Relaxed),
            commit_interval: self.facts.commit_interval,
            rate: window.per_second(window.messages),
            lag_before: history.lag_before(),
        };
        let report = Report::of(Seen {
            facts: &self.facts,
            now: &snapshot,
            window: &window,
            letters: &letters,
            reasons: &reasons,
            dead_letters_lately: lately.dead_letters,
            verdict: verdict::verdict(&snapshot, &circumstances),
            findings: verdict::findings(&snapshot, lately),
        });
        tell(report, &history)
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and finite numbers are JSON")
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn micro(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// Counts are far below 2^53, where floats stop being exact.
#[allow(clippy::cast_precision_loss)]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
