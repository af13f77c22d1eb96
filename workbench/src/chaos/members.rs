//! Owns the consumers of a run: two that always belong to the group, and a guest. Starts them, ends them, and complains
//! where one ends in another way than it was asked to.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context as _;

use crate::services::process::Signal;
use crate::subject::{Subject, Surroundings};

/// The one whose workers change.
pub(super) const PLAIN: usize = 0;
/// The one that has a `group.instance.id`, and therefore one worker.
pub(super) const STATIC: usize = 1;
/// The one that comes and goes.
pub(super) const GUEST: usize = 2;

/// A consumer has so long to stop, of which it knows, …
const SHUTDOWN: &str = "15";
/// … and this much more until it is taken for hung.
const STOP: Duration = Duration::from_secs(40);
/// The exit code that says: not all that was read could be stored in time.
const NOT_STORED: i32 = 75;

struct Member {
    name: &'static str,
    properties: &'static [&'static str],
    workers: usize,
    subject: Option<Subject>,
    frozen: bool,
}

/// The consumers.
pub(super) struct Members {
    surroundings: Surroundings,
    folder: PathBuf,
    all: Vec<Member>,
    /// What nobody asked for.
    pub(super) complaints: Vec<String>,
    /// The most memory that one of them has had, in MiB.
    pub(super) peak_memory_mib: u64,
}

impl Members {
    /// None of them is started; logs go into `folder`.
    pub(super) fn new(surroundings: Surroundings, folder: PathBuf) -> Self {
        let member = |name, workers, properties| Member {
            name,
            properties,
            workers,
            subject: None,
            frozen: false,
        };
        Self {
            surroundings,
            folder,
            all: vec![
                member("plain", 2, &[]),
                member("static", 1, &["group.instance.id=chaos"]),
                member("guest", 1, &[]),
            ],
            complaints: Vec::new(),
            peak_memory_mib: 0,
        }
    }

    /// Starts one, unless it runs.
    pub(super) fn start(&mut self, at: usize) -> anyhow::Result<()> {
        let member = &mut self.all[at];
        if member.subject.is_some() {
            return Ok(());
        }
        let mut launch = self
            .surroundings
            .launch(
                "consume",
                &self.folder.join(format!("consumer-{}.log", member.name)),
            )?
            .args(["--no-migrate", "--shutdown-timeout", SHUTDOWN])
            .args(["--workers", &member.workers.to_string()])
            .args(["--kafka-property", "session.timeout.ms=6000"])
            .env("COMMIT_INTERVAL", "0.2");
        for property in member.properties {
            launch = launch.args(["--kafka-property", property]);
        }
        member.subject = Some(Subject::start(launch)?);
        Ok(())
    }

    /// How many workers one has when it is started next.
    pub(super) fn set_workers(&mut self, at: usize, workers: usize) {
        self.all[at].workers = workers;
    }

    /// How many workers one has.
    pub(super) fn workers(&self, at: usize) -> usize {
        self.all[at].workers
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, at: usize) -> anyhow::Result<()> {
        self.remember_memory();
        let member = &mut self.all[at];
        if let Some(mut subject) = member.subject.take() {
            let status = subject.kill()?;
            if status.signal() != Some(Signal::KILL.as_raw()) {
                complain(
                    &mut self.complaints,
                    member.name,
                    "had ended before it was killed",
                    status,
                );
            }
        }
        Ok(())
    }

    /// SIGSTOP.
    pub(super) fn freeze(&mut self, at: usize) -> anyhow::Result<()> {
        let member = &mut self.all[at];
        let subject = member.subject.as_ref().context("it does not run")?;
        member.frozen = true;
        subject.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn thaw(&mut self, at: usize) -> anyhow::Result<()> {
        let member = &mut self.all[at];
        member.frozen = false;
        member
            .subject
            .as_ref()
            .map_or(Ok(()), |subject| subject.signal(Signal::CONT))
    }

    /// SIGTERM, and its end; `disturbed` says that something else is broken meanwhile, so that it may have to leave
    /// messages to the next one.
    pub(super) fn stop(&mut self, at: usize, disturbed: bool) -> anyhow::Result<()> {
        self.remember_memory();
        let member = &mut self.all[at];
        let Some(mut subject) = member.subject.take() else {
            return Ok(());
        };
        subject.signal(Signal::TERM)?;
        match subject.wait(STOP) {
            Ok(status) if status.success() => {}
            Ok(status) if disturbed && status.code() == Some(NOT_STORED) => {}
            Ok(status) => complain(
                &mut self.complaints,
                member.name,
                "was asked to stop and ended",
                status,
            ),
            Err(_) => {
                let complaint = format!("consumer {} still ran {STOP:?} after SIGTERM", member.name);
                self.complaints.push(complaint);
                subject.kill()?;
            }
        }
        Ok(())
    }

    /// Whoever ended unasked is complained about and started again.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        self.remember_memory();
        for at in 0..self.all.len() {
            let member = &mut self.all[at];
            let Some(subject) = &mut member.subject else {
                continue;
            };
            if let Some(status) = subject.ended()? {
                complain(&mut self.complaints, member.name, "ended by itself", status);
                member.subject = None;
                self.start(at)?;
            }
        }
        Ok(())
    }

    /// The guest leaves, the others run.
    pub(super) fn heal(&mut self) -> anyhow::Result<()> {
        for at in [PLAIN, STATIC] {
            self.thaw(at)?;
            self.start(at)?;
        }
        self.stop(GUEST, true)
    }

    /// All of them end in good order.
    pub(super) fn stop_all(&mut self) -> anyhow::Result<()> {
        (0..self.all.len()).try_for_each(|at| self.stop(at, false))
    }

    /// The names of their logs.
    pub(super) fn logs(&self) -> Vec<PathBuf> {
        let log = |member: &Member| self.folder.join(format!("consumer-{}.log", member.name));
        self.all.iter().map(log).filter(|log| log.exists()).collect()
    }

    fn remember_memory(&mut self) {
        for subject in self.all.iter().filter_map(|member| member.subject.as_ref()) {
            // One that has ended in this moment has no memory any more.
            if let Ok(peak) = subject.peak_memory_mib() {
                self.peak_memory_mib = self.peak_memory_mib.max(peak);
            }
        }
    }
}

fn complain(complaints: &mut Vec<String>, name: &str, what: &str, status: ExitStatus) {
    complaints.push(format!("consumer {name} {what}: {status}"));
}
