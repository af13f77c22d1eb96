//! Dead letters become rows exactly once: beside a consumer, after a SIGKILL, and only those that are the group's.

use super::{GPU_ROUTE, GPU_TABLE, ask, counts, execute, gpu_events, number, run, settled};
use crate::consumer::{Consumer, PATIENCE, load, migrate_with_coordinates, while_load_flows};
use crate::contract::send;
use crate::shared::{Scene, kafka, postgres};
use std::thread;
use std::time::Duration;
use workbench::services::Proxy;
use workbench::services::process::Signal;
use workbench::services::proxy::{Lost, Point};

#[test]
fn dead_letters_are_stored_once_they_have_a_table_and_the_counts_follow() {
    let scene = Scene::new("replay", 2);
    let mut messages = gpu_events(0..300);
    messages.push(Some(b"no json".to_vec()));
    messages.push(None);
    send(&scene, &messages);
    let consumer = Consumer::start(&scene, &[]);
    settled(&scene, &consumer, 302);
    execute(&scene, GPU_TABLE);
    let selected = ["replay", "--reason", "unknown_type", GPU_ROUTE[0], GPU_ROUTE[1]];
    let with = |more: &[&'static str]| [&selected[..], more].concat();

    // Nobody to ask, and nothing said: nothing is done.
    let (code, text) = run(&scene, &selected);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("300 dead letters") && text.contains("--yes"),
        "{text}"
    );
    let (code, answer) = ask(&scene, &with(&["--dry-run", "--json"]));
    assert_eq!(
        (code, &answer["stored"]["gpu_metrics"]),
        (0, &300.into()),
        "{answer}"
    );
    assert_eq!(counts(&scene), (0, 302));
    assert_eq!(number(&scene, "SELECT count(*) FROM gpu_metrics"), 0);

    let (code, answer) = ask(&scene, &with(&["--limit", "10", "--yes", "--json"]));
    assert_eq!(
        (code, &answer["stored"]["gpu_metrics"]),
        (0, &10.into()),
        "{answer}"
    );
    assert_eq!(counts(&scene), (10, 292));
    let (code, answer) = ask(&scene, &with(&["--yes", "--json"]));
    assert_eq!(
        (code, &answer["stored"]["gpu_metrics"]),
        (0, &290.into()),
        "{answer}"
    );
    assert_eq!(counts(&scene), (300, 2));
    let rows = "SELECT count(DISTINCT kafka_offset) FROM gpu_metrics WHERE serial = kafka_offset";
    assert_eq!(number(&scene, rows), 300);
    assert_eq!(number(&scene, "SELECT count(*) FROM dead_letters"), 2);

    // What is no event stays, whatever is asked for.
    let (code, answer) = ask(
        &scene,
        &["replay", "--all", "--yes", "--json", GPU_ROUTE[0], GPU_ROUTE[1]],
    );
    assert_eq!(
        (code, &answer["refused"]["invalid_json"]),
        (1, &2.into()),
        "{answer}"
    );
    assert_eq!(counts(&scene), (300, 2));
    // The consumer has not noticed anything.
    send(&scene, &[Some(b"no json".to_vec())]);
    settled(&scene, &consumer, 303);
    let lines = consumer.stop();
    assert!(
        lines.iter().all(|line| line["message"] != "fence missed"),
        "{lines:?}"
    );
}

#[test]
fn a_replay_that_is_killed_again_and_again_beside_a_consumer_loses_and_doubles_nothing() {
    const LETTERS: usize = 9000;
    let scene = Scene::new("replay_killed", 1);
    migrate_with_coordinates(&scene, postgres());
    send(&scene, &gpu_events(0..LETTERS));
    let consumer = Consumer::start(&scene, &[]);
    settled(&scene, &consumer, LETTERS as u64);
    execute(&scene, GPU_TABLE);
    let left = || {
        number(
            &scene,
            "SELECT count(*) FROM dead_letters WHERE reason = 'unknown_type'",
        )
    };
    let settings = workbench::generator::Settings {
        rate: 500.0,
        ..load(&scene, 0)
    };
    let mut killed = 0;
    let sent = while_load_flows(settings, || {
        // Later each time, so that every moment is met and the end is reached.
        for attempt in 0..60 {
            let arguments = ["--all", "--yes", GPU_ROUTE[0], GPU_ROUTE[1]];
            let mut replay = Consumer::launch(
                &scene,
                &kafka().bootstrap(),
                postgres().port(),
                "replay",
                &arguments,
            );
            thread::sleep(Duration::from_millis(60 + attempt * 15));
            if replay.has_ended() {
                break;
            }
            killed += 1;
            if attempt % 3 == 2 {
                replay.signal(Signal::INT);
                let code = replay.wait().code();
                assert!([None, Some(0), Some(130)].contains(&code), "{}", replay.text());
            } else {
                replay.kill();
            }
        }
    });
    let (_, text) = run(&scene, &["replay", "--all", "--yes", GPU_ROUTE[0], GPU_ROUTE[1]]);
    assert_eq!(left(), 0, "{text}");
    assert!(killed > 0, "no replay was killed");
    let all = LETTERS as u64 + sent.produced;
    settled(&scene, &consumer, all);
    let rows = "SELECT count(*) FROM gpu_metrics";
    assert_eq!(number(&scene, rows), i64::try_from(LETTERS).expect("few"));
    let (code, audit) = ask(&scene, &["audit", "--json", GPU_ROUTE[0], GPU_ROUTE[1]]);
    assert_eq!((code, &audit["consumed"]), (0, &all.into()), "{audit:#}");
    consumer.stop();
}

#[test]
fn whatever_the_network_does_and_whoever_repairs_a_letter_meanwhile_each_is_stored_once() {
    let scene = Scene::new("replay_lost", 1);
    send(&scene, &gpu_events(0..600));
    let consumer = Consumer::start(&scene, &[]);
    settled(&scene, &consumer, 600);
    execute(&scene, GPU_TABLE);
    let proxy = Proxy::start(postgres().port()).expect("a proxy");
    let launch = |arguments: &[&str]| {
        let arguments = [arguments, &["--yes", "--json", GPU_ROUTE[0], GPU_ROUTE[1]]].concat();
        Consumer::launch(&scene, &kafka().bootstrap(), proxy.port(), "replay", &arguments)
    };
    let expect = |mut replay: Consumer, stored: i64| {
        let code = replay.wait().code();
        let answer: serde_json::Value = serde_json::from_str(&replay.text()).expect("an answer");
        assert_eq!(
            (code, &answer["stored"]["gpu_metrics"]),
            (Some(0), &stored.into()),
            "{answer}"
        );
    };
    for (lost, times) in [(Lost::Answer, 1i64), (Lost::Request, 2)] {
        proxy.lose_commit(lost);
        expect(launch(&["--all", "--limit", "100"]), 100);
        assert_eq!(proxy.counts().commits_lost, times.unsigned_abs());
        assert_eq!(counts(&scene), (100 * times, 600 - 100 * times));
    }
    for (point, times) in [
        (Point::AfterFence, 3i64),
        (Point::InCopy, 4),
        (Point::BeforeCommit, 5),
    ] {
        proxy.hold_at(point);
        let replay = launch(&["--all", "--limit", "100"]);
        assert!(proxy.wait_held(PATIENCE), "{}", replay.text());
        proxy.cut();
        proxy.release();
        expect(replay, 100);
        assert_eq!(counts(&scene), (100 * times, 600 - 100 * times));
    }
    proxy.hold_at(Point::AfterFence);
    let replay = launch(&["--all"]);
    assert!(proxy.wait_held(PATIENCE), "{}", replay.text());
    let repair = "UPDATE dead_letters SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '599', '-599'), 'UTF8')
                  WHERE \"offset\" = 599";
    execute(&scene, repair);
    proxy.release();
    expect(replay, 100);
    assert_eq!(counts(&scene), (600, 0));
    let rows = "SELECT count(*) * 1000 - count(*) FILTER (WHERE serial = -599) FROM gpu_metrics";
    assert_eq!(number(&scene, rows), 599_999);
    consumer.stop();
}

#[test]
fn what_is_refused_again_stays_with_its_new_reason() {
    let scene = Scene::new("replay_again", 1);
    migrate_with_coordinates(&scene, postgres());
    execute(
        &scene,
        "ALTER TABLE server_metrics ADD CONSTRAINT cool CHECK (fan_speed_rpm > 1000)",
    );
    let event = |speed: i64| {
        let event = format!(
            r#"{{"type": "server_metric", "server_id": "s", "timestamp": "2026-01-15T10:30:00Z", "fan_speed_rpm": {speed}}}"#
        );
        Some(event.into_bytes())
    };
    send(&scene, &[event(2000), event(500), event(-7), event(600)]);
    let consumer = Consumer::start(&scene, &[]);
    settled(&scene, &consumer, 4);
    assert_eq!(counts(&scene), (1, 3));
    execute(
        &scene,
        "ALTER TABLE server_metrics DROP CONSTRAINT cool, ADD CONSTRAINT forwards CHECK (fan_speed_rpm >= 0)",
    );
    // One by its position, the rest by what they were refused for.
    let (code, answer) = ask(
        &scene,
        &["replay", "--partition", "0", "--offset", "1", "--yes", "--json"],
    );
    assert_eq!(
        (code, &answer["stored"]["server_metrics"]),
        (0, &1.into()),
        "{answer}"
    );
    let (code, answer) = ask(
        &scene,
        &["replay", "--reason", "rejected_by_database", "--yes", "--json"],
    );
    assert_eq!(
        (
            code,
            &answer["stored"]["server_metrics"],
            &answer["refused"]["rejected_by_database"]
        ),
        (1, &1.into(), &1.into()),
        "{answer}"
    );
    let kept = "SELECT count(*) FROM dead_letters
                WHERE \"offset\" = 2 AND sqlstate = '23514' AND detail LIKE '%forwards%' AND payload IS NOT NULL";
    assert_eq!(number(&scene, kept), 1);
    assert_eq!(counts(&scene), (3, 1));
    let (code, audit) = run(&scene, &["audit"]);
    assert_eq!(code, 0, "{audit}");
    consumer.stop();
}

#[test]
fn only_what_the_group_has_counted_is_replayed() {
    let scene = Scene::new("replay_group", 1);
    send(&scene, &gpu_events(0..5));
    let consumer = Consumer::start(&scene, &[]);
    settled(&scene, &consumer, 5);
    execute(&scene, GPU_TABLE);
    let other = [
        "replay",
        "--all",
        "--yes",
        "--group-id",
        "another",
        GPU_ROUTE[0],
        GPU_ROUTE[1],
    ];
    let (code, text) = run(&scene, &other);
    assert!(code == 0 && text.contains("0 dead letters"), "{text}");
    // From before the group was noted: they may be anybody's, but the counts tell.
    execute(&scene, "UPDATE dead_letters SET group_id = NULL");
    let (code, text) = run(&scene, &other);
    assert!(
        code == 1 && text.contains("has counted fewer dead letters"),
        "{text}"
    );
    assert_eq!(
        (counts(&scene), number(&scene, "SELECT count(*) FROM gpu_metrics")),
        ((0, 5), 0)
    );
    let (code, text) = run(&scene, &["replay", "--all", "--yes", GPU_ROUTE[0], GPU_ROUTE[1]]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        (counts(&scene), number(&scene, "SELECT count(*) FROM gpu_metrics")),
        ((5, 0), 5)
    );
    consumer.stop();
}
