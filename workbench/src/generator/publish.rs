//! Owns the way to Kafka: creates the topic, sends events at their pace, waits where the producer is
//! full, and accounts for every delivery. Blocking; a flag stops it.

use super::pace::Pace;
use super::{Config, Event, Generator, Settings, Summary};
use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext,
    PurgeConfig,
};
use rdkafka::{ClientConfig, ClientContext};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the first answer of a broker may take.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// How long creating a topic may take; a broker that knows no admin calls says nothing at all.
const CREATION: Duration = Duration::from_secs(10);
/// How long what is under way may take at the end, and after a wish to stop.
const FLUSH: Duration = Duration::from_mins(1);
const FLUSH_STOPPED: Duration = Duration::from_secs(10);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// Sends a load. Returns when the count or the duration is reached or `stop` is set, after all that
/// was under way is confirmed or given up; `progress` hears of it some ten times a second.
pub fn run(
    settings: &Settings,
    stop: &AtomicBool,
    mut progress: impl FnMut(&Summary),
) -> anyhow::Result<Summary> {
    let mistakes = settings.mistakes();
    if !mistakes.is_empty() {
        bail!("{}", mistakes.join("\n"));
    }
    let config = settings.client_config();
    create_topic(&config, settings)?;
    let producer: BaseProducer<Reports> = config
        .create_with_context(Reports::default())
        .map_err(|error| refused(&error))?;
    let mut generator = Generator::new(settings);
    let mut pace = Pace::new(
        settings.rate,
        (settings.config == Config::Chaos).then(|| generator.seed()),
    );
    let mut summary = Summary {
        seed: generator.seed(),
        ..Summary::default()
    };

    let started = Instant::now();
    let deadline = settings.duration.map(|duration| started + duration);
    let over = || stop.load(Ordering::Relaxed) || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let mut told = started;
    let mut tell = |summary: &mut Summary, producer: &BaseProducer<Reports>| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            summary.elapsed = started.elapsed();
            summary.failed = producer.context().failed();
            progress(summary);
        }
    };

    'sending: while !over() {
        let left = settings.count.map_or(u64::MAX, |count| count - summary.produced);
        if left == 0 {
            break;
        }
        for _ in 0..pace.take(started.elapsed()).min(left) {
            let event = generator.next_event(Timestamp::now());
            while !send(&producer, &settings.topic, &event)? {
                tell(&mut summary, &producer);
                if over() {
                    break 'sending;
                }
                producer.poll(Duration::from_millis(10));
            }
            summary.count(&event);
        }
        tell(&mut summary, &producer);
        if settings.count != Some(summary.produced) {
            producer.poll(pace.wait());
        }
    }

    let patience = if stop.load(Ordering::Relaxed) {
        FLUSH_STOPPED
    } else {
        FLUSH
    };
    if let Err(error) = flush(&producer, patience, stop) {
        tracing::warn!(%error, in_flight = producer.in_flight_count(), "gave up on messages under way");
        // What is purged is reported as failed.
        producer.purge(PurgeConfig::default().queue().inflight());
        producer.flush(Duration::from_secs(1)).ok();
    }
    summary.elapsed = started.elapsed();
    summary.failed = summary.produced - producer.context().delivered();
    if summary.failed > 0
        && let Some(error) = producer.context().last_error()
    {
        tracing::error!(failed = summary.failed, error, "kafka did not take every message");
    }
    Ok(summary)
}

/// The reason without the property's value, which may be a secret.
fn refused(error: &KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, _, property, _) => {
            anyhow!("--kafka-property: librdkafka refuses `{property}` or its value")
        }
        error => anyhow!("librdkafka refuses the configuration: {error}"),
    }
}

/// Hands a message over; false when the producer is full.
fn send(producer: &BaseProducer<Reports>, topic: &str, event: &Event<'_>) -> anyhow::Result<bool> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(event.key);
    record.payload = event.payload;
    match producer.send(record) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
        Err((error, _)) => Err(anyhow!("the producer refuses to send: {error}")),
    }
}

/// Waits for what is under way, less patiently once `stop` is set.
fn flush(producer: &BaseProducer<Reports>, patience: Duration, stop: &AtomicBool) -> Result<(), KafkaError> {
    let mut deadline = Instant::now() + patience;
    loop {
        if stop.load(Ordering::Relaxed) {
            deadline = deadline.min(Instant::now() + FLUSH_STOPPED);
        }
        match producer.flush(Duration::from_millis(100)) {
            Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) if Instant::now() < deadline => {}
            result => return result,
        }
    }
}

/// Creates the topic. One that exists is fine, and so is a broker that doesn't let us: then sending
/// will tell whether the topic is there.
fn create_topic(config: &ClientConfig, settings: &Settings) -> anyhow::Result<()> {
    // The admin client needs no producer's properties; those it doesn't know it ignores.
    let admin: AdminClient<DefaultClientContext> =
        config.create().context("librdkafka refuses the configuration")?;
    // Asking for all topics creates none, as asking for this one might.
    let metadata = admin
        .inner()
        .fetch_metadata(None, FIRST_ANSWER)
        .map_err(|error| anyhow!("no answer from Kafka at {}: {error}", settings.kafka_servers))?;
    if metadata
        .topics()
        .iter()
        .any(|topic| topic.name() == settings.topic)
    {
        return Ok(());
    }
    let topic = NewTopic::new(&settings.topic, settings.partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new()
        .request_timeout(Some(CREATION))
        .operation_timeout(Some(CREATION));
    // On a thread of its own, since the caller's may already run an async runtime.
    let result = std::thread::scope(|scope| {
        let create = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .context("no runtime to create a topic with")
                .map(|runtime| runtime.block_on(admin.create_topics([&topic], &options)))
        };
        scope
            .spawn(create)
            .join()
            .expect("creating a topic doesn't panic")
    })?;
    let code = match result {
        Ok(results) => results
            .into_iter()
            .find_map(|result| result.err().map(|(_, code)| code)),
        Err(KafkaError::AdminOp(code)) => Some(code),
        Err(error) => bail!("topic {} can't be created: {error}", settings.topic),
    };
    match code {
        None => tracing::info!(
            topic = settings.topic,
            partitions = settings.partitions,
            "topic created"
        ),
        Some(RDKafkaErrorCode::TopicAlreadyExists) => {}
        Some(
            code @ (RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::UnsupportedFeature
            | RDKafkaErrorCode::UnsupportedVersion
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::PolicyViolation),
        ) => tracing::info!(topic = settings.topic, %code, "topic not created, it may exist"),
        Some(code) => bail!("topic {} can't be created: {code}", settings.topic),
    }
    Ok(())
}

/// Counts the delivery reports.
#[derive(Default)]
struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Reports {
    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn last_error(&self) -> Option<String> {
        self.last_error.lock().ok()?.clone()
    }
}

impl ClientContext for Reports {}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.delivered.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                if let Ok(mut last) = self.last_error.lock() {
                    *last = Some(error.to_string());
                }
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::Message as _;
    use rdkafka::mocking::MockCluster;
    use rdkafka::{Offset, TopicPartitionList};
    use std::collections::HashMap;

    fn mock(
        topic: &str,
    ) -> (
        MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
        Settings,
    ) {
        let cluster = MockCluster::new(1).expect("a mock cluster starts");
        cluster.create_topic(topic, 3, 1).expect("the mock takes a topic");
        let settings = Settings {
            kafka_servers: cluster.bootstrap_servers(),
            topic: topic.to_owned(),
            rate: 0.0,
            count: Some(20_000),
            malformed_ratio: 0.1,
            seed: Some(1),
            ..Settings::default()
        };
        (cluster, settings)
    }

    #[test]
    fn all_that_is_counted_arrives_once_and_in_order_of_its_server() {
        let (_cluster, settings) = mock("metrics");
        let mut told = 0;
        let summary = run(&settings, &AtomicBool::new(false), |_| told += 1).expect("sent");
        assert_eq!((summary.produced, summary.failed), (20_000, 0));
        assert_eq!(
            summary.server_metrics + summary.application_metrics + summary.malformed,
            20_000
        );

        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &settings.kafka_servers)
            .set("group.id", "check")
            .create()
            .expect("a consumer");
        let mut partitions = TopicPartitionList::new();
        for partition in 0..3 {
            partitions
                .add_partition_offset("metrics", partition, Offset::Beginning)
                .expect("a partition");
        }
        consumer.assign(&partitions).expect("assigned");
        let mut of_key: HashMap<Vec<u8>, Vec<Option<Vec<u8>>>> = HashMap::new();
        for _ in 0..20_000 {
            let message = consumer
                .poll(Duration::from_secs(10))
                .expect("a message")
                .expect("no error");
            let key = message.key().expect("a key").to_vec();
            of_key
                .entry(key)
                .or_default()
                .push(message.payload().map(<[u8]>::to_vec));
        }
        // The same seed makes the same values; only their timestamps differ, which follow the clock.
        let mut expected: HashMap<Vec<u8>, Vec<Option<Vec<u8>>>> = HashMap::new();
        let mut again = Generator::new(&settings);
        for _ in 0..20_000 {
            let event = again.next_event(Timestamp::UNIX_EPOCH);
            let payload = event.payload.map(<[u8]>::to_vec);
            expected.entry(event.key.to_vec()).or_default().push(payload);
        }
        assert_eq!(of_key.len(), expected.len());
        let tail = |payload: &Option<Vec<u8>>| {
            payload
                .as_ref()
                .and_then(|bytes| Some(bytes.get(bytes.len().checked_sub(60)?..)?.to_vec()))
        };
        for (key, messages) in &of_key {
            let same = messages
                .iter()
                .zip(&expected[key])
                .filter(|(a, b)| tail(a) == tail(b));
            // A truncated message may end within its timestamp.
            assert!(same.count() * 100 >= messages.len() * 97);
            assert_eq!(messages.len(), expected[key].len());
        }
    }

    #[test]
    fn a_wish_to_stop_is_heard_and_the_rate_is_kept() {
        let (_cluster, settings) = mock("paced");
        let settings = Settings {
            rate: 1_000.0,
            count: None,
            ..settings
        };
        let stop = AtomicBool::new(false);
        let summary = run(&settings, &stop, |so_far| {
            stop.store(so_far.produced >= 500, Ordering::Relaxed);
        })
        .expect("sent");
        assert_eq!(summary.failed, 0);
        assert!((500..=700).contains(&summary.produced), "{}", summary.produced);
        assert!(
            summary.elapsed >= Duration::from_millis(400),
            "{:?}",
            summary.elapsed
        );
    }

    #[test]
    fn a_broker_that_is_not_there_is_told() {
        let settings = Settings {
            kafka_servers: "127.0.0.1:1".to_owned(),
            kafka_properties: vec![("nonsense".to_owned(), "1".to_owned())],
            ..Settings::default()
        };
        let error = run(&settings, &AtomicBool::new(false), |_| {}).expect_err("a mistake");
        assert!(error.to_string().contains("--kafka-property"), "{error:#}");
    }

    /// Run with `cargo test --release -p workbench --lib -- --ignored --nocapture fast`.
    #[test]
    #[ignore = "measures, and a debug build is slow"]
    #[expect(clippy::print_stderr, reason = "the number is what one runs it for")]
    fn publishes_fast() {
        let (_cluster, settings) = mock("fast");
        let settings = Settings {
            count: Some(2_000_000),
            malformed_ratio: 0.0,
            ..settings
        };
        let summary = run(&settings, &AtomicBool::new(false), |_| {}).expect("sent");
        eprintln!("{summary}");
        assert_eq!(summary.failed, 0);
    }
}
