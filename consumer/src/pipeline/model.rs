//! The model: workers, a Kafka and a PostgreSQL, reduced to what the promises are about, driven through thousands of random
//! schedules of polls, rebalances, zombies, crashes, lost answers, refused rows and changed tables. What decides is the
//! product's own code: `flow`, `batch`, `routing`, decoding, encoding, the rule for a fence that missed.

mod database; // tables, dead letters, offsets; one transaction at a time
mod log; // the messages, and who reads them
mod member; // a worker, around the real flow

use self::database::Database;
use self::log::{Group, Kind, PARTITIONS, PartitionLog, offset, place};
use self::member::{Fate, Member};
use super::rebalance::Decision;
use crate::offsets::{Offset, Partition};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const MEMBERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Produce {
        partition: i32,
        kinds: Vec<Option<Kind>>,
    },
    /// A while without faults.
    Run(usize, usize),
    Turn(usize),
    Poll(usize, usize),
    Attempt(usize, Fate),
    Hear(usize),
    /// The client pauses for a while, and drops what it has fetched.
    Pause(usize),
    /// The group wants the partition to be read by that member.
    Move {
        partition: i32,
        to: usize,
    },
    /// The group misses the member, which runs on.
    Suspect(usize),
    /// The member hears of it.
    Learn(usize),
    /// The member gives its client up and joins with a new one.
    JoinAnew(usize),
    /// A zombie that nobody here knows stores a message.
    Foreign(i32),
    /// The process dies. Its open transaction may commit all the same, later.
    Crash(usize),
    Start(usize),
    /// A transaction of a dead process comes to its end.
    Orphan(Fate),
    Alter,
    /// A member takes over other routes, as after SIGHUP.
    Reroute(usize, &'static [&'static str]),
    Strict(bool),
    Wait(u64),
    /// Retention removes messages.
    Expire {
        partition: i32,
        messages: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let partition = || 0..PARTITIONS;
    let member = || 0..MEMBERS;
    let fate =
        || prop_oneof![6 => Just(Fate::Done), 2 => Just(Fate::AnswerLost), 1 => Just(Fate::RequestLost)];
    let kind = prop_oneof![
        8 => (0..2usize).prop_map(|table| Some(Kind::Good(table))),
        2 => (0..2usize).prop_map(|table| Some(Kind::Negative(table))),
        1 => Just(Some(Kind::Malformed)),
        1 => Just(Some(Kind::Tombstone)),
        1 => Just(Some(Kind::Unknown)),
        1 => Just(None),
    ];
    prop_oneof![
        8 => (partition(), prop::collection::vec(kind, 1..6))
            .prop_map(|(partition, kinds)| Step::Produce { partition, kinds }),
        8 => (member(), 1..4usize).prop_map(|(member, rounds)| Step::Run(member, rounds)),
        3 => partition().prop_map(Step::Foreign),
        12 => member().prop_map(Step::Turn),
        10 => (member(), 1..4usize).prop_map(|(member, count)| Step::Poll(member, count)),
        10 => (member(), fate()).prop_map(|(member, fate)| Step::Attempt(member, fate)),
        10 => member().prop_map(Step::Hear),
        2 => member().prop_map(Step::Pause),
        5 => (partition(), member()).prop_map(|(partition, to)| Step::Move { partition, to }),
        1 => member().prop_map(Step::Suspect),
        2 => member().prop_map(Step::Learn),
        1 => member().prop_map(Step::JoinAnew),
        1 => member().prop_map(Step::Crash),
        2 => member().prop_map(Step::Start),
        2 => fate().prop_map(Step::Orphan),
        1 => Just(Step::Alter),
        1 => (member(), prop_oneof![Just(&["m", "n"][..]), Just(&["m"][..]), Just(&["n", "m"][..])])
            .prop_map(|(member, tables)| Step::Reroute(member, tables)),
        1 => any::<bool>().prop_map(Step::Strict),
        4 => prop_oneof![Just(50u64), Just(250), Just(1100), Just(11_000)].prop_map(Step::Wait),
        1 => (partition(), 1..4usize).prop_map(|(partition, messages)| Step::Expire { partition, messages }),
    ]
}

struct World {
    logs: BTreeMap<Partition, PartitionLog>,
    database: Database,
    group: Group,
    members: Vec<Option<Member>>,
    orphans: Vec<Member>,
    /// Messages that were reported as lost to retention.
    lost: BTreeSet<(Partition, Offset)>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let database = Database::default();
        Self {
            logs: (0..PARTITIONS)
                .map(|partition| (Partition(partition), PartitionLog::default()))
                .collect(),
            members: (0..MEMBERS).map(|_| Some(Member::new(&database))).collect(),
            database,
            group: Group::default(),
            orphans: Vec::new(),
            lost: BTreeSet::new(),
            now: Instant::now(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Produce { partition, kinds } => self.log(partition).messages.extend(kinds),
            Step::JoinAnew(number) => {
                self.disown(number);
                if let Some(member) = &mut self.members[number] {
                    member.join_anew(self.now);
                }
            }
            Step::Run(member, rounds) => self.run(member, rounds),
            Step::Foreign(partition) => {
                let partition = Partition(partition);
                self.database.store_foreign(partition, &self.logs[&partition]);
            }
            Step::Turn(member) => self.turn(member),
            Step::Poll(member, count) => {
                if let Some(member) = &mut self.members[member] {
                    member.poll(&self.logs, count, self.now);
                }
            }
            Step::Attempt(member, fate) => {
                if let Some(member) = &mut self.members[member] {
                    member.attempt(&mut self.database, fate);
                }
            }
            Step::Hear(member) => {
                if let Some(member) = &mut self.members[member] {
                    member.hear(&self.logs);
                }
            }
            Step::Pause(member) => {
                if let Some(member) = &mut self.members[member] {
                    member.pause();
                }
            }
            Step::Move { partition, to } => self.move_partition(Partition(partition), to),
            Step::Suspect(member) => self.suspect(member),
            Step::Learn(member) => self.learn(member),
            Step::Crash(member) => {
                if let Some(dead) = self.members[member].take() {
                    self.disown(member);
                    if dead.store_is_asked() {
                        self.orphans.push(dead);
                    }
                }
            }
            Step::Start(member) => {
                if self.members[member].is_none() {
                    self.members[member] = Some(Member::new(&self.database));
                }
            }
            Step::Orphan(fate) => {
                // One attempt: there is nobody to make another.
                if let Some(mut dead) = self.orphans.pop() {
                    dead.attempt(&mut self.database, fate);
                }
            }
            Step::Alter => self.database.alter(),
            Step::Reroute(number, tables) => {
                if let Some(member) = &mut self.members[number] {
                    self.database.rerouted = true;
                    member.reroute(&self.database, tables);
                }
            }
            Step::Strict(strict) => self.database.strict = strict,
            Step::Wait(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Step::Expire { partition, messages } => {
                let log = self.log(partition);
                log.start = (log.start + messages).min(log.messages.len());
            }
        }
    }

    fn run(&mut self, member: usize, rounds: usize) {
        for _ in 0..rounds {
            self.turn(member);
            self.take(Step::Poll(member, 2));
            self.now += Duration::from_millis(250);
            self.turn(member);
            self.take(Step::Attempt(member, Fate::Done));
            self.take(Step::Hear(member));
        }
    }

    fn log(&mut self, partition: i32) -> &mut PartitionLog {
        self.logs.get_mut(&Partition(partition)).expect("it is there")
    }

    fn turn(&mut self, number: usize) {
        let Some(member) = &mut self.members[number] else {
            return;
        };
        let news = member.turn(&self.logs, self.now);
        self.lost.extend(news.lost);
        for partition in news.given_back {
            if self.group.owners.get(&partition) == Some(&number) {
                self.group.owners.remove(&partition);
                if let Some(to) = self.group.promised.remove(&partition) {
                    self.assign(partition, to);
                }
            }
        }
    }

    fn assign(&mut self, partition: Partition, to: usize) {
        if let Some(member) = &mut self.members[to]
            && !member.suspected
        {
            member.decisions.push_back(Decision::Assigned(vec![partition]));
            self.group.owners.insert(partition, to);
        }
    }

    fn move_partition(&mut self, partition: Partition, to: usize) {
        match self.group.owners.get(&partition) {
            None => self.assign(partition, to),
            Some(owner) if *owner == to || self.group.promised.contains_key(&partition) => {}
            Some(owner) => {
                let member = self.members[*owner].as_mut().expect("the dead own nothing");
                member.decisions.push_back(Decision::Revoked(vec![partition]));
                self.group.promised.insert(partition, to);
            }
        }
    }

    /// Nobody reads the member's partitions any more, in the group's opinion.
    fn disown(&mut self, member: usize) {
        let group = &mut self.group;
        group.owners.retain(|partition, owner| {
            if *owner == member {
                group.promised.remove(partition);
            }
            *owner != member
        });
    }

    fn suspect(&mut self, number: usize) {
        if let Some(member) = &mut self.members[number] {
            member.suspected = true;
            self.disown(number);
        }
    }

    fn learn(&mut self, number: usize) {
        if let Some(member) = self.members[number].as_mut().filter(|member| member.suspected) {
            // What is on its way to it comes first; then all that it has is gone.
            let before = self.now;
            while member.has_decisions() && self.now < before + Duration::from_secs(200) {
                self.now += Duration::from_secs(11);
                let news = member.turn(&self.logs, self.now);
                self.lost.extend(news.lost);
            }
            let partitions = member.partitions();
            member.decisions.push_back(Decision::Revoked(partitions));
            let news = member.turn(&self.logs, self.now);
            self.lost.extend(news.lost);
            member.suspected = false;
        }
    }

    /// What must hold after every step.
    fn check(&self) -> Result<(), String> {
        for (partition, log) in &self.logs {
            let stored = self.database.offsets.get(partition).map(|(offset, _)| *offset);
            let begun = self.database.starts.get(partition).copied();
            for (at, kind) in log.messages.iter().enumerate() {
                let at = (*partition, offset(at));
                let passed =
                    stored.is_some_and(|stored| at.1 < stored) && begun.is_some_and(|begun| at.1 >= begun);
                let lost = self.lost.contains(&at) && !self.database.has(at);
                self.database.judge(at, *kind, passed && !lost)?;
            }
        }
        for member in self.members.iter().flatten() {
            for (partition, told) in &member.told {
                let (stored, _) = self.database.offsets[partition];
                if *told > stored {
                    return Err(format!(
                        "kafka is told {told} of {partition:?}, stored is {stored}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// All faults are over: everything must be settled within a bounded number of turns.
    fn settle(&mut self) -> Result<(), String> {
        /// A batch takes four turns; there are logs of some dozen messages.
        const ROUNDS: usize = 200;
        while !self.orphans.is_empty() {
            self.take(Step::Orphan(Fate::Done));
        }
        for member in 0..MEMBERS {
            self.take(Step::Start(member));
            self.take(Step::Learn(member));
        }
        for _ in 0..ROUNDS {
            if self.is_settled() {
                return self.check().and_then(|()| self.check_sums());
            }
            for partition in 0..PARTITIONS {
                if !self.group.owners.contains_key(&Partition(partition)) {
                    self.move_partition(Partition(partition), 0);
                }
            }
            self.now += Duration::from_secs(2);
            for member in 0..MEMBERS {
                self.take(Step::Turn(member));
                self.take(Step::Poll(member, 20));
                self.take(Step::Attempt(member, Fate::Done));
                self.take(Step::Hear(member));
            }
            self.check()?;
        }
        Err(format!(
            "not settled after {ROUNDS} rounds: stored {:?}, owners {:?}, read to {:?}",
            self.database.offsets,
            self.group.owners,
            self.members
                .iter()
                .flatten()
                .map(Member::read_to)
                .collect::<Vec<_>>()
        ))
    }

    fn is_settled(&self) -> bool {
        self.logs.iter().all(|(partition, log)| {
            let end = log.bounds().end;
            let stored = self.database.offsets.get(partition);
            stored.is_some_and(|(stored, _)| *stored == end)
        })
    }

    /// consumed = stored + dead-lettered + skipped, in each partition.
    fn check_sums(&self) -> Result<(), String> {
        for (partition, (stored, tally)) in &self.database.offsets {
            let log = &self.logs[partition];
            let begun = place(self.database.starts[partition]);
            let read = log.messages[begun..place(*stored)].iter().zip(begun..);
            let messages = read
                .filter(|(kind, at)| {
                    let at = (*partition, offset(*at));
                    // A skipped message leaves nothing that could be found.
                    kind.is_some() && (!self.lost.contains(&at) || self.database.has(at))
                })
                .count();
            let lost_and_skipped = self.lost.iter().filter(|(of, _)| of == partition).count();
            let consumed = usize::try_from(tally.consumed()).expect("few");
            if consumed < messages || consumed > messages + lost_and_skipped {
                return Err(format!("{partition:?}: {tally:?} of {messages} messages"));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_message_ends_in_one_place_whatever_the_schedule(steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::new();
        for step in steps {
            world.take(step.clone());
            if let Err(violation) = world.check() {
                return Err(TestCaseError::fail(format!("after {step:?}: {violation}")));
            }
        }
        world.settle().map_err(TestCaseError::fail)?;
    }
}
