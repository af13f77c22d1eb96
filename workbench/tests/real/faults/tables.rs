//! Tables that change while the consumer runs under load: nothing is lost, nothing becomes garbage, and a table that is
//! gone stops it (docs/decisions/0004).

use super::data::server_event;
use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates, query};
use crate::contract::send;
use crate::shared::{Scene, postgres};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use workbench::generator::{Settings, publish};
use workbench::services::wait_until;

/// Each event carries one number in several fields, so that garbage in one column shows against the others.
fn numbered(number: usize) -> Vec<u8> {
    let fields = format!(
        r#""cpu_usage_percent": {number}, "fan_speed_rpm": {number}, "rack_id": "{number}", "level": {number}"#
    );
    server_event(number, &fields).into_bytes()
}

/// The changes, each one transaction.
const CHANGES: &[(&str, &str)] = &[
    ("added", "ALTER TABLE server_metrics ADD level bigint"),
    (
        "retyped, of the same width",
        "ALTER TABLE server_metrics ALTER level TYPE double precision",
    ),
    ("and back", "ALTER TABLE server_metrics ALTER level TYPE bigint"),
    (
        "retyped, of another width",
        "ALTER TABLE server_metrics ALTER fan_speed_rpm TYPE bigint",
    ),
    (
        "retyped to another kind",
        "ALTER TABLE server_metrics ALTER level TYPE text",
    ),
    ("dropped", "ALTER TABLE server_metrics DROP level"),
    (
        "added again, before others were",
        "ALTER TABLE server_metrics ADD level real",
    ),
    ("renamed", "ALTER TABLE server_metrics RENAME rack_id TO rack"),
    ("and back", "ALTER TABLE server_metrics RENAME rack TO rack_id"),
    (
        "made NOT NULL",
        "ALTER TABLE server_metrics ALTER fan_speed_rpm SET NOT NULL",
    ),
    (
        "indexed",
        "CREATE INDEX ON server_metrics (fan_speed_rpm, rack_id, server_id)",
    ),
    (
        "made anew",
        "LOCK TABLE server_metrics;
         CREATE TABLE anew (LIKE server_metrics INCLUDING ALL);
         INSERT INTO anew SELECT * FROM server_metrics;
         DROP TABLE server_metrics;
         ALTER TABLE anew RENAME TO server_metrics",
    ),
    (
        // The table that was known goes on under another name, as it was.
        "swapped for one with a column of another type and the same width",
        "LOCK TABLE server_metrics;
         CREATE TABLE swapped (LIKE server_metrics INCLUDING ALL);
         ALTER TABLE swapped ALTER fan_speed_rpm TYPE double precision;
         INSERT INTO swapped SELECT * FROM server_metrics;
         ALTER TABLE server_metrics RENAME TO before_the_swap;
         ALTER TABLE swapped RENAME TO server_metrics",
    ),
    (
        "partitioned",
        "LOCK TABLE server_metrics;
         ALTER TABLE server_metrics RENAME TO the_rest;
         CREATE TABLE server_metrics (LIKE the_rest INCLUDING DEFAULTS) PARTITION BY LIST (rack_id);
         ALTER TABLE server_metrics ATTACH PARTITION the_rest DEFAULT",
    ),
];

#[test]
fn tables_may_change_under_load_in_every_way() {
    let scene = Scene::new("changing", 1);
    migrate_with_coordinates(&scene, postgres());
    let consumer = Consumer::start(&scene, &["--commit-interval", "0.02"]);
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                let events: Vec<_> = (sent..sent + 50).map(numbered).map(Some).collect();
                send(&scene, &events);
                sent += events.len();
            }
            sent as u64
        });
        let settled = || {
            let sql = "SELECT coalesce(sum(stored + dead_lettered), 0)::bigint FROM consumer_offsets";
            query(postgres(), &scene.database, sql).map_or(0, |sum| sum.parse::<u64>().expect("a number"))
        };
        // Events flow before and after each change.
        let flows = |change: &str| {
            let before = settled();
            let on = || over.load(Ordering::Relaxed) || settled() > before + 50;
            let flows = wait_until(PATIENCE, on);
            over.fetch_or(!flows, Ordering::Relaxed);
            assert!(flows, "{change}: {before} settled\n{}", consumer.text());
        };
        flows("before all");
        for (change, sql) in CHANGES {
            let changed = postgres().execute(&scene.database, sql);
            over.fetch_or(changed.is_err(), Ordering::Relaxed);
            changed.unwrap_or_else(|error| panic!("{change}: {error:#}"));
            flows(change);
        }
        over.store(true, Ordering::Relaxed);
        sender.join().expect("the sender ends")
    });
    let found = expect_settled(&scene, postgres(), &consumer, sent);
    let letters = "SELECT string_agg(DISTINCT reason || ': ' || detail, '; ') FROM dead_letters";
    assert_eq!(
        found.dead_letters,
        0,
        "{:?}",
        query(postgres(), &scene.database, letters)
    );
    let garbage = "SELECT count(*) FROM server_metrics WHERE fan_speed_rpm IS DISTINCT FROM cpu_usage_percent
                   OR rack_id <> fan_speed_rpm::text OR level <> fan_speed_rpm";
    assert_eq!(query(postgres(), &scene.database, garbage).as_deref(), Some("0"));
    let events =
        "SELECT count(DISTINCT fan_speed_rpm) || ' ' || (count(rack_id) < count(*)) FROM server_metrics";
    assert_eq!(
        query(postgres(), &scene.database, events),
        Some(format!("{sent} true")),
        "every event; and some came while a column had another name"
    );
    let lines = consumer.stop();
    let seen = lines.iter().filter(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("tables have changed"))
    });
    // All but the index change what COPY writes to.
    assert!(seen.count() >= CHANGES.len() - 1, "{lines:?}");
}

#[test]
fn a_table_that_is_gone_stops_it_and_when_it_is_back_a_start_goes_on() {
    let scene = Scene::new("gone", 2);
    migrate_with_coordinates(&scene, postgres());
    publish::run(&load(&scene, 2_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let mut consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 2_000);
    let rename = |from: &str, to: &str| {
        postgres()
            .execute(&scene.database, &format!("ALTER TABLE {from} RENAME TO {to}"))
            .expect("renamed");
    };
    rename("application_metrics", "away");
    publish::run(&load(&scene, 2_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let status = consumer.wait();
    assert_eq!(status.code(), Some(1), "{}", consumer.text());
    assert!(
        consumer
            .text()
            .contains("table application_metrics: does not exist"),
        "{}",
        consumer.text()
    );
    rename("away", "application_metrics");
    // No batch was stored without it: each holds events of both tables.
    assert_eq!(count(&scene, postgres()).settled(), 2_000);
    let again = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &again, 4_000);
    assert_eq!(found.dead_letters, 0);
    again.stop();
}

#[test]
fn a_column_that_comes_and_goes_all_the_time_costs_attempts_only() {
    let scene = Scene::new("restless", 3);
    migrate_with_coordinates(&scene, postgres());
    let consumer = Consumer::start(&scene, &["--commit-interval", "0.02"]);
    consumer.wait_for_line("partition starts at its stored offset");
    let settings = Settings {
        rate: 2500.0,
        ..load(&scene, 20_000)
    };
    thread::scope(|scope| {
        let sender = scope
            .spawn(|| publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent"));
        // Not in step with the batches, so that the catalog is at times read between the two.
        for moment in (0..7).cycle() {
            if sender.is_finished() {
                break;
            }
            let sql = format!(
                "ALTER TABLE server_metrics ADD restless text; SELECT pg_sleep(0.00{moment});
                 ALTER TABLE server_metrics DROP restless; SELECT pg_sleep(0.0{moment})"
            );
            // One transaction a statement.
            for statement in sql.split(';') {
                postgres()
                    .execute(&scene.database, statement)
                    .expect("the table is ours to change");
            }
        }
    });
    let found = expect_settled(&scene, postgres(), &consumer, 20_000);
    assert_eq!(found.dead_letters, 0, "{found:?}");
    let lines = consumer.stop();
    let seen = lines
        .iter()
        .filter(|line| line["message"] == "tables have changed, their columns were read again")
        .count();
    assert!(seen > 3, "{seen} changes were seen: {lines:?}");
}

#[test]
fn a_copy_that_is_refused_before_it_begins_stops_the_consumer_with_the_reason() {
    let scene = Scene::new("policies", 1);
    migrate_with_coordinates(&scene, postgres());
    // Policies hold for whoever is not the owner, and COPY knows none.
    let role = &scene.database;
    let sql = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'postgres';
         GRANT INSERT ON server_metrics, application_metrics TO {role};
         GRANT SELECT, INSERT, UPDATE ON consumer_offsets, dead_letters TO {role};
         GRANT SELECT ON storage_consumer_migrations TO {role}"
    );
    postgres().execute(&scene.database, &sql).expect("the role");
    let arguments = ["--postgres-user", role.as_str(), "--no-migrate"];
    let mut consumer = Consumer::start(&scene, &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    let policies = |on: &str| {
        postgres()
            .execute(
                &scene.database,
                &format!("ALTER TABLE server_metrics {on} ROW LEVEL SECURITY"),
            )
            .expect("the table is ours to change");
    };
    policies("ENABLE");
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert_eq!(consumer.wait().code(), Some(1), "{}", consumer.text());
    assert!(
        consumer.text().contains("row-level security"),
        "{}",
        consumer.text()
    );
    policies("DISABLE");
    let consumer = Consumer::start(&scene, &arguments);
    expect_settled(&scene, postgres(), &consumer, 1000);
    consumer.stop();
}
