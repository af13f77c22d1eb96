//! Owns what is taken from librdkafka's statistics for the numbers (its STATISTICS.md has all that there is).

use crate::metrics::{Broker, ClientCounts, ClientNow};
use rdkafka::statistics::{Statistics, Window};

/// What the client says of itself, and of what it has fetched of the topic.
pub(super) fn says(statistics: &Statistics, topic: &str) -> ClientNow {
    let mut now = ClientNow {
        counts: ClientCounts {
            received_bytes: whole(statistics.rx_bytes),
            sent_bytes: whole(statistics.tx_bytes),
            requests: whole(statistics.tx),
            messages: whole(statistics.rxmsgs),
            ..ClientCounts::default()
        },
        operations: whole(statistics.replyq),
        ..ClientNow::default()
    };
    for broker in statistics.brokers.values() {
        now.counts.timeouts += broker.req_timeouts;
        now.counts.errors += broker.txerrs + broker.rxerrs;
        now.counts.disconnects += whole(broker.disconnects.unwrap_or(0));
        // Those without a number are the addresses to start from, and the coordinator, who is one of the others.
        if broker.nodeid >= 0 {
            let rtt = |value: fn(&Window) -> i64| {
                broker
                    .rtt
                    .as_ref()
                    .map_or(0.0, |window| seconds(value(window), 1e6))
            };
            now.brokers.push(Broker {
                name: broker.nodename.clone(),
                connections: u64::from(broker.state == "UP"),
                rtt_median: rtt(|window| window.p50),
                rtt_p99: rtt(|window| window.p99),
                throttled: broker
                    .throttle
                    .as_ref()
                    .map_or(0.0, |window| seconds(window.avg, 1e3)),
            });
        }
    }
    let partitions = statistics
        .topics
        .get(topic)
        .into_iter()
        .flat_map(|topic| topic.partitions.values());
    // They share one queue, and each tells the whole of it, but for one that has a queue of its own for a moment.
    for partition in partitions {
        now.fetched.messages = now.fetched.messages.max(whole(partition.fetchq_cnt));
        now.fetched.bytes = now.fetched.bytes.max(partition.fetchq_size);
    }
    now
}

/// Negative: not known yet.
fn whole(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A time of at most hours, told in so small parts of a second.
#[allow(clippy::cast_precision_loss)]
fn seconds(value: i64, parts: f64) -> f64 {
    value.max(0) as f64 / parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Buffered;
    use rdkafka::statistics::{Partition, Topic};

    #[test]
    fn brokers_and_the_queue_that_partitions_share_are_told_once() {
        let broker = |nodeid, state: &str| rdkafka::statistics::Broker {
            nodeid,
            nodename: "kafka-1:9092".to_owned(),
            state: state.to_owned(),
            req_timeouts: 1,
            rtt: Some(Window {
                p50: 1500,
                p99: 250_000,
                ..Window::default()
            }),
            ..rdkafka::statistics::Broker::default()
        };
        let partition = |fetchq_cnt| Partition {
            fetchq_cnt,
            fetchq_size: 100,
            ..Partition::default()
        };
        let statistics = Statistics {
            rx_bytes: 5000,
            brokers: [
                ("bootstrap".to_owned(), broker(-1, "UP")),
                ("1".to_owned(), broker(1, "UP")),
            ]
            .into(),
            topics: [(
                "events".to_owned(),
                Topic {
                    partitions: [(0, partition(3)), (1, partition(3)), (2, partition(-1))].into(),
                    ..Topic::default()
                },
            )]
            .into(),
            ..Statistics::default()
        };
        let now = says(&statistics, "events");
        assert_eq!((now.counts.received_bytes, now.counts.timeouts), (5000, 2));
        assert_eq!(
            now.fetched,
            Buffered {
                messages: 3,
                bytes: 100
            }
        );
        assert_eq!(now.brokers.len(), 1);
        assert_eq!(now.brokers[0].connections, 1);
        assert!((now.brokers[0].rtt_median - 0.0015).abs() < 1e-9);
        assert!((now.brokers[0].rtt_p99 - 0.25).abs() < 1e-9);
        assert_eq!(says(&statistics, "others").fetched, Buffered::default());
    }
}
