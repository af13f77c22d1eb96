//! A disk that is full: a tablespace on a small filesystem that the test mounts, fills and empties again.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates};
use crate::shared::Scene;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::folder::Folder;
use workbench::services::process::User;
use workbench::services::wait_until;

#[test]
fn a_full_disk_is_waited_for_until_there_is_space_again() {
    // Before the server, so that it is unmounted after the server has ended.
    let disk = SmallDisk::mount();
    let (scene, own) = Scene::with_own_postgres("disk", 2);
    migrate_with_coordinates(&scene, &own);
    for sql in [
        format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()),
        "ALTER TABLE server_metrics SET TABLESPACE small".to_owned(),
    ] {
        own.execute(&scene.database, &sql)
            .expect("the table lies on the small disk");
    }
    let consumer = Consumer::start_on(&scene, &own, &[]);
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    expect_settled(&scene, &own, &consumer, 1000);

    disk.fill();
    publish::run(&load(&scene, 20_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let line = consumer.wait_for_line("postgres does not take the work now");
    assert!(
        line["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("[SQLSTATE 53100]")),
        "{line}"
    );
    let settled = count(&scene, &own).settled();
    assert!(settled < 21_000, "{settled}");

    disk.empty();
    let found = expect_settled(&scene, &own, &consumer, 21_000);
    assert_eq!(found.dead_letters, 0, "a row stored twice would be one");
    assert!(
        wait_until(PATIENCE, || consumer.text().contains("postgres is back")),
        "{}",
        consumer.text()
    );
    consumer.stop();
}

/// A filesystem of a few megabytes in memory that belongs to the server's user. Unmounted when dropped.
struct SmallDisk {
    place: PathBuf,
    _folder: Folder,
}

impl SmallDisk {
    fn mount() -> Self {
        let folder = Folder::new().expect("a temporary folder");
        let place = folder.path().join("small");
        fs::create_dir(&place).expect("a folder");
        let owner = User::unprivileged().expect("a user for the server");
        let (uid, gid) = owner.map_or_else(
            || {
                (
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw(),
                )
            },
            |user| (user.uid, user.gid),
        );
        let options = format!("size=24m,mode=0700,uid={uid},gid={gid}");
        let mounted = as_root("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&place)
            .output()
            .expect("mount can be started");
        assert!(
            mounted.status.success(),
            "this test fills a disk, and must be allowed to mount a small one: run it as root (in a container, with \
             CAP_SYS_ADMIN), or as a user who may call `sudo -n mount` and `sudo -n umount`: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self {
            place,
            _folder: folder,
        }
    }

    /// Where the tablespace is to be.
    fn path(&self) -> &Path {
        &self.place
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }

    /// Takes what space there is.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file on the small disk");
        let mut piece = vec![0; 64 * 1024];
        while !piece.is_empty() {
            match ballast.write_all(&piece) {
                Ok(()) => {}
                // A page is what a table grows by.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 8192 * 4096)
                }
                Err(error) => panic!("the small disk can't be filled: {error}"),
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).expect("the ballast can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file that is still open must not keep it there.
        let _ = as_root("umount").arg("-l").arg(&self.place).output();
    }
}

/// A command that only root may run.
fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
