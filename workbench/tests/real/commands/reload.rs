//! SIGHUP takes over routes and the log's level under load, all or nothing, and names what takes a restart.

use super::{GPU_TABLE, ask, execute, gpu_events, number, settled};
use crate::consumer::{Consumer, PATIENCE, load, while_load_flows};
use crate::contract::send;
use crate::shared::{Scene, storage_consumer};
use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use workbench::generator::Settings;
use workbench::services::process::Signal;
use workbench::services::{ports, wait_until};

fn rows(scene: &Scene) -> i64 {
    number(scene, "SELECT count(*) FROM gpu_metrics")
}

#[test]
fn a_route_and_the_log_level_are_taken_over_under_load_and_a_mistake_changes_nothing() {
    let scene = Scene::new("reload", 4);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("consumer.toml");
    let write = |text: &str| fs::write(&file, text).expect("the file is written");
    write("unknown-types = \"dead-letter\"\n");
    let path = file.to_str().expect("a path of ASCII").to_owned();
    let consumer = Consumer::start(&scene, &["--config", &path, "--workers", "2"]);
    consumer.wait_for_line("partition starts at its stored offset");
    let settings = Settings {
        rate: 2000.0,
        ..load(&scene, 0)
    };
    let mut gpu = 0;
    let mut send_gpu = |count: usize| {
        send(&scene, &gpu_events(gpu..gpu + count));
        gpu += count;
        gpu as u64
    };
    let letters = || {
        number(
            &scene,
            "SELECT count(*) FROM dead_letters WHERE reason = 'unknown_type'",
        )
    };
    let reload = |says: &str| {
        consumer.signal(Signal::HUP);
        consumer.wait_for_line(says)
    };
    let mut all_gpu = 0;
    let sent = while_load_flows(settings, || {
        send_gpu(200);
        assert!(wait_until(PATIENCE, || letters() == 200), "{}", consumer.text());

        // A mistake, and a table that is not there: told by name, and nothing changes, not even what is right.
        write("log-level = \"DEBUG\"\nbatch-size = 0\nroute = [\"gpu_metric=gpu_metrics\"]\n");
        reload("was not reloaded, nothing has changed: --batch-size");
        write("log-level = \"DEBUG\"\nroute = [\"gpu_metric=gpu_metrics\"]\n");
        let line = reload("was not reloaded, nothing has changed: table gpu_metrics: does not exist");
        assert_eq!(line["level"], "ERROR", "{line}");
        send_gpu(100);
        assert!(wait_until(PATIENCE, || letters() == 300), "{}", consumer.text());
        let debug = || consumer.lines().iter().any(|line| line["level"] == "DEBUG");
        assert!(!debug(), "{}", consumer.text());

        // Right: the route holds in both workers, the level at once, and what can't be taken over is told.
        execute(&scene, GPU_TABLE);
        write("log-level = \"DEBUG\"\nbatch-size = 77\nroute = [\"gpu_metric=gpu_metrics\"]\n");
        let line = reload("configuration reloaded");
        assert!(
            line["changed"]
                .as_str()
                .is_some_and(|text| text.contains("route")),
            "{line}"
        );
        consumer.wait_for_line("--batch-size differs now");
        all_gpu = send_gpu(500);
        assert!(
            wait_until(PATIENCE, || rows(&scene) == 500),
            "{}\n{}",
            rows(&scene),
            consumer.text()
        );
        assert_eq!(letters(), 300);
        assert!(wait_until(PATIENCE, debug), "{}", consumer.text());
    });
    let all = sent.produced + all_gpu;
    settled(&scene, &consumer, all);

    // Once more, under load, back and forth: a batch is decided on as a whole, so that each message is one thing.
    let sent_again = while_load_flows(
        Settings {
            rate: 2000.0,
            ..load(&scene, 0)
        },
        || {
            for turn in 0..6 {
                let route = if turn % 2 == 0 {
                    ""
                } else {
                    "route = [\"gpu_metric=gpu_metrics\"]\n"
                };
                write(&format!("batch-size = 77\nunknown-types = \"skip\"\n{route}"));
                consumer.signal(Signal::HUP);
                all_gpu = send_gpu(100);
            }
        },
    );
    let all = all + 600 + sent_again.produced;
    settled(&scene, &consumer, all);
    let (code, audit) = ask(&scene, &["audit", "--json", "--route", "gpu_metric=gpu_metrics"]);
    assert_eq!((code, &audit["consumed"]), (0, &all.into()), "{audit:#}");
    let lines = consumer.stop();
    let last = crate::consumer::last_statistics(&lines);
    assert_eq!(last["gpu_metrics"], rows(&scene), "{last:?}");
}

#[test]
fn a_terminal_that_is_closed_ends_the_program_as_it_always_did() {
    let port = ports::free_port().expect("a free port");
    let program = storage_consumer();
    // Without servers it waits; should the test fail, it ends by itself.
    let line = format!(
        "exec {} consume --http-listen 127.0.0.1:{port} --kafka-servers 127.0.0.1:1 --postgres-port 1 --duration 60",
        program.display()
    );
    let mut terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("script, of util-linux, is there");
    let answers = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(wait_until(PATIENCE, answers), "it has not started");
    terminal.kill().expect("it runs");
    terminal.wait().expect("it has ended");
    assert!(
        wait_until(Duration::from_secs(30), || !answers()),
        "it goes on without its terminal"
    );
}
