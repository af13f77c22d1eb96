//! Owns what is told at the end: the account as a table, how fast it went, what it took, and the verdict.

use std::fmt::Write as _;

use super::account::{Account, Entry};
use super::figures::{Figures, per_second};
use super::panel::{count, rate, seconds};
use super::say;
use crate::generator::Summary;

pub(super) fn tell(account: &Account, figures: &Figures, produced: &Summary) {
    say(&table(account));
    say(&speed(figures, produced));
    say(&verdict(account));
}

fn table(account: &Account) -> String {
    let line = |name: &str, entry: &Entry| {
        let mark = if entry.produced == entry.found {
            ""
        } else {
            "  <--"
        };
        format!(
            "  {name:<40}{:>14}{:>14}{mark}\n",
            count(entry.produced),
            count(entry.found)
        )
    };
    let mut text = format!("\n  {:<40}{:>14}{:>14}\n", "", "produced", "PostgreSQL");
    for (table, kind) in account.tables.iter().zip(["server_metric", "application_metric"]) {
        text += &line(&format!("{kind:<18} -> {}", table.name), table);
    }
    let refused = Entry {
        name: String::new(),
        produced: account.reasons.iter().map(|reason| reason.produced).sum(),
        found: account.dead_letters(),
    };
    text += &line("malformed          -> dead_letters", &refused);
    for reason in &account.reasons {
        text += &line(&format!("                      {}", reason.name), reason);
    }
    let all = Entry {
        name: String::new(),
        produced: account.acknowledged + account.failed,
        found: account.rows() + account.dead_letters(),
    };
    text += &line("all", &all);
    let offsets = &account.offsets;
    let _ = writeln!(
        text,
        "  Kafka's log ends at {}, consumer_offsets at {}: {} stored + {} dead-lettered + {} skipped",
        count(account.log_end),
        count(offsets.next_offset),
        count(offsets.stored),
        count(offsets.dead_lettered),
        count(offsets.skipped),
    );
    text
}

fn speed(figures: &Figures, produced: &Summary) -> String {
    let Some(last) = figures.newest() else {
        return "  the consumer never told its figures\n".to_owned();
    };
    let elapsed = (last.at - figures.begun).as_secs_f64();
    let quantile = |share| seconds(last.latency.quantile(share));
    let per_event = last.usage.cpu_seconds * 1e6 / per_second(last.consumed.max(1), 1.0);
    format!(
        "  rate       {} events/s over {:.1} s; the last one was committed {:.1} s later\n  \
           latency    p50 {}, p99 {}: from the event's timestamp in Kafka to the commit of its row, whole run\n  \
           batches    {} transactions, {} messages each on average\n  \
           consumer   {:.0} MB of memory at most, {:.1} s of CPU ({per_event:.1} µs an event)\n",
        rate(produced.rate()),
        produced.elapsed.as_secs_f64(),
        (elapsed - produced.elapsed.as_secs_f64()).max(0.0),
        quantile(0.5),
        quantile(0.99),
        count(last.batches),
        rate(last.batch_messages.mean().unwrap_or(0.0)),
        last.usage.peak_megabytes,
        last.usage.cpu_seconds,
    )
}

fn verdict(account: &Account) -> String {
    let told = account.disagreements();
    if told.is_empty() {
        let failed = match account.failed {
            0 => String::new(),
            failed => format!(" ({} more that Kafka did not take)", count(failed)),
        };
        return format!(
            "  the sums agree: {} produced{failed} = {} stored + {} dead-lettered",
            count(account.acknowledged),
            count(account.rows()),
            count(account.dead_letters())
        );
    }
    format!("  THE SUMS DO NOT AGREE:\n    {}", told.join("\n    "))
}
