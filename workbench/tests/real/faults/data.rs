//! Rows that only the database refuses: whatever the reason and however many, each costs itself, and the rest of its
//! batch is stored. What the tables themselves do under load is in `tables`.

use crate::consumer::{Consumer, expect_settled, migrate_with_coordinates, query};
use crate::contract::send;
use crate::shared::{Scene, postgres};
use std::collections::BTreeMap;
use std::time::Instant;
use workbench::services::block_on;

/// What only PostgreSQL knows of the two tables.
const CONSTRAINTS: &str = "
    CREATE TABLE zones (id integer PRIMARY KEY);
    INSERT INTO zones VALUES (1);
    CREATE FUNCTION at_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        CASE NEW.rack_id
            WHEN 'null' THEN NEW.server_id := NULL;
            WHEN 'raise' THEN RAISE EXCEPTION 'bad rack';
            WHEN 'divide' THEN NEW.fan_speed_rpm := 1 / (NEW.fan_speed_rpm - NEW.fan_speed_rpm);
            ELSE
        END CASE;
        RETURN NEW;
    END $$;
    CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.rack_id = TG_ARGV[0] THEN RAISE EXCEPTION 'bad rack' USING ERRCODE = TG_ARGV[1]; END IF;
        RETURN NULL;
    END $$;
    ALTER TABLE server_metrics
        ADD load numeric(5,2),
        ADD zone_id integer REFERENCES zones,
        ADD late_zone_id integer REFERENCES zones DEFERRABLE INITIALLY DEFERRED,
        ADD slot integer,
        ADD late_slot integer UNIQUE DEFERRABLE INITIALLY DEFERRED,
        ADD exclusive integer,
        ADD EXCLUDE (exclusive WITH =),
        ADD CHECK (fan_speed_rpm < 9000);
    CREATE UNIQUE INDEX ON server_metrics (slot);
    CREATE TRIGGER at_once BEFORE INSERT ON server_metrics FOR EACH ROW EXECUTE FUNCTION at_once();
    CREATE TRIGGER at_end AFTER INSERT ON server_metrics FOR EACH ROW EXECUTE FUNCTION later('end', 'P0002');
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON server_metrics
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later('commit', 'P0003');
    ALTER TABLE application_metrics ADD CHECK (error_count >= 0)";

/// What each constraint refuses, by the fields of an event, and the SQLSTATE of the refusal. Of the values that must
/// be unique, the first one is a row.
const REFUSED: &[(&str, &str)] = &[
    (r#""fan_speed_rpm": 9000"#, "23514"),
    (r#""load": 1000"#, "22003"),
    (r#""zone_id": 2"#, "23503"),
    (r#""late_zone_id": 2"#, "23503"),
    (r#""slot": 1"#, "23505"),
    (r#""late_slot": 1"#, "23505"),
    (r#""exclusive": 1"#, "23P01"),
    (r#""rack_id": "null""#, "23502"),
    (r#""rack_id": "raise""#, "P0001"),
    (r#""rack_id": "divide", "fan_speed_rpm": 1"#, "22012"),
    (r#""rack_id": "end""#, "P0002"),
    (r#""rack_id": "commit""#, "P0003"),
];

const UNIQUE: &str = r#""slot": 1, "late_slot": 1, "exclusive": 1, "zone_id": 1, "late_zone_id": 1"#;
/// Large batches, so that refused rows and many others share one.
const LARGE_BATCHES: &[&str] = &["--batch-size", "20000", "--commit-interval", "1"];

pub(super) fn server_event(number: usize, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!(
        r#"{{"type": "server_metric", "server_id": "s{}", "timestamp": "2025-01-01T12:00:00", "number": {number}{comma}{fields}}}"#,
        number % 50
    )
}

fn application_event(errors: i64) -> String {
    format!(
        r#"{{"type": "application_metric", "service_name": "a", "timestamp": "2025-01-01T12:00:00", "error_count": {errors}}}"#
    )
}

/// A topic, and what of it must be refused.
#[derive(Default)]
struct Topic {
    sent: usize,
    /// By offset: the SQLSTATE and the payload.
    refused: BTreeMap<i64, (String, Vec<u8>)>,
}

impl Topic {
    /// Sends messages, each with the SQLSTATE that it must be refused with.
    fn send(&mut self, scene: &Scene, messages: Vec<(String, Option<&str>)>) {
        let mut payloads = Vec::with_capacity(messages.len());
        for (payload, sqlstate) in messages {
            let payload = payload.into_bytes();
            if let Some(sqlstate) = sqlstate {
                let offset = i64::try_from(self.sent).expect("few");
                self.refused
                    .insert(offset, (sqlstate.to_owned(), payload.clone()));
            }
            payloads.push(Some(payload));
            self.sent += 1;
        }
        send(scene, &payloads);
    }

    /// Exactly the refused messages are dead letters, with their SQLSTATE and their bytes. The seconds that it took.
    fn expect_letters(&self, scene: &Scene, consumer: &Consumer) -> f64 {
        let began = Instant::now();
        let found = expect_settled(scene, postgres(), consumer, self.sent as u64);
        let letters = block_on(async {
            let client = postgres().connect(&scene.database).await?;
            let sql = "SELECT \"offset\", sqlstate, payload, reason, target_table FROM dead_letters";
            Ok(client.query(sql, &[]).await?)
        });
        let mut told = BTreeMap::new();
        for letter in letters.expect("the dead letters") {
            let table: &str = letter.get(4);
            assert_eq!(letter.get::<_, &str>(3), "rejected_by_database");
            assert!(
                ["server_metrics", "application_metrics"].contains(&table),
                "{table}"
            );
            told.insert(letter.get(0), (letter.get(1), letter.get(2)));
        }
        assert_eq!(found.dead_letters, self.refused.len() as u64);
        assert!(told == self.refused, "{:?}", differing(&told, &self.refused));
        began.elapsed().as_secs_f64()
    }
}

/// The first letter that differs, for a person to read.
fn differing<'a>(
    told: &'a BTreeMap<i64, (String, Vec<u8>)>,
    expected: &'a BTreeMap<i64, (String, Vec<u8>)>,
) -> Option<(&'a i64, &'a str, Option<&'a str>)> {
    let mut all = expected.iter().chain(told);
    all.find(|(offset, letter)| told.get(offset) != Some(letter) || expected.get(offset) != Some(letter))
        .map(|(offset, letter)| (offset, &*letter.0, told.get(offset).map(|told| &*told.0)))
}

/// A scene whose tables refuse what `REFUSED` says.
fn constrained(name: &str) -> Scene {
    let scene = Scene::new(name, 1);
    migrate_with_coordinates(&scene, postgres());
    postgres()
        .execute(&scene.database, CONSTRAINTS)
        .expect("the constraints");
    scene
}

#[test]
fn one_row_of_twenty_thousand_that_is_refused_at_commit_is_found() {
    let scene = constrained("one_refused");
    let mut topic = Topic::default();
    let messages = (0..20_000).map(|number| match number {
        13_577 => (server_event(number, r#""rack_id": "commit""#), Some("P0003")),
        _ => (server_event(number, ""), None),
    });
    topic.send(&scene, messages.collect());
    let consumer = Consumer::start(&scene, LARGE_BATCHES);
    topic.expect_letters(&scene, &consumer);
    consumer.wait_for_line("postgres refused rows");
    consumer.stop();
}

#[test]
fn every_kind_of_refusal_costs_its_own_rows_in_two_tables_at_once() {
    let scene = constrained("kinds_refused");
    let mut topic = Topic::default();
    let mut messages = vec![(server_event(0, UNIQUE), None)];
    for number in 1..6_000 {
        let kind = REFUSED.get(number / 7 % 50).filter(|_| number % 7 == 0);
        messages.push(match kind {
            Some((fields, sqlstate)) => (server_event(number, fields), Some(*sqlstate)),
            None if number % 3 == 0 => (application_event(1), None),
            None if number % 500 == 1 => (application_event(-1), Some("23514")),
            None => (server_event(number, ""), None),
        });
    }
    topic.send(&scene, messages);
    assert!(topic.refused.len() > 150, "many");
    let consumer = Consumer::start(&scene, LARGE_BATCHES);
    topic.expect_letters(&scene, &consumer);
    consumer.stop();
}

#[test]
fn a_batch_of_which_all_is_refused_becomes_dead_letters() {
    let scene = constrained("all_refused");
    let mut topic = Topic::default();
    // Those whose row COPY's error names, and those whose row it does not.
    let messages = (0..4_000).map(|number| match number % 2_000 {
        0..1_500 => (server_event(number, r#""fan_speed_rpm": 9000"#), Some("23514")),
        1_500..1_900 => (application_event(-1), Some("23514")),
        _ => (server_event(number, r#""rack_id": "end""#), Some("P0002")),
    });
    topic.send(&scene, messages.collect());
    let consumer = Consumer::start(&scene, LARGE_BATCHES);
    topic.expect_letters(&scene, &consumer);
    // And it goes on.
    topic.send(&scene, vec![(server_event(0, ""), None)]);
    topic.expect_letters(&scene, &consumer);
    consumer.stop();
}

#[test]
fn what_interrupts_the_search_for_refused_rows_neither_loses_nor_condemns_any() {
    let scene = Scene::new("search", 1);
    migrate_with_coordinates(&scene, postgres());
    // Sequences are not rolled back: they count the attempts. `cut` is refused, and its second attempt, which is
    // the search for it, ends the session; `once` is refused at the first attempt only.
    let trigger = "
        CREATE SEQUENCE cuts;
        CREATE SEQUENCE onces;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.rack_id = 'once' AND nextval('onces') = 1 THEN RAISE EXCEPTION 'once'; END IF;
            IF NEW.rack_id = 'cut' THEN
                IF nextval('cuts') = 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
                RAISE EXCEPTION 'cut';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON server_metrics FOR EACH ROW EXECUTE FUNCTION refuse()";
    postgres().execute(&scene.database, trigger).expect("the trigger");
    let consumer = Consumer::start(&scene, LARGE_BATCHES);
    let mut topic = Topic::default();
    for (rack, sqlstate) in [("once", None), ("cut", Some("P0001"))] {
        let messages = (0..1_000).map(|number| match number {
            700 => (server_event(number, &format!(r#""rack_id": "{rack}""#)), sqlstate),
            _ => (server_event(number, ""), None),
        });
        topic.send(&scene, messages.collect());
        topic.expect_letters(&scene, &consumer);
    }
    let attempts = "SELECT (SELECT last_value FROM onces) || ' ' || (SELECT last_value >= 4 FROM cuts)";
    let attempts = query(postgres(), &scene.database, attempts).expect("the attempts");
    assert!(
        attempts.ends_with(" true") && !attempts.starts_with("1 "),
        "{attempts}"
    );
    let lines = consumer.stop();
    let told = lines.iter().any(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("postgres does not take"))
            && line["reason"].as_str().is_some_and(|text| text.contains("57P01"))
    });
    assert!(told, "{lines:?}");
}

#[test]
#[ignore = "measures"]
#[expect(clippy::print_stdout, reason = "what was measured")]
fn how_long_the_search_takes() {
    for (bad, fields, sqlstate) in [
        (0, "", ""),
        (1, r#""fan_speed_rpm": 9000"#, "23514"),
        (200, r#""fan_speed_rpm": 9000"#, "23514"),
        (20_000, r#""fan_speed_rpm": 9000"#, "23514"),
        (1, r#""rack_id": "end""#, "P0002"),
        (200, r#""rack_id": "end""#, "P0002"),
        (20_000, r#""rack_id": "end""#, "P0002"),
    ] {
        let scene = constrained("measured");
        let mut topic = Topic::default();
        let step = 20_000_usize.checked_div(bad).unwrap_or(usize::MAX);
        let messages = (0..20_000).map(|number| {
            if bad > 0 && (number + 1) % step == 0 {
                (server_event(number, fields), Some(sqlstate))
            } else {
                (server_event(number, ""), None)
            }
        });
        topic.send(&scene, messages.collect());
        let consumer = Consumer::start(&scene, LARGE_BATCHES);
        let seconds = topic.expect_letters(&scene, &consumer);
        println!("{bad} of 20000 by {sqlstate}: {seconds:.1} s");
        consumer.stop();
    }
}
