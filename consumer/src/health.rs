//! Owns what is known of the process' health, and the verdicts: alive, ready, and why not. Says it to nobody: `http` does.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A consume loop that has not turned for so long hangs.
const LONGEST_TURN: Duration = Duration::from_secs(30);

/// Messages that wait for so long beyond their commit interval mean that commits do not advance.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Whether PostgreSQL answers.
#[derive(Debug)]
pub struct PostgresHealth(Mutex<Option<String>>);

impl PostgresHealth {
    /// PostgreSQL took what was asked.
    pub fn answered(&self) {
        *self.0.lock().expect("not poisoned") = None;
    }

    /// PostgreSQL did not take what was asked.
    pub fn lost(&self, reason: &str) {
        *self.0.lock().expect("not poisoned") = Some(reason.to_owned());
    }
}

/// Whether a worker's consume loop does its work.
#[derive(Debug)]
pub struct WorkerHealth {
    started: Instant,
    turned_ms: AtomicU64,
    joined: AtomicBool,
    kafka_error: Mutex<Option<String>>,
    /// When the oldest message came that is not stored yet.
    waiting_since: Mutex<Option<Instant>>,
}

impl WorkerHealth {
    /// The loop has turned once more; `oldest` is when the oldest message came that is not stored yet.
    pub fn turned(&self, now: Instant, oldest: Option<Instant>) {
        let turned = u64::try_from((now - self.started).as_millis()).unwrap_or(u64::MAX);
        self.turned_ms.store(turned, Ordering::Relaxed);
        *self.waiting_since.lock().expect("not poisoned") = oldest;
    }

    /// Whether it is a member of the group, its assignment settled.
    pub fn set_joined(&self, joined: bool) {
        if joined {
            *self.kafka_error.lock().expect("not poisoned") = None;
        }
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// Whether it is a member of the group.
    pub fn joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// What Kafka complained of last; forgotten when the group is joined.
    pub fn kafka_failed(&self, reason: &str) {
        *self.kafka_error.lock().expect("not poisoned") = Some(reason.to_owned());
    }
}

/// The process' health.
#[derive(Debug)]
pub struct Health {
    /// PostgreSQL's part.
    pub postgres: std::sync::Arc<PostgresHealth>,
    /// Each worker's part.
    pub workers: Vec<std::sync::Arc<WorkerHealth>>,
    commit_interval: Duration,
}

impl Health {
    /// Nothing is known yet: alive, not ready.
    #[must_use]
    pub fn new(workers: u16, commit_interval: Duration, now: Instant) -> Self {
        let worker = || WorkerHealth {
            started: now,
            turned_ms: AtomicU64::new(0),
            joined: AtomicBool::new(false),
            kafka_error: Mutex::new(None),
            waiting_since: Mutex::new(None),
        };
        Self {
            postgres: std::sync::Arc::new(PostgresHealth(Mutex::new(Some("not connected yet".to_owned())))),
            workers: (0..workers).map(|_| std::sync::Arc::new(worker())).collect(),
            commit_interval,
        }
    }

    /// Why the process should be started again; empty while it is alive.
    #[must_use]
    pub fn not_alive(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        for (number, worker) in self.workers.iter().enumerate() {
            let turned = Duration::from_millis(worker.turned_ms.load(Ordering::Relaxed));
            let silent = (now - worker.started).saturating_sub(turned);
            // Until the first turn the process waits for its servers, which is no reason to kill it.
            if !turned.is_zero() && silent > LONGEST_TURN {
                reasons.push(format!(
                    "worker {number}: the consume loop has not turned for {} s",
                    silent.as_secs()
                ));
            }
        }
        reasons
    }

    /// Why events don't flow into PostgreSQL now; empty while they do.
    #[must_use]
    pub fn not_ready(&self, now: Instant) -> Vec<String> {
        let mut reasons = self.not_alive(now);
        if let Some(reason) = &*self.postgres.0.lock().expect("not poisoned") {
            reasons.push(format!("postgres: {reason}"));
        }
        for (number, worker) in self.workers.iter().enumerate() {
            let error = worker.kafka_error.lock().expect("not poisoned").clone();
            if !worker.joined() {
                let mut reason = format!("worker {number}: has not joined the consumer group");
                if let Some(error) = error {
                    let _ = write!(reason, ": {error}");
                }
                reasons.push(reason);
            }
            if let Some(since) = *worker.waiting_since.lock().expect("not poisoned") {
                let waited = now.saturating_duration_since(since);
                if waited > self.commit_interval + LONGEST_WAIT {
                    reasons.push(format!(
                        "worker {number}: messages wait for {} s to be stored",
                        waited.as_secs()
                    ));
                }
            }
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_follows_postgres_and_the_group_and_falls_back() {
        let start = Instant::now();
        let health = Health::new(1, Duration::from_secs(5), start);
        assert_eq!(health.not_ready(start).len(), 2);
        health.postgres.answered();
        health.workers[0].set_joined(true);
        health.workers[0].turned(start + Duration::from_secs(1), None);
        assert_eq!(
            health.not_ready(start + Duration::from_secs(2)),
            Vec::<String>::new()
        );
        health.postgres.lost("the database system is shutting down");
        assert!(health.not_ready(start + Duration::from_secs(2))[0].contains("shutting down"));
    }

    #[test]
    fn messages_that_wait_too_long_make_it_unready_and_a_loop_that_hangs_kills_it() {
        let start = Instant::now();
        let health = Health::new(1, Duration::from_secs(5), start);
        health.postgres.answered();
        health.workers[0].set_joined(true);
        health.workers[0].turned(start + Duration::from_secs(40), Some(start));
        assert_eq!(health.not_ready(start + Duration::from_secs(40)).len(), 1);
        assert_eq!(health.not_alive(start + Duration::from_secs(40)).len(), 0);
        assert_eq!(health.not_alive(start + Duration::from_secs(90)).len(), 1);
    }
}
