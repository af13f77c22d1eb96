//! PostgreSQL's faults. Promise 5: a fault that passes drops nothing, doubles nothing, and the group stays stable.

use crate::consumer::{
    Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates, query, while_load_flows,
};
use crate::shared::{Scene, postgres};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use workbench::generator::{Settings, publish};
use workbench::services::process::Signal;
use workbench::services::wait_until;

#[test]
fn postgres_may_crash_and_stay_away_while_events_flow() {
    let (scene, mut own) = Scene::with_own_postgres("outage", 3);
    migrate_with_coordinates(&scene, &own);
    let consumer = Consumer::start_on(
        &scene,
        &own,
        &[
            "--max-batch-bytes",
            "256KiB",
            "--kafka-property",
            "max.poll.interval.ms=6000",
            "--kafka-property",
            "session.timeout.ms=6000",
        ],
    );
    let settings = Settings {
        rate: 3000.0,
        ..load(&scene, 0)
    };
    let sent = while_load_flows(settings, || {
        for _ in 0..2 {
            let before = count(&scene, &own).settled();
            assert!(
                wait_until(PATIENCE, || count(&scene, &own).settled() > before + 2000),
                "{}",
                consumer.text()
            );
            own.stop_immediate().expect("a crash");
            // Longer than max.poll.interval.ms: who doesn't poll is thrown out of the group.
            consumer.wait_for_line("partitions paused");
            thread::sleep(Duration::from_secs(7));
            own.restart().expect("it comes back");
        }
    });
    expect_settled(&scene, &own, &consumer, sent.produced);
    let lines = consumer.stop();
    let rebalances = lines
        .iter()
        .filter(|line| line["message"] == "partitions revoked")
        .count();
    assert_eq!(rebalances, 0, "the group stayed stable: {lines:?}");
}

#[test]
fn sessions_that_are_terminated_cost_a_retry() {
    let scene = Scene::new("terminated", 3);
    migrate_with_coordinates(&scene, postgres());
    let consumer = Consumer::start(&scene, &[]);
    let settings = Settings {
        rate: 20_000.0,
        ..load(&scene, 100_000)
    };
    thread::scope(|scope| {
        let sender = scope
            .spawn(|| publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent"));
        let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
        while !sender.is_finished() {
            query(postgres(), &scene.database, terminate);
            thread::sleep(Duration::from_millis(150));
        }
    });
    expect_settled(&scene, postgres(), &consumer, 100_000);
    consumer.stop();
}

#[test]
fn servers_that_are_not_there_at_the_start_are_waited_for() {
    let (scene, mut own) = Scene::with_own_postgres("waiting", 1);
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    own.stop_fast().expect("it stops");
    let consumer = Consumer::start_on(&scene, &own, &[]);
    consumer.wait_for_line("waiting for postgres");
    own.restart().expect("it starts");
    expect_settled(&scene, &own, &consumer, 1000);
    consumer.stop();

    let mut impatient = Consumer::launch(
        &scene,
        "127.0.0.1:1",
        own.port(),
        "consume",
        &["--startup-timeout", "1"],
    );
    assert_eq!(impatient.wait().code(), Some(69), "{}", impatient.text());
}

#[test]
fn a_frozen_postgres_is_noticed() {
    let (scene, own) = Scene::with_own_postgres("frozen", 1);
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    // Its machine still takes connections, and nobody answers.
    let server = own.process().expect("it runs");
    server.signal(Signal::STOP).expect("frozen");
    let consumer = Consumer::start_on(&scene, &own, &[]);
    let line = consumer.wait_for_line("waiting for postgres");
    assert!(
        line["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("no answer")),
        "{line}"
    );
    server.signal(Signal::CONT).expect("thawed");
    expect_settled(&scene, &own, &consumer, 1000);
    consumer.stop();
}

#[test]
fn a_batch_that_takes_longer_than_a_statement_may_is_given_more_time() {
    let scene = Scene::new("slow", 1);
    migrate_with_coordinates(&scene, postgres());
    raise_in_trigger(&scene, "PERFORM pg_sleep(1.2)", "STATEMENT");
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &["--postgres-statement-timeout", "1"]);
    let line = consumer.wait_for_line("the next attempt gets more time");
    assert_eq!(line["statement_timeout_sec"], 2.0);
    let found = expect_settled(&scene, postgres(), &consumer, 2000);
    assert_eq!(found.dead_letters, 0);
    consumer.stop();
}

#[test]
fn a_trigger_with_a_sqlstate_of_its_own_costs_one_row() {
    let scene = Scene::new("own_code", 1);
    migrate_with_coordinates(&scene, postgres());
    // Classes that PostgreSQL does not know.
    raise_in_trigger(
        &scene,
        "IF NEW.kafka_offset = 700 THEN RAISE 'not this one' USING ERRCODE = '45000'; END IF;
         IF NEW.kafka_offset = 701 THEN RAISE 'nor this one' USING ERRCODE = 'MY001'; END IF;
         RETURN NEW",
        "ROW",
    );
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &consumer, 2000);
    assert_eq!(found.dead_letters, 2, "{}", consumer.text());
    let letters =
        "SELECT string_agg(\"offset\" || ' ' || sqlstate || ' ' || reason, ', ' ORDER BY \"offset\")
                   FROM dead_letters WHERE payload IS NOT NULL";
    assert_eq!(
        query(postgres(), &scene.database, letters).as_deref(),
        Some("700 45000 rejected_by_database, 701 MY001 rejected_by_database")
    );
    consumer.stop();
}

/// A trigger before each insert into the tables, per ROW or per STATEMENT.
fn raise_in_trigger(scene: &Scene, body: &str, per: &str) {
    let end = if body.contains("RETURN") {
        ""
    } else {
        "; RETURN NULL"
    };
    let sql = format!(
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}{end}; END $$;
         CREATE TRIGGER fault BEFORE INSERT ON server_metrics FOR EACH {per} EXECUTE FUNCTION fault();
         CREATE TRIGGER fault BEFORE INSERT ON application_metrics FOR EACH {per} EXECUTE FUNCTION fault()"
    );
    postgres()
        .execute(&scene.database, &sql)
        .expect("the trigger can be made");
}
