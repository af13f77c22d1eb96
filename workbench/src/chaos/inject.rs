//! Owns how a fault comes about, how it is undone, and whether it came about at all: a fault that nobody felt is told
//! and not counted. One file a part.

use std::thread::JoinHandle;
use std::{fs, mem};

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
    Network,
    StartBroker(usize),
}

/// A fault that is under way.
pub(super) struct Injected {
    pub(super) fault: Fault,
    undo: Undo,
    /// How long PostgreSQL's log was, and what the proxy had done, before.
    log: usize,
    deeds: u64,
    /// There was something to break, and it broke.
    succeeded: bool,
}

/// Breaks it. `disturbed`: something else is broken at the same time.
pub(super) fn inject(stage: &mut Stage, fault: Fault, disturbed: bool) -> anyhow::Result<Injected> {
    let log = log_of(stage).len();
    let deeds = network::deeds(stage);
    let undo = match fault.kind.part() {
        Part::Consumer => consumer::inject(stage, fault, disturbed)?,
        Part::Postgres => postgres::inject(stage, fault)?,
        Part::Network => network::inject(stage, fault),
        Part::Kafka => kafka::inject(stage, fault)?,
    };
    Ok(Injected {
        fault,
        succeeded: undo.is_some(),
        undo: undo.unwrap_or(Undo::Nothing),
        log,
        deeds,
    })
}

impl Injected {
    /// Undoes it.
    pub(super) fn heal(&mut self, stage: &mut Stage, disturbed: bool) -> anyhow::Result<()> {
        match mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::StartMember(at) => stage.members.start(at)?,
            Undo::ThawMember(at) => stage.members.thaw(at)?,
            Undo::StopMember(at) => stage.members.stop(at, disturbed)?,
            Undo::StartPostgres => stage.postgres.restart()?,
            Undo::Sql(statements) => statements
                .iter()
                .try_for_each(|sql| postgres::execute(stage, sql))?,
            Undo::Join(thread) => {
                let times = thread
                    .join()
                    .map_err(|_| anyhow!("the thread of {} panicked", self.fault))?;
                self.succeeded = times > 0;
            }
            Undo::Network => network::heal(stage, self.fault),
            Undo::StartBroker(node) => stage.kafka.start_node(node)?,
        }
        Ok(())
    }

    /// Whether somebody felt it. Asked after the recovery: some faults wait for the next message that they fit.
    pub(super) fn came_about(&self, stage: &Stage) -> bool {
        match self.fault.kind.evidence() {
            // Its own word: a statement of ours may fail and have done its work.
            Some(words) => {
                let log = log_of(stage);
                log.get(self.log..).is_some_and(|since| since.contains(words))
            }
            None if self.fault.kind.part() == Part::Network => network::deeds(stage) > self.deeds,
            None => self.succeeded,
        }
    }
}

/// PostgreSQL's log.
fn log_of(stage: &Stage) -> String {
    let bytes = fs::read(stage.postgres.log()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
