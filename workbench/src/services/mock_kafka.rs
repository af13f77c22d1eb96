//! librdkafka's mock cluster, in this process and in memory: enough of Kafka for the demo, which must run where there
//! is no Java, and for errors of brokers that a real one cannot be made to have. Everything else is tested on the
//! real [`super::Kafka`].

use std::fmt;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// librdkafka's cluster as rdkafka hands it out.
pub type Cluster = MockCluster<'static, DefaultProducerContext>;

type Order = Box<dyn FnOnce(&Cluster) + Send>;

/// A running mock cluster; it ends when dropped.
pub struct MockKafka {
    bootstrap: String,
    orders: Option<mpsc::Sender<Order>>,
    owner: Option<JoinHandle<()>>,
}

impl MockKafka {
    /// Starts a cluster of this many brokers on loopback.
    pub fn start(brokers: i32) -> anyhow::Result<Self> {
        let (orders, received) = mpsc::channel::<Order>();
        let (started, bootstrap) = mpsc::channel();
        // rdkafka's handle may not move between threads, so one thread keeps it.
        let owner = thread::spawn(move || match MockCluster::new(brokers) {
            Ok(cluster) => {
                let _ = started.send(Ok(cluster.bootstrap_servers()));
                for order in received {
                    order(&cluster);
                }
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        });
        let bootstrap = bootstrap.recv().context("the mock cluster's thread is gone")?;
        let bootstrap = bootstrap.context("the mock cluster did not start")?;
        Ok(Self {
            bootstrap,
            orders: Some(orders),
            owner: Some(owner),
        })
    }

    /// Its address, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes a topic.
    pub fn create_topic(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let topic = name.to_owned();
        self.with(move |cluster| cluster.create_topic(&topic, partitions, 1))?
            .with_context(|| format!("cannot create topic {name}"))
    }

    /// Does something with the cluster itself, as making it answer with errors.
    pub fn with<T: Send + 'static>(
        &self,
        order: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (answer, answered) = mpsc::channel();
        let order: Order = Box::new(move |cluster| {
            let _ = answer.send(order(cluster));
        });
        let orders = self.orders.as_ref().context("the mock cluster has ended")?;
        orders
            .send(order)
            .ok()
            .context("the mock cluster's thread is gone")?;
        answered.recv().context("the mock cluster's thread is gone")
    }
}

impl fmt::Debug for MockKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockKafka")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

impl Drop for MockKafka {
    fn drop(&mut self) {
        self.orders = None; // no more will come: the thread ends
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
