//! Owns the account of what was sent, by kind, and tells it as text or as JSON.

use super::anomaly::Anomaly;
use super::malformed::Malformed;
use super::{Event, Kind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What was sent: `produced` = `server_metrics` + `application_metrics` + `malformed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages handed to the producer.
    pub produced: u64,
    /// Well-formed events of servers among them.
    pub server_metrics: u64,
    /// Well-formed events of services among them.
    pub application_metrics: u64,
    /// Messages among them that a consumer must refuse.
    pub malformed: u64,
    /// The same by kind, in the order of `Malformed::ALL`.
    pub malformed_by_kind: [u64; Malformed::ALL.len()],
    /// Readings among them that an anomaly touched.
    pub anomalous: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Messages among them that Kafka didn't take.
    pub failed: u64,
    /// From the first event until the last one was confirmed.
    pub elapsed: Duration,
    /// The seed that makes the same values again.
    pub seed: u64,
}

impl Summary {
    /// Counts one event that was handed over.
    pub fn count(&mut self, event: &Event<'_>) {
        self.produced += 1;
        self.bytes += event.payload.map_or(0, |payload| payload.len() as u64);
        self.anomalous += u64::from(event.anomaly.is_some());
        match event.kind {
            Kind::ServerMetric => self.server_metrics += 1,
            Kind::ApplicationMetric => self.application_metrics += 1,
            Kind::Malformed(kind) => {
                self.malformed += 1;
                self.malformed_by_kind[kind as usize] += 1;
            }
        }
    }

    /// How many messages a consumer must refuse, by the word for its reason.
    pub fn malformed_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let mut by_reason = BTreeMap::new();
        for (kind, count) in Malformed::ALL.iter().zip(self.malformed_by_kind) {
            if count > 0 {
                *by_reason.entry(kind.reason().as_str()).or_default() += count;
            }
        }
        by_reason
    }

    /// Messages a second, over the whole run.
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub fn rate(&self) -> f64 {
        if self.elapsed.is_zero() {
            return 0.0;
        }
        self.produced as f64 / self.elapsed.as_secs_f64()
    }

    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        let by_kind: Map<String, Value> = Malformed::ALL
            .iter()
            .zip(self.malformed_by_kind)
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.as_str().to_owned(), json!(count)))
            .collect();
        json!({
            "produced": self.produced,
            "server_metrics": self.server_metrics,
            "application_metrics": self.application_metrics,
            "malformed": self.malformed,
            "malformed_by_kind": by_kind,
            "malformed_by_reason": self.malformed_by_reason(),
            "anomalous": self.anomalous,
            "bytes": self.bytes,
            "failed": self.failed,
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "events_per_second": self.rate().round(),
            "seed": self.seed,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "produced {} events in {:.1} s ({:.0}/s, {} payload bytes), {} failed",
            self.produced,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.bytes,
            self.failed
        )?;
        writeln!(f, "  server_metric       {}", self.server_metrics)?;
        writeln!(f, "  application_metric  {}", self.application_metrics)?;
        writeln!(f, "  malformed           {}", self.malformed)?;
        for (reason, count) in self.malformed_by_reason() {
            writeln!(f, "    {reason:<17} {count}")?;
        }
        writeln!(
            f,
            "  touched by anomalies {} (seed {})",
            self.anomalous, self.seed
        )
    }
}

// The counts by kind are indexed by the kinds' order.
const _: () = {
    let mut i = 0;
    while i < Malformed::ALL.len() {
        assert!(Malformed::ALL[i] as usize == i);
        i += 1;
    }
    assert!(Anomaly::OF_SERVERS.len() + Anomaly::OF_SERVICES.len() == 8);
};
