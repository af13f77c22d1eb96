//! Owns the answer in words: is it keeping up, and is anything wrong? Pure: everything that it judges is an argument.

use super::history::Totals;
use super::words::{count, counted, time};
use crate::metrics::Snapshot;
use serde::Serialize;
use std::time::Duration;

/// A partition whose oldest message waits so long, beyond the commit interval, is behind.
const BEHIND: Duration = Duration::from_secs(10);

/// The one word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not been ready since its start.
    Starting,
    /// Events are stored as they come.
    KeepingUp,
    /// It has no partition.
    StandingBy,
    /// Events wait longer than they should.
    Behind,
    /// Events do not flow into PostgreSQL.
    NotReady,
    /// It was asked to stop.
    Stopping,
}

/// Is it keeping up?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The word for it.
    pub state: State,
    /// The same for a person, in some words.
    pub title: String,
    /// What it rests on, in a sentence or two.
    pub detail: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A person must look.
    Problem,
    /// A person should know.
    Warning,
    /// Good to know.
    Note,
}

/// Is anything wrong?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What it is, and what to do.
    pub text: String,
}

/// What the verdict rests on beside the numbers.
pub(super) struct Circumstances<'a> {
    /// Why events don't flow; empty while they do.
    pub(super) reasons: &'a [String],
    pub(super) not_ready_for: Duration,
    pub(super) was_ready: bool,
    pub(super) stopping: bool,
    pub(super) commit_interval: Duration,
    /// Messages settled a second, now.
    pub(super) rate: f64,
    /// The lag of some time ago, and how long ago that was.
    pub(super) lag_before: Option<(u64, Duration)>,
}

/// Is it keeping up?
pub(super) fn verdict(now: &Snapshot, circumstances: &Circumstances<'_>) -> Verdict {
    let is = |state, title: &str, detail: String| Verdict {
        state,
        title: title.to_owned(),
        detail,
    };
    let Circumstances { reasons, .. } = circumstances;
    if circumstances.stopping {
        let detail =
            "It was asked to stop, and stores what it has read. What it does not manage is read again.";
        return is(State::Stopping, "Stopping", detail.to_owned());
    }
    if !reasons.is_empty() {
        let waits = format!(
            "For {}. It waits and tries again",
            time(circumstances.not_ready_for)
        );
        return if circumstances.was_ready {
            is(State::NotReady, "Not ready", format!("{waits}; nothing is lost."))
        } else {
            is(State::Starting, "Starting", format!("{waits}."))
        };
    }
    if now.partitions.is_empty() {
        let detail = "The group has given no partition to this process: it has as many members as partitions, or more.";
        return is(State::StandingBy, "Standing by", detail.to_owned());
    }
    let lag = now.lag();
    let oldest = now.lag_time().unwrap_or_default();
    if oldest > circumstances.commit_interval + BEHIND {
        let title = format!("Behind by {}", time(oldest));
        let wait = format!("{} in Kafka.", counted(lag, "message waits", "messages wait"));
        return is(
            State::Behind,
            &title,
            format!("{wait} {}", trend(lag, circumstances)),
        );
    }
    let wait = match lag {
        0 => "Nothing waits in Kafka".to_owned(),
        lag => format!("{} on the way", counted(lag, "message is", "messages are")),
    };
    let partitions = counted(now.partitions.len() as u64, "partition", "partitions");
    let committed = match now
        .settled
        .last_commit
        .and_then(|at| now.at.duration_since(at).ok())
    {
        Some(age) => format!("the last commit was {} ago", time(age)),
        None => "nothing has come since the start".to_owned(),
    };
    is(
        State::KeepingUp,
        "Keeping up",
        format!("{wait} ({partitions}); {committed}."),
    )
}

/// Where it is going.
fn trend(lag: u64, circumstances: &Circumstances<'_>) -> String {
    if circumstances.rate <= 0.0 {
        return "None is being stored now.".to_owned();
    }
    match circumstances.lag_before {
        Some((before, _)) if lag >= before && before > 0 => {
            "They are not getting fewer: as many arrive as are stored, or more.".to_owned()
        }
        Some((before, ago)) if lag < before => {
            let fewer_a_second = super::as_float(before - lag) / ago.as_secs_f64();
            let left = super::as_float(lag) / fewer_a_second;
            let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
            format!(
                "They are getting fewer: at this pace it has caught up in {}.",
                time(left)
            )
        }
        _ => "How it goes on is known after a minute.".to_owned(),
    }
}

/// Is anything wrong? What matters most comes first.
pub(super) fn findings(now: &Snapshot, lately: Totals) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |level, text: String| findings.push(Finding { level, text });
    if now.settled.unaccounted() != 0 {
        let text = "The sums disagree: messages are neither rows nor dead letters nor left out. This is a defect; please report it.";
        say(Level::Problem, text.to_owned());
    }
    if now.offsets_lost > 0 {
        let lost = counted(now.offsets_lost, "offset", "offsets");
        say(
            Level::Problem,
            format!(
                "Kafka's retention removed {lost} before they were read. Those messages are gone: raise the topic's retention."
            ),
        );
    }
    if lately.dead_letters > 0 {
        let letters = counted(
            lately.dead_letters,
            "message became a dead letter",
            "messages became dead letters",
        );
        say(
            Level::Warning,
            format!("{letters} in the last 15 minutes. Reasons and replay are below."),
        );
    }
    if lately.retries > 0 {
        let retries = counted(lately.retries, "attempt was", "attempts were");
        say(
            Level::Warning,
            format!("{retries} repeated in the last 15 minutes. The codes are below."),
        );
    }
    if lately.fences_missed > 0 {
        let batches = counted(lately.fences_missed, "batch was", "batches were");
        say(
            Level::Warning,
            format!(
                "{batches} given up in the last 15 minutes because another consumer had moved the offsets. Once after a rebalance is well; again and again means two consumers outside of one group."
            ),
        );
    }
    if now.workers.paused > 0 {
        let partitions = counted(now.workers.paused, "partition", "partitions");
        say(
            Level::Note,
            format!(
                "Reading pauses for {partitions}: batches are full, since PostgreSQL takes less than Kafka gives."
            ),
        );
    }
    if !now.unmapped_fields.is_empty() {
        const SHOWN: usize = 5;
        let mut names: Vec<&str> = now
            .unmapped_fields
            .keys()
            .map(String::as_str)
            .take(SHOWN)
            .collect();
        let more = now.unmapped_fields.len() - names.len();
        let more = if more > 0 {
            format!(" and {} more", count(more as u64))
        } else {
            String::new()
        };
        names.sort_unstable();
        say(
            Level::Note,
            format!(
                "Fields without a column are left out: {}{more}.",
                names.join(", ")
            ),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::offsets::{Offset, Partition};
    use std::time::SystemTime;

    /// A process that has one partition, which lags by so many messages.
    fn snapshot(lag: i64, age: Duration) -> Snapshot {
        let metrics = Metrics::new(vec!["t".to_owned()], 0);
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().expect("after the epoch");
        let stored_ms = i64::try_from(since_epoch.saturating_sub(age).as_millis()).expect("fits");
        metrics.partition_assigned(0, Partition(0));
        metrics.partition_starts(0, Partition(0), Offset(10), Some(stored_ms));
        metrics.partition_ends(0, Partition(0), Offset(10 + lag));
        metrics.snapshot()
    }

    fn circumstances(reasons: &[String]) -> Circumstances<'_> {
        Circumstances {
            reasons,
            not_ready_for: Duration::from_secs(34),
            was_ready: true,
            stopping: false,
            commit_interval: Duration::from_secs(5),
            rate: 100.0,
            lag_before: None,
        }
    }

    #[test]
    fn it_keeps_up_until_messages_wait_too_long() {
        let state =
            |lag, seconds| verdict(&snapshot(lag, Duration::from_secs(seconds)), &circumstances(&[])).state;
        assert_eq!(state(0, 0), State::KeepingUp);
        assert_eq!(state(500, 3), State::KeepingUp, "on the way");
        assert_eq!(state(500, 42), State::Behind);
        assert_eq!(state(0, 4000), State::KeepingUp, "a quiet topic");
    }

    #[test]
    fn behind_says_by_how_much_and_where_it_is_going() {
        let of = |before: Option<u64>, rate: f64| {
            let circumstances = Circumstances {
                lag_before: before.map(|lag| (lag, Duration::from_mins(1))),
                rate,
                ..circumstances(&[])
            };
            verdict(&snapshot(6000, Duration::from_secs(42)), &circumstances)
        };
        let falling = of(Some(12_000), 300.0);
        assert!(falling.title.starts_with("Behind by 4"), "{}", falling.title);
        assert!(
            falling.detail.starts_with("6,000 messages wait in Kafka."),
            "{}",
            falling.detail
        );
        assert!(
            falling.detail.ends_with("caught up in 60 s."),
            "{}",
            falling.detail
        );
        assert!(of(Some(6000), 300.0).detail.contains("not getting fewer"));
        assert!(of(Some(12_000), 0.0).detail.contains("None is being stored"));
        assert!(of(None, 300.0).detail.contains("after a minute"));
    }

    #[test]
    fn what_is_not_ready_is_starting_until_it_has_been() {
        let reasons = ["postgres: the database system is shutting down".to_owned()];
        let now = snapshot(0, Duration::ZERO);
        let not_ready = verdict(&now, &circumstances(&reasons));
        assert_eq!(
            (not_ready.state, not_ready.title.as_str()),
            (State::NotReady, "Not ready")
        );
        assert!(not_ready.detail.starts_with("For 34 s."), "{}", not_ready.detail);
        let starting = Circumstances {
            was_ready: false,
            ..circumstances(&reasons)
        };
        assert_eq!(verdict(&now, &starting).state, State::Starting);
        let stopping = Circumstances {
            stopping: true,
            ..circumstances(&reasons)
        };
        assert_eq!(verdict(&now, &stopping).state, State::Stopping);
        let idle = Metrics::new(Vec::new(), 0).snapshot();
        assert_eq!(verdict(&idle, &circumstances(&[])).state, State::StandingBy);
    }

    #[test]
    fn findings_come_in_the_order_of_their_weight() {
        let metrics = Metrics::new(vec!["t".to_owned()], 0);
        assert_eq!(findings(&metrics.snapshot(), Totals::default()), []);
        metrics.offsets_lost.increment(7);
        metrics.unmapped_field("<b>", 1);
        let lately = Totals {
            dead_letters: 1,
            retries: 2,
            fences_missed: 3,
        };
        let mut now = metrics.snapshot();
        now.settled.messages = 1;
        let found = findings(&now, lately);
        assert!(found.is_sorted_by_key(|finding| finding.level));
        assert_eq!(found.len(), 6, "{found:#?}");
        assert!(found[2].text.starts_with("1 message became a dead letter"));
    }
}
