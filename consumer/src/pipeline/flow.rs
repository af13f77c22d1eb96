//! Owns a worker's decisions: what follows from the group's decisions, Kafka's messages and the store's outcomes for its
//! partitions and its batches. No I/O, no log and no clock: `consume` carries out what it says, and `model` drives it
//! through thousands of schedules.

mod held; // what batches hold
mod requests; // what the store was asked

pub(super) use self::held::Held;

use self::requests::Requests;
use super::assignment::{Assignment, Place, Position};
use super::batch::{Batch, Incoming};
use super::exchange::Command;
use super::routing::Routing;
use crate::config::{BatchConfig, OffsetReset};
use crate::offsets::{Log, Offset, Partition, Stored};
use crate::table::SharedTables;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An assignment is acknowledged after so long even if PostgreSQL has not said where its partitions stand.
const ADOPT_AFTER: Duration = Duration::from_secs(5);

/// What is sealed may take so long when its partitions are revoked.
pub(super) const REVOKE_WITHIN: Duration = Duration::from_secs(10);

/// Batches go round in so many pieces of memory.
const BATCHES: usize = 2;

/// After an error that concerns the start of partitions, the next attempt waits so long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the Kafka client is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Take over what the group has assigned: read from the positions, hold still where one is not known yet.
    Adopt(Vec<Partition>),
    /// Give back what the group has revoked.
    GiveBack(Vec<Partition>),
}

/// A position that lay outside of its partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Retention has passed it.
    Lost { from: Offset, offsets_lost: u64 },
    /// It was beyond the end.
    Beyond { from: Offset, going_on_at: Offset },
    /// The log is not the one that it was taken from.
    OtherLog { from: Offset, going_on_at: Offset },
}

/// The decisions of one worker.
pub(super) struct Flow {
    config: BatchConfig,
    routing: Routing,
    tables: Arc<SharedTables>,
    assignment: Assignment,
    /// Where messages go. While the store has both batches, an empty one stands here, and takes nothing.
    filling: Box<Batch>,
    /// The other batch's memory, while it is not in the store.
    spare: Option<Box<Batch>>,
    asked: Requests,
    /// The partitions that PostgreSQL is to be asked about, and not before when.
    to_load: BTreeSet<Partition>,
    load_after: Option<Instant>,
    /// Partitions of which PostgreSQL knows nothing: Kafka says where they start.
    without_row: Vec<Partition>,
    /// What was found for them. It is stored even for partitions that are somebody else's by then: that is where they
    /// start, for whoever reads them.
    to_start: Vec<(Partition, Offset)>,
    /// A partition's position fell out of its log.
    out_of_range: bool,
    assigning: Option<(Vec<Partition>, Instant)>,
    revoking: Option<(Vec<Partition>, Instant)>,
}

impl Flow {
    pub(super) fn new(config: BatchConfig, routing: Routing, tables: Arc<SharedTables>) -> Self {
        let batch = || Box::new(Batch::with_room(config.max_bytes));
        Self {
            filling: batch(),
            spare: Some(batch()),
            config,
            routing,
            tables,
            assignment: Assignment::default(),
            asked: Requests::default(),
            to_load: BTreeSet::new(),
            load_after: None,
            without_row: Vec::new(),
            to_start: Vec::new(),
            out_of_range: false,
            assigning: None,
            revoking: None,
        }
    }

    pub(super) fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    // ---- the group -----------------------------------------------------------------------------------------

    /// The group has given partitions to this worker.
    pub(super) fn assigned(&mut self, partitions: Vec<Partition>, now: Instant) {
        self.read_again();
        self.assignment.add(&partitions);
        self.to_load.extend(partitions.iter().copied());
        self.assigning = Some((partitions, now + ADOPT_AFTER));
    }

    /// The group takes partitions away. What is read but not sealed is forgotten: PostgreSQL knows where to go on.
    /// `lost`: somebody else reads them already.
    pub(super) fn revoked(&mut self, partitions: Vec<Partition>, lost: bool, now: Instant) {
        self.read_again();
        self.assignment.remove(&partitions);
        self.filling.forget(&|partition| partitions.contains(&partition));
        self.without_row
            .retain(|partition| !partitions.contains(partition));
        self.to_load.retain(|partition| !partitions.contains(partition));
        self.revoking = Some((partitions, if lost { now } else { now + REVOKE_WITHIN }));
    }

    /// The client is given up with all partitions that it had: nobody is left whom a decision could be acknowledged to.
    pub(super) fn abandon(&mut self, now: Instant) -> Vec<Partition> {
        let partitions: Vec<Partition> = self.assignment.partitions().collect();
        self.revoked(partitions.clone(), true, now);
        self.assigning = None;
        self.revoking = None;
        self.out_of_range = false;
        partitions
    }

    /// Whether a decision of the group is not acknowledged yet: the next one must wait.
    pub(super) fn is_deciding(&self) -> bool {
        self.assigning.is_some() || self.revoking.is_some()
    }

    /// The acknowledgement of the group's decision, when it is time: of a revocation when what is sealed has been
    /// stored, of an assignment when it is known where its partitions stand; of either when that takes too long.
    pub(super) fn next_action(&mut self, now: Instant) -> Option<Action> {
        if let Some((partitions, _)) = self
            .revoking
            .take_if(|(partitions, until)| !self.asked.store_any_of(partitions) || now >= *until)
        {
            return Some(Action::GiveBack(partitions));
        }
        let (partitions, _) = self
            .assigning
            .take_if(|(partitions, until)| self.assignment.all_known(partitions) || now >= *until)?;
        self.assignment.adopt(&partitions);
        Some(Action::Adopt(partitions))
    }

    /// Partitions that the client must be told to read from their positions, whatever it reads now. The caller tells it
    /// at once, and not between a decision of the group and its acknowledgement.
    pub(super) fn take_restarts(&mut self) -> Vec<Partition> {
        let partitions = self.assignment.to_restart();
        self.assignment.adopt(&partitions);
        partitions
    }

    // ---- Kafka's messages ----------------------------------------------------------------------------------

    /// Takes one message into the filling batch, or passes over it.
    pub(super) fn take(&mut self, incoming: &Incoming<'_>, now: Instant) {
        let at = &incoming.at;
        match self.assignment.advance(at.partition, at.offset, at.timestamp_ms) {
            Place::Next(expected) => {
                self.open_filling(now);
                self.routing.take(&mut self.filling, incoming, expected);
            }
            Place::PassedOver => {}
            Place::OtherLog => self.out_of_range = true,
        }
    }

    fn open_filling(&mut self, now: Instant) {
        if self.filling.is_empty() {
            self.routing.refresh(&self.tables.current());
            self.filling
                .open(self.routing.generation(), self.routing.tables(), now);
        }
    }

    /// The client has dropped what it had fetched and not handed over: it was told to pause, or paused for a decision of
    /// the group. Where it goes on is not left to it: it is told again, for all partitions.
    pub(super) fn read_again(&mut self) {
        self.assignment.read_again();
    }

    /// The client has looked at all of a partition's log before `end`, which was its end then. Offsets before it that hold
    /// no message (transaction markers, what was aborted) are stored as passed: lag goes back to 0, and when retention
    /// removes them nobody takes that for a loss.
    pub(super) fn reached_end(&mut self, partition: Partition, end: Offset, now: Instant) {
        if let Some(expected) = self.assignment.pass_to(partition, end) {
            self.open_filling(now);
            self.filling.pass(partition, expected, end);
        }
    }

    /// Whether the batches are as large as memory allows: nothing is taken now.
    pub(super) fn is_full(&self) -> bool {
        self.filling_is_full() || self.asked.batches() == BATCHES
    }

    fn filling_is_full(&self) -> bool {
        self.filling.bytes() >= self.config.max_bytes
    }

    /// The fields without a column since the last call, with how often each came.
    pub(super) fn take_unmapped(&mut self) -> impl Iterator<Item = (&str, u64)> {
        self.routing.take_unmapped()
    }

    /// The client says that it can't read from some position.
    pub(super) fn fell_out_of_range(&mut self) {
        self.out_of_range = true;
    }

    /// Whether `fit_into` is to be called for every partition with a position.
    pub(super) fn is_out_of_range(&self, now: Instant) -> bool {
        self.out_of_range && self.load_after.is_none_or(|at| now >= at)
    }

    /// Compares a partition's position with its log, and moves it there if it lies outside. What is stored does not
    /// move by it: the next batch does that.
    pub(super) fn fit_into(&mut self, partition: Partition, log: Log, policy: OffsetReset) -> Option<Gap> {
        let position = self.assignment.position(partition)?;
        let from = position.read_next;
        let (read_next, gap) = if self.assignment.is_other_log(partition) {
            let going_on_at = log.reset(policy);
            (going_on_at, Gap::OtherLog { from, going_on_at })
        } else if from < log.start {
            let offsets_lost = from.distance_to(log.start);
            (log.start, Gap::Lost { from, offsets_lost })
        } else if from > log.end {
            let going_on_at = log.reset(policy);
            (going_on_at, Gap::Beyond { from, going_on_at })
        } else {
            if log.start == from {
                self.assignment.forget_message_before(partition);
            }
            return None;
        };
        self.assignment.set_position(
            partition,
            Position {
                read_next,
                ..position
            },
        );
        Some(gap)
    }

    /// All positions have been compared with their logs: the client reads all partitions anew, for it has stopped
    /// reading those that were out of range.
    pub(super) fn is_back_in_range(&mut self) {
        self.out_of_range = false;
        self.assignment.read_again();
    }

    // ---- the store -----------------------------------------------------------------------------------------

    /// PostgreSQL has said where partitions stand. Those that start there now.
    pub(super) fn loaded(&mut self, offsets: &BTreeMap<Partition, Stored>) -> Vec<(Partition, Offset)> {
        let asked = self.asked.answered();
        let mut starting = Vec::new();
        for partition in asked {
            // Gone in the meantime, or gone and come back, and asked for once more.
            if !self.assignment.owns(partition) || self.to_load.contains(&partition) {
                continue;
            }
            let Some(stored) = offsets.get(&partition).copied() else {
                self.without_row.push(partition);
                continue;
            };
            self.assignment.start(partition, stored);
            starting.push((partition, stored.next));
        }
        starting
    }

    /// Partitions without a stored offset: Kafka is to be asked where they start, and `found` or `ask_again` called.
    pub(super) fn take_without_row(&mut self) -> Vec<Partition> {
        std::mem::take(&mut self.without_row)
    }

    /// Where partitions without a row start.
    pub(super) fn found(&mut self, starts: Vec<(Partition, Offset)>) {
        self.to_start.extend(starts);
    }

    /// Kafka could not say where partitions start, or what their logs hold.
    pub(super) fn ask_again(&mut self, partitions: Vec<Partition>, now: Instant) {
        self.to_load.extend(partitions);
        self.load_after = Some(now + TRY_AGAIN_AFTER);
    }

    /// The batch is committed.
    pub(super) fn stored(&mut self, batch: Box<Batch>) {
        self.take_back(batch);
    }

    /// Somebody else moved the batch's partitions. What was read of them since builds on what was not stored.
    pub(super) fn fenced(&mut self, batch: Box<Batch>) {
        let partitions: Vec<Partition> = batch.ranges().iter().map(|range| range.partition).collect();
        self.filling.forget(&|partition| partitions.contains(&partition));
        for partition in partitions {
            if self.assignment.owns(partition) {
                self.assignment.forget_position(partition);
                self.to_load.insert(partition);
            }
        }
        self.take_back(batch);
    }

    fn take_back(&mut self, mut batch: Box<Batch>) {
        self.asked.answered();
        batch.clear();
        if self.asked.batches() == BATCHES - 1 {
            self.filling = batch;
        } else {
            self.spare = Some(batch);
        }
    }

    /// The store's next work, if there is some: when it is free, and a full batch already while it is busy with the one
    /// before, so that it need not wait for this worker when that is done.
    pub(super) fn next_command(&mut self, now: Instant) -> Option<Command> {
        if !self.has_command(now) {
            return None;
        }
        if !self.asked.is_empty() {
            // Done here, the store does not have to do it while PostgreSQL waits.
            self.filling.put_in_order();
            return Some(self.seal());
        }
        if !self.to_start.is_empty() {
            let offsets = std::mem::take(&mut self.to_start);
            self.asked
                .ask(offsets.iter().map(|(partition, _)| *partition).collect());
            Some(Command::Start(offsets))
        } else if self.may_load(now) {
            let partitions: Vec<Partition> = std::mem::take(&mut self.to_load).into_iter().collect();
            self.load_after = None;
            self.asked.ask(partitions);
            Some(Command::Load)
        } else {
            Some(self.seal())
        }
    }

    /// Whether `next_command` has one.
    pub(super) fn has_command(&self, now: Instant) -> bool {
        let other_than_batch = !self.to_start.is_empty() || self.may_load(now);
        if self.asked.is_empty() {
            other_than_batch || self.batch_is_due(now)
        } else {
            !other_than_batch && self.asked.batches() == 1 && self.filling_is_full()
        }
    }

    fn may_load(&self, now: Instant) -> bool {
        !self.to_load.is_empty() && self.load_after.is_none_or(|at| now >= at)
    }

    fn batch_is_due(&self, now: Instant) -> bool {
        self.filling.opened_at().is_some_and(|opened_at| {
            self.filling.len() >= self.config.size
                || now - opened_at >= self.config.interval
                || self.filling_is_full()
        })
    }

    /// When the filling batch is due, if the store is free to take it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let opened_at = self.filling.opened_at()?;
        self.asked.is_empty().then(|| opened_at + self.config.interval)
    }

    /// From now on there is no work but what is batched: the last command, when the store is free.
    pub(super) fn last_command(&mut self) -> Option<Command> {
        (self.asked.is_empty() && !self.filling.is_empty()).then(|| self.seal())
    }

    /// Hands the filling batch to the store; the other one is filled from now on, if the store does not have it.
    fn seal(&mut self) -> Command {
        let next = self.spare.take().unwrap_or_default();
        let batch = std::mem::replace(&mut self.filling, next);
        self.asked.store(&batch);
        Command::Store(batch)
    }

    /// Whether the store has been asked for something.
    pub(super) fn store_is_busy(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Messages that are neither stored nor forgotten.
    pub(super) fn waiting(&self) -> usize {
        self.held().messages
    }

    /// What the batches hold, the one that is filled and those in the store.
    pub(super) fn held(&self) -> Held {
        [Held::of(&self.filling), self.asked.held()].into_iter().sum()
    }

    /// When the oldest of them came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.asked.oldest().or(self.filling.opened_at())
    }
}
