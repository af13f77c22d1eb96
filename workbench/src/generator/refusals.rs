//! Owns the proof that the consumer refuses each malformed message for the reason that its kind names,
//! and takes every other one: what decodes and encodes here is the product itself.

use super::*;
use storage_consumer::dead_letter::{Reason, Refusal};
use storage_consumer::offsets::{Offset, Partition};
use storage_consumer::pipeline::decode::Decoder;
use storage_consumer::pipeline::encode::Encoder;
use storage_consumer::table::{Column, ColumnType, Coordinates, Source, Table, TableName};

fn table(name: &str, identity: &str, numbers: &[&str], integers: &[&str], texts: &[&str]) -> Table {
    let required = [
        ("timestamp", ColumnType::Timestamptz),
        (identity, ColumnType::Text),
    ];
    let optional = numbers
        .iter()
        .map(|name| (*name, ColumnType::Float8))
        .chain(integers.iter().map(|name| (*name, ColumnType::Int4)))
        .chain(texts.iter().map(|name| (*name, ColumnType::Text)));
    let columns = required
        .into_iter()
        .map(|column| (column, true))
        .chain(optional.map(|column| (column, false)))
        .map(|((name, kind), not_null)| Column {
            name: name.to_owned(),
            kind,
            not_null,
            default: None,
            source: Source::Field,
        })
        .collect();
    Table {
        name: TableName {
            schema: None,
            name: name.to_owned(),
        },
        columns,
        key: Vec::new(),
        fingerprint: String::new(),
    }
}

/// The consumer's way with a message, up to the row.
struct Consumer {
    decoder: Decoder,
    servers: Encoder,
    applications: Encoder,
    rows: Vec<u8>,
    keys: Vec<u8>,
}

impl Consumer {
    fn new() -> Self {
        let servers = table(
            "server_metrics",
            "server_id",
            &[
                "cpu_usage_percent",
                "memory_usage_percent",
                "memory_available_gb",
                "disk_usage_percent",
                "disk_read_mbps",
                "disk_write_mbps",
                "network_rx_mbps",
                "network_tx_mbps",
                "cpu_temperature_celsius",
                "power_consumption_watts",
            ],
            &["fan_speed_rpm"],
            &["rack_id", "datacenter_zone"],
        );
        let applications = table(
            "application_metrics",
            "service_name",
            &[
                "request_rate_per_sec",
                "response_time_p50_ms",
                "response_time_p95_ms",
                "response_time_p99_ms",
                "error_rate_percent",
            ],
            &["error_count", "active_connections", "queue_depth"],
            &["server_id", "endpoint"],
        );
        Self {
            decoder: Decoder::default(),
            servers: Encoder::new(&servers),
            applications: Encoder::new(&applications),
            rows: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn take(&mut self, message: &Event<'_>) -> Result<(), Refusal> {
        let event = self.decoder.decode(message.payload)?;
        let encoder = match event.event_type() {
            "server_metric" => &mut self.servers,
            "application_metric" => &mut self.applications,
            other => return Err(Refusal::new(Reason::UnknownType, other)),
        };
        let at = Coordinates {
            topic: "metrics",
            partition: Partition(0),
            offset: Offset(0),
            timestamp_ms: None,
            key: Some(message.key),
        };
        self.rows.clear();
        self.keys.clear();
        encoder.encode(&event, &at, &mut self.rows, &mut self.keys, &mut |_| {})
    }
}

#[test]
fn the_consumer_refuses_what_is_malformed_for_its_reason_and_takes_the_rest() {
    for config in [Config::Normal, Config::Chaos] {
        let mut generator = Generator::new(&Settings {
            config,
            malformed_ratio: 0.5,
            anomaly_probability: 0.3,
            seed: Some(11),
            ..Settings::default()
        });
        let mut consumer = Consumer::new();
        for _ in 0..20_000 {
            let message = generator.next_event(Timestamp::UNIX_EPOCH);
            let show = || {
                format!(
                    "{:?} {:?}",
                    message.kind,
                    message.payload.map(String::from_utf8_lossy)
                )
            };
            match (consumer.take(&message), message.kind) {
                (Ok(()), Kind::ServerMetric | Kind::ApplicationMetric) => {}
                (Err(refusal), Kind::Malformed(kind)) => {
                    assert_eq!(refusal.reason, kind.reason(), "{refusal:?} {}", show());
                }
                (result, _) => panic!("{result:?} {}", show()),
            }
        }
    }
}
