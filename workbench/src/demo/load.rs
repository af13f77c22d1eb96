//! Owns the generator's thread: what it has sent so far, when it waits for the consumer, how it stops.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::{Settings, Stage, stage};
use crate::generator::{self, Summary, publish};

/// Enough for each partition to get its share: events are keyed by server.
const SERVERS: usize = 200;
const SERVICES: usize = 50;

/// A generator that sends.
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<anyhow::Result<Summary>>>>,
}

#[derive(Default)]
struct Shared {
    produced: AtomicU64,
    settled: AtomicU64,
    waits: AtomicBool,
    stop: AtomicBool,
}

impl Load {
    pub(super) fn start(settings: &Settings, stage: &Stage) -> anyhow::Result<Self> {
        let load = generator::Settings {
            kafka_servers: stage.bootstrap(),
            topic: stage::TOPIC.to_owned(),
            partitions: stage::PARTITIONS,
            servers: SERVERS,
            services: SERVICES,
            rate: settings.rate,
            malformed_ratio: settings.malformed,
            ..generator::Settings::default()
        };
        let shared = Arc::new(Shared::default());
        let max_lag = settings.max_lag;
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("generator".to_owned())
            .spawn(move || {
                publish::run(&load, &of_thread.stop, |summary| {
                    of_thread.produced.store(summary.produced, Ordering::Relaxed);
                    of_thread.hold_back(max_lag);
                })
            })
            .context("no thread for the generator")?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How many events it has handed over.
    pub(super) fn produced(&self) -> u64 {
        self.shared.produced.load(Ordering::Relaxed)
    }

    /// Tells it how many the consumer has settled.
    pub(super) fn settled(&self, count: u64) {
        self.shared.settled.store(count, Ordering::Relaxed);
    }

    /// Whether it waits for the consumer.
    pub(super) fn waits(&self) -> bool {
        self.shared.waits.load(Ordering::Relaxed)
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it has stopped, by our wish or by a mistake.
    pub(super) fn has_ended(&self) -> bool {
        let thread = self.thread.lock().expect("not poisoned");
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What it has sent.
    pub(super) fn join(&self) -> anyhow::Result<Summary> {
        let thread = self.thread.lock().expect("not poisoned").take();
        let summary = thread
            .context("the generator was asked twice")?
            .join()
            .map_err(|_| anyhow!("the generator panicked"))?
            .context("the generator failed")?;
        self.shared.produced.store(summary.produced, Ordering::Relaxed);
        Ok(summary)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Waits while the consumer is too far behind: a broker in memory forgets what is not read soon.
    fn hold_back(&self, max_lag: u64) {
        let lag = || {
            let produced = self.produced.load(Ordering::Relaxed);
            produced.saturating_sub(self.settled.load(Ordering::Relaxed))
        };
        while lag() > max_lag && !self.stop.load(Ordering::Relaxed) {
            self.waits.store(true, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
        }
        self.waits.store(false, Ordering::Relaxed);
    }
}
