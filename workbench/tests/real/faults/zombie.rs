//! Members that freeze for longer than the group bears, while another takes over: they store nothing when they wake up,
//! and what they held is let go.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use std::thread;
use workbench::generator::{Settings, publish};
use workbench::services::process::Signal;
use workbench::services::proxy::{Point, Proxy};
use workbench::services::wait_until;

const SHORT_SESSION: [&str; 4] = [
    "--kafka-property",
    "session.timeout.ms=6000",
    // What a consumer that froze may hold its locks for.
    "--postgres-statement-timeout",
    "5",
];

fn frozen_under_load(name: &str, arguments: &[&str]) {
    let scene = Scene::new(name, 2);
    migrate_with_coordinates(&scene, postgres());
    let zombie = Consumer::start(&scene, arguments);
    let settings = Settings {
        rate: 5000.0,
        ..load(&scene, 60_000)
    };
    let heir = thread::scope(|scope| {
        let sender = scope
            .spawn(|| publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent"));
        assert!(wait_until(PATIENCE, || count(&scene, postgres()).settled() > 5000));
        zombie.signal(Signal::STOP);
        let frozen = count(&scene, postgres()).settled();
        let heir = Consumer::start(&scene, arguments);
        assert!(
            wait_until(PATIENCE, || count(&scene, postgres()).settled() > frozen + 5000),
            "{}",
            heir.text()
        );
        zombie.signal(Signal::CONT);
        sender.join().expect("the sender ends");
        heir
    });
    let found = expect_settled(&scene, postgres(), &heir, 60_000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    zombie.stop();
    heir.stop();
}

#[test]
fn a_zombie_stores_nothing() {
    frozen_under_load("zombie", &SHORT_SESSION);
}

#[test]
fn a_zombie_stores_nothing_with_eager_rebalances() {
    let eager = [
        &SHORT_SESSION[..],
        &["--kafka-property", "partition.assignment.strategy=range"],
    ]
    .concat();
    frozen_under_load("zombie_eager", &eager);
}

#[test]
fn a_zombie_stores_nothing_with_the_new_group_protocol() {
    frozen_under_load("zombie_kip848", &["--kafka-property", "group.protocol=consumer"]);
}

/// The zombie freezes at a chosen point of a transaction, whose row locks the heir needs.
fn frozen_at(name: &str, point: Point) {
    let scene = Scene::new(name, 2);
    migrate_with_coordinates(&scene, postgres());
    let proxy = Proxy::start(postgres().port()).expect("a proxy");
    let servers = kafka().bootstrap();
    let zombie = Consumer::launch(&scene, &servers, proxy.port(), "consume", &SHORT_SESSION);
    zombie.wait_for_line("partition starts at its stored offset");
    proxy.hold_at(point);
    publish::run(&load(&scene, 5000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert!(proxy.wait_held(PATIENCE), "{}", zombie.text());
    zombie.signal(Signal::STOP);
    let heir = Consumer::start(&scene, &SHORT_SESSION);
    assert!(
        wait_until(PATIENCE, || count(&scene, postgres()).settled() == 5000),
        "{}",
        heir.text()
    );
    // The rest of the zombie's transaction arrives, and is too late.
    proxy.release();
    zombie.signal(Signal::CONT);
    publish::run(&load(&scene, 5000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let found = expect_settled(&scene, postgres(), &heir, 10_000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    zombie.stop();
    heir.stop();
}

#[test]
fn a_zombie_that_froze_before_commit_lets_go_of_its_locks() {
    frozen_at("zombie_commit", Point::BeforeCommit);
}

#[test]
fn a_zombie_that_froze_within_copy_lets_go_of_its_locks() {
    frozen_at("zombie_copy", Point::InCopy);
}
