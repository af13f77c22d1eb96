//! Owns the services and the consumer of a demo: starts them in order, says so, and ends them in order. How they
//! are looked at is for others.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::settings::Broker;
use super::{Settings, say};
use crate::generator;
use crate::http;
use crate::services::folder::Folder;
use crate::services::ports::free_port;
use crate::services::process::{Launch, Process};
use crate::services::{Kafka, MockKafka, Postgres, kafka, postgres, wait_until};
use crate::subject::{self, Surroundings};

/// Where the consumer writes; its own defaults, as for everything else.
pub(super) const DATABASE: &str = "mlops_db";
pub(super) const TOPIC: &str = "datacenter-metrics";
pub(super) const GROUP: &str = "storage-consumer-group";
const USER: &str = "mlops";
const PASSWORD: &str = "mlops_password";

/// The mock broker keeps little of a partition: many partitions keep more.
pub(super) const PARTITIONS: i32 = 12;

/// Enough for each partition to get its share: events are keyed by server.
const SERVERS: usize = 200;
const SERVICES: usize = 50;

/// The consumer may take so long to be ready: the mock broker's group alone waits three seconds for more members.
const READY: Duration = Duration::from_mins(1);

/// A broker of either kind.
enum AnyKafka {
    Mock(MockKafka),
    Apache(Kafka),
}

/// What runs. The fields end in this order.
pub(super) struct Stage {
    pub(super) consumer: Process,
    kafka: AnyKafka,
    pub(super) postgres: Postgres,
    /// Where the consumer answers probes.
    pub(super) http: SocketAddr,
    folder: Option<Folder>,
}

impl Stage {
    /// Starts everything. `None` when `stop` was set on the way.
    pub(super) fn build(settings: &Settings, stop: &AtomicBool) -> anyhow::Result<Option<Self>> {
        // Told before anything is started.
        subject::program()?;
        let folder = Folder::new()?;
        let stopped = || stop.load(Ordering::Relaxed);

        let begun = Instant::now();
        let postgres = Postgres::start(&postgres::Options {
            database: DATABASE.to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            ..postgres::Options::default()
        })?;
        let at = format!("127.0.0.1:{}, database {DATABASE}, fsync on", postgres.port());
        started("PostgreSQL", &at, begun);
        if stopped() {
            return Ok(None);
        }

        let begun = Instant::now();
        let kafka = match settings.broker {
            Broker::Mock => AnyKafka::Mock(MockKafka::start(1)?),
            Broker::Apache => AnyKafka::Apache(Kafka::start(&kafka::Options {
                heap_megabytes: 1_024,
                jvm: kafka::Jvm::Small,
                ..kafka::Options::default()
            })?),
        };
        let name = match &kafka {
            AnyKafka::Mock(mock) => {
                mock.create_topic(TOPIC, PARTITIONS)?;
                "mock Kafka"
            }
            AnyKafka::Apache(apache) => {
                apache.create_topic(TOPIC, PARTITIONS, &[])?;
                "Apache Kafka"
            }
        };
        let at = format!("{}, topic {TOPIC}, {PARTITIONS} partitions", kafka.bootstrap());
        started(name, &at, begun);
        if stopped() {
            return Ok(None);
        }

        let begun = Instant::now();
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = folder.path().join("consumer.log");
        let consumer = launch(&log, &kafka, &postgres, http)?.spawn()?;
        let mut stage = Self {
            consumer,
            kafka,
            postgres,
            http,
            folder: Some(folder),
        };
        if !stage.wait_until_ready(stop)? {
            return Ok(None);
        }
        let at = format!("process {}, group {GROUP}", stage.consumer.id());
        started("storage-consumer", &at, begun);
        Ok(Some(stage))
    }

    /// False when `stop` was set before.
    fn wait_until_ready(&mut self, stop: &AtomicBool) -> anyhow::Result<bool> {
        let mut answer = "no answer".to_owned();
        let mut ended = None;
        let mut ready = false;
        wait_until(READY, || {
            match http::get(self.http, "/ready") {
                Ok((200, _)) => ready = true,
                Ok((_, body)) => answer = body,
                Err(error) => answer = format!("{error:#}"),
            }
            ended = self.consumer.ended().transpose();
            ready || ended.is_some() || stop.load(Ordering::Relaxed)
        });
        if let Some(status) = ended {
            let (status, error) = (status?, self.last_error());
            let kept = self.keep();
            bail!(
                "storage-consumer ended at its start with {status}{error}; its log is kept in {}",
                kept.display()
            );
        }
        if !ready && !stop.load(Ordering::Relaxed) {
            let kept = self.keep();
            bail!(
                "storage-consumer is not ready after {READY:?}: {answer}{}; its log is kept in {}",
                self.last_error(),
                kept.display()
            );
        }
        Ok(ready)
    }

    /// The broker's address.
    pub(super) fn bootstrap(&self) -> String {
        self.kafka.bootstrap()
    }

    /// The load that is asked for.
    pub(super) fn load(&self, settings: &Settings) -> generator::Settings {
        generator::Settings {
            kafka_servers: self.bootstrap(),
            topic: TOPIC.to_owned(),
            partitions: PARTITIONS,
            servers: SERVERS,
            services: SERVICES,
            rate: settings.rate,
            malformed_ratio: settings.malformed,
            ..generator::Settings::default()
        }
    }

    /// Whether the broker forgets what is not read soon.
    pub(super) fn forgets(&self) -> bool {
        matches!(self.kafka, AnyKafka::Mock(_))
    }

    /// What the consumer complained of last, as the end of a sentence; nothing if it did not.
    pub(super) fn last_error(&self) -> String {
        let text = fs::read_to_string(self.consumer.log()).unwrap_or_default();
        last_error(&text).map_or_else(String::new, |message| format!(": {message}"))
    }

    /// Leaves the logs for a person to read, and says where.
    pub(super) fn keep(&mut self) -> PathBuf {
        let Some(folder) = self.folder.take() else {
            return self.consumer.log().parent().unwrap_or(Path::new("/")).to_owned();
        };
        let _ = fs::copy(self.postgres.log(), folder.path().join("postgres.log"));
        if let AnyKafka::Apache(kafka) = &self.kafka {
            let _ = fs::copy(kafka.log(1), folder.path().join("kafka.log"));
        }
        folder.keep()
    }
}

impl AnyKafka {
    fn bootstrap(&self) -> String {
        match self {
            Self::Mock(kafka) => kafka.bootstrap().to_owned(),
            Self::Apache(kafka) => kafka.bootstrap(),
        }
    }
}

fn started(what: &str, at: &str, begun: Instant) {
    say(&format!(
        "  {what:<17} {at}  ({:.1} s)",
        begun.elapsed().as_secs_f64()
    ));
}

/// The consumer as a child.
fn launch(log: &Path, kafka: &AnyKafka, postgres: &Postgres, http: SocketAddr) -> anyhow::Result<Launch> {
    let surroundings = Surroundings {
        kafka_servers: kafka.bootstrap(),
        topic: TOPIC.to_owned(),
        group: GROUP.to_owned(),
        postgres_port: postgres.port(),
        database: DATABASE.to_owned(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let mut launch = surroundings
        .launch("consume", log)?
        .env("KAFKA_OFFSET_RESET", "earliest")
        .env("HTTP_LISTEN", http.to_string());
    if env::var_os("COMMIT_INTERVAL").is_none() {
        // Whoever watches should not wait five seconds for the last few.
        launch = launch.env("COMMIT_INTERVAL", "1");
    }
    if let AnyKafka::Mock(_) = kafka {
        // Where there is nothing to fetch, a real broker answers as soon as there is; the mock one sleeps for so
        // long whatever comes.
        launch = launch.args(["--kafka-property", "fetch.wait.max.ms=10"]);
    }
    Ok(launch)
}

/// What asks for a person in a log: the message of its last such line. Mistakes in the configuration are told as plain
/// text, before there is a log: all of it but the hint at its end.
fn last_error(log: &str) -> Option<String> {
    let mut plain = Vec::new();
    let mut last = None;
    for line in log.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match serde_json::from_str::<serde_json::Value>(line) {
            Ok(line) if line["level"] == "ERROR" => last = line["message"].as_str().map(str::to_owned),
            Ok(_) => {}
            Err(_) if line.starts_with("For all options") => {}
            Err(_) => plain.push(line),
        }
    }
    last.or_else(|| (!plain.is_empty()).then(|| plain.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_found_whatever_follows() {
        let log = "{\"level\":\"ERROR\",\"message\":\"one\"}\n{\"level\":\"ERROR\",\"message\":\"two\"}\n\
                   {\"level\":\"INFO\",\"message\":\"three\"}\n";
        assert_eq!(last_error(log).as_deref(), Some("two"));
        assert_eq!(
            last_error("a mistake:\n  --batch-size: `x`\n\nFor all options, …\n").as_deref(),
            Some("a mistake: --batch-size: `x`")
        );
        assert_eq!(last_error(""), None);
    }
}
