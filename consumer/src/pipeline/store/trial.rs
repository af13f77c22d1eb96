//! Owns the attempts at one request to PostgreSQL: how long to wait for the next one, and when to tell of it.

use crate::retry::Backoff;
use std::time::{Duration, Instant};

/// The attempts at one request.
pub(super) struct Trial {
    pub(super) backoff: Backoff,
    pub(super) since: Instant,
    told_at: Option<Instant>,
    pub(super) told: bool,
    /// The catalog was read again, and said nothing new.
    pub(super) catalog_read: bool,
}

impl Trial {
    /// An outage is told when it begins, and then once in a while.
    const TELL_AGAIN: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::new(),
            since: Instant::now(),
            told_at: None,
            told: false,
            catalog_read: false,
        }
    }

    pub(super) async fn pause(&mut self, reason: &str) {
        let pause = self.backoff.next_pause();
        if self.told_at.is_none_or(|at| at.elapsed() >= Self::TELL_AGAIN) {
            self.told_at = Some(Instant::now());
            self.told = true;
            tracing::warn!(
                reason,
                attempts = self.backoff.attempts(),
                retry_in_sec = pause.as_secs_f64(),
                "postgres does not take the work now; it is kept and sent again",
            );
        }
        tokio::time::sleep(pause).await;
    }
}
