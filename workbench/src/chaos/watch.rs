//! Owns the look at the progress: how many messages are settled, where each partition stands, and for how long nothing
//! moved. A thread of its own, which asks PostgreSQL directly, beside the proxy and as another user than the consumers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_postgres::Config;

use crate::database::Database;

/// How often.
const LOOK: Duration = Duration::from_millis(100);
/// A look may take so long.
const LIMIT: Duration = Duration::from_secs(2);

/// Where consumption stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Messages of which it is decided what became of them.
    pub(super) settled: u64,
    /// The offset to read next, by partition.
    pub(super) next: BTreeMap<i32, i64>,
}

/// For how long nothing moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    /// In all partitions together.
    pub(super) total: Duration,
    /// In a partition, the longest.
    pub(super) partition: Duration,
}

#[derive(Default)]
struct State {
    progress: Progress,
    /// When the sum, and when each partition moved last, but not before the current lap.
    moved: Option<Instant>,
    partition_moved: BTreeMap<i32, Instant>,
    stall: Stall,
}

/// The thread, and what it has seen.
pub(super) struct Watch {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(config: Config) -> anyhow::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (of_thread, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                let Ok(mut database) = Database::new(config) else {
                    return;
                };
                while !stopped.load(Ordering::Relaxed) {
                    let seen = look(&mut database);
                    lock(&of_thread).take(seen, Instant::now());
                    thread::sleep(LOOK);
                }
            })
            .context("no thread for the watch")?;
        Ok(Self {
            state,
            stop,
            thread: Some(thread),
        })
    }

    /// Where consumption stands.
    pub(super) fn progress(&self) -> Progress {
        lock(&self.state).progress.clone()
    }

    /// Stalls are measured from now on.
    pub(super) fn begin_lap(&self) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.stall = Stall::default();
        state.moved = Some(now);
        for moved in state.partition_moved.values_mut() {
            *moved = now;
        }
    }

    /// The longest stalls since then.
    pub(super) fn stall(&self) -> Stall {
        lock(&self.state).stall
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None` where PostgreSQL does not answer: then nothing is stored either.
fn look(database: &mut Database) -> Option<Progress> {
    let sql = "SELECT partition, next_offset, stored + dead_lettered + skipped FROM consumer_offsets";
    let mut progress = Progress::default();
    for row in database.query_within(LIMIT, sql).ok()? {
        let [Some(partition), Some(next), Some(settled)] = &row[..] else {
            return None;
        };
        progress.settled += settled.parse::<u64>().ok()?;
        progress.next.insert(partition.parse().ok()?, next.parse().ok()?);
    }
    Some(progress)
}

impl State {
    fn take(&mut self, seen: Option<Progress>, now: Instant) {
        self.stall.total = self.stall.total.max(now - *self.moved.get_or_insert(now));
        for moved in self.partition_moved.values() {
            self.stall.partition = self.stall.partition.max(now - *moved);
        }
        let Some(seen) = seen else { return };
        if seen.settled > self.progress.settled {
            self.moved = Some(now);
        }
        for (partition, next) in &seen.next {
            if self
                .progress
                .next
                .get(partition)
                .is_none_or(|before| before < next)
            {
                self.partition_moved.insert(*partition, now);
            }
        }
        self.progress = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_while_it_lasts_and_a_partitions_apart() {
        let mut state = State::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let progress = |settled, one, other| {
            Some(Progress {
                settled,
                next: [(0, one), (1, other)].into(),
            })
        };
        state.take(progress(10, 5, 5), at(0));
        state.take(progress(12, 7, 5), at(1));
        state.take(progress(14, 9, 5), at(2));
        assert_eq!(state.stall.total, Duration::from_secs(1));
        assert_eq!(state.stall.partition, Duration::from_secs(2));
        state.take(None, at(9));
        assert_eq!(state.stall.total, Duration::from_secs(7));
        assert_eq!(state.progress.settled, 14);
    }
}
