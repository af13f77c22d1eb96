//! Owns the generator's thread: what it has sent so far, when it waits for the consumer, how it stops.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::generator::{Settings, Summary, publish};

/// A generator that sends.
pub(crate) struct Load {
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
    /// Sends until it is stopped; waits while more than `max_lag` events are under way.
    pub(crate) fn start(settings: Settings, max_lag: u64) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("generator".to_owned())
            .spawn(move || {
                publish::run(&settings, &of_thread.stop, |summary| {
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
    pub(crate) fn produced(&self) -> u64 {
        self.shared.produced.load(Ordering::Relaxed)
    }

    /// Tells it how many the consumer has settled.
    pub(crate) fn settled(&self, count: u64) {
        self.shared.settled.store(count, Ordering::Relaxed);
    }

    /// Whether it waits for the consumer.
    pub(crate) fn waits(&self) -> bool {
        self.shared.waits.load(Ordering::Relaxed)
    }

    /// Asks it to stop.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it has stopped, by our wish or by a mistake.
    pub(crate) fn has_ended(&self) -> bool {
        let thread = self.thread.lock().expect("not poisoned");
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What it has sent.
    pub(crate) fn join(&self) -> anyhow::Result<Summary> {
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
