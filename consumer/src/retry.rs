//! Owns the pace of retries: exponential, jittered, without end. What is retried, and until when, is the caller's.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// The pauses between the attempts at one thing: 50 ms at first, doubled each time up to 2 s, each lengthened by up to
/// as much again, so that many consumers don't come back to a server that has just started in step.
#[derive(Debug)]
pub struct Backoff {
    pauses: ExponentialBackoff,
    attempts: u64,
}

impl Backoff {
    /// The pauses from the first one on.
    #[must_use]
    pub fn new() -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_jitter()
            .without_max_times()
            .build();
        Self { pauses, attempts: 0 }
    }

    /// How many pauses were asked for.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.attempts += 1;
        self.pauses.next().unwrap_or(LONGEST)
    }

    /// Waits for the next pause. Dropping the future ends the wait.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_pause()).await;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded_without_end() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..1000).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] < Duration::from_millis(150), "{:?}", pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST * 2));
        assert!(pauses[999] >= LONGEST);
        assert_eq!(backoff.attempts(), 1000);
    }
}
