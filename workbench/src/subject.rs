//! Owns the program under test as a process: where it lies, what it is told, its log, its memory, its end. What came
//! of its work is for `referee`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::services::process::{Launch, Process, Signal};
use crate::services::wait_until;

/// Migrating an empty database may take so long.
const MIGRATION: Duration = Duration::from_secs(90);

/// Variables that would lead the program elsewhere.
const FOREIGN: [&str; 12] = [
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SSL_CA",
    "PGPASSFILE",
    "POSTGRES_PASSWORD_FILE",
    "POSTGRES_SSLCERT",
    "POSTGRES_SSLMODE",
    "POSTGRES_SSLROOTCERT",
    "POSTGRES_URL",
    "STORAGE_CONSUMER_CONFIG",
];

/// The program: `STORAGE_CONSUMER_BIN`, else the one that was built beside this one.
pub fn program() -> anyhow::Result<PathBuf> {
    let given = env::var_os("STORAGE_CONSUMER_BIN").filter(|given| !given.is_empty());
    let program = given.map_or_else(beside_this, |given| Ok(PathBuf::from(given)))?;
    // Children start in another folder than ours.
    program
        .canonicalize()
        .ok()
        .filter(|program| program.is_file())
        .with_context(|| {
            format!(
                "{} is not built: make demo, make test, make chaos and make bench build it",
                program.display()
            )
        })
}

/// In the folder of the programs, of which ours is one; tests lie in `deps`, below.
fn beside_this() -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("this program's own path is unknown")?;
    let folder = own
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("this program lies in no folder")?;
    Ok(folder.join("storage-consumer"))
}

/// Where the program reads and writes.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Bootstrap servers.
    pub kafka_servers: String,
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// PostgreSQL's port on 127.0.0.1, or that of a proxy before it.
    pub postgres_port: u16,
    /// The database.
    pub database: String,
    /// Whom the program connects as.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl Surroundings {
    /// A command of the program, told all of this by its documented variables; options come next.
    pub fn launch(&self, command: &str, log: &Path) -> anyhow::Result<Launch> {
        let launch = Launch::new("storage-consumer", program()?, log);
        // A person's own set-up, which is not for our servers.
        let launch = FOREIGN.iter().fold(launch, Launch::without_env);
        Ok(launch
            .args([command])
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.kafka_servers)
            .env("KAFKA_TOPIC", &self.topic)
            .env("KAFKA_GROUP_ID", &self.group)
            .env("POSTGRES_HOST", "127.0.0.1")
            .env("POSTGRES_PORT", self.postgres_port.to_string())
            .env("POSTGRES_DB", &self.database)
            .env("POSTGRES_USER", &self.user)
            .env("POSTGRES_PASSWORD", &self.password)
            .env("HTTP_LISTEN", "off")
            .env("LOG_FORMAT", "json"))
    }
}

/// Prepares the database as `storage-consumer migrate` does with these options; no Kafka is needed for it.
pub fn migrate(surroundings: &Surroundings, log: &Path, options: &[&str]) -> anyhow::Result<()> {
    surroundings.launch("migrate", log)?.args(options).run(MIGRATION)
}

/// A running storage-consumer with a log of its own. Killed when dropped.
#[derive(Debug)]
pub struct Subject {
    process: Process,
    log: PathBuf,
}

impl Subject {
    /// Starts what `Surroundings::launch` prepared, with the log named there.
    pub fn start(launch: Launch) -> anyhow::Result<Self> {
        let process = launch.spawn()?;
        let log = process.log().to_owned();
        Ok(Self { process, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.kill()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Waits for its end by itself; the error shows its log.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.process.wait(limit).with_context(|| self.text())
    }

    /// The most memory that it has ever had, in MiB: the kernel's own record.
    pub fn peak_memory_mib(&self) -> anyhow::Result<u64> {
        let file = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .with_context(|| format!("no VmHWM in {file}"))?;
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024)
    }

    /// Its log so far.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its complete log lines so far; each must be an object.
    pub fn lines(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no log line: {line}")))
            .collect()
    }

    /// Waits for a log line whose message contains these words.
    pub fn wait_for_line(&self, message: &str, limit: Duration) -> anyhow::Result<Value> {
        let mut found = None;
        let mut broken = None;
        wait_until(limit, || {
            match self.lines() {
                Ok(lines) => found = lines.into_iter().find(|line| says(line, message)),
                Err(error) => broken = Some(error),
            }
            found.is_some() || broken.is_some()
        });
        if let Some(error) = broken {
            return Err(error);
        }
        match found {
            Some(line) => Ok(line),
            None => bail!("no line {message:?} in\n{}", self.text()),
        }
    }
}

/// Whether a log line's message contains these words.
fn says(line: &Value, words: &str) -> bool {
    line["message"].as_str().is_some_and(|text| text.contains(words))
}
