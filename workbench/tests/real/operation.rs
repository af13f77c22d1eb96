//! What an operator meets: exit codes, probes, numbers, `check`, `migrate`, and secrets that stay secret.

use crate::consumer::{Consumer, PATIENCE, expect_settled, load, query, while_load_flows};
use crate::shared::{Scene, kafka, postgres};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use workbench::generator::{Settings, publish};
use workbench::http;
use workbench::services::process::Signal;
use workbench::services::{ports, wait_until};

/// The status and the body of a GET.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    http::get_within(PATIENCE, SocketAddr::from(([127, 0, 0, 1], port)), path).ok()
}

#[test]
fn ready_and_metrics_follow_what_happens() {
    let (scene, mut own) = Scene::with_own_postgres("probes", 2);
    let port = ports::free_port().expect("a free port");
    let address = format!("127.0.0.1:{port}");
    let consumer = Consumer::start_on(&scene, &own, &["--http-listen", &address]);
    let ready = || get(port, "/ready").is_some_and(|(status, _)| status == 200);
    assert!(
        wait_until(PATIENCE, ready),
        "{:?}\n{}",
        get(port, "/ready"),
        consumer.text()
    );
    let healthcheck = |arguments: &[&str]| {
        let arguments = [&["--http-listen", &address], arguments].concat();
        let mut asked = Consumer::launch(&scene, "", 1, "healthcheck", &arguments);
        let code = asked.wait().code();
        (code, asked.text())
    };
    assert_eq!(healthcheck(&[]), (Some(0), "ready\n".to_owned()));
    assert_eq!(healthcheck(&["--live"]), (Some(0), "live\n".to_owned()));
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    expect_settled(&scene, &own, &consumer, 2000);
    let no_lag = || {
        let (_, metrics) = get(port, "/metrics").expect("an answer");
        let value = |name: &str| {
            metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
        };
        value("storage_consumer_messages_consumed_total") == Some(2000.0)
            && value("storage_consumer_latency_seconds_count") == Some(2000.0)
            && value("storage_consumer_lag_messages{partition=\"0\"}") == Some(0.0)
            && value("storage_consumer_lag_messages{partition=\"1\"}") == Some(0.0)
    };
    assert!(wait_until(PATIENCE, no_lag), "{:?}", get(port, "/metrics"));

    own.stop_fast().expect("it stops");
    publish::run(&load(&scene, 100), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert!(
        wait_until(PATIENCE, || !ready()),
        "not ready while PostgreSQL is away"
    );
    let (_, why) = get(port, "/ready").expect("an answer");
    assert!(why.contains("postgres"), "{why}");
    assert_eq!(get(port, "/live").expect("an answer").0, 200);
    let (code, text) = healthcheck(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("not ready: postgres: "), "{text}");
    assert_eq!(healthcheck(&["--live"]).0, Some(0));
    own.restart().expect("it starts");
    assert!(wait_until(PATIENCE, ready), "ready again");
    expect_settled(&scene, &own, &consumer, 2100);
    consumer.stop();
    let (code, text) = healthcheck(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no answer from"), "{text}");
    assert_eq!(healthcheck(&["--http-listen", "off"]).0, Some(1));
}

#[test]
fn check_says_one_line_a_finding() {
    let scene = Scene::new("check", 2);
    let run = |kafka_servers: &str, arguments: &[&str]| {
        let mut check = Consumer::launch(&scene, kafka_servers, postgres().port(), "check", arguments);
        let code = check.wait().code();
        (code, check.text())
    };
    let servers = kafka().bootstrap();
    let (code, text) = run(&servers, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("table server_metrics: does not exist"), "{text}");

    let mut migrate = Consumer::launch(&scene, &servers, postgres().port(), "migrate", &[]);
    assert!(migrate.wait().success(), "{}", migrate.text());
    let (code, text) = run(&servers, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("topic check") && text.contains("rows sorted by server_id, timestamp"),
        "{text}"
    );

    postgres()
        .execute(&scene.database, "CREATE TABLE shapes (outline polygon)")
        .expect("a table");
    let (code, text) = run(&servers, &["--route", "shape=shapes", "--topic", "nowhere"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("table shapes, column outline: type polygon"),
        "{text}"
    );
    assert!(text.contains("topic nowhere"), "{text}");
    // What check finds stops the main job, too.
    let mut consumer = Consumer::start(&scene, &["--route", "shape=shapes"]);
    assert_eq!(consumer.wait().code(), Some(1), "{}", consumer.text());
    assert!(consumer.text().contains("column outline"), "{}", consumer.text());
}

#[test]
fn mistakes_are_told_at_once_and_secrets_never() {
    let scene = Scene::new("mistakes", 1);
    let mut consumer = Consumer::start(
        &scene,
        &["--batch-size", "0", "--workers", "many", "--topic", "a b"],
    );
    assert_eq!(consumer.wait().code(), Some(64));
    let text = consumer.text();
    for option in ["--batch-size", "--workers", "--topic"] {
        assert!(text.contains(option), "{option}: {text}");
    }
    let mut consumer = Consumer::start(&scene, &["--kafka-property", "no.such.property=1"]);
    assert_eq!(consumer.wait().code(), Some(64), "{}", consumer.text());
    assert!(consumer.text().contains("no.such.property"));

    let secret = "hunter2-hunter2";
    let consumer = Consumer::start(
        &scene,
        &[
            "--postgres-password",
            secret,
            "--log-level",
            "DEBUG",
            "--kafka-property",
            "sasl.password=hunter2-hunter2",
        ],
    );
    consumer.wait_for_line("waiting for postgres");
    consumer.signal(Signal::TERM);
    assert!(!consumer.text().contains(secret), "{}", consumer.text());
}

#[test]
fn existing_tables_are_taken_as_they_are() {
    let scene = Scene::new("existing", 1);
    let sql = "CREATE TABLE server_metrics (id bigserial PRIMARY KEY, timestamp timestamp NOT NULL, server_id varchar(50),
                   cpu_usage_percent real, created_at timestamptz DEFAULT now())";
    postgres().execute(&scene.database, sql).expect("the table");
    let settings = Settings {
        services: 1,
        ..load(&scene, 1000)
    };
    publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 1000);
    let lines = consumer.stop();
    let unmapped = lines.iter().filter(|line| line["field"] == "rack_id").count();
    assert_eq!(unmapped, 1, "a field without a column is told once");
    let filled = "SELECT (count(*) = count(created_at) AND count(*) = count(cpu_usage_percent)) || '' FROM server_metrics";
    assert_eq!(
        query(postgres(), &scene.database, filled).as_deref(),
        Some("true")
    );
    let indexes = "SELECT count(*)::text FROM pg_indexes WHERE tablename = 'server_metrics'";
    assert_eq!(query(postgres(), &scene.database, indexes).as_deref(), Some("1"));
}

#[test]
fn migrate_changes_indexes_where_it_is_asked_to_and_rows_stay_in_their_order() {
    const BRIN: &str = "server_metrics_server_id_idx brin (server_id) WITH (pages_per_range='8'), \
                        server_metrics_timestamp_idx brin (\"timestamp\")";
    const BTREE: &str = "server_metrics_server_id_timestamp_idx btree (server_id, \"timestamp\" DESC), \
                         server_metrics_timestamp_idx brin (\"timestamp\")";
    const OWN: &str = "mine btree (service_name, \"timestamp\" DESC), \
                       application_metrics_timestamp_idx brin (\"timestamp\")";
    const ROWS: u64 = 3000;
    let scene = Scene::new("indexes", 1);
    let migrate = |arguments: &[&str]| {
        let servers = kafka().bootstrap();
        let mut migrate = Consumer::launch(&scene, &servers, postgres().port(), "migrate", arguments);
        assert!(migrate.wait().success(), "{}", migrate.text());
        migrate.text()
    };
    let ask = |sql: &str| query(postgres(), &scene.database, sql).expect("an answer");
    let indexes = |table: &str| {
        ask(&format!(
            "SELECT string_agg(indexname || split_part(indexdef, ' USING', 2), ', '
                               ORDER BY indexdef LIKE '%\"timestamp\")', indexname)
             FROM pg_indexes WHERE tablename = '{table}'"
        ))
    };

    let text = migrate(&["--indexes", "brin"]);
    assert_eq!(text.matches("indexes changed").count(), 2, "{text}");
    assert_eq!(indexes("server_metrics"), BRIN);
    let text = migrate(&["--indexes", "brin"]);
    assert_eq!(text.matches("as asked for already").count(), 2, "{text}");
    assert_eq!(migrate(&[]), "");
    assert_eq!(indexes("server_metrics"), BRIN);

    // All of it in one transaction, so that the order is that of one batch.
    publish::run(&load(&scene, ROWS), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &["--batch-size", "3000", "--commit-interval", "90"]);
    expect_settled(&scene, postgres(), &consumer, ROWS);
    consumer.stop();
    for (table, identifier) in [
        ("server_metrics", "server_id"),
        ("application_metrics", "service_name"),
    ] {
        let sql = format!(
            "SELECT count(DISTINCT batch) || ' batch, more than one series: ' || (count(DISTINCT series) > 1)
                    || ', out of order: ' || count(*) FILTER (WHERE (series, newer) < (series_before, newer_before))
             FROM (SELECT xmin::text AS batch, {identifier} AS series, -extract(epoch FROM timestamp) AS newer,
                          lag({identifier}) OVER place AS series_before,
                          lag(-extract(epoch FROM timestamp)) OVER place AS newer_before
                   FROM {table} WINDOW place AS (ORDER BY ctid)) AS rows"
        );
        assert_eq!(
            ask(&sql),
            "1 batch, more than one series: true, out of order: 0",
            "{table}"
        );
    }

    // Also under load, which waits meanwhile.
    let consumer = Consumer::start(&scene, &[]);
    let more = while_load_flows(
        Settings {
            rate: 2000.0,
            ..load(&scene, 0)
        },
        || {
            let stored = || ask("SELECT count(*)::text FROM server_metrics");
            let before = stored();
            assert!(wait_until(PATIENCE, || stored() != before), "{}", consumer.text());
            let text = migrate(&["--indexes", "btree"]);
            assert_eq!(text.matches("indexes changed").count(), 2, "{text}");
            assert_eq!(indexes("server_metrics"), BTREE);
        },
    );
    expect_settled(&scene, postgres(), &consumer, ROWS + more.produced);
    consumer.stop();

    let sql = "ALTER INDEX application_metrics_service_name_timestamp_idx RENAME TO mine";
    postgres().execute(&scene.database, sql).expect("it is there");
    let text = migrate(&["--indexes", "brin"]);
    assert!(text.contains("left as they are"), "{text}");
    assert_eq!(
        (
            indexes("server_metrics").as_str(),
            indexes("application_metrics").as_str()
        ),
        (BRIN, OWN)
    );
}

#[test]
fn a_database_that_cannot_hold_all_characters_is_refused_at_the_start() {
    let scene = Scene::new("latin", 1);
    let database = format!("{}_1", scene.database);
    let sql = format!(
        "CREATE DATABASE {database} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    postgres().execute("postgres", &sql).expect("the database");
    let mut consumer = Consumer::start(&scene, &["--postgres-db", &database]);
    assert_eq!(consumer.wait().code(), Some(1), "{}", consumer.text());
    assert!(consumer.text().contains("LATIN1"), "{}", consumer.text());
}
