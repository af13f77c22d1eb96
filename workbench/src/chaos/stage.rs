//! Owns the services of a run: three brokers, a PostgreSQL, a proxy before it, the consumers. Starts them, heals them
//! all, and leaves data and logs behind where something went wrong.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::generator;
use crate::services::folder::Folder;
use crate::services::proxy::Proxy;
use crate::services::{Kafka, Postgres, kafka, postgres};
use crate::subject::{self, Surroundings};
use crate::{demo::say, referee};

use super::members::{GUEST, Members};
use super::{Settings, brokers};

pub(super) const DATABASE: &str = "metrics";
pub(super) const TOPIC: &str = "chaos";
pub(super) const GROUP: &str = "chaos";
/// The consumers' user has no more than it needs, so that limits and refusals are its own.
pub(super) const USER: &str = "consumer";
pub(super) const PASSWORD: &str = "consumer";
/// At the start; faults add more.
pub(super) const PARTITIONS: i32 = 6;

/// What docs/operations.md grants, and the function of the trigger that makes serialization fail.
const PREPARE: &str = "
    CREATE ROLE consumer LOGIN PASSWORD 'consumer';
    GRANT CONNECT ON DATABASE metrics TO consumer;
    GRANT USAGE ON SCHEMA public TO consumer;
    GRANT INSERT ON server_metrics, application_metrics TO consumer;
    GRANT SELECT, INSERT, UPDATE ON consumer_offsets, dead_letters TO consumer;
    GRANT SELECT ON storage_consumer_migrations TO consumer;
    CREATE FUNCTION chaos_serialization() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.6 THEN
            RAISE EXCEPTION 'chaos: could not serialize access' USING ERRCODE = '40001';
        END IF;
        RETURN NULL;
    END
    $$";

/// What undoes every fault of PostgreSQL that SQL made. Harmless where there was none.
const HEAL: &str = "
    ALTER SYSTEM RESET default_transaction_read_only;
    SELECT pg_reload_conf();
    ALTER ROLE consumer PASSWORD 'consumer' CONNECTION LIMIT -1;
    ALTER TABLE server_metrics DROP CONSTRAINT IF EXISTS chaos, DROP COLUMN IF EXISTS chaos;
    DROP TRIGGER IF EXISTS chaos ON server_metrics";

/// What runs. The fields end in this order.
pub(super) struct Stage {
    pub(super) members: Members,
    pub(super) proxy: Proxy,
    pub(super) kafka: Kafka,
    pub(super) postgres: Postgres,
    folder: Folder,
}

impl Stage {
    /// Starts everything but the guest.
    pub(super) fn build() -> anyhow::Result<Self> {
        // Told before anything is started.
        subject::program()?;
        let folder = Folder::new()?;
        let begun = Instant::now();
        let postgres = Postgres::start(&postgres::Options::default())?;
        let proxy = Proxy::start(postgres.port())?;
        let kafka = Kafka::cluster(
            3,
            &kafka::Options {
                heap_megabytes: 384,
                jvm: kafka::Jvm::Small,
                ..kafka::Options::default()
            },
        )?;
        kafka.create_topic(TOPIC, PARTITIONS, &[])?;
        let mut surroundings = Surroundings {
            kafka_servers: kafka.bootstrap(),
            topic: TOPIC.to_owned(),
            group: GROUP.to_owned(),
            postgres_port: postgres.port(),
            database: DATABASE.to_owned(),
            user: postgres.options().user.clone(),
            password: postgres.options().password.clone(),
        };
        subject::migrate(&surroundings, &folder.path().join("migrate.log"), &[])?;
        referee::add_coordinates(&postgres, DATABASE)?;
        postgres.execute(DATABASE, PREPARE)?;
        USER.clone_into(&mut surroundings.user);
        PASSWORD.clone_into(&mut surroundings.password);
        surroundings.postgres_port = proxy.port();
        let mut members = Members::new(surroundings, folder.path().to_owned());
        for at in 0..GUEST {
            members.start(at)?;
        }
        say(&format!(
            "three brokers ({}), PostgreSQL (port {}, fsync on, behind a proxy), two consumers: {:.1} s",
            kafka.bootstrap(),
            postgres.port(),
            begun.elapsed().as_secs_f64()
        ));
        Ok(Self {
            members,
            proxy,
            kafka,
            postgres,
            folder,
        })
    }

    /// The load of a run.
    pub(super) fn load(&self, settings: &Settings) -> generator::Settings {
        generator::Settings {
            kafka_servers: self.kafka.bootstrap(),
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
            // Enough for each partition to get its share: events are keyed by server.
            servers: 300,
            services: 50,
            rate: settings.rate,
            malformed_ratio: 0.01,
            seed: Some(settings.seed),
            idempotent: true,
            kafka_properties: vec![
                ("acks".to_owned(), "all".to_owned()),
                ("topic.metadata.refresh.interval.ms".to_owned(), "5000".to_owned()),
            ],
            ..generator::Settings::default()
        }
    }

    /// Undoes all that may be broken.
    pub(super) fn heal(&mut self) -> anyhow::Result<()> {
        self.proxy.silence(false);
        self.proxy.refuse(false);
        if self.postgres.process().is_none() {
            self.postgres.restart()?;
        }
        HEAL.split(';')
            .try_for_each(|sql| self.postgres.execute(DATABASE, sql))?;
        for node in 1..=self.kafka.nodes() {
            if self.kafka.process(node).is_none() {
                self.kafka.start_node(node)?;
            }
        }
        brokers::wait_until_in_sync(&self.kafka, TOPIC)?;
        self.members.heal()
    }

    /// Leaves data and logs for a person to look into, and says where.
    pub(super) fn keep(self) -> PathBuf {
        let Self {
            members,
            proxy,
            mut kafka,
            mut postgres,
            folder,
        } = self;
        drop((members, proxy));
        // A server that is stopped has written all that it has.
        let _ = (postgres.stop_fast(), kafka.stop());
        let _ = fs::copy(postgres.log(), folder.path().join("postgres.log"));
        for node in 1..=kafka.nodes() {
            let _ = fs::copy(kafka.log(node), folder.path().join(format!("kafka-{node}.log")));
        }
        let _ = copy_folder(&postgres.data_folder(), &folder.path().join("postgres-data"));
        folder.keep()
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
