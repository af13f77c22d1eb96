//! Owns how figures look while the demo runs: a panel that is drawn in place on a terminal, else a plain line every
//! two seconds.

use std::env;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

use indicatif::HumanCount;

use super::figures::{Figures, Recent, Snapshot, WINDOW};
use super::say;
use crate::load::Load;

/// A panel changes so often that it lives, and so seldom that it can be read.
const REDRAW: Duration = Duration::from_millis(500);
/// A plain line comes so often.
const LINE: Duration = Duration::from_secs(2);

/// Where figures are shown.
pub(super) struct Panel {
    /// How many lines are drawn now; `None` where nothing can be drawn over.
    drawn: Option<usize>,
    next: Option<Instant>,
}

/// Whether a person watches, on a terminal that can move its cursor.
pub fn is_watched() -> bool {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

impl Panel {
    pub(super) fn new() -> Self {
        Self {
            drawn: is_watched().then_some(0),
            next: None,
        }
    }

    /// Shows the figures, if it is time to.
    pub(super) fn show(&mut self, figures: &Figures, load: &Load, phase: &str) {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let (Some(newest), Some(recent)) = (figures.newest(), figures.recent()) else {
            return;
        };
        let elapsed = now - figures.begun;
        let phase = match figures.silent_since {
            Some(since) if now - since > Duration::from_secs(2) => {
                format!("no answer from the consumer for {} s", (now - since).as_secs())
            }
            _ if load.waits() => format!("{phase}, the generator waits for the consumer"),
            _ => phase.to_owned(),
        };
        if self.drawn.is_some() {
            self.next = Some(now + REDRAW);
            self.draw(&lines(newest, &recent, figures, elapsed, &phase));
        } else {
            self.next = Some(now + LINE);
            say(&line(newest, &recent, elapsed, &phase));
        }
    }

    /// Takes the panel away: the summary says it all once more.
    pub(super) fn end(&mut self) {
        self.draw(&[]);
        self.drawn = None;
    }

    /// Draws over what was drawn before, in one write. The cursor stays below, where the terminal's echo of a Ctrl-C
    /// is wiped away by the next one.
    fn draw(&mut self, lines: &[String]) {
        let Some(drawn) = &mut self.drawn else { return };
        let up = match *drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        // Without wrapping, the terminal cuts a line that is too long for it.
        let text = lines.join("\n");
        let end = if lines.is_empty() { "" } else { "\n" };
        let mut out = stdout().lock();
        let _ = write!(out, "{up}\r\x1b[J\x1b[?7l{text}{end}\x1b[?7h");
        let _ = out.flush();
        *drawn = lines.len();
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        self.end();
    }
}

fn lines(
    newest: &Snapshot,
    recent: &Recent,
    figures: &Figures,
    elapsed: Duration,
    phase: &str,
) -> Vec<String> {
    let row = |name: &str, total: u64, per_second: f64| {
        format!("  {name:<16}{:>14}{:>14}", count(total), rate(per_second))
    };
    let rows: Vec<String> = newest
        .rows
        .iter()
        .map(|(table, rows)| format!("{table} {}", count(*rows)))
        .collect();
    let window = WINDOW.as_secs();
    let mut lines = vec![
        format!("  {:>5.1} s  {phase}", elapsed.as_secs_f64()),
        format!("  {:<16}{:>14}{:>14}", "", "events", "per second"),
        row("produced", newest.produced, recent.produced_per_second),
        row("stored", newest.stored(), recent.stored_per_second),
        row(
            "dead-lettered",
            newest.dead_lettered,
            recent.dead_lettered_per_second,
        ),
        format!(
            "  {:<16}{:>14}  produced and not committed yet",
            "lag",
            count(newest.lag())
        ),
        format!("  rows            {}", rows.join(" · ")),
        format!(
            "  latency         p50 {} · p99 {}  (Kafka timestamp to commit, last {window} s)",
            seconds(recent.latency.quantile(0.5)),
            seconds(recent.latency.quantile(0.99)),
        ),
        format!(
            "  batches         {} messages on average, {:.1} transactions/s, {} in all",
            rate(recent.batch_messages.mean().unwrap_or(0.0)),
            recent.batches_per_second,
            count(newest.batches),
        ),
        format!(
            "  consumer        {:.0} MB at most · {:.0} % of a core",
            newest.usage.peak_megabytes,
            recent.cores * 100.0
        ),
        format!(
            "  dead letter     {}",
            figures.dead_letter.as_deref().unwrap_or("none yet")
        ),
    ];
    if newest.lost > 0 {
        lines.push(format!("  LOST            {}", lost(newest)));
    }
    lines
}

fn line(newest: &Snapshot, recent: &Recent, elapsed: Duration, phase: &str) -> String {
    let mut line = format!(
        "  {:>4.0} s  produced {} ({}/s), stored {} ({}/s), dead-lettered {}, lag {}, latency p50 {} p99 {}, \
         batch {}",
        elapsed.as_secs_f64(),
        count(newest.produced),
        rate(recent.produced_per_second),
        count(newest.stored()),
        rate(recent.stored_per_second),
        count(newest.dead_lettered),
        count(newest.lag()),
        seconds(recent.latency.quantile(0.5)),
        seconds(recent.latency.quantile(0.99)),
        rate(recent.batch_messages.mean().unwrap_or(0.0)),
    );
    if phase != "running" {
        line = format!("{line} ({phase})");
    }
    if newest.lost > 0 {
        line = format!("{line} LOST: {}", lost(newest));
    }
    line
}

fn lost(newest: &Snapshot) -> String {
    format!(
        "{} events that the broker removed before they were read",
        count(newest.lost)
    )
}

/// A count with commas between the thousands.
pub(super) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// A rate or a mean, in whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and far below 2^53"
)]
pub(super) fn rate(rate: f64) -> String {
    count(rate.round() as u64)
}

/// A duration in the unit that fits.
pub(super) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(1_999.6), "2,000");
        assert_eq!(seconds(Some(0.0042)), "4.2 ms");
        assert_eq!(seconds(Some(0.042)), "42 ms");
        assert_eq!(seconds(Some(4.2)), "4.2 s");
        assert_eq!(seconds(None), "-");
    }
}
