//! The event contract: hostile messages end as it says, and the table is the schema.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, query};
use crate::shared::{Scene, kafka, postgres};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use workbench::services::wait_until;

/// Sends messages in their order to partition 0; `None` is a tombstone.
pub(crate) fn send(scene: &Scene, payloads: &[Option<Vec<u8>>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka().bootstrap())
        .set("message.max.bytes", "2000000")
        .create()
        .expect("a producer");
    for payload in payloads {
        let mut record = BaseRecord::<[u8], [u8]>::to(&scene.topic)
            .partition(0)
            .key(b"a key");
        if let Some(payload) = payload {
            record = record.payload(payload);
        }
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("the message is queued");
    }
    producer.flush(PATIENCE).expect("all messages are sent");
}

fn server_event(fields: &str) -> String {
    format!(r#"{{"type": "server_metric", "server_id": "s1", "timestamp": "2025-01-01T12:00:00"{fields}}}"#)
}

/// What becomes of one message.
enum Fate {
    /// A row; the query's condition finds it.
    Row(&'static str),
    /// A dead letter with that reason.
    Letter(&'static str),
}

#[test]
fn hostile_messages_end_as_the_contract_says() {
    use Fate::{Letter, Row};
    let long = "x".repeat(1_000_000);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: Vec<(Vec<u8>, Fate)> = [
        (
            server_event(r#", "cpu_usage_percent": 1.5"#),
            Row("cpu_usage_percent = 1.5"),
        ),
        (
            server_event(r#", "cpu_usage_percent": NaN"#),
            Row("cpu_usage_percent = 'NaN'"),
        ),
        (
            server_event(r#", "disk_read_mbps": -Infinity"#),
            Row("disk_read_mbps = '-Infinity'"),
        ),
        (
            server_event(r#", "fan_speed_rpm": 7.0"#),
            Row("fan_speed_rpm = 7"),
        ),
        (
            server_event(r#", "rack_id": "\u00e9\ud83d\ude00""#),
            Row("rack_id = 'é😀'"),
        ),
        (server_event(r#", "rack_id": 12.50"#), Row("rack_id = '12.50'")),
        (server_event(r#", "rack_id": true"#), Row("rack_id = 'true'")),
        (
            server_event(r#", "rack_id": "first", "rack_id": "last""#),
            Row("rack_id = 'last'"),
        ),
        (
            server_event(r#", "rack_id": null, "unknown": {"a": [1, {"b": "}"}]}"#),
            Row("rack_id IS NULL AND fan_speed_rpm IS NULL"),
        ),
        (
            server_event(&format!(r#", "deep": {deep}, "rack_id": "deep""#)),
            Row("rack_id = 'deep'"),
        ),
        (
            server_event(&format!(r#", "datacenter_zone": "{long}""#)),
            Row("length(datacenter_zone) = 1000000"),
        ),
        (
            r#"{"server_id": "last", "timestamp": "2025-01-01 12:00:00.5+02:00", "type": "server_metric"}"#
                .to_owned(),
            Row("server_id = 'last' AND timestamp = '2025-01-01 10:00:00.5Z'"),
        ),
        (
            r#"{"type": "server_metric", "server_id": "naive", "timestamp": "2025-01-01T12:00:00.123456"}"#
                .to_owned(),
            Row("server_id = 'naive' AND timestamp = '2025-01-01 12:00:00.123456Z'"),
        ),
        (
            r#"{"type": "server_metric", "server_id": "unix", "timestamp": 1735732800.25}"#.to_owned(),
            Row("server_id = 'unix' AND timestamp = '2025-01-01 12:00:00.25Z'"),
        ),
        (
            r#"{"type": "server_metric", "server_id": "ms", "timestamp": 1735732800250}"#.to_owned(),
            Row("server_id = 'ms' AND timestamp = '2025-01-01 12:00:00.25Z'"),
        ),
        (
            server_event(r#", "cpu_usage_percent": "1.5""#),
            Letter("type_mismatch"),
        ),
        (
            server_event(r#", "cpu_usage_percent": 1e400"#),
            Letter("out_of_range"),
        ),
        (
            server_event(r#", "fan_speed_rpm": 2147483648"#),
            Letter("out_of_range"),
        ),
        (server_event(r#", "fan_speed_rpm": 1.5"#), Letter("type_mismatch")),
        (server_event(r#", "rack_id": [1]"#), Letter("type_mismatch")),
        (
            server_event(r#", "rack_id": "a\u0000b""#),
            Letter("nul_character"),
        ),
        (server_event(r#", "rack_id": "\ud800""#), Letter("invalid_json")),
        (
            server_event("").replace("2025-01-01T12:00:00", "yesterday"),
            Letter("invalid_timestamp"),
        ),
        (
            server_event("").replace("\"s1\"", "null"),
            Letter("missing_field"),
        ),
        (
            r#"{"type": "server_metric", "server_id": "s1"}"#.to_owned(),
            Letter("missing_field"),
        ),
        (r#"{"server_id": "s1"}"#.to_owned(), Letter("missing_type")),
        (
            r#"{"type": 7, "server_id": "s1"}"#.to_owned(),
            Letter("missing_type"),
        ),
        (
            r#"{"type": "gpu\u0000metric"}"#.to_owned(),
            Letter("unknown_type"),
        ),
        ("[1, 2]".to_owned(), Letter("invalid_json")),
        ("nonsense".to_owned(), Letter("invalid_json")),
        (String::new(), Letter("invalid_json")),
        (server_event("").replace('}', ""), Letter("invalid_json")),
        (format!("{} trailing", server_event("")), Letter("invalid_json")),
        // An index can't hold it: only the database knows.
        (
            server_event("").replace("s1", &scrambled(9000)),
            Letter("rejected_by_database"),
        ),
    ]
    .into_iter()
    .map(|(payload, fate)| (payload.into_bytes(), fate))
    .chain([(
        b"{\"type\": \"server_metric\", \"server_id\": \"\xff\xfe\"}".to_vec(),
        Letter("invalid_json"),
    )])
    .collect();

    let scene = Scene::new("hostile", 1);
    let mut payloads: Vec<Option<Vec<u8>>> = cases.iter().map(|(payload, _)| Some(payload.clone())).collect();
    payloads.push(None);
    send(&scene, &payloads);
    let consumer = Consumer::start(&scene, &[]);
    let messages = payloads.len() as u64;
    let found = expect_settled(&scene, postgres(), &consumer, messages);
    consumer.stop();

    let rows = cases.iter().filter(|(_, fate)| matches!(fate, Row(_))).count() as u64;
    assert_eq!((found.stored, found.dead_lettered), (rows, messages - rows));
    for (offset, (payload, fate)) in cases.iter().enumerate() {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(200)]);
        match fate {
            Row(condition) => {
                let sql = format!("SELECT count(*) FROM server_metrics WHERE {condition}");
                let found = query(postgres(), &scene.database, &sql).expect("a count");
                assert_ne!(found, "0", "{shown}: {condition}");
            }
            Letter(reason) => {
                let bytes: String = payload
                    .iter()
                    .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
                let sql = format!(
                    "SELECT reason || ' ' || (payload = '\\x{bytes}'::bytea) || ' ' || (key = 'a key'::bytea)
                     FROM dead_letters WHERE \"offset\" = {offset}"
                );
                let found = query(postgres(), &scene.database, &sql);
                assert_eq!(
                    found.as_deref(),
                    Some(format!("{reason} true true").as_str()),
                    "{shown}"
                );
            }
        }
    }
    let tombstone = format!(
        "SELECT reason || ' ' || (payload IS NULL) FROM dead_letters WHERE \"offset\" = {}",
        payloads.len() - 1
    );
    assert_eq!(
        query(postgres(), &scene.database, &tombstone).as_deref(),
        Some("invalid_json true")
    );
}

/// Letters that don't compress, so that an index row is as long as it looks.
fn scrambled(length: usize) -> String {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).expect("below 90"))
    })
    .filter(|letter| !['"', '\\'].contains(letter))
    .take(length)
    .collect()
}

#[test]
fn rows_that_only_the_database_refuses_cost_one_row_each() {
    let scene = Scene::new("refused", 1);
    let mut migrate = Consumer::launch(&scene, "127.0.0.1:1", postgres().port(), "migrate", &[]);
    assert!(migrate.wait().success());
    let sql = "ALTER TABLE server_metrics ADD CONSTRAINT fans CHECK (fan_speed_rpm < 9000);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.rack_id = 'bad' THEN RAISE EXCEPTION 'bad rack'; END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER racks AFTER INSERT ON server_metrics
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
        CREATE UNIQUE INDEX zones ON server_metrics (datacenter_zone)";
    postgres().execute(&scene.database, sql).expect("the constraints");
    let payloads: Vec<Option<Vec<u8>>> = (0..3000)
        .map(|number| {
            let fields = match number {
                100 | 101 | 2999 => r#", "fan_speed_rpm": 9000"#.to_owned(),
                500 => r#", "rack_id": "bad""#.to_owned(),
                700 | 800 => r#", "datacenter_zone": "twice""#.to_owned(),
                _ => format!(r#", "datacenter_zone": "{number}""#),
            };
            Some(server_event(&fields).into_bytes())
        })
        .collect();
    send(&scene, &payloads);
    let consumer = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &consumer, 3000);
    assert_eq!((found.stored, found.dead_lettered), (2995, 5));
    let states =
        "SELECT string_agg(\"offset\" || ' ' || sqlstate, ', ' ORDER BY \"offset\") FROM dead_letters";
    assert_eq!(
        query(postgres(), &scene.database, states).as_deref(),
        Some("100 23514, 101 23514, 500 P0001, 800 23505, 2999 23514")
    );
    let lines = consumer.stop();
    assert_eq!(crate::consumer::last_statistics(&lines)["insert_errors"], 5);
}

#[test]
fn a_new_event_type_needs_a_table_and_a_flag_and_columns_may_come_and_go() {
    let scene = Scene::new("tables", 1);
    let sql = "CREATE TABLE gpu_metrics (
        at timestamptz NOT NULL, gpu_id uuid, load numeric(6,3), ok boolean NOT NULL DEFAULT true, note varchar(5),
        day date, extra jsonb, id bigint GENERATED ALWAYS AS IDENTITY, seen timestamptz DEFAULT now(),
        kafka_topic text, kafka_partition integer, kafka_offset bigint, kafka_timestamp timestamptz, kafka_key bytea)";
    postgres().execute(&scene.database, sql).expect("the table");
    let event = |fields: &str| {
        Some(format!(r#"{{"type": "gpu_metric", "at": "2025-01-01T00:00:00Z"{fields}}}"#).into_bytes())
    };
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    send(
        &scene,
        &[
            event(&format!(
                r#", "gpu_id": "{id}", "load": 12.345, "day": "2025-02-03", "fan": 7, "tags": ["a"]"#
            )),
            event(r#", "ok": false, "note": "123456""#),
            event(r#", "load": 99999"#),
        ],
    );
    let consumer = Consumer::start(&scene, &["--route", "gpu_metric=gpu_metrics"]);
    let letters = |wanted: u64| {
        assert!(
            wait_until(PATIENCE, || count(&scene, postgres()).settled() == wanted),
            "{:?}\n{}",
            count(&scene, postgres()),
            consumer.text()
        );
    };
    letters(3);
    let row = "SELECT concat_ws('|', gpu_id, load, ok, day, extra, id IS NOT NULL, seen IS NOT NULL, kafka_topic = current_database(),
               kafka_partition, kafka_offset, kafka_timestamp IS NOT NULL, convert_from(kafka_key, 'UTF8')) FROM gpu_metrics";
    assert_eq!(
        query(postgres(), &scene.database, row).as_deref(),
        Some(format!(r#"{id}|12.345|t|2025-02-03|{{"fan": 7, "tags": ["a"]}}|t|t|t|0|0|t|a key"#).as_str())
    );
    let reasons = "SELECT string_agg(reason, ',' ORDER BY \"offset\") FROM dead_letters";
    assert_eq!(
        query(postgres(), &scene.database, reasons).as_deref(),
        Some("too_long,rejected_by_database")
    );

    // Added, dropped and retyped while the consumer runs: bigint and double precision have the same width, so that
    // only a look at the catalog can tell them apart.
    postgres()
        .execute(
            &scene.database,
            "ALTER TABLE gpu_metrics ADD fan bigint, DROP note",
        )
        .expect("altered");
    send(&scene, &[event(r#", "fan": 8"#)]);
    letters(4);
    postgres()
        .execute(
            &scene.database,
            "ALTER TABLE gpu_metrics ALTER fan TYPE double precision",
        )
        .expect("altered");
    send(&scene, &[event(r#", "fan": 8.5"#)]);
    letters(5);
    let fans = "SELECT string_agg(coalesce(fan::text, '-'), ',' ORDER BY kafka_offset) FROM gpu_metrics";
    assert_eq!(
        query(postgres(), &scene.database, fans).as_deref(),
        Some("-,8,8.5")
    );
    let lines = consumer.stop();
    assert_eq!(crate::consumer::last_statistics(&lines)["gpu_metrics"], 3);
}
