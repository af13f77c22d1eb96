//! Owns what each worker tells once a second: what it holds, and what its Kafka client says of itself.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Messages and bytes that wait somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffered {
    /// How many messages.
    pub messages: u64,
    /// How many bytes they occupy.
    pub bytes: u64,
}

impl std::ops::AddAssign for Buffered {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// What a Kafka client has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Bytes that brokers have sent.
    pub received_bytes: u64,
    /// Bytes that were sent to brokers.
    pub sent_bytes: u64,
    /// Requests that were sent to brokers.
    pub requests: u64,
    /// Messages that were fetched: also those that are fetched again after a rebalance.
    pub messages: u64,
    /// Requests that no broker answered in time.
    pub timeouts: u64,
    /// Requests and answers that failed on the way.
    pub errors: u64,
    /// Connections that ended.
    pub disconnects: u64,
}

/// A broker as a client sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Broker {
    /// Host and port.
    pub name: String,
    /// Connections to it that are up: one a worker, at most.
    pub connections: u64,
    /// The median time from request to answer of the last seconds, in seconds; fetches wait at the broker for messages.
    pub rtt_median: f64,
    /// The same that 99 of 100 requests do not exceed.
    pub rtt_p99: f64,
    /// The mean time, in seconds, for which the broker held back answers because of a quota.
    pub throttled: f64,
}

/// What a Kafka client says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientNow {
    /// What it has counted.
    pub counts: ClientCounts,
    /// What it has fetched and not handed over yet.
    pub fetched: Buffered,
    /// Its operations (answers, errors, callbacks) that wait to be looked at.
    pub operations: u64,
    /// The brokers that it knows.
    pub brokers: Vec<Broker>,
}

/// All workers, and their clients, in one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkersNow {
    /// What batches hold: the one that is filled and the one that is stored.
    pub batches: Buffered,
    /// Partitions that are not read because the memory bound is reached.
    pub paused: u64,
    /// The clients together; a broker's times are those of the slowest.
    pub client: ClientNow,
}

#[derive(Debug, Default)]
struct Worker {
    batches: Buffered,
    paused: u64,
    client: ClientNow,
    /// What clients before this one had counted.
    before: ClientCounts,
}

/// The workers, by number.
#[derive(Debug, Default)]
pub(super) struct Workers(Mutex<BTreeMap<u16, Worker>>);

impl Workers {
    pub(super) fn holds(&self, worker: u16, batches: Buffered, paused: u64) {
        let mut workers = self.0.lock().expect("not poisoned");
        let worker = workers.entry(worker).or_default();
        worker.batches = batches;
        worker.paused = paused;
    }

    pub(super) fn client_says(&self, worker: u16, client: ClientNow) {
        let mut workers = self.0.lock().expect("not poisoned");
        let worker = workers.entry(worker).or_default();
        // A client that was made anew counts from 0 again.
        if client.counts.requests < worker.client.counts.requests {
            worker.before = worker.before.plus(&worker.client.counts);
        }
        worker.client = client;
    }

    pub(super) fn get(&self) -> WorkersNow {
        let mut sum = WorkersNow::default();
        let mut brokers: BTreeMap<String, Broker> = BTreeMap::new();
        for worker in self.0.lock().expect("not poisoned").values() {
            sum.batches += worker.batches;
            sum.paused += worker.paused;
            let client = &mut sum.client;
            client.counts = client.counts.plus(&worker.before).plus(&worker.client.counts);
            client.fetched += worker.client.fetched;
            client.operations += worker.client.operations;
            for broker in &worker.client.brokers {
                let known = brokers.entry(broker.name.clone()).or_insert_with(|| Broker {
                    name: broker.name.clone(),
                    ..Broker::default()
                });
                known.connections += broker.connections;
                known.rtt_median = known.rtt_median.max(broker.rtt_median);
                known.rtt_p99 = known.rtt_p99.max(broker.rtt_p99);
                known.throttled = known.throttled.max(broker.throttled);
            }
        }
        sum.client.brokers = brokers.into_values().collect();
        sum
    }
}

impl ClientCounts {
    fn plus(&self, other: &Self) -> Self {
        Self {
            received_bytes: self.received_bytes + other.received_bytes,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            requests: self.requests + other.requests,
            messages: self.messages + other.messages,
            timeouts: self.timeouts + other.timeouts,
            errors: self.errors + other.errors,
            disconnects: self.disconnects + other.disconnects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(requests: u64, rtt_p99: f64) -> ClientNow {
        ClientNow {
            counts: ClientCounts {
                requests,
                ..ClientCounts::default()
            },
            brokers: vec![Broker {
                name: "kafka-1:9092".to_owned(),
                connections: 1,
                rtt_p99,
                ..Broker::default()
            }],
            ..ClientNow::default()
        }
    }

    #[test]
    fn workers_are_summed_and_a_client_that_is_made_anew_loses_no_count() {
        let workers = Workers::default();
        workers.client_says(0, client(10, 0.2));
        workers.client_says(1, client(5, 0.1));
        workers.client_says(0, client(3, 0.3));
        workers.client_says(0, client(4, 0.4));
        let now = workers.get().client;
        assert_eq!(now.counts.requests, 10 + 4 + 5);
        assert_eq!(now.brokers.len(), 1);
        assert_eq!(now.brokers[0].connections, 2);
        assert!((now.brokers[0].rtt_p99 - 0.4).abs() < 1e-9);
    }

    #[test]
    fn what_workers_hold_is_what_they_hold_now() {
        let workers = Workers::default();
        let some = Buffered {
            messages: 3,
            bytes: 300,
        };
        workers.holds(0, some, 2);
        workers.holds(1, some, 1);
        workers.holds(0, Buffered::default(), 0);
        let now = workers.get();
        assert_eq!((now.batches, now.paused), (some, 1));
    }
}
