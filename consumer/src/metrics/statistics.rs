//! Owns the statistics line: the counts since the start, with the keys that dashboards and scripts know.

use super::{Metrics, as_float};
use crate::dead_letter::Reason;
use serde_json::{Map, Value};
use std::time::Duration;

/// The counts since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Messages whose fate is committed.
    pub total_consumed: u64,
    /// Rows committed, by table.
    pub rows: Vec<(String, u64)>,
    /// Messages that could not be decoded or encoded.
    pub parse_errors: u64,
    /// Rows that PostgreSQL refused.
    pub insert_errors: u64,
    /// Messages whose type has no route, whether kept as dead letters or skipped.
    pub unknown_type: u64,
    /// Messages kept in `dead_letters`.
    pub dead_letters: u64,
    /// Messages in Kafka that are not stored yet, in the partitions of this process.
    pub lag: u64,
}

impl Metrics {
    /// The counts as they are now.
    pub fn statistics(&self) -> Statistics {
        let by_reason = |wanted: &dyn Fn(Reason) -> bool| -> u64 {
            Reason::ALL
                .iter()
                .zip(&self.reasons)
                .filter(|(reason, _)| wanted(**reason))
                .map(|(_, count)| count.get())
                .sum()
        };
        let rows = self.rows.lock().expect("not poisoned").clone();
        let dead_letters = by_reason(&|_| true);
        Statistics {
            total_consumed: rows.iter().map(|(_, rows)| rows).sum::<u64>()
                + dead_letters
                + self.skipped.get(),
            rows,
            parse_errors: by_reason(&|reason| {
                !matches!(reason, Reason::UnknownType | Reason::RejectedByDatabase)
            }),
            insert_errors: by_reason(&|reason| reason == Reason::RejectedByDatabase),
            unknown_type: self.unknown_type.get(),
            dead_letters,
            lag: self.lags().values().sum(),
        }
    }
}

impl Statistics {
    /// The line of every interval: `before` is the one before, `since` the time between the two.
    #[must_use]
    pub fn line(&self, before: &Self, since: Duration, elapsed: Duration) -> String {
        let rate = rate(self.total_consumed - before.total_consumed, since);
        self.keys([
            ("rate_per_sec", rate),
            ("elapsed_sec", tenths(elapsed.as_secs_f64())),
        ])
    }

    /// The line at the end.
    #[must_use]
    pub fn last_line(&self, elapsed: Duration) -> String {
        let rate = rate(self.total_consumed, elapsed);
        self.keys([
            ("avg_rate_per_sec", rate),
            ("elapsed_sec", tenths(elapsed.as_secs_f64())),
        ])
    }

    fn keys(&self, floats: [(&str, f64); 2]) -> String {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        put("total_consumed", self.total_consumed.into());
        for (table, rows) in &self.rows {
            put(table, (*rows).into());
        }
        put("parse_errors", self.parse_errors.into());
        put("insert_errors", self.insert_errors.into());
        put("unknown_type", self.unknown_type.into());
        put("dead_letters", self.dead_letters.into());
        put("lag", self.lag.into());
        for (key, value) in floats {
            put(key, value.into());
        }
        Value::Object(keys).to_string()
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    tenths(as_float(count) / time.as_secs_f64().max(1e-3))
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_have_the_keys_that_scripts_know() {
        let before = Metrics::new(vec!["server_metrics".into(), "gpu_metrics".into()]).statistics();
        let now = Statistics {
            total_consumed: 500,
            lag: 7,
            ..before.clone()
        };
        assert_eq!(
            now.line(&before, Duration::from_secs(10), Duration::from_secs(20)),
            r#"{"total_consumed":500,"server_metrics":0,"gpu_metrics":0,"parse_errors":0,"insert_errors":0,"unknown_type":0,"dead_letters":0,"lag":7,"rate_per_sec":50.0,"elapsed_sec":20.0}"#
        );
        assert!(
            now.last_line(Duration::from_secs(20))
                .contains(r#""avg_rate_per_sec":25.0"#)
        );
    }
}
