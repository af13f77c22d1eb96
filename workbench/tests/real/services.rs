//! The services keep what they say: they start, answer, restart on the same port and data, and die with us.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use workbench::services::{Kafka, MockKafka, Postgres, kafka, postgres, wait_until};

use super::shared;

const LIMIT: Duration = Duration::from_mins(1);

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn produce(config: &ClientConfig, topic: &str, messages: std::ops::Range<u32>) {
    let producer: BaseProducer = config.create().expect("a producer");
    for number in messages {
        let payload = format!("message {number}");
        producer
            .send(BaseRecord::<(), str>::to(topic).payload(&payload))
            .map_err(|(error, _)| error)
            .expect("queued");
    }
    producer.flush(LIMIT).expect("all delivered");
}

/// The payloads of a topic's first `expected` messages.
fn consume(config: &ClientConfig, topic: &str, expected: usize) -> Vec<String> {
    let mut config = config.clone();
    config
        .set("group.id", "reads-all")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("metadata");
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .expect("a partition");
    }
    consumer.assign(&all).expect("assigned");
    let mut payloads = Vec::new();
    wait_until(LIMIT, || {
        while let Some(message) = consumer.poll(Duration::from_millis(50)) {
            // A broker that went away is told as an error, and come back to: what counts is what arrives.
            let Ok(message) = message else { continue };
            payloads.push(String::from_utf8(message.payload().expect("a payload").to_vec()).expect("text"));
        }
        payloads.len() >= expected
    });
    payloads
}

fn numbered(messages: std::ops::Range<u32>) -> Vec<String> {
    messages.map(|number| format!("message {number}")).collect()
}

async fn count(server: &Postgres) -> i64 {
    let client = server.connect("metrics").await.expect("a connection");
    client
        .query_one("SELECT count(*) FROM t", &[])
        .await
        .expect("a count")
        .get(0)
}

#[tokio::test]
async fn postgres_keeps_committed_rows_through_a_crash_and_a_restart() {
    let options = postgres::Options {
        settings: vec![("work_mem".into(), "5MB".into())],
        ..Default::default()
    };
    let mut server = Postgres::start(&options).expect("PostgreSQL");
    let port = server.port();
    server
        .execute(
            "metrics",
            "CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 100)",
        )
        .expect("rows");

    server.stop_immediate().expect("stopped");
    assert!(server.connect("metrics").await.is_err(), "nobody listens");
    server.restart().expect("restarted");
    assert_eq!(server.port(), port);
    assert_eq!(count(&server).await, 100);
    assert!(
        fs::read_to_string(server.log())
            .expect("a log")
            .contains("automatic recovery in progress")
    );

    server.restart().expect("restarted");
    assert_eq!(count(&server).await, 100);
    let client = server.connect("metrics").await.expect("a connection");
    for (setting, value) in [
        ("work_mem", "5MB"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", "127.0.0.1"),
    ] {
        let shown: String = client
            .query_one(&format!("SHOW {setting}"), &[])
            .await
            .expect("shown")
            .get(0);
        assert_eq!(shown, value, "{setting}");
    }
    let data = server.data_folder();
    drop(server);
    assert!(!data.exists());
}

#[tokio::test]
async fn a_scene_is_empty_and_the_servers_password_is_needed() {
    let scene = shared::Scene::new("scene", 3);
    let offsets = shared::kafka()
        .group_offsets(&scene.group, &scene.topic)
        .expect("offsets");
    assert_eq!(offsets.len(), 3);
    assert!(
        offsets
            .iter()
            .all(|row| row.current_offset.is_none() && row.log_end_offset == Some(0)),
        "{offsets:?}"
    );

    let server = shared::postgres();
    let client = server.connect(&scene.database).await.expect("a connection");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(
        client
            .query_one(tables, &[])
            .await
            .expect("a count")
            .get::<_, i64>(0),
        0
    );
    let mut config = server.config(&scene.database);
    config.password("wrong");
    assert!(config.connect(tokio_postgres::NoTls).await.is_err());
}

#[test]
fn the_program_under_test_is_built() {
    let status = Command::new(shared::storage_consumer())
        .arg("--version")
        .status()
        .expect("started");
    assert!(status.success());
}

#[test]
fn kafka_carries_messages_in_every_codec() {
    let kafka = shared::kafka();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = shared::unique(codec);
        kafka
            .create_topic(&topic, 1, &[("compression.type", "producer")])
            .expect("a topic");
        let mut config = client(&kafka.bootstrap());
        produce(config.set("compression.type", codec), &topic, 0..1000);
        assert_eq!(
            consume(&client(&kafka.bootstrap()), &topic, 1000),
            numbered(0..1000),
            "{codec}"
        );
    }
}

#[test]
fn both_ways_of_asking_for_lag_agree() {
    let kafka = shared::kafka();
    let scene = shared::Scene::new("lag", 2);
    let mut config = client(&kafka.bootstrap());
    produce(&config, &scene.topic, 0..1000);
    let committer: BaseConsumer = config.set("group.id", &scene.group).create().expect("a consumer");
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&scene.topic, 0, Offset::Offset(10))
        .expect("a partition");
    committer.commit(&offsets, CommitMode::Sync).expect("committed");

    let asked = kafka.group_offsets(&scene.group, &scene.topic).expect("offsets");
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].partition, asked[0].current_offset), (0, Some(10)));
    assert_eq!(
        asked.iter().filter_map(|row| row.log_end_offset).sum::<i64>(),
        1000
    );
    assert_eq!(asked[0].lag, asked[0].log_end_offset.map(|end| end - 10));
    assert_eq!(
        (asked[1].partition, asked[1].current_offset, asked[1].lag),
        (1, None, None)
    );

    let told = kafka.consumer_group_lag(&scene.group).expect("the tool's answer");
    assert_eq!(told[0], asked[0]);
}

#[test]
fn old_records_and_whole_topics_can_be_removed() {
    let kafka = shared::kafka();
    let topic = shared::unique("removed");
    kafka.create_topic(&topic, 1, &[]).expect("a topic");
    let config = client(&kafka.bootstrap());
    produce(&config, &topic, 0..100);
    kafka.delete_records(&topic, 0, 60).expect("deleted");
    assert_eq!(consume(&config, &topic, 40), numbered(60..100));
    kafka.delete_topic(&topic).expect("deleted");
    kafka.create_topic(&topic, 1, &[]).expect("made again");
    produce(&config, &topic, 0..3);
    assert_eq!(consume(&config, &topic, 3), numbered(0..3));
}

#[test]
fn kafka_keeps_messages_through_sigkill_and_a_restart() {
    let mut kafka = Kafka::start(&kafka::Options::default()).expect("Kafka");
    let bootstrap = kafka.bootstrap();
    let config = client(&bootstrap);
    kafka.create_topic("kept", 1, &[]).expect("a topic");
    produce(&config, "kept", 0..100);
    kafka.kill().expect("killed");
    kafka.restart().expect("restarted");
    produce(&config, "kept", 100..200);
    kafka.restart().expect("restarted");
    assert_eq!(kafka.bootstrap(), bootstrap);
    assert_eq!(consume(&config, "kept", 200), numbered(0..200));
}

#[test]
fn a_cluster_goes_on_without_one_of_its_nodes() {
    let mut kafka = Kafka::cluster(3, &kafka::Options::default()).expect("Kafka");
    let config = client(&kafka.bootstrap());
    kafka.create_topic("spread", 3, &[]).expect("a topic");
    produce(&config, "spread", 0..100);
    kafka.kill_node(1).expect("killed");
    produce(&config, "spread", 100..200);
    kafka.start_node(1).expect("started");
    kafka.stop_node(2).expect("stopped");
    let mut found = consume(&config, "spread", 200);
    let mut expected = numbered(0..200);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_mock_cluster_carries_messages() {
    let kafka = MockKafka::start(1).expect("a mock cluster");
    kafka.create_topic("events", 1).expect("a topic");
    let config = client(kafka.bootstrap());
    produce(&config, "events", 0..100);
    assert_eq!(consume(&config, "events", 100), numbered(0..100));
}

/// Names the file in which [`starts_services_for_its_parent`] tells whom it has started.
const REPORT: &str = "SERVICES_REPORT";

/// Killing a test must leave no server behind, or the machine fills up with them.
#[test]
fn services_die_with_the_process_that_started_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report");
    let mut starter = Command::new(env::current_exe().expect("this test's own path"))
        .args(["--exact", "services::starts_services_for_its_parent", "--ignored"])
        .env(REPORT, &report)
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let mut started = HashMap::new();
    assert!(wait_until(2 * LIMIT, || {
        let text = fs::read_to_string(&report).unwrap_or_default();
        started = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, id)| (name.to_owned(), id.to_owned()))
            .collect();
        started.len() == 2
    }));
    assert!(started.values().all(|id| is_running(id)), "{started:?}");
    starter.kill().expect("killed");
    starter.wait().expect("ended");
    for (name, id) in started {
        assert!(wait_until(LIMIT, || !is_running(&id)), "{name} lives on");
    }
}

/// Not ended, and not merely waiting for somebody to take note of its end.
fn is_running(id: &str) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, fields)| !fields.starts_with('Z'))
    })
}

#[test]
#[ignore = "another test runs it in a process of its own"]
fn starts_services_for_its_parent() {
    let Some(report) = env::var_os(REPORT) else { return };
    let postgres = Postgres::start(&postgres::Options::default()).expect("PostgreSQL");
    let kafka = Kafka::start(&kafka::Options::default()).expect("Kafka");
    let (postgres, kafka) = (postgres.process().expect("runs"), kafka.process(1).expect("runs"));
    let ids = format!(
        "postgres {}
kafka {}
",
        postgres.id(),
        kafka.id()
    );
    // Whole or not at all: the reader looks at any time.
    let draft = std::path::Path::new(&report).with_extension("draft");
    fs::write(&draft, ids).expect("written");
    fs::rename(&draft, &report).expect("renamed");
    loop {
        std::thread::park();
    }
}
