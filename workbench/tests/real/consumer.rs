//! The program under test and the referee, of the workbench's library, as tests use them: on a scene, and with panics.

use crate::shared::{Scene, kafka, postgres};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use workbench::database::Database;
use workbench::generator::{Settings, Summary, publish};
use workbench::referee;
use workbench::services::process::{Launch, Signal};
use workbench::services::{Kafka, Postgres, wait_until};
use workbench::subject::{self, Subject, Surroundings};

pub(crate) use workbench::referee::Count;

/// How long anything may take here that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running storage-consumer with a log of its own. Killed when dropped.
pub(crate) struct Consumer {
    subject: Subject,
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
        Self::launch_as(scene, kafka_servers, postgres_port, command, |launch| {
            launch.args(arguments)
        })
    }

    /// The same with further variables in its environment; one that is empty counts as not set.
    pub(crate) fn launch_with(
        scene: &Scene,
        kafka_servers: &str,
        postgres_port: u16,
        command: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        Self::launch_as(scene, kafka_servers, postgres_port, command, |launch| {
            let launch = launch.args(arguments);
            variables
                .iter()
                .fold(launch, |launch, (name, value)| launch.env(name, value))
        })
    }

    /// The same, and no password is given.
    pub(crate) fn launch_without_password(
        scene: &Scene,
        kafka_servers: &str,
        postgres_port: u16,
        command: &str,
        arguments: &[&str],
    ) -> Self {
        let none = [("POSTGRES_PASSWORD", "")];
        Self::launch_with(scene, kafka_servers, postgres_port, command, arguments, &none)
    }

    fn launch_as(
        scene: &Scene,
        kafka_servers: &str,
        postgres_port: u16,
        command: &str,
        prepare: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let launch = surroundings(scene, kafka_servers, postgres_port)
            .launch(command, &folder.path().join("log"))
            .expect("the program is there")
            .env("COMMIT_INTERVAL", "0.2");
        let launch = prepare(launch);
        Self {
            subject: Subject::start(launch).expect("the program starts"),
            _folder: folder,
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.subject.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.subject.signal(signal).expect("the process is there");
    }

    pub(crate) fn kill(mut self) {
        self.subject.kill().expect("the process can be killed");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.subject.ended().expect("the process can be asked").is_some()
    }

    /// Waits for its end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.subject
            .wait(PATIENCE)
            .unwrap_or_else(|error| panic!("{error:#}"))
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
        self.subject.peak_memory_mib().expect("the process is there")
    }

    /// Its log so far.
    pub(crate) fn text(&self) -> String {
        self.subject.text()
    }

    /// Its complete log lines so far; each must be an object.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.subject.lines().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits for a log line with that message.
    pub(crate) fn wait_for_line(&self, message: &str) -> Value {
        self.subject
            .wait_for_line(message, PATIENCE)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }
}

fn surroundings(scene: &Scene, kafka_servers: &str, postgres_port: u16) -> Surroundings {
    Surroundings {
        kafka_servers: kafka_servers.to_owned(),
        topic: scene.topic.clone(),
        group: scene.group.clone(),
        postgres_port,
        database: scene.database.clone(),
        user: "postgres".to_owned(),
        password: "postgres".to_owned(),
    }
}

/// A client of the scene's database.
pub(crate) fn database(postgres: &Postgres, name: &str) -> Database {
    Database::new(postgres.config(name)).expect("a client")
}

/// Counts the built-in tables and the offsets. Before the first migration all is 0.
pub(crate) fn count(scene: &Scene, postgres: &Postgres) -> Count {
    Count::of(&mut database(postgres, &scene.database))
}

/// The first column of the first row, as text; `None` where the query can't be answered (yet).
pub(crate) fn query(postgres: &Postgres, name: &str, sql: &str) -> Option<String> {
    database(postgres, name).first(sql).ok()?
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
    let lags = || {
        kafka
            .group_offsets(&scene.group, &scene.topic)
            .expect("the group's offsets")
    };
    assert!(
        wait_until(PATIENCE, || referee::no_lag(&lags())),
        "{:?}\n{}",
        lags(),
        consumer.text()
    );
    found
}

/// The sums of the promises.
pub(crate) fn expect_sums(found: &Count, messages: u64) {
    let disagreements = found.disagreements(messages);
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

/// Adds the columns that prove where a row came from, and a unique index on them: a row stored twice is refused,
/// which the sums would show.
pub(crate) fn migrate_with_coordinates(scene: &Scene, postgres: &Postgres) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    subject::migrate(
        &surroundings(scene, "127.0.0.1:1", postgres.port()),
        &folder.path().join("log"),
        &[],
    )
    .unwrap_or_else(|error| panic!("{error:#}"));
    referee::add_coordinates(postgres, &scene.database).expect("the columns can be added");
    referee::refuse_doubles(postgres, &scene.database).expect("the index can be made");
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

/// Sends the load, without end, while `faults` does its work, and ends it then: also when that fails.
pub(crate) fn while_load_flows(settings: Settings, faults: impl FnOnce()) -> Summary {
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let settings = Settings {
        count: None,
        ..settings
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| publish::run(&settings, &stop, |_| {}).expect("the load is sent"));
        let end = End(&stop);
        faults();
        drop(end);
        sender.join().expect("the sender ends")
    })
}
