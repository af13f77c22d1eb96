//! The unit as it is shipped, under a systemd that is booted for it: over this machine's files, which it sees as a copy on
//! write, in a container of `systemd-nspawn`. The servers are reached over this machine's loopback.

use super::SHIPPED;
use crate::consumer::{PATIENCE, count, expect_sums, load};
use crate::shared::{Scene, kafka, postgres, storage_consumer};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use workbench::generator::publish;
use workbench::services::process::{Launch, Process};
use workbench::services::wait_until;

/// Mounts the copy on write, puts the service into it as docs/deployment.md says, and becomes the container. The mounts are
/// this process' own and go with it.
const BOOT: &str = r#"
set -eu
folder=$1
mkdir "$folder/copy"
mount -t tmpfs tmpfs "$folder/copy"
mkdir "$folder/copy/upper" "$folder/copy/work" "$folder/copy/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/copy/upper,workdir=$folder/copy/work" "$folder/copy/root"
root=$folder/copy/root
install -m 755 "$folder/storage-consumer" "$root/usr/local/bin/storage-consumer"
install -m 644 "$folder/storage-consumer.service" "$root/etc/systemd/system/"
install -d -m 755 "$root/etc/systemd/system/storage-consumer.service.d" "$root/etc/storage-consumer"
install -m 644 "$folder/trial.conf" "$root/etc/systemd/system/storage-consumer.service.d/"
install -m 600 "$folder/environment" "$folder/postgres-password" "$root/etc/storage-consumer/"
exec systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --boot -- --unit=basic.target
"#;

/// What a trial can't wait for: the rest is as it is shipped.
const TRIAL: &str = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\nRestartSec=1\n";

/// A booted systemd. Ends when dropped, and its copy with it.
struct Machine {
    container: Process,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn boot(scene: &Scene) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        fs::copy(storage_consumer(), file("storage-consumer")).expect("the program");
        fs::copy(SHIPPED, file("storage-consumer.service")).expect("the unit");
        fs::write(file("trial.conf"), TRIAL).expect("a file");
        fs::write(file("postgres-password"), "postgres\n").expect("a file");
        let environment = format!(
            "KAFKA_BOOTSTRAP_SERVERS={}\nKAFKA_TOPIC={}\nKAFKA_GROUP_ID={}\nPOSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT={}\n\
             POSTGRES_DB={}\nPOSTGRES_USER=postgres\nHTTP_LISTEN=off\nCOMMIT_INTERVAL=0.2\n",
            kafka().bootstrap(),
            scene.topic,
            scene.group,
            postgres().port(),
            scene.database,
        );
        fs::write(file("environment"), environment).expect("a file");
        let container = Launch::new("systemd-nspawn", "unshare", file("log"))
            .args(["--mount", "--", "sh", "-c", BOOT, "boot"])
            .args([folder.path()])
            .spawn()
            .expect("unshare is there: util-linux");
        let mut machine = Self {
            container,
            _folder: folder,
        };
        let mut up = false;
        wait_until(PATIENCE, || {
            up = machine
                .run(&["systemctl", "is-active", "basic.target"])
                .status
                .success();
            up || machine.container.ended().is_ok_and(|status| status.is_some())
        });
        assert!(
            up,
            "no systemd: it takes root, and systemd-nspawn (apt-get install systemd-container)\n{}",
            machine.container.log_tail()
        );
        machine
    }

    /// The first process in the container, as this machine numbers it.
    fn init(&self) -> Option<String> {
        let id = self.container.id();
        let children = fs::read_to_string(PathBuf::from(format!("/proc/{id}/task/{id}/children"))).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }

    /// Runs a command in the container.
    fn run(&self, command: &[&str]) -> Output {
        let init = self.init().unwrap_or_else(|| "none".to_owned());
        Command::new("nsenter")
            .args(["--all", "--target", &init, "--"])
            .args(command)
            .output()
            .expect("nsenter is there: util-linux")
    }

    /// The same, which must go well.
    fn succeed(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(
            output.status.success(),
            "{command:?}: {output:?}\n{}",
            self.journal()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `systemctl show` says of the service.
    fn service(&self) -> BTreeMap<String, String> {
        let shown = self.succeed(&["systemctl", "show", "storage-consumer"]);
        let pairs = shown.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn journal(&self) -> String {
        let output = self.run(&[
            "journalctl",
            "--unit=storage-consumer",
            "--no-pager",
            "--output=cat",
        ]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
#[ignore = "boots a systemd, which takes root: `make systemd-trial` runs it"]
fn the_unit_as_it_is_shipped_runs_confined_is_watched_and_stops_in_order() {
    let scene = Scene::new("booted", 2);
    let machine = Machine::boot(&scene);
    let send = |events| {
        publish::run(&load(&scene, events), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    };
    let expect_stored = |events| {
        let settled = wait_until(PATIENCE, || count(&scene, postgres()).settled() >= events);
        assert!(settled, "{:?}\n{}", count(&scene, postgres()), machine.journal());
        expect_sums(&count(&scene, postgres()), events);
    };

    // Comes back when it is ready, and not before.
    machine.succeed(&["systemctl", "start", "storage-consumer"]);
    let service = machine.service();
    assert_eq!(service["ActiveState"], "active");
    assert!(
        service["StatusText"].contains("messages/s, lag 0"),
        "{}",
        service["StatusText"]
    );
    send(1000);
    expect_stored(1000);

    // Confined as the unit says: no root, no rights to be had, system calls filtered, the password in a file of its own.
    let status = machine.succeed(&["cat", &format!("/proc/{}/status", service["MainPID"])]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next())
            .unwrap_or_default()
            .to_owned()
    };
    assert_ne!(field("Uid:"), "0");
    for (name, value) in [
        ("CapEff:", "0000000000000000"),
        ("CapBnd:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
        ("Seccomp:", "2"),
    ] {
        assert_eq!(field(name), value, "{name}");
    }

    // A process that does not move is missed, and started again; nothing is lost or doubled.
    machine.succeed(&[
        "systemctl",
        "kill",
        "--signal=STOP",
        "--kill-who=main",
        "storage-consumer",
    ]);
    send(500);
    let again = || {
        let service = machine.service();
        service["NRestarts"] == "1" && service["ActiveState"] == "active"
    };
    assert!(wait_until(PATIENCE, again), "{}", machine.journal());
    assert!(
        machine.journal().contains("Watchdog timeout"),
        "{}",
        machine.journal()
    );
    expect_stored(1500);

    machine.succeed(&["systemctl", "stop", "storage-consumer"]);
    let service = machine.service();
    assert_eq!(
        (service["Result"].as_str(), service["ExecMainStatus"].as_str()),
        ("success", "0")
    );

    // A mistake in the configuration ends it for good.
    machine.succeed(&[
        "sh",
        "-c",
        "echo BATCH_SIZE=0 >> /etc/storage-consumer/environment",
    ]);
    assert!(
        !machine
            .run(&["systemctl", "start", "storage-consumer"])
            .status
            .success()
    );
    // Longer than the pause after which any other failure is followed by another start.
    std::thread::sleep(Duration::from_secs(2));
    let service = machine.service();
    assert_eq!(
        (
            service["ActiveState"].as_str(),
            service["ExecMainStatus"].as_str()
        ),
        ("failed", "64")
    );
    assert!(
        machine.journal().contains("--batch-size"),
        "{}",
        machine.journal()
    );
}
