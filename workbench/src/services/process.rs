//! A child process: its log, the user it runs as, how it is stopped. None outlives this process, however
//! this one ends.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

pub use rustix::process::Signal;

use super::{in_path, wait_until};

/// A user of this machine.
#[derive(Clone, Debug)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
}

impl User {
    /// Whom a server runs as that refuses to be root; `None` when we are not root ourselves.
    pub fn unprivileged() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&users, name))
            .map(Some)
            .context("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
    }
}

fn find_user(users: &str, name: &str) -> Option<User> {
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields[0] == name)
        .and_then(|fields| {
            Some(User {
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
            })
        })
}

/// A child process that is still to be started.
#[derive(Debug)]
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    withheld: Vec<OsString>,
    log: PathBuf,
    user: Option<User>,
    last_signal: &'static str,
}

impl Launch {
    /// `name` is for messages; standard output and error are appended to `log`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            withheld: Vec::new(),
            log: log.into(),
            user: None,
            last_signal: "KILL",
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds an option and the path that is its value.
    #[must_use]
    pub fn arg_path(self, option: &str, path: &Path) -> Self {
        self.args([OsStr::new(option), path.as_os_str()])
    }

    /// Sets an environment variable beside those that the child inherits.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Keeps an environment variable of ours from it.
    #[must_use]
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.withheld.push(name.as_ref().to_owned());
        self
    }

    /// Runs it as another user.
    #[must_use]
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// The signal that the kernel sends it when this process dies; SIGKILL unless told otherwise.
    /// PostgreSQL gets SIGQUIT, so that it takes its own children along.
    #[must_use]
    pub fn on_our_death(mut self, signal: &'static str) -> Self {
        self.last_signal = signal;
        self
    }

    /// Starts it.
    pub fn spawn(self) -> anyhow::Result<Process> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        // setpriv arranges the signal and then becomes the program, so that the child's process id is the
        // program's. Where it does not exist (not Linux), a child of a killed test lives on.
        let mut command = if let Some(setpriv) = in_path("setpriv") {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", self.last_signal]);
            if let Some(user) = &self.user {
                command.args([
                    "--reuid",
                    &user.uid.to_string(),
                    "--regid",
                    &user.gid.to_string(),
                    "--clear-groups",
                ]);
            }
            command.arg("--").arg(&self.program);
            command
        } else {
            let mut command = Command::new(&self.program);
            if let Some(user) = &self.user {
                command.uid(user.uid).gid(user.gid);
            }
            command
        };
        for name in &self.withheld {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .envs(self.variables)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir("/")
            // The terminal's Ctrl-C is for the program at the front; it stops its services itself, in its
            // own order.
            .process_group(0);
        let child = spawn_from_lasting_thread(command)
            .with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))?;
        Ok(Process {
            name: self.name,
            child,
            log: self.log,
        })
    }

    /// Runs it to its end, which must be a success; the error shows what it said.
    pub fn run(self, limit: Duration) -> anyhow::Result<()> {
        let mut process = self.spawn()?;
        let status = process.wait(limit)?;
        if !status.success() {
            bail!("{} ended with {status}\n{}", process.name, process.log_tail());
        }
        Ok(())
    }
}

/// Starts a child from a thread that lives as long as this process: the kernel reports the death of a
/// parent when the *thread* that started the child ends, and a test's thread ends long before the service
/// that it shares.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, received) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        });
        requests
    });
    let (answer, answered) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

/// A running child process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its output, for an error message.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits for its end; an error when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let mut status = None;
        wait_until(limit, || {
            status = self.child.try_wait().transpose();
            status.is_some()
        });
        match status {
            Some(status) => status.with_context(|| format!("cannot wait for {}", self.name)),
            None => bail!("{} still runs after {limit:?}\n{}", self.name, self.log_tail()),
        }
    }

    /// Sends a signal and waits for the end; SIGKILL when it does not come within `limit`.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(signal)?;
        self.wait(limit).inspect_err(|_| {
            let _ = self.kill();
        })
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        let _ = self.child.kill();
        self.child
            .wait()
            .with_context(|| format!("cannot wait for {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The last 40 lines of a log, or why there are none.
pub fn log_tail(log: &Path) -> String {
    match fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            format!(
                "the end of {}:\n{}",
                log.display(),
                lines[lines.len().saturating_sub(40)..].join("\n")
            )
        }
        Err(error) => format!("no log in {}: {error}", log.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/bash\n";
        let user = find_user(users, "postgres").expect("it is there");
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(find_user(users, "nobody").is_none());
    }

    #[test]
    fn output_and_status_are_kept_and_a_failure_shows_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let launch = |script: &str| Launch::new("a shell", "/bin/sh", &log).args(["-c", script]);
        launch("echo out; echo err >&2")
            .run(Duration::from_secs(10))
            .expect("it succeeds");
        assert_eq!(fs::read_to_string(&log).expect("a log"), "out\nerr\n");
        let error = launch("echo no luck; exit 3")
            .run(Duration::from_secs(10))
            .expect_err("it fails");
        assert!(
            error.to_string().contains("exit status: 3") && error.to_string().contains("no luck"),
            "{error}"
        );
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let asked = thread::spawn(move || Launch::new("a sleeper", "/bin/sleep", log).args(["60"]).spawn());
        let mut process = asked.join().expect("no panic").expect("started");
        assert!(
            process.wait(Duration::from_millis(200)).is_err(),
            "it must still sleep"
        );
        let status = process
            .stop(Signal::TERM, Duration::from_secs(10))
            .expect("it ends");
        assert!(!status.success());
    }
}
