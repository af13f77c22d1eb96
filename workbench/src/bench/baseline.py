"""A consumer as it is written when nobody measures: kafka-python, json, psycopg2's execute_batch, commit per batch.

Reads so many events, stores them in batches of 100, and tells how long that took as a line of JSON.
"""

import json
import os
import time

import psycopg2
from kafka import KafkaConsumer
from psycopg2.extras import execute_batch

BATCH = 100

TABLES = {
    "server_metric": (
        "server_metrics",
        "timestamp server_id cpu_usage_percent memory_usage_percent memory_available_gb disk_usage_percent"
        " disk_read_mbps disk_write_mbps network_rx_mbps network_tx_mbps cpu_temperature_celsius"
        " power_consumption_watts fan_speed_rpm rack_id datacenter_zone",
    ),
    "application_metric": (
        "application_metrics",
        "timestamp service_name request_rate_per_sec response_time_p50_ms response_time_p95_ms response_time_p99_ms"
        " error_rate_percent error_count active_connections queue_depth server_id endpoint",
    ),
}


def insert(table, columns):
    names = columns.split()
    values = ", ".join(f"%({name})s" for name in names)
    return names, f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"


INSERTS = {kind: insert(*table) for kind, table in TABLES.items()}


def store(connection, consumer, batches):
    with connection.cursor() as cursor:
        for kind, events in batches.items():
            if events:
                execute_batch(cursor, INSERTS[kind][1], events, page_size=BATCH)
                events.clear()
    connection.commit()
    consumer.commit_async()


def main():
    wanted = int(os.environ["EVENTS"])
    connection = psycopg2.connect(os.environ["POSTGRES_URL"])
    consumer = KafkaConsumer(
        os.environ["KAFKA_TOPIC"],
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id=os.environ["KAFKA_GROUP_ID"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=500,
        value_deserializer=lambda payload: json.loads(payload.decode("utf-8")),
    )
    batches = {kind: [] for kind in TABLES}
    begun, read, waiting = None, 0, 0
    for message in consumer:
        if begun is None:
            begun, cpu = time.monotonic(), time.process_time()
        event = message.value
        kind = event["type"]
        batches[kind].append({name: event.get(name) for name in INSERTS[kind][0]})
        read += 1
        waiting += 1
        if waiting == BATCH or read == wanted:
            store(connection, consumer, batches)
            waiting = 0
        if read == wanted:
            break
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    print(json.dumps({"events": read, "seconds": seconds, "cpu_seconds": cpu}), flush=True)
    # Leaving the group in order is not what is measured.
    os._exit(0)


main()
