//! Owns the choice of indexes, measured both ways: how fast the consumer fills the built-in tables with a B-tree and
//! with BRIN, and how many pages a query then touches. The reading is of one large table, its rows where the consumer
//! would have stored them.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use indicatif::HumanCount;
use serde_json::Value;

use super::drain::{Drain, POSTGRES_CPU, RATE, RATE_WITH_START, TRANSACTION};
use super::keep;
use super::report::{cell, lines};
use super::results::{Results, Sample, per_second};
use super::settings::Settings;
use super::stage::{PARTITIONS, Shape, Stage, TOPIC};
use crate::database::Database;
use crate::demo::say;

/// What is read: as many servers as in the topic, a row of each every ten seconds.
const SERVERS: u64 = 2_000;
const SECONDS: u64 = 10;
/// A batch is so many readings of each server: 20,000 rows.
const READINGS: u64 = 10;
const BATCH: u64 = SERVERS * READINGS;
/// So many rows are stored between two looks at whether it shall go on.
const PIECE: u64 = 50 * BATCH;
/// From then on.
const START: &str = "timestamptz '2026-01-01Z'";

/// The two that are filled by the consumer.
const FILLED: [(&str, Shape); 2] = [
    ("drain, B-tree, 1 worker", Shape::Indexed),
    ("drain, BRIN, 1 worker", Shape::Brin),
];

/// The three that are read.
const PLAIN: &str = "plain B-tree";
const BTREE: &str = "built-in B-tree";
const BRIN: &str = "BRIN pair";
const DESIGNS: [&str; 3] = [PLAIN, BTREE, BRIN];

const PAGES: &str = "pages";
const MILLISECONDS: &str = "milliseconds";
const INDEXES: &str = "indexes_megabytes";
const TABLE: &str = "table_megabytes";

/// A query, without what all of them begin with.
struct Query {
    name: &'static str,
    sql: &'static str,
}

/// `{end}` is the end of what is stored.
const QUERIES: [Query; 5] = [
    Query {
        name: "one server, one hour",
        sql: "WHERE server_id = 'server-1000' AND timestamp >= {end} - interval '1 hour'",
    },
    Query {
        name: "one server, eight hours",
        sql: "WHERE server_id = 'server-1000' AND timestamp >= {end} - interval '8 hours'",
    },
    Query {
        name: "one server's latest row",
        sql: "WHERE server_id = 'server-1000' ORDER BY timestamp DESC LIMIT 1",
    },
    Query {
        name: "all servers, five minutes",
        sql: "WHERE timestamp >= {end} - interval '15 minutes' AND timestamp < {end} - interval '10 minutes'",
    },
    LATEST_OF_AN_HOUR,
];
const LATEST_OF_AN_HOUR: Query = Query {
    name: "one server's latest row within the last hour",
    sql: "WHERE server_id = 'server-1000' AND timestamp >= {end} - interval '1 hour'
          ORDER BY timestamp DESC LIMIT 1",
};

/// BRIN summarizes when the table is vacuumed. The rows that autovacuum waits for are a fifth of the table.
const SIXTH: u64 = 6;
const SINCE_VACUUM: Query = Query {
    name: "the same, with a sixth more rows since the last VACUUM",
    ..LATEST_OF_AN_HOUR
};

/// Fills in turns, then reads each design's table.
pub(super) fn measure(
    stage: &mut Stage<'_>,
    settings: &Settings,
    results: &mut Results,
) -> anyhow::Result<()> {
    // First of all: it may be missing.
    results.conditions.push((PLAIN.to_owned(), stage.plain_tables()?));
    stage.fill(TOPIC, PARTITIONS, settings.events)?;
    for round in 1..=settings.rounds {
        let mut turn = FILLED;
        if round % 2 == 0 {
            turn.reverse();
        }
        for (case, shape) in turn {
            let drain = Drain {
                case: case.to_owned(),
                round,
                topic: TOPIC,
                events: settings.events,
                shape,
                workers: 1,
                before: 0,
            };
            keep(results, drain.measure(stage)?);
        }
    }
    let rows = settings.rows / BATCH * BATCH;
    results.conditions.push((
        "what is read".to_owned(),
        format!(
            "server_metrics with {} rows: {} servers, a row every {SECONDS} s; vacuumed; all of it was read before. Plain: rows in \
             order of arrival; the others: in order within batches of {} rows, as the consumer stores them",
            HumanCount(rows),
            HumanCount(SERVERS),
            HumanCount(BATCH)
        ),
    ));
    let mut found = Vec::new();
    for (design, shape) in [
        (PLAIN, Shape::Plain),
        (BTREE, Shape::Indexed),
        (BRIN, Shape::Brin),
    ] {
        stage.fresh(TOPIC, shape)?;
        let mut table = Table {
            database: stage.measured()?,
            design,
            rows: 0,
        };
        table.grow(stage, rows)?;
        table.database.query("VACUUM (ANALYZE) server_metrics")?;
        table.database.query("CHECKPOINT")?;
        say(&format!("{design}: {} rows are stored", HumanCount(rows)));
        results.samples.push(table.sizes()?);
        let mut counts = table.read(stage, &QUERIES, settings.rounds, results)?;
        table.grow(stage, rows + rows / SIXTH / BATCH * BATCH)?;
        counts.extend(table.read(stage, &[SINCE_VACUUM], settings.rounds, results)?);
        if found.is_empty() {
            ensure!(!counts.contains(&0), "a query finds nothing: {counts:?}");
            found.clone_from(&counts);
        }
        ensure!(
            found == counts,
            "{design}: the queries find {counts:?} rows, not {found:?}"
        );
    }
    Ok(())
}

/// The table of a design, as it is read.
struct Table {
    database: Database,
    design: &'static str,
    rows: u64,
}

impl Table {
    /// Stores rows where a consumer would: by arrival, the servers of a turn in no order; or each batch in the order of
    /// the key, the newest reading of a server first.
    fn grow(&mut self, stage: &Stage<'_>, rows: u64) -> anyhow::Result<()> {
        // Of row n: which reading, and whose. 1237 and 2000 have no divisor in common, so that each server is there
        // once a turn.
        let (turn, server) = if self.design == PLAIN {
            (
                format!("n / {SERVERS}"),
                format!("(n * 1237 + n / {SERVERS} * 7) % {SERVERS}"),
            )
        } else {
            (
                format!("n / {BATCH} * {READINGS} + {READINGS} - 1 - n % {READINGS}"),
                format!("n % {BATCH} / {READINGS}"),
            )
        };
        while self.rows < rows {
            stage.go_on()?;
            let (from, to) = (self.rows, rows.min(self.rows + PIECE));
            self.database.query(&format!(
                "INSERT INTO server_metrics
                 SELECT {START} + ({turn}) * interval '{SECONDS} seconds',
                        'server-' || lpad(({server})::text, 4, '0'), 42.5, 61.25, 128.5, 40.75, 12.5, 14.25, 310.5,
                        290.25, 51.5, 420.75, 2400, 'rack-07', 'zone-1'
                 FROM (SELECT generate_series({from}::bigint, {to}::bigint - 1) AS n) AS numbers"
            ))?;
            self.rows = to;
        }
        Ok(())
    }

    fn sizes(&mut self) -> anyhow::Result<Sample> {
        let mut megabytes = |function: &str| -> anyhow::Result<f64> {
            let bytes = self
                .database
                .number(&format!("SELECT {function}('server_metrics')"))?;
            Ok(per_second(bytes, 1e6))
        };
        Ok(Sample::new(self.design, 1)
            .with(INDEXES, megabytes("pg_indexes_size")?)
            .with(TABLE, megabytes("pg_relation_size")?))
    }

    /// Each query once without a count, so that the caches are warm, and then in rounds. Gives the numbers of rows that
    /// they found.
    fn read(
        &mut self,
        stage: &Stage<'_>,
        queries: &[Query],
        rounds: u32,
        results: &mut Results,
    ) -> anyhow::Result<Vec<u64>> {
        let end = format!("({START} + interval '{} seconds')", self.rows / SERVERS * SECONDS);
        let mut counts = Vec::new();
        for round in 0..=rounds {
            stage.go_on()?;
            for Query { name, sql } in queries {
                let answer = self.database.first(&format!(
                    "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT * FROM server_metrics {}",
                    sql.replace("{end}", &end)
                ))?;
                let answer = answer.context("EXPLAIN says nothing")?;
                let explained = Explained::of(&answer).with_context(|| format!("EXPLAIN says {answer}"))?;
                if round == 0 {
                    counts.push(explained.rows);
                    continue;
                }
                results.samples.push(
                    Sample::new(read_case(name, self.design), round)
                        .with(PAGES, per_second(explained.pages, 1.0))
                        .with(MILLISECONDS, explained.milliseconds),
                );
            }
        }
        Ok(counts)
    }
}

fn read_case(query: &str, design: &str) -> String {
    format!("{query}, {design}")
}

/// What a query cost: all pages that it touched, in PostgreSQL's cache or not, its indexes' included.
#[derive(Debug, PartialEq)]
struct Explained {
    pages: u64,
    milliseconds: f64,
    rows: u64,
}

impl Explained {
    fn of(answer: &str) -> Option<Self> {
        let answer: Value = serde_json::from_str(answer).ok()?;
        let (whole, plan) = (&answer[0], &answer[0]["Plan"]);
        let pages = |kind: &str| plan[kind].as_u64();
        Some(Self {
            pages: pages("Shared Hit Blocks")? + pages("Shared Read Blocks")?,
            milliseconds: whole["Execution Time"].as_f64()?,
            // PostgreSQL 18 tells it with decimals.
            rows: plan["Actual Rows"]
                .as_f64()
                .map(|rows| format!("{rows:.0}"))?
                .parse()
                .ok()?,
        })
    }
}

/// What it costs to fill, what it costs to read, and how large it is.
pub(super) fn table(results: &Results) -> String {
    let mut text = String::new();
    let (drains, _): (Vec<_>, Vec<_>) = results
        .samples
        .iter()
        .cloned()
        .partition(|sample| sample.values.contains_key(RATE));
    let drains = Results {
        samples: drains,
        ..Results::default()
    };
    let columns = [
        ("events/s", RATE, 0),
        ("with the start", RATE_WITH_START, 0),
        ("PostgreSQL, CPU s per million", POSTGRES_CPU, 2),
        ("rows a transaction", TRANSACTION, 0),
    ];
    lines(&mut text, &drains, "filled", &columns);
    let [(btree, _), (brin, _)] = FILLED;
    let ratio = drains.ratio(brin, &drains, btree, RATE);
    let _ = writeln!(text, "BRIN ÷ B-tree, by round: {}\n", cell(ratio, 2));

    let titles = DESIGNS.map(|design| format!("{design}: pages | ms"));
    let _ = writeln!(text, "| read | {} |", titles.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(2 * DESIGNS.len()));
    for Query { name, .. } in QUERIES.iter().chain([&SINCE_VACUUM]) {
        let _ = write!(text, "| {name}");
        for case in DESIGNS.map(|design| read_case(name, design)) {
            let pages = cell(results.spread(&case, PAGES), 0);
            let _ = write!(
                text,
                " | {pages} | {}",
                cell(results.spread(&case, MILLISECONDS), 2)
            );
        }
        text.push_str(" |\n");
    }
    text.push_str("\n| size | indexes, MB | table, MB |\n|---|---:|---:|\n");
    for design in DESIGNS {
        let size = |value, decimals| cell(results.spread(design, value), decimals);
        let _ = writeln!(text, "| {design} | {} | {} |", size(INDEXES, 1), size(TABLE, 0));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_tells_the_pages_the_time_and_the_rows() {
        let answer = r#"[{"Plan": {"Node Type": "Bitmap Heap Scan", "Actual Rows": 360.00, "Actual Loops": 1,
            "Shared Hit Blocks": 40, "Shared Read Blocks": 11, "Plans": [{"Shared Hit Blocks": 3}]},
            "Planning": {"Shared Hit Blocks": 90}, "Planning Time": 0.3, "Execution Time": 1.25}]"#;
        let expected = Explained {
            pages: 51,
            milliseconds: 1.25,
            rows: 360,
        };
        assert_eq!(Explained::of(answer), Some(expected));
        assert_eq!(Explained::of("[]"), None);
    }

    #[test]
    fn what_is_filled_and_what_is_read_stand_in_tables_of_their_own() {
        let [(btree, _), (brin, _)] = FILLED;
        let (query, read) = (QUERIES[0].name, |design| read_case(QUERIES[0].name, design));
        let results = Results {
            samples: vec![
                Sample::new(btree, 1).with(RATE, 300_000.0),
                Sample::new(brin, 1).with(RATE, 600_000.0),
                Sample::new(BRIN, 1).with(INDEXES, 0.7).with(TABLE, 1_200.0),
                Sample::new(read(BTREE), 1)
                    .with(PAGES, 51.0)
                    .with(MILLISECONDS, 0.5),
                Sample::new(read(BRIN), 1)
                    .with(PAGES, 703.0)
                    .with(MILLISECONDS, 2.5),
            ],
            ..Results::default()
        };
        let text = table(&results);
        for line in [
            "| drain, BRIN, 1 worker | 600,000 | – | – | – |",
            "BRIN ÷ B-tree, by round: 2.00",
            &format!("| {query} | – | – | 51 | 0.50 | 703 | 2.50 |"),
            "| BRIN pair | 0.7 | 1,200 |",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
