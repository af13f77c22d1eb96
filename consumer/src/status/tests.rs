//! `/status` has the fields that `docs/status.md` says, all of them and no others.

use super::*;
use crate::dead_letter::{Reason, Refusal};
use crate::metrics::Stored;
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::{Batch, Fate, Incoming};
use crate::table::Coordinates;
use serde_json::Value;
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/status.md");

/// A process to which everything has happened that `/status` can tell.
fn status() -> Status {
    let metrics = Arc::new(Metrics::new(vec!["t".to_owned()], 1));
    let health = Arc::new(Health::new(1, Duration::from_secs(5), Instant::now()));
    let partition = Partition(3);
    metrics.partition_assigned(0, partition);
    metrics.partition_starts(0, partition, Offset(1234), None);
    metrics.retried("57P03");
    metrics.unmapped_field("f", 1);
    let at = Coordinates {
        topic: "topic",
        partition,
        offset: Offset(1234),
        timestamp_ms: None,
        key: None,
    };
    let mut batch = Batch::default();
    batch.open(0, 1, Instant::now());
    let incoming = Incoming {
        at,
        payload: Some(b"<b>\xff"),
    };
    let fate = Fate::Refused {
        event_type: Some("e".to_owned()),
        table: Some(0),
        refusal: Refusal::new(Reason::InvalidJson, "detail"),
    };
    batch.push(&incoming, Offset(1234), fate);
    metrics.batch_stored(&batch, &["server_metrics".to_owned()], &Stored::default());
    let facts = Facts {
        started: SystemTime::now(),
        topic: "topic".to_owned(),
        group: "group".to_owned(),
        workers: 1,
        commit_interval: Duration::from_secs(5),
    };
    let status = Status::new(facts, metrics, health, Arc::default());
    status.configured(vec![Setting {
        setting: "topic".to_owned(),
        value: "topic".to_owned(),
        source: "default".to_owned(),
    }]);
    status
}

/// The paths of all leaves: `a.b[].c`.
fn paths(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                paths(&format!("{path}{dot}{name}"), value, found);
            }
        }
        Value::Array(items) => {
            assert!(
                !items.is_empty(),
                "nothing in {path}: this test does not see its fields"
            );
            for item in items {
                paths(&format!("{path}[]"), item, found);
            }
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn the_shape_is_as_documented() {
    let whole: Value = serde_json::from_slice(&status().whole(Instant::now())).expect("JSON");
    let mut told = BTreeSet::new();
    paths("", &whole, &mut told);
    let (_, rest) = PAGE.split_once("<!-- shape: begin -->").expect("the beginning");
    let (table, _) = rest.split_once("<!-- shape: end -->").expect("the end");
    let documented: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" | "))
        .flat_map(|(fields, _)| fields.split(", "))
        .map(|field| field.trim_matches('`').to_owned())
        .collect();
    assert_eq!(told, documented);
}

#[test]
fn an_event_is_the_same_with_the_newest_point_in_the_place_of_what_stays() {
    let status = status();
    let whole: Value = serde_json::from_slice(&status.whole(Instant::now())).expect("JSON");
    let live: Value = serde_json::from_slice(&status.live(Instant::now())).expect("JSON");
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let missing: Vec<_> = names(&whole).difference(&names(&live)).cloned().collect();
    assert_eq!(missing, ["configuration", "history"]);
    assert_eq!(live["point"], whole["history"]["points"][0]);
    let letter = &live["dead_letters"]["newest"][0];
    assert_eq!(letter["payload"], "<b>\u{fffd}");
    assert_eq!(
        letter["replay"],
        "storage-consumer replay --partition 3 --offset 1234"
    );
    let line = String::from_utf8(status.live(Instant::now())).expect("UTF-8");
    assert!(!line.contains('\n'), "an event is one line");
}
