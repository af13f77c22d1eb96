//! Owns what the service manager is told, by systemd's protocol (`sd_notify`): started, how it goes, that we live, that
//! we stop. Sees `health` and `metrics`, and nothing of the pipeline. Without a service manager nothing is told.

use crate::health::Health;
use crate::metrics::{Metrics, Statistics};
use sd_notify::NotifyState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Health is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The status is told anew so often while it is one of numbers; a reason that changes is told at once.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// A sign of life comes so many times in the time after which the service manager would miss it.
const SIGNS_OF_LIFE: u32 = 3;

/// What a stop may take beyond the time that was announced, before the service manager kills the process.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The service manager, if there is one.
#[derive(Clone, Debug)]
pub struct Supervisor(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    stopping: AtomicBool,
    complained: AtomicBool,
}

impl Supervisor {
    /// As the environment says: `NOTIFY_SOCKET`.
    #[must_use]
    pub fn of_environment() -> Self {
        let present = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
        Self(present.then(|| {
            Arc::new(Told {
                stopping: AtomicBool::new(false),
                complained: AtomicBool::new(false),
            })
        }))
    }

    /// Tells it how things stand until the process ends: ready when events flow for the first time, then the rate and the
    /// lag, or why they don't. Signs of life come as long as the process is alive by `Health::not_alive`.
    pub async fn report(self, health: Arc<Health>, metrics: Arc<Metrics>, started: Instant) {
        let Some(told) = self.0 else { return };
        let mut report = Report::new(sd_notify::watchdog_enabled(), metrics.statistics(), started);
        let mut tick = tokio::time::interval(report.look_every());
        loop {
            tick.tick().await;
            let now = Instant::now();
            let mut states = Vec::new();
            if report.sign_of_life_is_due(now) && health.not_alive(now).is_empty() {
                states.push(report.sign_of_life(now));
            }
            let words;
            if !told.stopping.load(Ordering::Relaxed)
                && let Some(status) = report.status(now, &health.not_ready(now), || metrics.statistics())
            {
                states.extend(status.ready.then_some(NotifyState::Ready));
                words = status.words;
                states.push(NotifyState::Status(&words));
            }
            told.tell(&states);
        }
    }

    /// Tells it that the process stops, and that this may take as long as `within`, whatever its own patience is.
    pub fn stopping(&self, within: Duration) {
        if let Some(told) = &self.0
            && !told.stopping.swap(true, Ordering::Relaxed)
        {
            let patience = u32::try_from((within + STOP_MARGIN).as_micros()).unwrap_or(u32::MAX);
            told.tell(&[
                NotifyState::Stopping,
                NotifyState::ExtendTimeoutUsec(patience),
                NotifyState::Status("stopping: storing what is batched"),
            ]);
        }
    }
}

impl Told {
    fn tell(&self, states: &[NotifyState<'_>]) {
        if states.is_empty() {
            return;
        }
        // A service manager that is slow to read makes the sender wait; the tasks of the store go on elsewhere meanwhile.
        let sent = tokio::task::block_in_place(|| sd_notify::notify(states));
        if let Err(error) = sent
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                error = %error,
                "the service manager that NOTIFY_SOCKET names can't be told how things stand; it is told without success from now on"
            );
        }
    }
}

/// What was told, and when.
struct Report {
    /// The service manager misses a sign of life after so long.
    watchdog: Option<Duration>,
    last_sign: Option<Instant>,
    ready: bool,
    /// The reasons that were told; empty: the numbers were.
    reasons: Option<String>,
    last_status: Instant,
    before: Statistics,
}

struct Status {
    /// Events flow for the first time.
    ready: bool,
    /// One line.
    words: String,
}

impl Report {
    fn new(watchdog: Option<Duration>, before: Statistics, started: Instant) -> Self {
        Self {
            watchdog,
            last_sign: None,
            ready: false,
            reasons: None,
            last_status: started,
            before,
        }
    }

    fn look_every(&self) -> Duration {
        let signs = self.watchdog.map(|limit| limit / SIGNS_OF_LIFE);
        // An interval of nothing is refused by the clock.
        signs.map_or(LOOK_EVERY, |signs| {
            signs.clamp(Duration::from_millis(10), LOOK_EVERY)
        })
    }

    /// Due with the last look before a third of the time is over.
    fn sign_of_life_is_due(&self, now: Instant) -> bool {
        let between = |limit: Duration| (limit / SIGNS_OF_LIFE).saturating_sub(self.look_every());
        self.watchdog.is_some_and(|limit| {
            self.last_sign
                .is_none_or(|last| now.saturating_duration_since(last) >= between(limit))
        })
    }

    fn sign_of_life(&mut self, now: Instant) -> NotifyState<'static> {
        self.last_sign = Some(now);
        NotifyState::Watchdog
    }

    /// What there is to tell: reasons when they change, numbers every ten seconds and when the reasons are gone.
    fn status(
        &mut self,
        now: Instant,
        reasons: &[String],
        statistics: impl FnOnce() -> Statistics,
    ) -> Option<Status> {
        let reasons = reasons.join("; ");
        let since = now.saturating_duration_since(self.last_status);
        let changed = self.reasons.as_ref() != Some(&reasons);
        if !changed && (!reasons.is_empty() || since < STATUS_EVERY) {
            return None;
        }
        let ready = reasons.is_empty() && !self.ready;
        self.ready |= ready;
        let words = if reasons.is_empty() {
            let statistics = statistics();
            let words = format!(
                "{} messages/s, lag {}; since the start {} messages, {} of them dead letters",
                statistics.rate_since(&self.before, since),
                statistics.lag,
                statistics.total_consumed,
                statistics.dead_letters,
            );
            self.before = statistics;
            self.last_status = now;
            words
        } else {
            format!("not ready: {}", one_line(&reasons))
        };
        self.reasons = Some(reasons);
        Some(Status { ready, words })
    }
}

/// The protocol ends a state at the end of its line: what a server says must not begin another one.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics() -> Statistics {
        Statistics {
            total_consumed: 0,
            rows: Vec::new(),
            parse_errors: 0,
            insert_errors: 0,
            unknown_type: 0,
            dead_letters: 0,
            lag: 0,
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn ready_is_told_once_reasons_when_they_change_and_numbers_every_ten_seconds() {
        let start = Instant::now();
        let mut report = Report::new(None, statistics(), start);
        let away = ["postgres: away".to_owned()];
        let mut look = |at: u64, reasons: &[String]| {
            let consumed = Statistics {
                total_consumed: at * 100,
                lag: 7,
                ..statistics()
            };
            report
                .status(start + seconds(at), reasons, || consumed)
                .map(|status| (status.ready, status.words))
        };
        assert_eq!(
            look(1, &away),
            Some((false, "not ready: postgres: away".to_owned()))
        );
        assert_eq!(look(20, &away), None, "nothing has changed");
        let numbers = |rate: &str, total: u64| {
            format!("{rate} messages/s, lag 7; since the start {total} messages, 0 of them dead letters")
        };
        assert_eq!(look(30, &[]), Some((true, numbers("100", 3000))));
        assert_eq!(look(39, &[]), None);
        assert_eq!(look(40, &[]), Some((false, numbers("100", 4000))));
        assert_eq!(look(41, &away).map(|(ready, _)| ready), Some(false));
        assert_eq!(
            look(42, &[]),
            Some((false, numbers("100", 4200))),
            "once started, always started"
        );
    }

    #[test]
    fn what_a_server_says_stays_one_line() {
        let start = Instant::now();
        let mut report = Report::new(None, statistics(), start);
        let status = report
            .status(start, &["postgres: no\nREADY=1\r\nx".to_owned()], statistics)
            .expect("something to tell");
        assert_eq!(status.words, "not ready: postgres: no READY=1  x");
    }

    #[test]
    fn signs_of_life_come_three_times_in_the_time_that_is_waited_for_them() {
        let start = Instant::now();
        for (limit, looks, signs) in [(60_000, 1000, 3), (30_000, 1000, 3), (600, 200, 3), (1, 10, 0)] {
            let limit = Duration::from_millis(limit);
            let mut report = Report::new(Some(limit), statistics(), start);
            assert_eq!(report.look_every(), Duration::from_millis(looks), "{limit:?}");
            let mut now = start;
            let mut found = 0;
            while now + report.look_every() <= start + limit {
                if report.sign_of_life_is_due(now) {
                    report.sign_of_life(now);
                    found += 1;
                }
                now += report.look_every();
            }
            assert!(found >= signs, "{found} within {limit:?}");
        }
        let report = Report::new(None, statistics(), start);
        assert!(
            !report.sign_of_life_is_due(start + seconds(3600)),
            "nobody waits for it"
        );
    }
}
