-- The built-in tables. A table that exists already is taken as it is: its owner designed it, and an index on a
-- large table is not built behind its owner's back.
--
-- Identifiers that are keys are COLLATE "C": they are compared, never sorted for people, and the usual collations
-- cost more in the B-tree than all the rest of a row.

DO $$
BEGIN
    IF to_regclass('server_metrics') IS NULL THEN
        CREATE TABLE server_metrics (
            timestamp timestamptz NOT NULL,
            server_id text COLLATE "C" NOT NULL,
            cpu_usage_percent double precision,
            memory_usage_percent double precision,
            memory_available_gb double precision,
            disk_usage_percent double precision,
            disk_read_mbps double precision,
            disk_write_mbps double precision,
            network_rx_mbps double precision,
            network_tx_mbps double precision,
            cpu_temperature_celsius double precision,
            power_consumption_watts double precision,
            fan_speed_rpm integer,
            rack_id text,
            datacenter_zone text,
            ingested_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX server_metrics_server_id_timestamp_idx ON server_metrics (server_id, timestamp DESC);
        CREATE INDEX server_metrics_timestamp_idx ON server_metrics USING brin (timestamp);
    END IF;

    IF to_regclass('application_metrics') IS NULL THEN
        CREATE TABLE application_metrics (
            timestamp timestamptz NOT NULL,
            service_name text COLLATE "C" NOT NULL,
            request_rate_per_sec double precision,
            response_time_p50_ms double precision,
            response_time_p95_ms double precision,
            response_time_p99_ms double precision,
            error_rate_percent double precision,
            error_count integer,
            active_connections integer,
            queue_depth integer,
            server_id text COLLATE "C",
            endpoint text,
            ingested_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX application_metrics_service_name_timestamp_idx
            ON application_metrics (service_name, timestamp DESC);
        CREATE INDEX application_metrics_timestamp_idx ON application_metrics USING brin (timestamp);
    END IF;
END
$$;

-- Where consumption goes on, and what became of every message: consumed = stored + dead_lettered + skipped.
CREATE TABLE IF NOT EXISTS consumer_offsets (
    group_id text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    stored bigint NOT NULL DEFAULT 0,
    dead_lettered bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, topic, partition)
) WITH (fillfactor = 50);  -- its few rows are updated with every batch: room on the page keeps that in place

-- Refused messages with their bytes and the reason.
CREATE TABLE IF NOT EXISTS dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    failed_at timestamptz NOT NULL DEFAULT now(),
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    message_timestamp timestamptz,
    key bytea,
    payload bytea,
    event_type text,
    target_table text,
    reason text NOT NULL,
    detail text NOT NULL,
    sqlstate text,
    UNIQUE (topic, partition, "offset")
);
