//! What the tests share: one Kafka and one PostgreSQL for the whole binary, started by the first test that asks, and
//! for each test a topic, a group and a database of its own. Tests that stop a server start one for themselves.
//!
//! That is one process: `cargo nextest`, which gives each test a process, would start the servers for each.
//! Statics are never dropped: the kernel ends the servers with this process, and the next start removes their data.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use workbench::services::{Kafka, Postgres, kafka, postgres};
use workbench::subject;

/// The Kafka of all tests.
pub(crate) fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Result<Kafka, String>> = OnceLock::new();
    // The failure is kept: every test tells it, and none waits for it again.
    let started =
        KAFKA.get_or_init(|| Kafka::start(&kafka::Options::default()).map_err(|error| format!("{error:#}")));
    started
        .as_ref()
        .unwrap_or_else(|error| panic!("no Kafka: {error}"))
}

/// The PostgreSQL of all tests.
pub(crate) fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Result<Postgres, String>> = OnceLock::new();
    let started = POSTGRES
        .get_or_init(|| Postgres::start(&postgres::Options::default()).map_err(|error| format!("{error:#}")));
    started
        .as_ref()
        .unwrap_or_else(|error| panic!("no PostgreSQL: {error}"))
}

/// A name that no other test in this process has.
pub(crate) fn unique(prefix: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// A test's own topic, group and database on the shared services.
#[derive(Debug)]
pub(crate) struct Scene {
    /// A topic with the partitions asked for.
    pub(crate) topic: String,
    /// A group without members or offsets.
    pub(crate) group: String,
    /// An empty database.
    pub(crate) database: String,
}

impl Scene {
    /// Makes them.
    pub(crate) fn new(name: &str, partitions: i32) -> Self {
        Self::on(kafka(), name, partitions, &[])
    }

    /// The same with one partition, and a topic that is configured so.
    pub(crate) fn with_config(name: &str, config: &[(&str, &str)]) -> Self {
        Self::on(kafka(), name, 1, config)
    }

    /// The same with a Kafka of the test's own, which it may stop.
    pub(crate) fn on(kafka: &Kafka, name: &str, partitions: i32, config: &[(&str, &str)]) -> Self {
        let name = unique(name);
        kafka
            .create_topic(&name, partitions, config)
            .expect("the test's topic");
        postgres().create_database(&name).expect("the test's database");
        Self::of(name)
    }

    /// The same with a PostgreSQL of the test's own, which it may stop.
    pub(crate) fn with_own_postgres(name: &str, partitions: i32) -> (Self, Postgres) {
        Self::with_postgres_of(name, partitions, &postgres::Options::default())
    }

    /// The same, made as the options say.
    pub(crate) fn with_postgres_of(
        name: &str,
        partitions: i32,
        options: &postgres::Options,
    ) -> (Self, Postgres) {
        let own = Postgres::start(options).expect("a PostgreSQL of the test's own");
        let name = unique(name);
        kafka()
            .create_topic(&name, partitions, &[])
            .expect("the test's topic");
        own.create_database(&name).expect("the test's database");
        (Self::of(name), own)
    }

    fn of(name: String) -> Self {
        Self {
            topic: name.clone(),
            group: name.clone(),
            database: name,
        }
    }
}

/// The program under test.
pub(crate) fn storage_consumer() -> PathBuf {
    subject::program().unwrap_or_else(|error| panic!("{error:#}"))
}
