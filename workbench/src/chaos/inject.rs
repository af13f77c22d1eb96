//! Owns how a fault comes about, how it is undone, and whether it came about at all: a fault that nobody felt is told
//! and not counted. One file a part.

use std::fs;
use std::thread::JoinHandle;

use anyhow::anyhow;

use super::fault::{Fault, Part};
use super::stage::Stage;

mod consumer; // processes killed, frozen, asked to stop
mod postgres; // the server, its sessions, its tables
mod network; // the proxy before it
mod kafka; // brokers and the topic

/// What undoes a fault.
enum Undo {
    Nothing,
    StartMember(usize),
    ThawMember(usize),
    StopMember(usize),
    StartPostgres,
    /// Statements, each in a transaction of its own.
    Sql(&'static [&'static str]),
    /// Something that ends by itself; how often it succeeded.
    Join(JoinHandle<u64>),
    Proxy,
    StartBroker(usize),
}

/// A fault that is under way.
pub(super) struct Injected {
    pub(super) fault: Fault,
    undo: Undo,
    /// How long PostgreSQL's log was, and what the proxy had done, before.
    log: usize,
    proxy: u64,
    /// There was something to break.
    begun: bool,
}

/// Breaks it. `disturbed`: something else is broken at the same time.
pub(super) fn inject(stage: &mut Stage, fault: Fault, disturbed: bool) -> anyhow::Result<Injected> {
    let log = log_of(stage).len();
    let proxy = network::deeds(stage);
    let undo = match fault.kind.part() {
        Part::Consumer => consumer::inject(stage, fault, disturbed)?,
        Part::Postgres => postgres::inject(stage, fault)?,
        Part::Network => network::inject(stage, fault),
        Part::Kafka => kafka::inject(stage, fault)?,
    };
    Ok(Injected {
        fault,
        begun: undo.is_some(),
        undo: undo.unwrap_or(Undo::Nothing),
        log,
        proxy,
    })
}

impl Injected {
    /// Undoes it, and says whether it came about.
    pub(super) fn heal(self, stage: &mut Stage, disturbed: bool) -> anyhow::Result<bool> {
        let mut succeeded = self.begun;
        match self.undo {
            Undo::Nothing => {}
            Undo::StartMember(at) => stage.members.start(at)?,
            Undo::ThawMember(at) => stage.members.thaw(at)?,
            Undo::StopMember(at) => stage.members.stop(at, disturbed)?,
            Undo::StartPostgres => stage.postgres.restart()?,
            Undo::Sql(statements) => statements
                .iter()
                .try_for_each(|sql| postgres::execute(stage, sql))?,
            Undo::Join(thread) => {
                succeeded = thread
                    .join()
                    .map_err(|_| anyhow!("the thread of {} panicked", self.fault))?
                    > 0;
            }
            Undo::Proxy => {
                stage.proxy.heal();
                succeeded = network::deeds(stage) > self.proxy;
            }
            Undo::StartBroker(node) => stage.kafka.start_node(node)?,
        }
        Ok(match self.fault.kind.evidence() {
            Some(words) => {
                let log = log_of(stage);
                succeeded && log.get(self.log..).is_some_and(|since| since.contains(words))
            }
            None => succeeded,
        })
    }
}

/// PostgreSQL's log.
fn log_of(stage: &Stage) -> String {
    let bytes = fs::read(stage.postgres.log()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
