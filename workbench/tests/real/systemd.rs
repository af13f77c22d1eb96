//! What systemd is told, read from a socket as systemd opens it, and the unit of `deploy/systemd/`, judged by
//! `systemd-analyze`. `booted` runs it under a systemd of its own.

mod booted; // the unit as it is shipped, under a real systemd

use crate::consumer::{Consumer, PATIENCE, expect_settled, load};
use crate::shared::{Scene, kafka, postgres, storage_consumer};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use workbench::generator::publish;
use workbench::services::process::Signal;

/// The unit as it is shipped.
const SHIPPED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/systemd/storage-consumer.service"
);

/// The receiving end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout can be set");
        Self {
            socket,
            folder,
            heard: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Waits for a message that holds these words, and gives its lines.
    fn wait_for(&mut self, words: &str, consumer: &Consumer) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            // Nothing within the timeout is no failure: the next look may find something.
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.heard.push(message.clone());
            if message.contains(words) {
                return message.lines().map(str::to_owned).collect();
            }
        }
        panic!("no {words:?} among {:#?}\n{}", self.heard, consumer.text());
    }
}

#[test]
fn systemd_is_told_of_the_start_the_way_it_goes_the_life_and_the_stop() {
    let (scene, mut own) = Scene::with_own_postgres("notify", 1);
    own.stop_fast().expect("it stops");
    let mut manager = Manager::new();
    let path = manager.path();
    let consumer = Consumer::launch_with(
        &scene,
        &kafka().bootstrap(),
        own.port(),
        "consume",
        &["--shutdown-timeout", "7"],
        &[
            ("NOTIFY_SOCKET", path.to_str().expect("a plain path")),
            ("WATCHDOG_USEC", "600000"),
        ],
    );
    // It waits for PostgreSQL: it says so, it lives, and it is not ready.
    manager.wait_for("STATUS=not ready: postgres: ", &consumer);
    manager.wait_for("WATCHDOG=1", &consumer);
    let told = |manager: &Manager, state: &str| manager.heard.iter().any(|message| message.contains(state));
    assert!(!told(&manager, "READY=1"), "{:?}", manager.heard);

    own.restart().expect("it starts");
    let ready = manager.wait_for("READY=1", &consumer);
    assert!(
        ready
            .iter()
            .any(|line| line.starts_with("STATUS=") && line.contains("messages/s, lag 0")),
        "{ready:?}"
    );
    // Ready is told once; what comes later is status.
    own.stop_fast().expect("it stops");
    publish::run(&load(&scene, 500), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    manager.wait_for("STATUS=not ready: postgres: ", &consumer);
    own.restart().expect("it starts");
    expect_settled(&scene, &own, &consumer, 500);
    manager.wait_for("since the start 500 messages, ", &consumer);
    manager.wait_for("WATCHDOG=1", &consumer);
    let times_ready = manager
        .heard
        .iter()
        .filter(|message| message.contains("READY=1"))
        .count();
    assert_eq!(times_ready, 1, "{:?}", manager.heard);

    consumer.signal(Signal::TERM);
    let stopping = manager.wait_for("STOPPING=1", &consumer);
    // The shutdown timeout, 5 s to leave the group, and 5 s to spare.
    assert!(
        stopping.contains(&"EXTEND_TIMEOUT_USEC=17000000".to_owned()),
        "{stopping:?}"
    );
    assert!(
        stopping.iter().any(|line| line.starts_with("STATUS=stopping")),
        "{stopping:?}"
    );
}

#[test]
fn a_frozen_process_gives_no_sign_of_life() {
    let scene = Scene::new("watchdog", 1);
    let mut manager = Manager::new();
    let path = manager.path();
    let consumer = Consumer::launch_with(
        &scene,
        &kafka().bootstrap(),
        postgres().port(),
        "consume",
        &[],
        &[
            ("NOTIFY_SOCKET", path.to_str().expect("a plain path")),
            ("WATCHDOG_USEC", "600000"),
        ],
    );
    manager.wait_for("READY=1", &consumer);
    manager.wait_for("WATCHDOG=1", &consumer);
    consumer.signal(Signal::STOP);
    // What was sent before is read; then nothing comes within a time in which several signs are due.
    let mut buffer = [0; 4096];
    let silent = |manager: &Manager, buffer: &mut [u8]| (0..4).all(|_| manager.socket.recv(buffer).is_err());
    let deadline = Instant::now() + PATIENCE;
    while !silent(&manager, &mut buffer) {
        assert!(Instant::now() < deadline, "a stopped process still writes");
    }
    consumer.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1", &consumer);
    consumer.stop();
}

/// The unit as it is shipped, with the program of this build where the shipped one lies.
fn unit(folder: &Path) -> PathBuf {
    let text = fs::read_to_string(SHIPPED).expect("the unit is there");
    let installed = "/usr/local/bin/storage-consumer";
    assert!(text.contains(installed), "{text}");
    let program = storage_consumer();
    let unit = folder.join("storage-consumer.service");
    fs::write(&unit, text.replace(installed, &program.display().to_string())).expect("a unit");
    unit
}

fn analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .expect("systemd-analyze is there: apt-get install systemd, or scripts/setup test");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn the_unit_is_understood_by_systemd_and_gives_the_process_next_to_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = unit(folder.path());
    let (well, said) = analyze(&["verify", "--man=no"], &unit);
    // Of units that this machine has itself, nothing is our business.
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("storage-consumer"))
        .collect();
    assert!(well && ours.is_empty(), "{said}");
    // 0 is nothing at all, 10 is everything; systemd counts in tenths.
    let (well, said) = analyze(
        &["security", "--offline=true", "--no-pager", "--threshold=20"],
        &unit,
    );
    assert!(well, "{said}");
    // The threshold counts: a unit without all that is far above it.
    let bare = format!("[Service]\nExecStart={}\n", storage_consumer().display());
    fs::write(&unit, bare).expect("a unit");
    let (well, said) = analyze(
        &["security", "--offline=true", "--no-pager", "--threshold=20"],
        &unit,
    );
    assert!(!well, "{said}");
}
