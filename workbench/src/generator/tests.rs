//! Owns what must hold of the stream of events as a whole.

use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const SERVER_FIELDS: [&str; 16] = [
    "timestamp",
    "type",
    "server_id",
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
    "fan_speed_rpm",
    "rack_id",
    "datacenter_zone",
];
const APPLICATION_FIELDS: [&str; 13] = [
    "timestamp",
    "type",
    "service_name",
    "request_rate_per_sec",
    "response_time_p50_ms",
    "response_time_p95_ms",
    "response_time_p99_ms",
    "error_rate_percent",
    "error_count",
    "active_connections",
    "queue_depth",
    "server_id",
    "endpoint",
];

fn seeded() -> Settings {
    Settings {
        seed: Some(42),
        ..Settings::default()
    }
}

/// Calls `look` with so many events of a load.
fn each(settings: &Settings, count: u32, mut look: impl FnMut(&Event<'_>)) {
    let mut generator = Generator::new(settings);
    for _ in 0..count {
        look(&generator.next_event(Timestamp::UNIX_EPOCH));
    }
}

fn object(event: &Event<'_>) -> serde_json::Map<String, Value> {
    let payload = event.payload.expect("well-formed events have one");
    match serde_json::from_slice(payload) {
        Ok(Value::Object(object)) => object,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(payload)),
    }
}

#[test]
fn well_formed_events_have_exactly_their_fields_in_sane_ranges() {
    let settings = Settings {
        anomaly_probability: 0.3,
        ..seeded()
    };
    let mut bytes = (0, 0_u32);
    each(&settings, 20_000, |event| {
        let object = object(event);
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        if event.kind == Kind::ServerMetric {
            assert_eq!(names, SERVER_FIELDS);
            assert_eq!(object["type"], "server_metric");
            bytes = (bytes.0 + event.payload.map_or(0, <[u8]>::len), bytes.1 + 1);
        } else {
            assert_eq!(event.kind, Kind::ApplicationMetric);
            assert_eq!(names, APPLICATION_FIELDS);
            assert_eq!(object["type"], "application_metric");
        }
        assert_eq!(object["timestamp"], "1970-01-01T00:00:00+00:00");
        assert_eq!(object["server_id"].as_str().map(str::as_bytes), Some(event.key));
        for (name, value) in &object {
            let Some(number) = value.as_f64() else { continue };
            let limit = match name.as_str() {
                name if name.ends_with("_percent") => 100.0,
                "cpu_temperature_celsius" => 110.0,
                "network_rx_mbps" | "network_tx_mbps" => 1_180.0,
                "disk_read_mbps" | "disk_write_mbps" => 540.0,
                "power_consumption_watts" => 1_200.0,
                "fan_speed_rpm" => 9_500.0,
                _ => 1e5,
            };
            assert!((0.0..=limit).contains(&number), "{name}: {number}");
            let whole = [
                "fan_speed_rpm",
                "error_count",
                "active_connections",
                "queue_depth",
            ];
            assert_eq!(value.is_u64(), whole.contains(&name.as_str()), "{name}: {value}");
        }
    });
    let mean = bytes.0 / bytes.1 as usize;
    assert!((430..=480).contains(&mean), "{mean} bytes a server's event");
}

#[test]
fn all_eight_anomalies_occur_with_the_asked_probability() {
    let mut seen: BTreeMap<Anomaly, u32> = BTreeMap::new();
    each(&seeded(), 200_000, |event| {
        if let Some(anomaly) = event.anomaly {
            *seen.entry(anomaly).or_default() += 1;
        }
    });
    assert_eq!(seen.len(), 8, "{seen:?}");
    let share = f64::from(seen.values().sum::<u32>()) / 200_000.0;
    assert!((share - 0.05).abs() < 0.015, "{share}");
}

#[test]
fn every_server_and_service_reports_equally_often() {
    let mut of_sender: BTreeMap<String, u32> = BTreeMap::new();
    each(&seeded(), 15_000, |event| {
        let object = object(event);
        let sender = object.get("service_name").unwrap_or(&object["server_id"]);
        *of_sender.entry(sender.to_string()).or_default() += 1;
    });
    assert_eq!(of_sender.len(), 15);
    assert!(of_sender.values().all(|count| *count == 1_000), "{of_sender:?}");
}

fn digest(settings: &Settings, now: Timestamp) -> Vec<Option<Vec<u8>>> {
    let mut generator = Generator::new(settings);
    (0..5_000)
        .map(|_| generator.next_event(now).payload.map(<[u8]>::to_vec))
        .collect()
}

#[test]
fn one_seed_makes_one_stream() {
    for config in [Config::Normal, Config::Chaos] {
        let settings = Settings {
            config,
            malformed_ratio: 0.05,
            start_time: Some(Timestamp::UNIX_EPOCH),
            ..seeded()
        };
        let now = Timestamp::from_second(1_750_000_000).expect("a time");
        assert!(digest(&settings, Timestamp::UNIX_EPOCH) == digest(&settings, now));
        let other = Settings {
            seed: Some(43),
            ..settings.clone()
        };
        assert!(digest(&settings, now) != digest(&other, now));
    }
}

#[test]
fn with_a_seed_and_no_start_time_only_timestamps_follow_the_clock() {
    let values = |now| {
        let mut generator = Generator::new(&seeded());
        let values: Vec<_> = (0..3_000)
            .map(|_| {
                let mut object = object(&generator.next_event(now));
                object.remove("timestamp");
                object
            })
            .collect();
        values
    };
    assert!(values(Timestamp::UNIX_EPOCH) == values(Timestamp::from_second(1_750_000_000).expect("a time")));
}

#[test]
fn broken_messages_leave_the_others_as_they_were() {
    let sound = digest(&seeded(), Timestamp::UNIX_EPOCH);
    let settings = Settings {
        malformed_ratio: 0.2,
        ..seeded()
    };
    let mut sound = sound.iter();
    each(&settings, 5_000, |event| {
        let unbroken = sound.next().expect("as many");
        if !matches!(event.kind, Kind::Malformed(_)) {
            assert!(event.payload == unbroken.as_deref());
        }
    });
}

#[test]
fn a_start_time_advances_by_the_rate() {
    let settings = Settings {
        start_time: Some("2025-01-01T00:00:00Z".parse().expect("a time")),
        rate: 4.0,
        ..seeded()
    };
    let mut times = Vec::new();
    each(&settings, 3, |event| {
        times.push(object(event)["timestamp"].clone());
    });
    assert_eq!(
        times,
        [
            "2025-01-01T00:00:00+00:00",
            "2025-01-01T00:00:00.250000+00:00",
            "2025-01-01T00:00:00.500000+00:00"
        ]
    );
}

#[test]
fn chaos_stirs_order_fields_and_time_but_keeps_events_whole() {
    let settings = Settings {
        config: Config::Chaos,
        start_time: Some("2025-01-01T00:00:00Z".parse().expect("a time")),
        ..seeded()
    };
    let (mut extra, mut other_order, mut late, mut unknown, mut anomalous) = (0, 0, 0, 0, 0);
    let mut latest = String::new();
    each(&settings, 20_000, |event| {
        let object = object(event);
        anomalous += u32::from(event.anomaly.is_some());
        let fields: &[&str] = match event.kind {
            Kind::ServerMetric => &SERVER_FIELDS,
            Kind::ApplicationMetric => &APPLICATION_FIELDS,
            Kind::Malformed(kind) => {
                assert_eq!(kind, Malformed::UnknownType);
                unknown += 1;
                return;
            }
        };
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        let set: BTreeSet<&str> = names.iter().copied().collect();
        assert!(fields.iter().all(|field| set.contains(field)));
        extra += u32::from(names.len() > fields.len());
        other_order += u32::from(names[..fields.len()] != *fields);
        let time = object["timestamp"].as_str().expect("text");
        if time < latest.as_str() {
            late += 1;
        } else {
            latest = time.to_owned();
        }
    });
    assert!(
        extra > 1_000 && other_order > 4_000 && late > 500,
        "{extra} {other_order} {late}"
    );
    assert!(unknown > 100 && anomalous > 3_000, "{unknown} {anomalous}");
}

#[test]
fn malformed_messages_of_every_kind_occur_and_are_what_they_say() {
    for config in [Config::Normal, Config::Chaos] {
        let settings = Settings {
            config,
            malformed_ratio: 0.3,
            ..seeded()
        };
        let mut summary = Summary::default();
        each(&settings, 50_000, |event| {
            summary.count(event);
            if let Kind::Malformed(kind) = event.kind {
                assert_broken(kind, event.payload);
            }
        });
        assert_eq!(summary.produced, 50_000);
        assert_eq!(
            summary.server_metrics + summary.application_metrics + summary.malformed,
            50_000
        );
        assert_eq!(summary.malformed_by_kind.iter().sum::<u64>(), summary.malformed);
        assert_eq!(
            summary.malformed_by_reason().values().sum::<u64>(),
            summary.malformed
        );
        assert!(
            summary.malformed_by_kind.iter().all(|count| *count > 500),
            "{summary}"
        );
        assert!((14_500..16_000).contains(&summary.malformed), "{summary}");
        assert_eq!(
            summary.to_json()["malformed_by_reason"]
                .as_object()
                .map(serde_json::Map::len),
            Some(8)
        );
    }
}

/// Checks a kind's defect, as far as `serde_json` can see it.
fn assert_broken(kind: Malformed, payload: Option<&[u8]>) {
    let show = || format!("{kind:?}: {:?}", payload.map(String::from_utf8_lossy));
    let parsed = payload.map(serde_json::from_slice::<Value>);
    match kind {
        Malformed::Tombstone => assert!(payload.is_none()),
        Malformed::Empty => assert_eq!(payload, Some(&b""[..])),
        Malformed::Truncated | Malformed::TrailingData => {
            assert!(matches!(parsed, Some(Err(_))), "{}", show());
        }
        Malformed::BrokenUtf8 => assert!(str::from_utf8(payload.unwrap_or_default()).is_err(), "{}", show()),
        Malformed::NotAnObject => assert!(matches!(parsed, Some(Ok(v)) if !v.is_object()), "{}", show()),
        // serde_json takes no number beyond a double's range.
        Malformed::OutOfRange if !matches!(parsed, Some(Ok(_))) => {
            assert!(show().contains("e999") || show().contains("e400"), "{}", show());
        }
        _ => {
            let Some(Ok(Value::Object(object))) = parsed else {
                panic!("{}", show())
            };
            let known = ["server_metric", "application_metric"];
            match kind {
                Malformed::MissingType => assert!(object.get("type").is_none_or(|t| !t.is_string())),
                Malformed::UnknownType => {
                    assert!(object["type"].as_str().is_some_and(|t| !known.contains(&t)));
                }
                Malformed::MissingField => assert!(
                    ["timestamp", "server_id", "service_name"]
                        .iter()
                        .filter(|name| object.get(**name).is_some_and(|v| !v.is_null()))
                        .count()
                        < if object["type"] == "server_metric" { 2 } else { 3 }
                ),
                Malformed::NulCharacter => {
                    assert!(
                        object
                            .values()
                            .any(|v| v.as_str().is_some_and(|s| s.contains('\0')))
                    );
                }
                Malformed::InvalidTimestamp => {
                    let text = object["timestamp"].as_str().expect("text");
                    assert!(text.parse::<Timestamp>().is_err(), "{}", show());
                }
                _ => {}
            }
        }
    }
}

/// Run with `cargo test --release -p workbench --lib -- --ignored --nocapture fast`.
#[test]
#[ignore = "measures, and a debug build is slow"]
#[expect(clippy::print_stderr, reason = "the number is what one runs it for")]
fn generates_fast() {
    let mut generator = Generator::new(&seeded());
    let started = std::time::Instant::now();
    let mut bytes = 0;
    for _ in 0..2_000_000 {
        bytes += generator
            .next_event(Timestamp::now())
            .payload
            .map_or(0, <[u8]>::len);
    }
    let rate = 2_000_000.0 / started.elapsed().as_secs_f64();
    eprintln!(
        "generated {rate:.0} events/s on one core, {} bytes each",
        bytes / 2_000_000
    );
    assert!(rate > 300_000.0);
}
