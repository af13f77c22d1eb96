//! Real Apache Kafka on loopback: one broker, or a cluster, in KRaft mode, each node broker and controller
//! at once. A node can be killed, stopped and started again on the same data and ports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::folder::Folder;
use super::java::Java;
use super::ports::free_port;
use super::process::{Process, Signal, log_tail};
use super::wait_until;

/// Time for a start; a busy machine needs most of it.
const LIMIT: Duration = Duration::from_secs(90);

/// Partitions of the topic that holds the groups' offsets.
pub(super) const OFFSETS_PARTITIONS: i32 = 4;

/// How a broker's JVM is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jvm {
    /// With its quick compiler only: starts sooner, ends up slower. For tests.
    Quick,
    /// With both compilers, and otherwise as small as it goes: everything stands still while it collects.
    Small,
    /// As Kafka's own start script runs it: the whole heap from the start, and a collector that keeps pauses short. For
    /// what measures latency.
    Shipped,
}

/// How brokers are made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Further settings, as in `server.properties`; they win over the ones made here.
    pub settings: Vec<(String, String)>,
    /// Each node's heap.
    pub heap_megabytes: u32,
    /// How the JVM is run.
    pub jvm: Jvm,
    /// The first node's port for clients; a free one if none is given.
    pub port: Option<u16>,
    /// Further listeners, as name and protocol (`("SCRAM", "SASL_SSL")`), each on a free port.
    pub listeners: Vec<(&'static str, &'static str)>,
    /// Further arguments of `kafka-storage format`, such as users for SCRAM.
    pub format: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            heap_megabytes: 512,
            jvm: Jvm::Quick,
            port: None,
            listeners: Vec::new(),
            format: Vec::new(),
        }
    }
}

/// Running (or stopped) brokers; killed and removed when dropped.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>, // before the folder: they end before their data goes
    java: Java,
    _folder: Folder,
}

#[derive(Debug)]
struct Node {
    id: usize,
    port: u16,
    controller_port: u16,
    /// The ports of further listeners, by name.
    listeners: Vec<(&'static str, u16)>,
    /// Names the node's log folder within the quorum, so that an empty disk cannot pass for the old voter.
    directory: String,
    folder: PathBuf,
    process: Option<Process>,
}

impl Kafka {
    /// Starts one broker; returns when it answers.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        Self::cluster(1, options)
    }

    /// Starts brokers that replicate to each other, up to three times; returns when all of them answer.
    pub fn cluster(nodes: usize, options: &Options) -> anyhow::Result<Self> {
        // Between the choice of a port and its use somebody else may take it.
        let mut attempts_left = 3;
        loop {
            attempts_left -= 1;
            match Self::try_cluster(nodes, options) {
                Err(error) if attempts_left > 0 && error.to_string().contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
    }

    fn try_cluster(nodes: usize, options: &Options) -> anyhow::Result<Self> {
        ensure!(nodes > 0, "a cluster has a node at least");
        let folder = Folder::new()?;
        let java = Java::find(options, folder.path())?;
        let nodes: Vec<Node> = (1..=nodes)
            .map(|id| {
                Ok(Node {
                    id,
                    port: match options.port {
                        Some(port) if id == 1 => port,
                        _ => free_port()?,
                    },
                    controller_port: free_port()?,
                    listeners: options
                        .listeners
                        .iter()
                        .map(|(name, _)| Ok((*name, free_port()?)))
                        .collect::<anyhow::Result<_>>()?,
                    directory: uuid(),
                    folder: folder.path().join(format!("kafka-{id}")),
                    process: None,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let mut kafka = Self {
            nodes,
            java,
            _folder: folder,
        };
        kafka.format(options)?;
        for index in 0..kafka.nodes.len() {
            kafka.launch(index)?;
        }
        kafka.wait_until_ready()?;
        Ok(kafka)
    }

    /// Writes each node's configuration and formats its log folder, all at once.
    fn format(&self, options: &Options) -> anyhow::Result<()> {
        let cluster = uuid();
        let voter = |node: &Node| {
            format!(
                "{}@127.0.0.1:{}:{}",
                node.id, node.controller_port, node.directory
            )
        };
        let voters = self.nodes.iter().map(voter).collect::<Vec<_>>().join(",");
        let mut formatting = Vec::new();
        for node in &self.nodes {
            fs::create_dir(&node.folder)?;
            fs::write(node.configuration(), self.properties(node, options)?)?;
            let launch = self.java.launch("kafka-storage", &node.log());
            let launch = launch
                .args(["kafka.tools.StorageTool", "format", "--cluster-id", &cluster])
                .args(["--initial-controllers", &voters])
                .args(&options.format)
                .arg_path("--config", &node.configuration());
            formatting.push(launch.spawn()?);
        }
        for mut process in formatting {
            let status = process.wait(LIMIT)?;
            ensure!(
                status.success(),
                "kafka-storage ended with {status}\n{}",
                process.log_tail()
            );
        }
        Ok(())
    }

    fn properties(&self, node: &Node, options: &Options) -> anyhow::Result<String> {
        let copies = self.nodes.len().min(3).to_string();
        let in_sync = self.nodes.len().min(2).to_string();
        let controllers: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.controller_port))
            .collect();
        let (client, controller) = (node.port, node.controller_port);
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}");
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for ((name, port), (_, protocol)) in node.listeners.iter().zip(&options.listeners) {
            write!(listeners, ",{name}://127.0.0.1:{port}")?;
            write!(protocols, ",{name}:{protocol}")?;
        }
        let mut settings: BTreeMap<&str, String> = [
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", node.id.to_string()),
            ("log.dirs", node.folder.join("data").display().to_string()),
            ("listeners", listeners.clone()),
            ("advertised.listeners", listeners),
            ("listener.security.protocol.map", protocols),
            // Without it, further listeners would leave open which of them brokers use among themselves.
            ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("controller.quorum.bootstrap.servers", controllers.join(",")),
            ("auto.create.topics.enable", "false".to_owned()),
            // A group's first member need not wait for others.
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            // So that a session of a killed consumer can be made short.
            ("group.min.session.timeout.ms", "1000".to_owned()),
            // The new group protocol leaves these to the broker: a dead member is missed as soon as in the tests of the
            // classic one.
            ("group.consumer.min.session.timeout.ms", "1000".to_owned()),
            ("group.consumer.session.timeout.ms", "6000".to_owned()),
            ("group.consumer.min.heartbeat.interval.ms", "1000".to_owned()),
            ("group.consumer.heartbeat.interval.ms", "1000".to_owned()),
            ("offsets.topic.num.partitions", OFFSETS_PARTITIONS.to_string()),
            ("offsets.topic.replication.factor", copies.clone()),
            ("transaction.state.log.num.partitions", "4".to_owned()),
            ("transaction.state.log.replication.factor", copies.clone()),
            ("transaction.state.log.min.isr", in_sync.clone()),
            ("default.replication.factor", copies),
            ("min.insync.replicas", in_sync),
            // A killed broker is let in again, and its partitions find another leader, when its session is over.
            ("broker.session.timeout.ms", "3000".to_owned()),
            ("broker.heartbeat.interval.ms", "500".to_owned()),
            // A quarter of the heap otherwise, for tests whose topics are hardly ever compacted.
            ("log.cleaner.dedupe.buffer.size", (8 << 20).to_string()),
            // A compacted topic is compacted soon, so that a test need not wait for it.
            ("log.cleaner.backoff.ms", "500".to_owned()),
        ]
        .into();
        settings.extend(
            options
                .settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone())),
        );
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "{name}={value}")?;
        }
        Ok(text)
    }

    fn launch(&mut self, index: usize) -> anyhow::Result<()> {
        let node = &self.nodes[index];
        let launch = self.java.launch(&format!("Kafka node {}", node.id), &node.log());
        let process = launch
            .args(["kafka.Kafka"])
            .args([node.configuration()])
            .spawn()?;
        self.nodes[index].process = Some(process);
        Ok(())
    }

    /// Waits until every node that is started answers as a member of the cluster.
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.process.is_some()) {
            node.wait_until_ready()?;
        }
        Ok(())
    }

    /// The addresses of all nodes, for `bootstrap.servers`; the same for its whole life.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        addresses.join(",")
    }

    /// The first node's address at one of the further listeners.
    pub fn address(&self, listener: &str) -> Option<String> {
        let mut listeners = self.nodes.first()?.listeners.iter();
        let (_, port) = listeners.find(|(name, _)| *name == listener)?;
        Some(format!("127.0.0.1:{port}"))
    }

    /// How many nodes it has, stopped ones included.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// A node's process while it runs, for signals that no method here sends.
    pub fn process(&self, node: usize) -> Option<&Process> {
        self.nodes[node - 1].process.as_ref()
    }

    /// The log file of a node; nodes count from 1, as Kafka's ids do.
    pub fn log(&self, node: usize) -> PathBuf {
        self.nodes[node - 1].log()
    }

    /// The folder of a partition's log on a node: its segments are the files `*.log`.
    pub fn partition_folder(&self, node: usize, topic: &str, partition: i32) -> PathBuf {
        self.nodes[node - 1]
            .folder
            .join("data")
            .join(format!("{topic}-{partition}"))
    }

    /// The java command with Kafka's classes, for its own command line tools; the class comes next.
    pub(super) fn tool(&self) -> std::process::Command {
        self.java.command()
    }

    /// SIGKILL to every node.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        (1..=self.nodes()).try_for_each(|node| self.kill_node(node))
    }

    /// SIGTERM to every node, and its orderly end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        // All are told before one is waited for: the last ones of a quorum cannot hand over to anybody.
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            process.signal(Signal::TERM)?;
        }
        (1..=self.nodes()).try_for_each(|node| self.stop_node(node))
    }

    /// Starts every node again on its data and ports, after an orderly stop if it runs.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        for index in 0..self.nodes.len() {
            self.launch(index)?;
        }
        self.wait_until_ready()
    }

    /// SIGKILL to one node.
    pub fn kill_node(&mut self, node: usize) -> anyhow::Result<()> {
        if let Some(mut process) = self.nodes[node - 1].process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// SIGTERM to one node, and its end: orderly if that comes within a few seconds, by SIGKILL otherwise.
    pub fn stop_node(&mut self, node: usize) -> anyhow::Result<()> {
        if let Some(mut process) = self.nodes[node - 1].process.take() {
            // A controller that has lost its quorum would wait for it; that is no failure of the caller's.
            let _ = process.stop(Signal::TERM, Duration::from_secs(15));
        }
        Ok(())
    }

    /// Starts one node that is stopped; returns when it answers.
    pub fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        ensure!(self.nodes[node - 1].process.is_none(), "node {node} runs already");
        self.launch(node - 1)?;
        self.nodes[node - 1].wait_until_ready()
    }
}

impl Node {
    fn configuration(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let process = self
            .process
            .as_mut()
            .with_context(|| format!("node {} is not started", self.id))?;
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.port))
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .create()?;
        let mut ended = None;
        let settled = wait_until(LIMIT, || {
            ended = process.ended().transpose();
            // A broker answers only when the controllers have taken it in, and then it names itself.
            ended.is_some()
                || client
                    .fetch_metadata(None, Duration::from_millis(500))
                    .is_ok_and(|metadata| {
                        metadata
                            .brokers()
                            .iter()
                            .any(|broker| usize::try_from(broker.id()) == Ok(self.id))
                    })
        });
        match ended {
            Some(status) => bail!(
                "Kafka node {} did not start ({})\n{}",
                self.id,
                status?,
                process.log_tail()
            ),
            None if !settled => {
                bail!(
                    "Kafka node {} does not answer after {LIMIT:?}\n{}",
                    self.id,
                    log_tail(process.log())
                )
            }
            None => Ok(()),
        }
    }
}

/// An identifier as Kafka writes them: 16 bytes in base64, of which the last character carries but two bits.
fn uuid() -> String {
    use rand::distr::{Alphanumeric, SampleString as _};
    Alphanumeric.sample_string(&mut rand::rng(), 21) + "A"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_kafkas() {
        let (one, other) = (uuid(), uuid());
        assert_eq!((one.len(), other.len()), (22, 22));
        assert_ne!(one, other);
    }
}
