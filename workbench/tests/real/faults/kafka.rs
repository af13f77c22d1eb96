//! Brokers that die: the only one, the leader of partitions, the coordinator of the group.

use crate::consumer::{
    Consumer, PATIENCE, count, expect_settled_on, load, migrate_with_coordinates, while_load_flows,
};
use crate::shared::{Scene, postgres};
use workbench::generator::Settings;
use workbench::services::process::Signal;
use workbench::services::{Kafka, kafka, wait_until};

/// A load on a Kafka of the test's own, without end, while `faults` happen; then the referee.
fn survive(kafka: &mut Kafka, name: &str, faults: impl FnOnce(&mut Kafka, &Scene, &dyn Fn(&str))) {
    let scene = Scene::on(kafka, name, 3, &[]);
    migrate_with_coordinates(&scene, postgres());
    let settings = Settings {
        kafka_servers: kafka.bootstrap(),
        rate: 2000.0,
        ..load(&scene, 0)
    };
    let consumer = Consumer::launch(
        &scene,
        &kafka.bootstrap(),
        postgres().port(),
        "consume",
        &["--kafka-property", "session.timeout.ms=6000"],
    );
    // Rows of messages that were sent after the fault.
    let flows_on = |after: &str| {
        let before = count(&scene, postgres()).settled();
        assert!(
            wait_until(PATIENCE, || count(&scene, postgres()).settled() > before + 2000),
            "nothing is stored after {after}\n{}",
            consumer.text()
        );
    };
    let sent = while_load_flows(settings, || {
        flows_on("the start");
        faults(kafka, &scene, &flows_on);
    });
    assert_eq!(sent.failed, 0, "Kafka has taken all of it");
    let found = expect_settled_on(kafka, &scene, postgres(), &consumer, sent.produced);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    consumer.stop();
}

#[test]
fn a_broker_that_is_killed_and_comes_back_costs_time_only() {
    let mut own = Kafka::start(&kafka::Options::default()).expect("a Kafka of the test's own");
    survive(&mut own, "broker", |own, _, flows_on| {
        own.kill().expect("a crash");
        own.restart().expect("it comes back");
        flows_on("the broker's restart");
    });
    stop_while_frozen(&own);
}

/// A stop ends within its bound even if no broker hears that the member leaves.
fn stop_while_frozen(kafka: &Kafka) {
    let scene = Scene::on(kafka, "frozen_broker", 1, &[]);
    let arguments = ["--shutdown-timeout", "2"];
    let port = postgres().port();
    let mut consumer = Consumer::launch(&scene, &kafka.bootstrap(), port, "consume", &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    let broker = kafka.process(1).expect("it runs");
    broker.signal(Signal::STOP).expect("frozen");
    consumer.signal(Signal::TERM);
    let code = consumer.wait().code();
    assert!(matches!(code, Some(0 | 75)), "{code:?}\n{}", consumer.text());
}

#[test]
fn of_three_brokers_the_leader_and_the_coordinator_may_die() {
    let options = kafka::Options {
        heap_megabytes: 256,
        ..Default::default()
    };
    let mut own = Kafka::cluster(3, &options).expect("a Kafka of the test's own");
    survive(&mut own, "cluster", |own, scene, flows_on| {
        let leader = own.leader(&scene.topic, 0).expect("a leader");
        own.kill_node(leader).expect("a crash");
        flows_on("the leader's death");
        let other = || own.leader(&scene.topic, 0).is_ok_and(|found| found != leader);
        assert!(wait_until(PATIENCE, other), "the partition has another leader");
        own.start_node(leader).expect("it comes back");
        let mut coordinator = None;
        let found = wait_until(PATIENCE, || {
            coordinator = own.coordinator(&scene.group).ok();
            coordinator.is_some()
        });
        assert!(found, "the group has a coordinator");
        let coordinator = coordinator.expect("it was found");
        own.kill_node(coordinator).expect("a crash");
        flows_on("the coordinator's death");
        let other = || {
            own.coordinator(&scene.group)
                .is_ok_and(|found| found != coordinator)
        };
        assert!(wait_until(PATIENCE, other), "the group has another coordinator");
    });
}
