//! Owns the configuration: first as typed (command line, environment, file: `typed`, `file`), then validated
//! (`resolve`). All mistakes are told at once, before anything is opened. Each stage gets its own section.

mod command; // the commands that take settings
pub mod settings; // the one table that everything is made from
pub mod problem; // a mistake, and how it is told
mod typed; // the first step: texts and their sources
mod file; // the TOML file as such texts
mod resolve; // the second step: texts to the values below
mod values; // what one value must look like
mod properties; // librdkafka's: which are refused, which are secret
mod effective; // what holds and who said so, for people
mod secret; // a text that is never printed
mod url; // PostgreSQL's URL as the settings that it stands for
mod password; // where PostgreSQL's password comes from
mod tls; // how far the connection to PostgreSQL is trusted
mod sources; // where a configuration comes from: to read it again
pub mod template; // the settings as a TOML file: all of them, and those in effect

#[cfg(test)]
mod docs; // docs/configuration.md says what the table says

pub use self::effective::{Effective, Held};
pub use self::password::Password;
pub use self::problem::ConfigError;
pub use self::secret::Secret;
pub use self::settings::Command;
pub use self::sources::{Reading, Sources};
pub use self::tls::{PostgresTls, RootCertificates, SslMode};

use self::password::Login;
use crate::table::{Routes, TableName};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where events come from.
    pub kafka: KafkaConfig,
    /// Where rows go.
    pub postgres: PostgresConfig,
    /// When a batch is stored.
    pub batch: BatchConfig,
    /// Each event type's table: the built-in ones first, then in the order given. No type twice.
    pub routes: Vec<Route>,
    /// What becomes of events without a route.
    pub unknown_types: UnknownTypes,
    /// Consumers in this process: 1 to 256.
    pub workers: u16,
    /// Stop after so long; `None`: without end.
    pub duration: Option<Duration>,
    /// Time that a stop may take.
    pub shutdown_timeout: Duration,
    /// Time for which servers may be out of reach at the start; `None`: without end.
    pub startup_timeout: Option<Duration>,
    /// Create and update tables at the start.
    pub migrate: bool,
    /// The indexes that the command `migrate` gives the built-in tables; `None`: it leaves them as they are.
    pub indexes: Option<Indexes>,
    /// Where to serve health and numbers; `None`: nowhere.
    pub http_listen: Option<SocketAddr>,
    /// Further names that the status page answers to, in small letters.
    pub http_names: Vec<String>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// All of it as it was typed, and where; secrets hidden.
    pub effective: Effective,
    /// Settings whose secret stands on the command line, where other users of the machine can read it.
    pub exposed: Vec<&'static str>,
}

impl Config {
    /// Both steps: gathers what was typed (options as given, in their order; variables through `env`; the file that
    /// one of them names) and validates what concerns the command. What doesn't concern it keeps its default.
    pub fn resolve<T: Into<OsString>>(
        command: Command,
        options: Vec<(&'static settings::Setting, OsString)>,
        env: impl Fn(&str) -> Option<T>,
    ) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let typed = typed::Typed::gather(command, options, env, &mut problems);
        resolve::config(&typed, problems)
    }

    /// The routes as the stages use them: each table once.
    #[must_use]
    pub fn table_routes(&self) -> Routes {
        let mut routes = Routes::default();
        for route in &self.routes {
            routes.add(route.event_type.clone(), route.table.clone());
        }
        routes
    }
}

/// The Kafka client's section.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port[,host:port]`, as librdkafka's `bootstrap.servers` takes it.
    pub servers: String,
    /// The topic's name: never a pattern.
    pub topic: String,
    /// The consumer group.
    pub group_id: String,
    /// Where a partition without any stored offset starts.
    pub offset_reset: OffsetReset,
    /// Further properties for librdkafka, those of the options for its security first; none that a promise stands on,
    /// none twice.
    pub properties: Vec<(String, String)>,
    /// Those of them whose value is the content of a file: read again whenever a client is made.
    pub secret_files: Vec<(String, PathBuf)>,
    /// How OAUTHBEARER's tokens are fetched.
    pub oauth: Option<OAuth>,
    /// Messages per turn, at least 1.
    pub max_poll_records: usize,
}

impl KafkaConfig {
    /// Must that property's value stay out of logs, errors and the status page?
    #[must_use]
    pub fn is_secret_property(key: &str) -> bool {
        properties::is_secret(key)
    }

    /// The properties with the secrets that the files hold now. A file that cannot be read just now leaves the secret that
    /// it held before.
    #[must_use]
    pub fn current_properties(&self) -> Vec<(String, String)> {
        let mut properties = self.properties.clone();
        for (key, value) in &mut properties {
            let file = self.secret_files.iter().find(|(name, _)| name == key);
            if let Some(Ok(secret)) = file.map(|(_, path)| file::secret(path)) {
                secret.expose().clone_into(value);
            }
        }
        properties
    }

    /// All that proves who we are and whom we trust, certificates included, as the files hold it now: to be compared.
    #[must_use]
    pub fn credentials(&self) -> Secret {
        let mut all = String::new();
        for (key, value) in self.current_properties() {
            if key.starts_with("ssl.") && key.ends_with(".location") {
                all += &std::fs::read_to_string(&value).unwrap_or_default();
            }
            all += &value;
            all.push('\0');
        }
        Secret::new(all)
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<_> = self
            .properties
            .iter()
            .map(|(key, value)| {
                (
                    key,
                    if Self::is_secret_property(key) {
                        "***"
                    } else {
                        value.as_str()
                    },
                )
            })
            .collect();
        f.debug_struct("KafkaConfig")
            .field("servers", &self.servers)
            .field("topic", &self.topic)
            .field("group_id", &self.group_id)
            .field("offset_reset", &self.offset_reset)
            .field("properties", &properties)
            .field("secret_files", &self.secret_files)
            .field("oauth", &self.oauth)
            .field("max_poll_records", &self.max_poll_records)
            .finish()
    }
}

/// How OAUTHBEARER's tokens are fetched: with the client's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// An `http` or `https` URL.
    pub endpoint: String,
    /// The client.
    pub client_id: String,
    /// The file that holds its secret.
    pub secret_file: PathBuf,
    /// What the tokens are asked to allow.
    pub scope: Option<String>,
}

impl OAuth {
    /// The secret as the file holds it now; the error names the option.
    pub fn current_secret(&self) -> Result<Secret, String> {
        file::secret(&self.secret_file).map_err(|what| format!("--kafka-oauth-client-secret-file: {what}"))
    }
}

/// Where a partition starts that has an offset neither in PostgreSQL nor in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the oldest message.
    Earliest,
    /// After the newest message.
    Latest,
}

impl OffsetReset {
    /// As librdkafka's `auto.offset.reset` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OffsetReset::Earliest => "earliest",
            OffsetReset::Latest => "latest",
        }
    }
}

/// How to reach PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresConfig {
    /// A host's name or address, or the absolute path of a Unix socket's folder.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Where the password comes from.
    pub password: Password,
    /// Whether the connection is encrypted, and whom it trusts.
    pub tls: PostgresTls,
    /// What PostgreSQL may take over one statement, one table's COPY included.
    pub statement_timeout: Duration,
}

impl PostgresConfig {
    /// The password as it is now: a file is read again. The error names the option, and holds no secret.
    pub fn current_password(&self) -> Result<Secret, String> {
        let option = self.password.option();
        self.password
            .read(&self.login())
            .map_err(|what| format!("--{option}: {what}"))
    }

    fn login(&self) -> Login<'_> {
        Login {
            host: &self.host,
            port: self.port,
            database: &self.database,
            user: &self.user,
        }
    }
}

/// When a batch is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Messages that make a batch due, at least 1.
    pub size: usize,
    /// Time after its first message at which a batch is due; zero: at once.
    pub interval: Duration,
    /// Bytes up to which a batch may grow: 64 KiB to 1 GiB.
    pub max_bytes: usize,
}

/// An event type's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The value of the event's `type`.
    pub event_type: String,
    /// The table.
    pub table: TableName,
}

/// What becomes of events whose type has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownTypes {
    /// Kept in `dead_letters`.
    DeadLetter,
    /// Counted, and passed over.
    Skip,
}

/// By what a built-in table's rows of one server or service are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexes {
    /// B-tree on identifier and time: quick look-ups, and half of what storing costs.
    Btree,
    /// BRIN on the identifier: next to nothing to fill, and read in ranges of pages.
    Brin,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// From this level up.
    pub level: LogLevel,
    /// The lines' format; `None`: text on a terminal, otherwise JSON.
    pub format: Option<LogFormat>,
}

/// A level, named as Python's logging names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything, other libraries' included.
    Trace,
    /// Each step, per batch and per partition.
    Debug,
    /// What happens to the process as a whole.
    Info,
    /// What may need a look.
    Warning,
    /// What a person must act on.
    Error,
    /// As `Error`: nothing is logged above it.
    Critical,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One object per line.
    Json,
    /// For people.
    Text,
}
