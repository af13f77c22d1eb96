//! Owns the metrics as Prometheus knows them: names, units, labels and help. Made from one look at the numbers, so that
//! what belongs together agrees.

mod families; // metrics by name, as samples

use self::families::Families;
use super::settled::PHASES;
use super::{ProcessNow, Snapshot, as_float};
use crate::dead_letter::Reason;
use std::time::{Duration, SystemTime};

/// All of it in Prometheus' text format.
pub(super) fn text(now: &Snapshot, process: &ProcessNow, ready: bool) -> String {
    let mut families = Families::default();
    settled(&mut families, now);
    events(&mut families, now);
    state(&mut families, now, ready);
    client(&mut families, now);
    of_process(&mut families, process);
    families.text()
}

fn settled(families: &mut Families, now: &Snapshot) {
    let settled = &now.settled;
    families.counter(
        "messages_consumed_total",
        "Messages whose fate is committed.",
        settled.messages,
    );
    families.counter(
        "payload_bytes_total",
        "Bytes of the payloads of messages whose fate is committed.",
        settled.payload_bytes,
    );
    families.counters(
        "rows_stored_total",
        "Rows committed, by table.",
        now.tables
            .iter()
            .zip(&settled.rows)
            .map(|(table, rows)| (vec![("table", table.clone())], *rows)),
    );
    families.counters(
        "dead_letters_total",
        "Messages kept in dead_letters, by reason.",
        Reason::ALL
            .iter()
            .zip(settled.dead_letters)
            .map(|(reason, count)| (vec![("reason", reason.as_str().to_owned())], count)),
    );
    families.counter(
        "messages_skipped_total",
        "Messages left out on purpose (--unknown-types skip).",
        settled.skipped,
    );
    let statistics = now.statistics();
    families.counter(
        "unknown_type_total",
        "Messages whose type has no route.",
        statistics.unknown_type,
    );
    families.counter(
        "parse_errors_total",
        "Messages that could not be decoded or encoded.",
        statistics.parse_errors,
    );
    families.counter(
        "insert_errors_total",
        "Rows that PostgreSQL refused.",
        statistics.insert_errors,
    );
    families.gauge(
        "unaccounted_messages",
        "Messages consumed less rows, dead letters and messages left out: 0, or something is wrong.",
        signed(settled.unaccounted()),
    );
    families.counter("batches_total", "Transactions committed.", settled.batches);
    families.histogram(
        "batch_messages",
        "Messages in a committed batch.",
        &settled.batch_messages,
    );
    families.histogram(
        "batch_bytes",
        "Bytes that a committed batch occupied.",
        &settled.batch_bytes,
    );
    families.histograms(
        "phase_seconds",
        "Duration of each phase of a committed batch: decode (taken from the client, decoded, encoded), then the steps of \
         the transaction.",
        PHASES
            .iter()
            .zip(&settled.phases)
            .map(|((_, name), phase)| (vec![("phase", (*name).to_owned())], phase)),
    );
    families.histogram(
        "latency_seconds",
        "From a message's timestamp in Kafka to the commit.",
        &settled.latency,
    );
    families.histogram(
        "event_latency_seconds",
        "From an event's own timestamp to the commit; of large batches, a sample.",
        &settled.event_latency,
    );
    if let Some(at) = settled.last_commit {
        families.gauge(
            "last_commit_timestamp_seconds",
            "When the last batch was committed, in Unix time.",
            unix(at),
        );
    }
}

fn events(families: &mut Families, now: &Snapshot) {
    families.counter(
        "fences_missed_total",
        "Batches given up because another consumer was faster.",
        now.fences_missed,
    );
    families.counter(
        "rebalances_total",
        "Assignments given or taken by the group.",
        now.rebalances,
    );
    families.counter(
        "offsets_lost_total",
        "Offsets that retention removed before they were read.",
        now.offsets_lost,
    );
    families.counters(
        "retries_total",
        "Attempts that PostgreSQL did not take, by SQLSTATE and its class.",
        now.retries.iter().map(|(cause, count)| {
            let class = class_of(cause).to_owned();
            (vec![("class", class), ("sqlstate", cause.clone())], *count)
        }),
    );
    families.counters(
        "unmapped_fields_total",
        "Fields that no column takes, by name.",
        now.unmapped_fields
            .iter()
            .map(|(name, count)| (vec![("field", name.clone())], *count)),
    );
}

fn state(families: &mut Families, now: &Snapshot, ready: bool) {
    families.gauge(
        "ready",
        "1 while events flow into PostgreSQL, as /ready says.",
        if ready { 1.0 } else { 0.0 },
    );
    families.gauges(
        "build_info",
        "The version that runs.",
        [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
    );
    let by_partition = |value: &dyn Fn(&super::PartitionNow) -> Option<f64>| -> Vec<_> {
        now.partitions
            .iter()
            .filter_map(|now| Some((vec![("partition", now.partition.to_string())], value(now)?)))
            .collect()
    };
    families.gauges(
        "lag_messages",
        "Messages in Kafka that are not stored yet, by partition.",
        by_partition(&|now| now.lag.map(as_float)),
    );
    families.gauges(
        "lag_seconds",
        "How long the oldest message that is not stored yet has waited, at most, by partition.",
        by_partition(&|now| now.lag_time.as_ref().map(Duration::as_secs_f64)),
    );
    families.gauge(
        "partitions_assigned",
        "Partitions that the group has given to this process.",
        as_float(now.partitions.len() as u64),
    );
    let workers = &now.workers;
    families.gauge(
        "partitions_paused",
        "Partitions that are not read because the memory bound is reached.",
        as_float(workers.paused),
    );
    let buffers = [
        ("batches", workers.batches),
        ("kafka_client", workers.client.fetched),
    ];
    families.gauges(
        "buffered_bytes",
        "Bytes of messages that are read and not stored yet, by where they wait.",
        buffers.map(|(buffer, held)| (vec![("buffer", buffer.to_owned())], as_float(held.bytes))),
    );
    families.gauges(
        "buffered_messages",
        "Messages that are read and not stored yet, by where they wait.",
        buffers.map(|(buffer, held)| (vec![("buffer", buffer.to_owned())], as_float(held.messages))),
    );
    families.gauge(
        "buffered_bytes_limit",
        "The most that batches and Kafka clients are meant to hold.",
        as_float(now.buffer_limit),
    );
}

fn client(families: &mut Families, now: &Snapshot) {
    let client = &now.workers.client;
    let counts = &client.counts;
    for (name, help, count) in [
        (
            "received_bytes_total",
            "Bytes that brokers have sent.",
            counts.received_bytes,
        ),
        ("sent_bytes_total", "Bytes sent to brokers.", counts.sent_bytes),
        ("requests_total", "Requests sent to brokers.", counts.requests),
        (
            "messages_total",
            "Messages fetched, also those fetched again after a rebalance.",
            counts.messages,
        ),
        (
            "timeouts_total",
            "Requests that no broker answered in time.",
            counts.timeouts,
        ),
        (
            "errors_total",
            "Requests and answers that failed on the way.",
            counts.errors,
        ),
        (
            "disconnects_total",
            "Connections to brokers that ended.",
            counts.disconnects,
        ),
    ] {
        families.counter(&format!("kafka_client_{name}"), help, count);
    }
    families.gauge(
        "kafka_client_operations",
        "Operations of the Kafka client that wait to be looked at.",
        as_float(client.operations),
    );
    let by_broker = |value: &dyn Fn(&super::Broker) -> f64| -> Vec<_> {
        client
            .brokers
            .iter()
            .map(|broker| (vec![("broker", broker.name.clone())], value(broker)))
            .collect()
    };
    families.gauges(
        "kafka_broker_connections",
        "Connections to the broker that are up.",
        by_broker(&|broker| as_float(broker.connections)),
    );
    families.gauges(
        "kafka_broker_rtt_median_seconds",
        "Median time of the last seconds from a request to its answer; fetches wait at the broker for messages.",
        by_broker(&|broker| broker.rtt_median),
    );
    families.gauges(
        "kafka_broker_rtt_p99_seconds",
        "The same that 99 of 100 requests do not exceed.",
        by_broker(&|broker| broker.rtt_p99),
    );
    families.gauges(
        "kafka_broker_throttle_seconds",
        "Mean time for which the broker holds back its answers because of a quota.",
        by_broker(&|broker| broker.throttled),
    );
}

fn of_process(families: &mut Families, process: &ProcessNow) {
    let whole = |value: Option<u64>| value.map(as_float);
    families.of_process(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        true,
        process.cpu_seconds,
    );
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            whole(process.resident_bytes),
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            whole(process.virtual_bytes),
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            whole(process.open_fds),
        ),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            whole(process.max_fds),
        ),
        (
            "process_threads",
            "Number of OS threads in the process.",
            whole(process.threads),
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            process.started,
        ),
    ] {
        families.of_process(name, help, false, value);
    }
}

/// What PostgreSQL calls the class of a SQLSTATE (its documentation, appendix A), as far as attempts are repeated for it.
fn class_of(cause: &str) -> &'static str {
    match cause {
        "connection" => return "connection",
        "silence" => return "silence",
        _ => {}
    }
    match cause.get(..2) {
        Some("08") => "connection_exception",
        Some("25") => "invalid_transaction_state",
        Some("26") => "invalid_sql_statement_name",
        Some("28") => "invalid_authorization",
        Some("3D") => "invalid_catalog_name",
        Some("40") => "transaction_rollback",
        Some("53") => "insufficient_resources",
        Some("55") => "object_not_in_prerequisite_state",
        Some("57") => "operator_intervention",
        Some("58") => "system_error",
        Some("XX") => "internal_error",
        _ => "other",
    }
}

/// Unix time in seconds.
fn unix(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// A difference of counts: far below 2^53, where floats stop being exact.
#[allow(clippy::cast_precision_loss)]
fn signed(difference: i64) -> f64 {
    difference as f64
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;
    use crate::offsets::{Offset, Partition};

    #[test]
    fn what_comes_from_outside_is_escaped_and_bounded() {
        let metrics = Metrics::new(vec!["server_metrics".to_owned()], 7);
        metrics.unmapped_field("a\"b\\c\nd", 2);
        for number in 0..1000 {
            metrics.unmapped_field(&format!("field_{number}"), 1);
        }
        let text = metrics.render(false);
        assert!(
            text.contains("storage_consumer_unmapped_fields_total{field=\"a\\\"b\\\\c\\nd\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("storage_consumer_unmapped_fields_total{field=\"(other)\"} 901\n"));
        let fields = text
            .lines()
            .filter(|line| line.starts_with("storage_consumer_unmapped_fields_total{"));
        assert_eq!(fields.count(), 101);
        assert!(text.contains("storage_consumer_ready 0\n"));
        assert!(text.contains("storage_consumer_buffered_bytes_limit 7\n"));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let metrics = Metrics::new(Vec::new(), 0);
        let lag = "storage_consumer_lag_messages";
        assert!(!metrics.render(true).contains(lag));
        assert!(!metrics.render(true).contains("last_commit"));
        metrics.partition_assigned(0, Partition(3));
        assert!(
            metrics
                .render(true)
                .contains("storage_consumer_partitions_assigned 1\n")
        );
        metrics.partition_starts(0, Partition(3), Offset(4), None);
        metrics.partition_ends(0, Partition(3), Offset(10));
        assert!(
            metrics
                .render(true)
                .contains(&format!("{lag}{{partition=\"3\"}} 6\n"))
        );
    }

    #[test]
    fn retries_carry_postgres_name_for_their_class() {
        let metrics = Metrics::new(Vec::new(), 0);
        metrics.retried("53100");
        metrics.retried("silence");
        let text = metrics.render(true);
        let retries = "storage_consumer_retries_total";
        assert!(text.contains(&format!(
            "{retries}{{class=\"insufficient_resources\",sqlstate=\"53100\"}} 1\n"
        )));
        assert!(text.contains(&format!(
            "{retries}{{class=\"silence\",sqlstate=\"silence\"}} 1\n"
        )));
    }
}
