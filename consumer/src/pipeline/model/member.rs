//! The model's worker: the real `Flow`, with a Kafka client and a store around it that do what the real ones do, one step
//! at a time.

use super::database::{Database, Rollback, TABLES};
use super::log::{PartitionLog, place, timestamp};
use crate::config::{BatchConfig, OffsetReset, UnknownTypes};
use crate::offsets::{Offset, Partition, are_stored};
use crate::pipeline::batch::{Batch, Incoming, SortedRows};
use crate::pipeline::exchange::{Command, Outcome};
use crate::pipeline::flow::{Action, Flow, Gap};
use crate::pipeline::rebalance::Decision;
use crate::pipeline::routing::Routing;
use crate::table::{Coordinates, Routes, SharedTables, Table};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const TOPIC: &str = "topic";

/// What becomes of one attempt of the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// PostgreSQL does it, and says so.
    Done,
    /// PostgreSQL does it, and nobody hears of it.
    AnswerLost,
    /// PostgreSQL hears nothing.
    RequestLost,
}

/// What a client reads of a partition.
#[derive(Debug)]
struct Reading {
    /// From where; `None`: it holds still.
    from: Option<Offset>,
    /// The end of the log that it has come to, and not told yet.
    end: Option<Offset>,
}

impl Reading {
    fn from(from: Option<Offset>) -> Self {
        Self { from, end: None }
    }

    /// It has dropped what it had fetched, and does not know exactly where to go on.
    fn lose_place(&mut self) {
        self.from = self.from.map(Offset::next);
        self.end = None;
    }
}

/// What the group's decisions that were carried out mean for the group.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) given_back: Vec<Partition>,
    /// Messages that the log no longer has, as it was told.
    pub(super) lost: Vec<(Partition, Offset)>,
}

pub(super) struct Member {
    flow: Flow,
    routing: Routing,
    tables: Arc<SharedTables>,
    /// What the store was asked, and what it has answered and the loop has not heard.
    asked: VecDeque<Command>,
    answers: VecDeque<Outcome>,
    client: BTreeMap<Partition, Reading>,
    pub(super) decisions: VecDeque<Decision>,
    /// What the flow took for stored, to be told to Kafka.
    pub(super) told: Vec<(Partition, Offset)>,
    /// The group has given its partitions to others, and it has not heard of that.
    pub(super) suspected: bool,
    /// The newest revocation that was taken up came too late.
    lost: bool,
}

impl Member {
    pub(super) fn new(database: &Database) -> Self {
        let (routes, columns, oids) = routed(database, &TABLES);
        let tables = Arc::new(SharedTables::new(routes, UnknownTypes::Skip, columns, oids));
        let routing = || Routing::new(&tables.current());
        let config = BatchConfig {
            size: 4,
            interval: Duration::from_millis(200),
            max_bytes: 1500,
        };
        Self {
            flow: Flow::new(config, routing(), Arc::clone(&tables)),
            routing: routing(),
            tables,
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            client: BTreeMap::new(),
            decisions: VecDeque::new(),
            told: Vec::new(),
            suspected: false,
            lost: false,
        }
    }

    /// The consume loop turns once: decisions, restarts, the store's next work.
    pub(super) fn turn(&mut self, logs: &BTreeMap<Partition, PartitionLog>, now: Instant) -> News {
        let mut news = News::default();
        loop {
            while let Some(action) = self.flow.next_action(now) {
                self.lose_places();
                match action {
                    Action::Adopt(partitions) => self.read_from_positions(&partitions),
                    Action::GiveBack(partitions) => {
                        self.client.retain(|partition, _| !partitions.contains(partition));
                        if !std::mem::take(&mut self.lost) {
                            news.given_back.extend(partitions);
                        }
                    }
                }
            }
            if self.flow.is_deciding() {
                break;
            }
            match self.decisions.pop_front() {
                Some(Decision::Assigned(partitions)) => self.flow.assigned(partitions, now),
                Some(Decision::Revoked(partitions)) => {
                    self.lost = self.suspected;
                    self.flow.revoked(partitions, self.lost, now);
                }
                None => {
                    self.read_again(logs, now, &mut news);
                    break;
                }
            }
        }
        if let Some(command) = self.flow.next_command(now) {
            self.asked.push_back(command);
            assert!(self.asked.len() + self.answers.len() <= 2, "two batches go round");
        }
        news
    }

    /// The client pauses for a decision of the group, or because it is told to.
    fn lose_places(&mut self) {
        self.client.values_mut().for_each(Reading::lose_place);
    }

    pub(super) fn pause(&mut self) {
        self.lose_places();
        self.flow.read_again();
    }

    pub(super) fn store_is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    fn read_from_positions(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            let from = self.flow.assignment().reads_from(*partition);
            self.client.insert(*partition, Reading::from(from));
        }
    }

    fn read_again(&mut self, logs: &BTreeMap<Partition, PartitionLog>, now: Instant, news: &mut News) {
        if self.flow.is_out_of_range(now) {
            let known: Vec<Partition> = self.flow.assignment().known().collect();
            for partition in known {
                let log = logs[&partition].bounds();
                match self.flow.fit_into(partition, log, OffsetReset::Earliest) {
                    None => {}
                    Some(Gap::Lost { from, .. }) => {
                        news.lost
                            .extend((from.0..log.start.0).map(|offset| (partition, Offset(offset))));
                    }
                    Some(gap) => panic!("no log is made anew in the model: {gap:?}"),
                }
            }
            self.flow.is_back_in_range();
        }
        let partitions = self.flow.take_restarts();
        self.read_from_positions(&partitions);
    }

    /// The worker makes a new client, and leaves all behind that the old one had.
    pub(super) fn join_anew(&mut self, now: Instant) {
        self.flow.abandon(now);
        self.client.clear();
        self.decisions.clear();
        self.suspected = false;
    }

    /// The client hands over some messages, from each partition in turn.
    pub(super) fn poll(&mut self, logs: &BTreeMap<Partition, PartitionLog>, count: usize, now: Instant) {
        for _ in 0..count {
            for (partition, Reading { from, end }) in &mut self.client {
                let log = &logs[partition];
                if let Some(end) = end.take() {
                    if self.flow.is_full() {
                        return;
                    }
                    self.flow.reached_end(*partition, end, now);
                }
                match from {
                    Some(from) if *from < log.bounds().start => self.flow.fell_out_of_range(),
                    Some(from) => {
                        if self.flow.is_full() {
                            return;
                        }
                        let Some((offset, kind)) = log.next(*from) else {
                            *from = log.bounds().end;
                            *end = Some(*from);
                            continue;
                        };
                        *from = offset.next();
                        let payload = kind.payload();
                        let at = Coordinates {
                            topic: TOPIC,
                            partition: *partition,
                            offset,
                            timestamp_ms: Some(timestamp(offset)),
                            key: None,
                        };
                        self.flow.take(
                            &Incoming {
                                at,
                                payload: payload.as_deref(),
                            },
                            now,
                        );
                    }
                    None => {}
                }
            }
        }
    }

    /// The process has other routes from now on: to these tables, in this order.
    pub(super) fn reroute(&mut self, database: &Database, names: &[&str]) {
        let (routes, columns, oids) = routed(database, names);
        self.tables.reroute(routes, UnknownTypes::Skip, columns, oids);
    }

    /// The store makes one attempt at the first thing that it was asked.
    pub(super) fn attempt(&mut self, database: &mut Database, fate: Fate) {
        let Some(command) = self.asked.pop_front() else {
            return;
        };
        match self.attempt_at(command, database, fate) {
            Ok(outcome) => self.answers.push_back(outcome),
            Err(again) => self.asked.push_front(again),
        }
    }

    fn attempt_at(
        &mut self,
        command: Command,
        database: &mut Database,
        fate: Fate,
    ) -> Result<Outcome, Command> {
        match (fate, command) {
            (Fate::RequestLost, command) => Err(command),
            (_, Command::Load) => Ok(Outcome::Loaded(database.load())),
            (fate, Command::Start(offsets)) => {
                database.start(&offsets);
                if matches!(fate, Fate::AnswerLost) {
                    Err(Command::Start(offsets))
                } else {
                    Ok(Outcome::Loaded(database.load()))
                }
            }
            (fate, Command::Store(mut batch)) => {
                let encoded_for = self.tables.current();
                if batch.generation() != encoded_for.generation {
                    *batch = self.routing.encode_again(&batch, TOPIC, &encoded_for);
                }
                let count = encoded_for.tables.len();
                let sorted: Vec<SortedRows> = (0..count).map(|table| batch.sort(table)).collect();
                let stored = database.store(&batch, &sorted, &encoded_for.tables);
                for (table, rows) in sorted.into_iter().enumerate() {
                    if matches!(stored, Err(Rollback::Refused)) {
                        batch.refuse(table, &rows, database.refused(&rows));
                    }
                    batch.recycle(table, rows);
                }
                match stored {
                    Ok(()) if matches!(fate, Fate::AnswerLost) => Err(Command::Store(batch)),
                    Ok(()) => Ok(Outcome::Stored(batch)),
                    Err(Rollback::Missed) => Ok(missed(batch, database)),
                    Err(Rollback::TableChanged) => {
                        let names: Vec<&str> = encoded_for.names.iter().map(String::as_str).collect();
                        let (_, columns, oids) = routed(database, &names);
                        self.tables.update(columns, oids);
                        Err(Command::Store(batch))
                    }
                    Err(Rollback::Refused) => Err(Command::Store(batch)),
                }
            }
        }
    }

    /// The loop hears the store's answer.
    pub(super) fn hear(&mut self, logs: &BTreeMap<Partition, PartitionLog>) {
        match self.answers.pop_front() {
            Some(Outcome::Loaded(offsets)) => {
                let starting = self.flow.loaded(&offsets);
                self.told.extend(starting);
                let starts = self
                    .flow
                    .take_without_row()
                    .into_iter()
                    .map(|partition| (partition, logs[&partition].bounds().start))
                    .collect();
                self.flow.found(starts);
            }
            Some(Outcome::Stored(batch)) => {
                self.told
                    .extend(batch.ranges().iter().map(|range| (range.partition, range.next)));
                self.flow.stored(batch);
            }
            Some(Outcome::Fenced(batch)) => self.flow.fenced(batch),
            Some(Outcome::Failed(error)) => panic!("{error}"),
            None => {}
        }
    }

    /// Whether there are decisions of the group that it has not carried out.
    pub(super) fn has_decisions(&self) -> bool {
        self.flow.is_deciding() || !self.decisions.is_empty()
    }

    /// Partitions that the client has or is about to get.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        let mut partitions: BTreeSet<Partition> = self.flow.assignment().partitions().collect();
        for decision in &self.decisions {
            match decision {
                Decision::Assigned(more) => partitions.extend(more),
                Decision::Revoked(less) => partitions.retain(|partition| !less.contains(partition)),
            }
        }
        partitions.into_iter().collect()
    }

    /// How far the client has read.
    pub(super) fn read_to(&self) -> usize {
        let froms = self.client.values().filter_map(|reading| reading.from);
        froms.map(place).sum()
    }
}

/// Routes to these tables, and what the catalog says of them.
fn routed(database: &Database, names: &[&str]) -> (Routes, Vec<Table>, Vec<u32>) {
    let mut routes = Routes::default();
    let mut tables = Vec::new();
    for name in names {
        let all = database.tables();
        let table = all.into_iter().find(|table| table.name.name == *name);
        let table = table.expect("one of the two");
        routes.add((*name).to_owned(), table.name.clone());
        tables.push(table);
    }
    let oids = names.iter().map(|name| u32::from(name.as_bytes()[0])).collect();
    (routes, tables, oids)
}

fn missed(batch: Box<Batch>, database: &Database) -> Outcome {
    if are_stored(batch.ranges(), &database.load()) {
        Outcome::Stored(batch)
    } else {
        Outcome::Fenced(batch)
    }
}
