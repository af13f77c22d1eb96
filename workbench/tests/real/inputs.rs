//! What the decoder and the encoder let through, PostgreSQL takes, and has it as the event says: random events with the
//! edges of every type, straight into a table with a column of each, and read back. The words that they are held to are
//! the fuzzer's, by `serde_json` (`fuzz/src`). Without Kafka: thousands of events take seconds.

// The fuzzer's own files, by their path: its crate needs another compiler.
#[expect(
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "public in its own crate; and its numbers are small"
)]
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

use self::fuzz::{cells, events, reading};
use crate::shared::{Scene, postgres};
use bytes::Bytes;
use futures_util::SinkExt as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use storage_consumer::config::{Password, PostgresConfig, PostgresTls, Secret};
use storage_consumer::table::catalog;
use tokio_postgres::Client;
use workbench::services::block_on;

/// Another seed, other events.
const SEED: u64 = 20_261_124;
const EVENTS: usize = 8_000;

const TABLE: &str = "CREATE TABLE cells (f8 double precision, f4 real, i2 smallint, i4 integer, i8 bigint, num numeric,
    txt text, vc varchar(5), b boolean, tz timestamptz, ts timestamp, d date, u uuid, j json, jb jsonb, extra jsonb,
    id integer GENERATED ALWAYS AS IDENTITY)";

const COPY: &str =
    "COPY cells (f8, f4, i2, i4, i8, num, txt, vc, b, tz, ts, d, u, j, jb, extra) FROM STDIN (FORMAT binary)";

/// In the words of `cells::expected`. Those of `jsonb` are compared by PostgreSQL, which alone knows their order.
const READ_BACK: &str =
    "SELECT f8::text, f4::text, i2::text, i4::text, i8::text, num::text, txt, vc, b::text,
    ((extract(epoch FROM tz) * 1000000)::numeric(30, 0) - 946684800000000)::text,
    ((extract(epoch FROM ts) * 1000000)::numeric(30, 0) - 946684800000000)::text,
    (d - date '2000-01-01')::text, replace(u::text, '-', ''), j::text
    FROM cells ORDER BY id";

const DOCUMENTS: &str =
    "SELECT count(*) FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM cells) AS cells
    JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS expected (jb, extra, place) USING (place)
    WHERE cells.jb::text IS NOT DISTINCT FROM expected.jb::jsonb::text
      AND cells.extra::text IS NOT DISTINCT FROM expected.extra::jsonb::text";

/// One event that is a row.
struct Row {
    payload: Vec<u8>,
    bytes: Vec<u8>,
    expected: Vec<Option<String>>,
}

fn rows() -> Vec<Row> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/payloads");
    let files = fs::read_dir(corpus).expect("the corpus");
    let mut payloads: Vec<Vec<u8>> = files
        .map(|file| fs::read(file.expect("a file").path()).expect("readable"))
        .collect();
    payloads.extend((0..EVENTS).map(|_| events::event(&random.random::<[u8; 400]>())));
    let row = |payload: Vec<u8>| {
        if reading::check_decode(&payload) {
            cells::check_encode(&payload);
        }
        let bytes = cells::encoded(&payload)?.ok()?;
        let fields = reading::fields(&payload).expect("serde_json reads it, too");
        let expected = cells::expected(&fields).expect("it was encoded");
        Some(Row {
            payload,
            bytes,
            expected,
        })
    };
    payloads.into_iter().filter_map(row).collect()
}

async fn copy(client: &Client, rows: &[Row]) -> Result<u64, tokio_postgres::Error> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in rows {
        data.extend_from_slice(&row.bytes);
    }
    data.extend_from_slice(&[0xff, 0xff]);
    let mut sink = pin!(client.copy_in::<_, Bytes>(COPY).await?);
    sink.send(data.into()).await?;
    sink.finish().await
}

#[test]
fn what_is_encoded_is_what_postgres_takes_and_has() {
    let rows = rows();
    let filled = |column: usize| rows.iter().filter(|row| row.expected[column].is_some()).count();
    let fullness: Vec<usize> = (0..=cells::COLUMNS.len()).map(filled).collect();
    assert!(
        fullness.iter().all(|count| *count > 100),
        "each column is tried: {fullness:?}"
    );

    let scene = Scene::new("inputs", 1);
    block_on(async {
        let server = postgres().options();
        let client = storage_consumer::postgres::connect(&PostgresConfig {
            host: "127.0.0.1".to_owned(),
            port: postgres().port(),
            database: scene.database.clone(),
            user: server.user.clone(),
            password: Password::Given(Secret::new(&server.password)),
            tls: PostgresTls::default(),
            statement_timeout: Duration::from_secs(30),
        })
        .await?;
        client.batch_execute(TABLE).await?;
        let table = cells::table();
        let read = catalog::read(&client, std::slice::from_ref(&table.name)).await?;
        assert_eq!(
            read.tables[0].columns, table.columns,
            "the table is the one that was encoded for"
        );

        let mut refused = BTreeMap::new();
        let mut left = vec![&rows[..]];
        while let Some(part) = left.pop() {
            match copy(&client, part).await {
                Ok(count) => assert_eq!(count, part.len() as u64),
                Err(error) if part.len() == 1 => {
                    refused.insert(
                        String::from_utf8_lossy(&part[0].payload).into_owned(),
                        error.to_string(),
                    );
                }
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    left.extend([second, first]);
                }
            }
        }
        let kinds: BTreeSet<_> = refused.values().collect();
        assert!(
            refused.is_empty(),
            "seed {SEED}: {} refused: {kinds:?}, as {:?}",
            refused.len(),
            refused.first_key_value()
        );

        let found = client.query(READ_BACK, &[]).await?;
        assert_eq!(found.len(), rows.len());
        for (found, row) in found.iter().zip(&rows) {
            for (at, (name, _)) in cells::COLUMNS.iter().enumerate().take(found.len()) {
                let text: Option<String> = found.get(at);
                let text = text.map(|text| match *name {
                    "f8" => cells::float8(text.parse().expect("a float")),
                    "f4" => cells::float4(text.parse().expect("a float")),
                    _ => text,
                });
                let payload = String::from_utf8_lossy(&row.payload);
                assert_eq!(text, row.expected[at], "seed {SEED}, {name} of {payload}");
            }
        }
        let documents =
            |column: usize| -> Vec<_> { rows.iter().map(|row| row.expected[column].as_deref()).collect() };
        let same = client
            .query_one(DOCUMENTS, &[&documents(14), &documents(15)])
            .await?;
        assert_eq!(
            usize::try_from(same.get::<_, i64>(0))?,
            rows.len(),
            "seed {SEED}: jb and extra"
        );
        Ok(())
    })
    .expect("PostgreSQL answers");
}
