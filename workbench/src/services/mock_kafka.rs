//! librdkafka's mock cluster, in this process and in memory: enough of Kafka for the demo, which must run
//! where there is no Java. Tests of the promises use the real [`super::Kafka`].

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;

type Answer<T> = mpsc::Sender<T>;

struct CreateTopic {
    name: String,
    partitions: i32,
    answer: Answer<KafkaResult<()>>,
}

/// A running mock cluster; it ends when dropped.
#[derive(Debug)]
pub struct MockKafka {
    bootstrap: String,
    requests: Option<mpsc::Sender<CreateTopic>>,
    owner: Option<JoinHandle<()>>,
}

impl MockKafka {
    /// Starts a cluster of this many brokers on loopback.
    pub fn start(brokers: i32) -> anyhow::Result<Self> {
        let (requests, received) = mpsc::channel();
        let (started, bootstrap) = mpsc::channel();
        // rdkafka's handle may not move between threads, so one thread keeps it.
        let owner = thread::spawn(move || own(brokers, &started, &received));
        let bootstrap = bootstrap.recv().context("the mock cluster's thread is gone")?;
        let bootstrap = bootstrap.context("the mock cluster did not start")?;
        Ok(Self {
            bootstrap,
            requests: Some(requests),
            owner: Some(owner),
        })
    }

    /// Its address, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let (answer, answered) = mpsc::channel();
        let request = CreateTopic {
            name: name.to_owned(),
            partitions,
            answer,
        };
        let requests = self.requests.as_ref().context("the mock cluster has ended")?;
        requests
            .send(request)
            .ok()
            .context("the mock cluster's thread is gone")?;
        let created = answered.recv().context("the mock cluster's thread is gone")?;
        created.with_context(|| format!("cannot create topic {name}"))
    }
}

fn own(brokers: i32, started: &Answer<KafkaResult<String>>, requests: &mpsc::Receiver<CreateTopic>) {
    let cluster = match MockCluster::new(brokers) {
        Ok(cluster) => cluster,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(cluster.bootstrap_servers()));
    for CreateTopic {
        name,
        partitions,
        answer,
    } in requests
    {
        let _ = answer.send(cluster.create_topic(&name, partitions, 1));
    }
}

impl Drop for MockKafka {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(owner) = self.owner.take() {
            let _ = owner.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use std::time::Duration;

    #[test]
    fn a_client_sees_the_topic_and_its_partitions() {
        let kafka = MockKafka::start(1).expect("a mock cluster");
        kafka.create_topic("events", 6).expect("a topic");
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .create()
            .expect("a client");
        let metadata = client
            .fetch_metadata(Some("events"), Duration::from_secs(10))
            .expect("metadata");
        assert_eq!(metadata.topics()[0].partitions().len(), 6);
    }
}
