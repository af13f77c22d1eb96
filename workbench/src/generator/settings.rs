//! Owns what a load is to be like, and says everything that is wrong with it. How it is typed on a
//! command line is `options`' business.

use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::time::Duration;

/// How well the datacenter behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Config {
    /// Readings in order and complete, anomalies now and then.
    #[default]
    Normal,
    /// Anomalies often and hard, load in bursts, timestamps late and out of order, unknown event types,
    /// extra fields, fields in any order.
    Chaos,
}

/// A load. There is no `Debug`: properties may hold passwords.
#[derive(Clone)]
pub struct Settings {
    /// Bootstrap servers, `host:port` with commas between.
    pub kafka_servers: String,
    /// The topic; it is created when it isn't there.
    pub topic: String,
    /// Partitions of a topic that is created.
    pub partitions: i32,
    /// Servers in the datacenter.
    pub servers: usize,
    /// Services that run on them.
    pub services: usize,
    /// Events a second; 0 is as fast as it goes.
    pub rate: f64,
    /// Stop after so many events.
    pub count: Option<u64>,
    /// Stop after so long.
    pub duration: Option<Duration>,
    /// The share of readings that an anomaly touches, 0 to 1.
    pub anomaly_probability: f64,
    /// How well the datacenter behaves.
    pub config: Config,
    /// The share of messages that a consumer must refuse, 0 to 1.
    pub malformed_ratio: f64,
    /// The same seed makes the same values; none: one is drawn.
    pub seed: Option<u64>,
    /// The first event's time; each one after is 1 / rate later. None: the wall clock.
    pub start_time: Option<Timestamp>,
    /// Send with librdkafka's idempotent producer: no duplicates and no gaps when it sends again.
    pub idempotent: bool,
    /// Any other librdkafka property; these win.
    pub kafka_properties: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kafka_servers: "localhost:9092".to_owned(),
            topic: "datacenter-metrics".to_owned(),
            partitions: 6,
            servers: 10,
            services: 5,
            rate: 100.0,
            count: None,
            duration: None,
            anomaly_probability: 0.05,
            config: Config::Normal,
            malformed_ratio: 0.0,
            seed: None,
            start_time: None,
            idempotent: true,
            kafka_properties: Vec::new(),
        }
    }
}

impl Settings {
    /// Everything that is wrong, each by the name of its option.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut check = |fine: bool, mistake: &str| {
            if !fine {
                mistakes.push(mistake.to_owned());
            }
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let topic_is_fine = (1..=249).contains(&self.topic.len())
            && self.topic.chars().all(legal)
            && self.topic != "."
            && self.topic != "..";
        check(
            !self.kafka_servers.trim().is_empty(),
            "--kafka-servers: is empty, give host:port",
        );
        check(
            topic_is_fine,
            "--topic: is no topic name, use 1 to 249 letters, digits, '.', '_' and '-'",
        );
        check(
            (1..=100_000).contains(&self.partitions),
            "--partitions: must be from 1 to 100000",
        );
        check(
            (1..=1_000_000).contains(&self.servers),
            "--servers: must be from 1 to 1000000 (services run on servers)",
        );
        check(
            self.services <= 1_000_000,
            "--services: must be from 0 to 1000000",
        );
        check(
            self.rate == 0.0 || (0.001..=1e9).contains(&self.rate),
            "--rate: must be from 0.001 to 1e9 events a second, or 0 for as fast as it goes",
        );
        check(self.count != Some(0), "--count: must be at least 1");
        check(
            self.duration != Some(Duration::ZERO),
            "--duration: must be longer than 0",
        );
        check(
            (0.0..=1.0).contains(&self.anomaly_probability),
            "--anomaly-probability: must be from 0 to 1",
        );
        check(
            (0.0..=1.0).contains(&self.malformed_ratio),
            "--malformed-ratio: must be from 0 to 1",
        );
        // The property's value stays untold: it may be a secret.
        if let Err(KafkaError::ClientConfig(_, _, property, _)) = self.client_config().create_native_config()
        {
            mistakes.push(format!(
                "--kafka-property: librdkafka refuses `{property}` or its value"
            ));
        }
        mistakes
    }

    /// What librdkafka is told.
    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.kafka_servers.as_str())
            .set("client.id", "event-generator")
            .set("enable.idempotence", self.idempotent.to_string())
            .set("compression.type", "lz4")
            // The partition that a Java client would choose for the same key.
            .set("partitioner", "murmur2_random")
            // Large batches cost fewer requests; 20 ms is nothing to a metric.
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "500000")
            .set("queue.buffering.max.kbytes", "131072")
            // However long a broker is away, an event waits for it.
            .set("message.timeout.ms", "0");
        for (property, value) in &self.kafka_properties {
            config.set(property, value);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_fine_and_every_mistake_is_told() {
        assert_eq!(Settings::default().mistakes(), Vec::<String>::new());
        let wrong = Settings {
            kafka_servers: " ".to_owned(),
            topic: "no topic".to_owned(),
            partitions: 0,
            servers: 0,
            rate: -1.0,
            count: Some(0),
            duration: Some(Duration::ZERO),
            anomaly_probability: 1.5,
            malformed_ratio: f64::NAN,
            kafka_properties: vec![("linger.mss".to_owned(), "hunter2".to_owned())],
            ..Settings::default()
        };
        let mistakes = wrong.mistakes();
        assert_eq!(mistakes.len(), 10, "{mistakes:#?}");
        assert!(mistakes.iter().all(|m| m.starts_with("--")));
        assert!(mistakes.iter().all(|m| !m.contains("hunter2")));
    }
}
