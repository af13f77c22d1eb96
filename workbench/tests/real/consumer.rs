//! The program under test as a process, and the referee that counts what came of a topic.

use crate::shared::{Scene, kafka, postgres, storage_consumer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use workbench::generator::Settings;
use workbench::services::process::{Launch, Process, Signal};
use workbench::services::{Kafka, Postgres, block_on, wait_until};

/// How long anything may take here that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running storage-consumer with a log of its own. Killed when dropped.
pub(crate) struct Consumer {
    process: Process,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Consumer {
    /// `consume` on the scene's topic, group and database, with further arguments.
    pub(crate) fn start(scene: &Scene, arguments: &[&str]) -> Self {
        Self::start_on(scene, postgres(), arguments)
    }

    /// The same with a PostgreSQL of the test's own.
    pub(crate) fn start_on(scene: &Scene, postgres: &Postgres, arguments: &[&str]) -> Self {
        Self::launch(scene, &kafka().bootstrap(), postgres.port(), "consume", arguments)
    }

    /// A command of the program.
    pub(crate) fn launch(
        scene: &Scene,
        kafka_servers: &str,
        postgres_port: u16,
        command: &str,
        arguments: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let process = Launch::new("storage-consumer", storage_consumer(), &log)
            .args([command])
            .args(arguments)
            .env("KAFKA_BOOTSTRAP_SERVERS", kafka_servers)
            .env("KAFKA_TOPIC", &scene.topic)
            .env("KAFKA_GROUP_ID", &scene.group)
            .env("POSTGRES_HOST", "127.0.0.1")
            .env("POSTGRES_PORT", postgres_port.to_string())
            .env("POSTGRES_DB", &scene.database)
            .env("POSTGRES_USER", "postgres")
            .env("POSTGRES_PASSWORD", "postgres")
            .env("COMMIT_INTERVAL", "0.2")
            .env("HTTP_LISTEN", "off")
            .env("LOG_FORMAT", "json")
            .spawn()
            .expect("the program starts");
        Self {
            process,
            log,
            _folder: folder,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("the process is there");
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().expect("the process can be killed");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().expect("the process can be asked").is_some()
    }

    /// Waits for its end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process
            .wait(PATIENCE)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.text()))
    }

    /// Asks it to end, and expects it to end well.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.text());
        self.lines()
    }

    /// The most memory that it has ever had, in MiB: the kernel's own record.
    pub(crate) fn peak_memory_mib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process is there");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("the kernel tells it");
        peak.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            / 1024
    }

    /// Its log so far.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its complete log lines so far; each must be an object.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Waits for a log line with that message.
    pub(crate) fn wait_for_line(&self, message: &str) -> Value {
        let find = || {
            self.lines().into_iter().find(|line| {
                line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(message))
            })
        };
        assert!(
            wait_until(PATIENCE, || find().is_some()),
            "no line {message:?} in\n{}",
            self.text()
        );
        find().expect("it was there")
    }
}

/// What came of a topic, as PostgreSQL has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) rows: u64,
    pub(crate) dead_letters: u64,
    pub(crate) stored: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) skipped: u64,
}

impl Count {
    pub(crate) fn settled(&self) -> u64 {
        self.stored + self.dead_lettered + self.skipped
    }
}

/// Counts the built-in tables and the offsets. Before the first migration all is 0.
pub(crate) fn count(scene: &Scene, postgres: &Postgres) -> Count {
    let number =
        |sql: &str| query(postgres, &scene.database, sql).map_or(0, |value| value.parse().expect("a number"));
    let sum = |column: &str| {
        number(&format!(
            "SELECT coalesce(sum({column}), 0)::bigint FROM consumer_offsets"
        ))
    };
    Count {
        rows: number(
            "SELECT (SELECT count(*) FROM server_metrics) + (SELECT count(*) FROM application_metrics)",
        ),
        dead_letters: number("SELECT count(*) FROM dead_letters"),
        stored: sum("stored"),
        dead_lettered: sum("dead_lettered"),
        skipped: sum("skipped"),
    }
}

/// The first column of the first row, as text; `None` where the query can't be answered (yet).
pub(crate) fn query(postgres: &Postgres, database: &str, sql: &str) -> Option<String> {
    block_on(async {
        let client = postgres.connect(database).await?;
        let rows = client.simple_query(sql).await?;
        Ok(rows.iter().find_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    })
    .ok()?
}

/// Waits until so many messages are settled, then lets the referee count: every message is one row or one dead
/// letter, none twice, the sums agree, and Kafka's own tool sees no lag.
pub(crate) fn expect_settled(
    scene: &Scene,
    postgres: &Postgres,
    consumer: &Consumer,
    messages: u64,
) -> Count {
    expect_settled_on(kafka(), scene, postgres, consumer, messages)
}

/// The same with a Kafka of the test's own.
pub(crate) fn expect_settled_on(
    kafka: &Kafka,
    scene: &Scene,
    postgres: &Postgres,
    consumer: &Consumer,
    messages: u64,
) -> Count {
    let settled = wait_until(PATIENCE, || count(scene, postgres).settled() >= messages);
    let found = count(scene, postgres);
    assert!(settled, "{found:?} of {messages}\n{}", consumer.text());
    expect_sums(&found, messages);
    let no_lag = || {
        let lags = kafka
            .group_offsets(&scene.group, &scene.topic)
            .expect("the group's offsets");
        lags.iter()
            .all(|partition| partition.lag == Some(0) || partition.log_end_offset == Some(0))
    };
    assert!(
        wait_until(PATIENCE, no_lag),
        "{:?}\n{}",
        kafka.group_offsets(&scene.group, &scene.topic),
        consumer.text()
    );
    found
}

/// The sums of the promises.
pub(crate) fn expect_sums(found: &Count, messages: u64) {
    assert_eq!(
        found.settled(),
        messages,
        "consumed = stored + dead-lettered + skipped: {found:?}"
    );
    assert_eq!(found.rows, found.stored, "no row lost, none twice: {found:?}");
    assert_eq!(
        found.dead_letters, found.dead_lettered,
        "no dead letter lost, none twice: {found:?}"
    );
}

/// Adds the columns that prove where a row came from, and a unique index on them: a row stored twice is refused,
/// which the sums would show.
pub(crate) fn migrate_with_coordinates(scene: &Scene, postgres: &Postgres) {
    let mut migrate = Consumer::launch(scene, "127.0.0.1:1", postgres.port(), "migrate", &[]);
    assert!(migrate.wait().success(), "{}", migrate.text());
    for table in ["server_metrics", "application_metrics"] {
        let sql = format!(
            "ALTER TABLE {table} ADD kafka_partition integer, ADD kafka_offset bigint;
             CREATE UNIQUE INDEX {table}_position ON {table} (kafka_partition, kafka_offset)"
        );
        postgres
            .execute(&scene.database, &sql)
            .expect("the columns can be added");
    }
}

/// A load for the scene.
pub(crate) fn load(scene: &Scene, count: u64) -> Settings {
    Settings {
        kafka_servers: kafka().bootstrap(),
        topic: scene.topic.clone(),
        rate: 0.0,
        count: Some(count),
        seed: Some(7),
        servers: 50,
        services: 10,
        ..Settings::default()
    }
}

/// The numbers of the newest statistics line.
pub(crate) fn last_statistics(lines: &[Value]) -> BTreeMap<String, Value> {
    let line = lines
        .iter()
        .rev()
        .find(|line| line["message"] == "final statistics")
        .expect("final statistics");
    line.as_object().expect("an object").clone().into_iter().collect()
}
