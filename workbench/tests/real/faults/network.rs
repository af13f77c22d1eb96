//! The network between the consumer and PostgreSQL: answers lost on the way, connections cut anywhere, and silence.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates, query};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::proxy::{Lost, Point};
use workbench::services::{Proxy, wait_until};

/// A consumer whose way to PostgreSQL leads through a proxy.
fn start_through_proxy(scene: &Scene, arguments: &[&str]) -> (Consumer, Proxy) {
    migrate_with_coordinates(scene, postgres());
    let proxy = Proxy::start(postgres().port()).expect("a proxy");
    let consumer = Consumer::launch(scene, &kafka().bootstrap(), proxy.port(), "consume", arguments);
    (consumer, proxy)
}

#[test]
fn a_commit_whose_answer_is_lost_is_stored_once_whether_it_happened_or_not() {
    let scene = Scene::new("lost_answer", 2);
    let (consumer, proxy) = start_through_proxy(&scene, &[]);
    consumer.wait_for_line("partition starts at its stored offset");
    let mut sent = 0;
    for lost in [Lost::Answer, Lost::Request].into_iter().cycle().take(6) {
        let before = proxy.counts().commits_lost;
        proxy.lose_commit(lost);
        publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
        sent += 1000;
        let happened = || proxy.counts().commits_lost > before;
        assert!(wait_until(PATIENCE, happened), "{lost:?}: {}", consumer.text());
        let settled = || count(&scene, postgres()).settled() == sent;
        assert!(wait_until(PATIENCE, settled), "{lost:?}: {}", consumer.text());
    }
    let found = expect_settled(&scene, postgres(), &consumer, sent);
    assert_eq!(found.dead_letters, 0, "a row stored twice would be one");
    let lines = consumer.stop();
    let missed = lines
        .iter()
        .filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("fence missed"))
        })
        .count();
    assert_eq!(missed, 0, "its own commits are known as such: {lines:?}");
}

#[test]
fn a_connection_that_is_cut_within_a_copy_loses_and_doubles_nothing() {
    let scene = Scene::new("cut", 3);
    publish::run(&load(&scene, 40_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let (consumer, proxy) = start_through_proxy(&scene, &["--max-batch-bytes", "1MiB"]);
    consumer.wait_for_line("partition starts at its stored offset");
    for cut in 0..5 {
        proxy.cut_after(20_000 + 77_777 * cut);
        let happened = || proxy.counts().cut > cut as u64;
        assert!(wait_until(PATIENCE, happened), "{cut}: {}", consumer.text());
    }
    let counts = proxy.counts();
    assert!(counts.cut_in_copy > 0, "{counts:?}");
    let found = expect_settled(&scene, postgres(), &consumer, 40_000);
    assert_eq!(found.dead_letters, 0, "a row stored twice would be one");
    consumer.wait_for_line("postgres is back");
    consumer.stop();
}

#[test]
fn a_network_that_goes_silent_is_noticed_and_may_deliver_late() {
    let scene = Scene::new("silent", 2);
    // Silence is taken for it after half as long again.
    let (consumer, proxy) = start_through_proxy(&scene, &["--postgres-statement-timeout", "1"]);
    consumer.wait_for_line("partition starts at its stored offset");
    proxy.hold_at(Point::BeforeCommit);
    publish::run(&load(&scene, 5000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert!(proxy.wait_held(PATIENCE), "{}", consumer.text());
    proxy.silence(true);
    proxy.release();
    let line = consumer.wait_for_line("postgres does not take the work now");
    assert_eq!(line["reason"], "no answer from postgres");
    // A new connection has been tried, and it hears nothing either.
    assert!(
        wait_until(PATIENCE, || proxy.counts().connections > 2
            && proxy.counts().silenced_bytes > 0),
        "{:?}",
        proxy.counts()
    );
    assert_eq!(count(&scene, postgres()).settled(), 0, "{}", consumer.text());

    // Now the COMMIT arrives after all, from a connection that the consumer has given up: the fence decides.
    proxy.silence(false);
    let found = expect_settled(&scene, postgres(), &consumer, 5000);
    assert_eq!(found.dead_letters, 0, "a row stored twice would be one");
    let one_is_left = || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'storage-consumer'";
        query(postgres(), &scene.database, sql).as_deref() == Some("1")
    };
    assert!(
        wait_until(PATIENCE, one_is_left),
        "the silent connection is closed"
    );
    consumer.stop();
}
