//! Owns what the micro-benchmarks and the instruction counts have in common: the events, the tables, and batches that
//! are to be put in order.

use std::fmt::Write as _;
use std::time::Instant;

use storage_consumer::offsets::{Offset, Partition};
use storage_consumer::pipeline::batch::{Batch, Fate, Incoming, SortedRows};
use storage_consumer::pipeline::decode::{Decoder, Event};
use storage_consumer::pipeline::encode::Encoder;
use storage_consumer::table::{Column, ColumnType, Coordinates, KeyColumn, Source, Table, TableName};

pub(crate) const EVENTS: [Events; 4] = [
    Events::Server,
    Events::Application,
    Events::Mixed,
    Events::Unrounded,
];

/// Which of the two built-in events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Events {
    Server,
    Application,
    /// One after the other, as in a topic.
    Mixed,
    /// `Server` with floats of up to 17 digits.
    Unrounded,
}

impl Events {
    pub(crate) fn payloads(self) -> Vec<Vec<u8>> {
        let mut random = Random {
            state: 1,
            unrounded: matches!(self, Self::Unrounded),
        };
        (0..Turns::ROUND)
            .map(|turn| match self {
                Self::Application => application(&mut random),
                Self::Mixed if turn % 2 == 1 => application(&mut random),
                Self::Server | Self::Mixed | Self::Unrounded => server(&mut random, 100),
            })
            .map(String::into_bytes)
            .collect()
    }
}

/// Events in turns.
pub(crate) struct Turns {
    payloads: Vec<Vec<u8>>,
    turn: usize,
}

impl Turns {
    /// After so many turns it begins again.
    pub(crate) const ROUND: usize = 1_024;

    pub(crate) fn new(events: Events) -> Self {
        Self {
            payloads: events.payloads(),
            turn: 0,
        }
    }

    pub(crate) fn next(&mut self) -> &[u8] {
        self.turn = (self.turn + 1) % self.payloads.len();
        &self.payloads[self.turn]
    }

    /// What an event has on average.
    pub(crate) fn bytes(&self) -> usize {
        self.payloads.iter().map(Vec::len).sum::<usize>() / self.payloads.len()
    }
}

/// Where rows are written.
pub(crate) struct Rows {
    server: Encoder,
    application: Encoder,
    bytes: Vec<u8>,
    keys: Vec<u8>,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            server: Encoder::new(&server_metrics()),
            application: Encoder::new(&application_metrics()),
            bytes: Vec::with_capacity(2 << 20),
            keys: Vec::with_capacity(2 << 20),
        }
    }

    pub(crate) fn encode(&mut self, event: &Event<'_>) {
        if self.bytes.len() > 1 << 20 {
            self.bytes.clear();
            self.keys.clear();
        }
        let encoder = match event.event_type() {
            "server_metric" => &mut self.server,
            _ => &mut self.application,
        };
        encoder
            .encode(
                event,
                &coordinates(),
                &mut self.bytes,
                &mut self.keys,
                &mut |_| {},
            )
            .expect("a row");
    }
}

/// Batches as they are before they are sorted, used in turns, so that no branch predictor learns one's order by heart.
pub(crate) struct Batches {
    batches: Vec<Batch>,
    turn: usize,
}

impl Batches {
    /// Rows of a batch, of so many servers, in no order.
    pub(crate) const ROWS: usize = 10_000;
    const SERVERS: usize = 2_000;
    pub(crate) const COUNT: usize = 4;

    pub(crate) fn new() -> Self {
        let mut random = Random {
            state: 1,
            unrounded: false,
        };
        let mut decoder = Decoder::default();
        let mut encoder = Encoder::new(&server_metrics());
        let batch = |_| {
            let mut batch = Batch::default();
            batch.open(1, 1, Instant::now());
            for _ in 0..Self::ROWS {
                let payload = server(&mut random, Self::SERVERS);
                let event = decoder.decode(Some(payload.as_bytes())).expect("valid");
                let (bytes, keys) = batch.row_buffers(0);
                encoder
                    .encode(&event, &coordinates(), bytes, keys, &mut |_| {})
                    .expect("a row");
                let incoming = Incoming {
                    at: coordinates(),
                    payload: Some(payload.as_bytes()),
                };
                batch.push(&incoming, Offset(1), Fate::Row { table: 0 });
            }
            batch
        };
        Self {
            batches: (0..Self::COUNT).map(batch).collect(),
            turn: 0,
        }
    }

    /// Sorts the next batch, lets its rows be used, and gives them back, after which it is unsorted again.
    pub(crate) fn sort(&mut self, take: impl FnOnce(&SortedRows)) {
        self.turn = (self.turn + 1) % self.batches.len();
        let batch = &mut self.batches[self.turn];
        let rows = batch.sort(0);
        take(&rows);
        batch.recycle(0, rows);
    }
}

/// What a connection is given, in pieces as the store makes them; tells how many bytes.
pub(crate) fn copy(rows: &SortedRows) -> usize {
    rows.copy_data(0..rows.len(), 64 * 1024)
        .map(|piece| piece.len())
        .sum()
}

fn coordinates() -> Coordinates<'static> {
    Coordinates {
        topic: "metrics",
        partition: Partition(0),
        offset: Offset(1),
        timestamp_ms: Some(1_735_732_800_000),
        key: Some(b"server-001"),
    }
}

fn server_metrics() -> Table {
    use ColumnType::{Float8, Int4, Text, Timestamptz};
    table(
        "server_metrics",
        &[
            ("timestamp", Timestamptz, true),
            ("server_id", Text, true),
            ("cpu_usage_percent", Float8, false),
            ("memory_usage_percent", Float8, false),
            ("memory_available_gb", Float8, false),
            ("disk_usage_percent", Float8, false),
            ("disk_read_mbps", Float8, false),
            ("disk_write_mbps", Float8, false),
            ("network_rx_mbps", Float8, false),
            ("network_tx_mbps", Float8, false),
            ("cpu_temperature_celsius", Float8, false),
            ("power_consumption_watts", Float8, false),
            ("fan_speed_rpm", Int4, false),
            ("rack_id", Text, false),
            ("datacenter_zone", Text, false),
        ],
    )
}

fn application_metrics() -> Table {
    use ColumnType::{Float8, Int4, Text, Timestamptz};
    table(
        "application_metrics",
        &[
            ("timestamp", Timestamptz, true),
            ("service_name", Text, true),
            ("request_rate_per_sec", Float8, false),
            ("response_time_p50_ms", Float8, false),
            ("response_time_p95_ms", Float8, false),
            ("response_time_p99_ms", Float8, false),
            ("error_rate_percent", Float8, false),
            ("error_count", Int4, false),
            ("active_connections", Int4, false),
            ("queue_depth", Int4, false),
            ("server_id", Text, false),
            ("endpoint", Text, false),
        ],
    )
}

fn table(name: &str, columns: &[(&str, ColumnType, bool)]) -> Table {
    Table {
        name: TableName {
            schema: None,
            name: name.to_owned(),
        },
        columns: columns
            .iter()
            .map(|&(name, kind, not_null)| Column {
                name: name.to_owned(),
                kind,
                not_null,
                default: None,
                source: Source::Field,
            })
            .collect(),
        key: vec![
            KeyColumn {
                column: 1,
                descending: false,
            },
            KeyColumn {
                column: 0,
                descending: true,
            },
        ],
        fingerprint: String::new(),
    }
}

fn server(random: &mut Random, servers: usize) -> String {
    let mut text = format!(
        r#"{{"timestamp": "2025-01-01T12:{:02}:{:02}.{:06}", "type": "server_metric", "server_id": "server-{:03}""#,
        random.below(60),
        random.below(60),
        random.below(1_000_000),
        random.below(servers)
    );
    for (name, most) in [
        ("cpu_usage_percent", 100),
        ("memory_usage_percent", 100),
        ("memory_available_gb", 256),
        ("disk_usage_percent", 100),
        ("disk_read_mbps", 500),
        ("disk_write_mbps", 500),
        ("network_rx_mbps", 1000),
        ("network_tx_mbps", 1000),
        ("cpu_temperature_celsius", 90),
        ("power_consumption_watts", 800),
    ] {
        random.float(&mut text, name, most);
    }
    let (fan, rack, zone) = (random.below(4000), random.below(20), random.below(4));
    let _ = write!(
        text,
        r#", "fan_speed_rpm": {}, "rack_id": "rack-{rack:02}", "datacenter_zone": "zone-{zone}"}}"#,
        800 + fan
    );
    text
}

fn application(random: &mut Random) -> String {
    let mut text = format!(
        r#"{{"timestamp": "2025-01-01T12:{:02}:{:02}.{:06}", "type": "application_metric", "service_name": "{}""#,
        random.below(60),
        random.below(60),
        random.below(1_000_000),
        ["checkout", "search", "user-service", "payment-gateway"][random.below(4)]
    );
    for (name, most) in [
        ("request_rate_per_sec", 2000),
        ("response_time_p50_ms", 100),
        ("response_time_p95_ms", 400),
        ("response_time_p99_ms", 1000),
        ("error_rate_percent", 5),
    ] {
        random.float(&mut text, name, most);
    }
    let (errors, connections, queue) = (random.below(50), random.below(2000), random.below(300));
    let _ = write!(
        text,
        r#", "error_count": {errors}, "active_connections": {connections}, "queue_depth": {queue}, "server_id": "server-{:03}", "endpoint": "/api/v1/orders/{}"}}"#,
        random.below(100),
        ["create", "list", "cancel"][random.below(3)]
    );
    text
}

/// Knuth's linear congruential generator: the same events in every run.
struct Random {
    state: u64,
    unrounded: bool,
}

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).expect("31 bits") % limit
    }

    /// A field as Python writes `round(x, 2)`, or `x`.
    fn float(&mut self, text: &mut String, name: &str, most: usize) {
        let (whole, cents) = (self.below(most), self.below(100));
        let _ = match cents {
            _ if self.unrounded => {
                let digits = self.below(1 << 30) * 1_000_000 + self.below(1_000_000);
                write!(
                    text,
                    r#", "{name}": {whole}.{cents:02}{}"#,
                    digits % 10_000_000_000_000
                )
            }
            _ if cents % 10 == 0 => write!(text, r#", "{name}": {whole}.{}"#, cents / 10),
            _ => write!(text, r#", "{name}": {whole}.{cents:02}"#),
        };
    }
}
