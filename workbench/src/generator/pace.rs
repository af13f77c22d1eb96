//! Owns when the next events are due: a token bucket, filled in small slices. Reads no clock.

use std::time::Duration;

/// Events between two looks at the clock when there is no limit.
const FLAT_OUT: u64 = 512;
/// What is missed while the producer waits for Kafka is caught up to this extent: a pause mustn't
/// turn into a flood.
const CATCH_UP_SECONDS: f64 = 0.1;
const SLICE: Duration = Duration::from_millis(5);
/// However rare events are, a wish to stop is heard within this time.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A pace to keep.
pub(super) struct Pace {
    rate: f64,
    /// Seeds the bursts of load, where there are any.
    bursts: Option<u64>,
    tokens: f64,
    last: Duration,
}

impl Pace {
    /// `rate` 0 is no limit.
    pub(super) fn new(rate: f64, bursts: Option<u64>) -> Self {
        Self {
            rate,
            bursts,
            tokens: 1.0,
            last: Duration::ZERO,
        }
    }

    /// How many events are due, `elapsed` after the start; they count as sent.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "tokens are whole, not negative, and few"
    )]
    pub(super) fn take(&mut self, elapsed: Duration) -> u64 {
        if self.rate == 0.0 {
            return FLAT_OUT;
        }
        let rate = self.rate * self.swell(elapsed);
        let earned = elapsed.saturating_sub(self.last).as_secs_f64() * rate;
        self.last = elapsed;
        self.tokens = (self.tokens + earned).min(1.0 + rate * CATCH_UP_SECONDS);
        let due = self.tokens.floor();
        self.tokens -= due;
        due as u64
    }

    /// How long to wait before the next look.
    pub(super) fn wait(&self) -> Duration {
        if self.rate == 0.0 {
            return Duration::ZERO;
        }
        let next = (1.0 - self.tokens) / (self.rate * self.swell(self.last));
        Duration::try_from_secs_f64(next)
            .unwrap_or(LONGEST_WAIT)
            .clamp(SLICE, LONGEST_WAIT)
    }

    /// In chaos, every fifth window of two seconds or so brings four times the load and the others a
    /// quarter of it, so that the mean is kept.
    fn swell(&self, elapsed: Duration) -> f64 {
        let Some(seed) = self.bursts else { return 1.0 };
        let window = elapsed.as_secs() / 2;
        let mixed = (seed ^ window).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        if mixed.is_multiple_of(5) { 4.0 } else { 0.25 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pace: &mut Pace, seconds: u64, look_every: Duration) -> u64 {
        let mut now = Duration::ZERO;
        let mut sent = 0;
        while now < Duration::from_secs(seconds) {
            sent += pace.take(now);
            now += look_every;
        }
        sent
    }

    #[test]
    fn the_rate_is_kept_however_often_one_looks() {
        for rate in [0.5_f64, 1.0, 100.0, 12_345.0] {
            for millis in [1, 5, 37] {
                let sent = sent(&mut Pace::new(rate, None), 100, Duration::from_millis(millis));
                let off = f64::from(u32::try_from(sent).expect("few")) - 100.0 * rate;
                assert!(off.abs() <= rate * 0.05 + 1.0, "{rate} {millis}: {off}");
            }
        }
    }

    #[test]
    fn a_pause_is_not_followed_by_a_flood() {
        let mut pace = Pace::new(1_000.0, None);
        pace.take(Duration::from_secs(1));
        assert_eq!(pace.take(Duration::from_mins(1)), 101);
    }

    #[test]
    fn bursts_keep_the_mean() {
        let sent = sent(&mut Pace::new(100.0, Some(7)), 20_000, Duration::from_millis(20));
        let mean = f64::from(u32::try_from(sent).expect("few")) / 20_000.0;
        assert!((mean - 100.0).abs() < 10.0, "{mean}");
    }

    #[test]
    fn waits_are_short_but_never_busy() {
        let mut slow = Pace::new(0.1, None);
        slow.take(Duration::ZERO);
        assert_eq!(slow.wait(), LONGEST_WAIT);
        let mut fast = Pace::new(1e6, None);
        fast.take(Duration::ZERO);
        assert_eq!(fast.wait(), SLICE);
        assert_eq!(Pace::new(0.0, None).wait(), Duration::ZERO);
    }
}
