//! Temporary folders of services. Each is locked by the process that made it; what a killed process left
//! behind is therefore free, and removed when the next service starts.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

const PREFIX: &str = "storage-consumer-";
const LOCK: &str = "lock";
/// A folder younger than this may not be locked yet.
const GRACE: Duration = Duration::from_mins(1);

/// A folder that is removed when it is dropped, or by a later process when this one is killed.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    lock: File,
}

impl Folder {
    /// Makes `storage-consumer-…` in the system's temporary folder (`TMPDIR`), readable by every user so
    /// that a server that gives up root can reach its own part of it.
    pub fn new() -> anyhow::Result<Self> {
        let parent = parent();
        sweep(&parent);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .with_context(|| format!("no temporary folder in {}", parent.display()))?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.try_lock()
            .context("a new temporary folder is locked already")?;
        Ok(Self { folder, lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is, for a person to look into; no later process removes it.
    pub fn keep(self) -> PathBuf {
        let path = self.folder.keep();
        // Without this file it is not one of those that are swept.
        let _ = fs::remove_file(path.join(LOCK));
        drop(self.lock);
        path
    }
}

/// The system's temporary folder, unless it is closed to other users and we are root: the database server
/// runs as another user.
fn parent() -> PathBuf {
    let folder = env::temp_dir();
    let closed = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o001 == 0);
    if rustix::process::geteuid().is_root() && folder.ancestors().any(closed) {
        return PathBuf::from("/tmp");
    }
    folder
}

/// Removes the folders whose makers are gone. Best effort: what cannot be removed stays.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(folder: &Path) -> io::Result<()> {
    let lock = File::open(folder.join(LOCK))?;
    let age = lock.metadata()?.modified()?.elapsed().unwrap_or_default();
    if age > GRACE && lock.try_lock().is_ok() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn aged(folder: &Path) {
        let lock = File::options()
            .write(true)
            .open(folder.join(LOCK))
            .expect("a lock file");
        lock.set_modified(SystemTime::now() - 2 * GRACE)
            .expect("the time can be set");
    }

    #[test]
    fn a_dropped_folder_is_gone() {
        let folder = Folder::new().expect("a folder");
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "data").expect("writable");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_kept_folder_is_never_swept() {
        let path = Folder::new().expect("a folder").keep();
        assert!(remove_if_abandoned(&path).is_err(), "it has no lock");
        assert!(path.exists());
        fs::remove_dir(&path).expect("nothing is left in it");
    }

    #[test]
    fn only_an_old_folder_that_nobody_holds_is_swept() {
        let held = Folder::new().expect("a folder");
        aged(held.path());
        remove_if_abandoned(held.path()).expect("looked at");
        assert!(held.path().exists(), "its owner lives");

        let left = tempfile::tempdir().expect("a folder");
        File::create(left.path().join(LOCK)).expect("writable");
        remove_if_abandoned(left.path()).expect("looked at");
        assert!(left.path().exists(), "it may be locked in a moment");
        aged(left.path());
        remove_if_abandoned(left.path()).expect("removed");
        assert!(!left.path().exists());
    }
}
