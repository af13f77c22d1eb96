//! Owns the one table of all settings. The command line's options, the look-up in the environment, the keys of the
//! file, the mistakes' names and the table in `docs/configuration.md` are all made from it.
//! What a value must look like is `resolve`'s and `values`' business.

mod row; // how a row is written
mod security; // the rows for encryption, certificates and credentials

pub use super::command::Command;

use self::security::SECURITY;

/// The heading under which `--help` and the documentation show a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where events come from.
    Kafka,
    /// Where rows go.
    Postgres,
    /// When a batch is stored.
    Batches,
    /// Which event goes to which table.
    Events,
    /// Start, stop, parallelism.
    Running,
    /// Logs and HTTP.
    Observing,
}

impl Group {
    /// All groups in the order of the help.
    pub const ALL: [Group; 6] = [
        Group::Kafka,
        Group::Postgres,
        Group::Batches,
        Group::Events,
        Group::Running,
        Group::Observing,
    ];

    /// The heading.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Group::Kafka => "Kafka",
            Group::Postgres => "PostgreSQL",
            Group::Batches => "Batches",
            Group::Events => "Events and tables",
            Group::Running => "Running",
            Group::Observing => "Logs and health",
        }
    }
}

/// How a setting is written, on the command line and in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One text.
    Text,
    /// One number, with a unit where the value's name says so: a TOML number or string.
    Number,
    /// Present or not: a TOML boolean.
    Flag,
    /// `KEY=VALUE`, repeatable: a TOML array of such texts, or a table.
    Pairs,
}

/// What holds where a setting is given nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// These values (several only for pairs), as they would be typed.
    Values(&'static [&'static str]),
    /// No value; what that means.
    Unset(&'static str),
}

/// A setting: a row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The option's name without `--`, and the key in the file.
    pub name: &'static str,
    /// The environment variable.
    pub env: Option<&'static str>,
    /// What holds otherwise.
    pub default: Default,
    /// What the help calls the value; empty for a flag.
    pub value: &'static str,
    /// What it does, with the unit.
    pub help: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// A given value is never printed.
    pub secret: bool,
    /// Its heading.
    pub group: Group,
    /// `migrate` takes it, too; `consume` and `check` take every setting but those of `migrate` alone.
    pub migrate: bool,
    /// Nobody else does.
    pub only_migrate: bool,
    /// `healthcheck` takes it, too.
    pub healthcheck: bool,
}

/// Settings of Kafka's group that say how events are read: commands that look at a group read none.
const OF_READING: [&str; 2] = ["offset-reset", "max-poll-records"];

impl Setting {
    /// Does the command take it?
    #[must_use]
    pub fn concerns(&self, command: Command) -> bool {
        if self.only_migrate {
            return command == Command::Migrate;
        }
        // They end at once where a server is out of reach.
        let of_any_server = self.migrate && self.name != "startup-timeout";
        let of_kafka = self.group == Group::Kafka && !OF_READING.contains(&self.name);
        match command {
            Command::Consume | Command::Check | Command::ShowConfig => true,
            Command::Migrate => self.migrate,
            Command::Status | Command::Offsets => of_any_server || of_kafka,
            Command::Audit => of_any_server || of_kafka || self.name == "route",
            Command::Replay => {
                of_any_server
                    || ["topic", "group-id", "route", "postgres-statement-timeout"].contains(&self.name)
            }
            Command::Healthcheck => self.healthcheck,
            Command::Print => false,
        }
    }

    /// The default as a person reads it; empty where "not given" goes without saying.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.default {
            Default::Values(values) => values.join(" "),
            Default::Unset(note) => note.to_owned(),
        }
    }
}

/// The name of the setting that names the file: the only one that the file itself cannot hold.
pub const CONFIG: &str = "config";

/// The name of the setting that stands for several others.
pub(super) const URL: &str = "postgres-url";

/// All settings. The help shows them by their groups, in this order.
pub static SETTINGS: &[Setting] = &{
    let mut all = [GENERAL[0]; GENERAL.len() + SECURITY.len()];
    let (general, security) = all.split_at_mut(GENERAL.len());
    general.copy_from_slice(GENERAL);
    security.copy_from_slice(SECURITY);
    all
};

const GENERAL: &[Setting] = &[
    Setting::new(
        Group::Kafka,
        "kafka-servers",
        "HOST:PORT",
        "Brokers to start from; several: HOST:PORT,HOST:PORT",
    )
    .env("KAFKA_BOOTSTRAP_SERVERS")
    .default(&["localhost:9092"]),
    Setting::new(
        Group::Kafka,
        "topic",
        "NAME",
        "Topic that the events are read from",
    )
    .env("KAFKA_TOPIC")
    .default(&["datacenter-metrics"]),
    Setting::new(
        Group::Kafka,
        "group-id",
        "NAME",
        "Consumer group; its offsets are kept in PostgreSQL under this name",
    )
    .env("KAFKA_GROUP_ID")
    .default(&["storage-consumer-group"]),
    Setting::new(
        Group::Kafka,
        "offset-reset",
        "earliest|latest",
        "Where to start a partition that has an offset neither in PostgreSQL nor in Kafka",
    )
    .env("KAFKA_OFFSET_RESET")
    .default(&["earliest"]),
    Setting::new(
        Group::Kafka,
        "max-poll-records",
        "COUNT",
        "Messages taken from the Kafka client per turn, at most",
    )
    .env("MAX_POLL_RECORDS")
    .default(&["500"])
    .kind(Kind::Number),
    Setting::new(
        Group::Kafka,
        "kafka-property",
        "KEY=VALUE",
        "Property of the Kafka client (librdkafka), such as group.instance.id=NAME; repeatable",
    )
    .kind(Kind::Pairs),
    Setting::new(
        Group::Postgres,
        "postgres-host",
        "HOST",
        "Host name, address, or folder of the server's Unix socket",
    )
    .env("POSTGRES_HOST")
    .default(&["localhost"])
    .also_migrate(),
    Setting::new(Group::Postgres, "postgres-port", "PORT", "Port")
        .env("POSTGRES_PORT")
        .default(&["5432"])
        .kind(Kind::Number)
        .also_migrate(),
    Setting::new(Group::Postgres, "postgres-db", "NAME", "Database")
        .env("POSTGRES_DB")
        .default(&["mlops_db"])
        .also_migrate(),
    Setting::new(Group::Postgres, "postgres-user", "NAME", "User")
        .env("POSTGRES_USER")
        .default(&["mlops"])
        .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-password",
        "PASSWORD",
        "Password; other users of the machine can see an option: prefer the variable, or a file",
    )
    .env("POSTGRES_PASSWORD")
    .default(&["mlops_password"])
    .secret()
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-password-file",
        "PATH",
        "File that holds the password, in place of --postgres-password",
    )
    .env("POSTGRES_PASSWORD_FILE")
    .also_migrate(),
    Setting::new(
        Group::Postgres,
        "postgres-statement-timeout",
        "SECONDS",
        "Time that PostgreSQL may take over one statement, one table's rows of a batch included; doubled for a batch \
         that needs more",
    )
    .env("POSTGRES_STATEMENT_TIMEOUT")
    .default(&["30"])
    .kind(Kind::Number),
    Setting::new(
        Group::Postgres,
        "indexes",
        "btree|brin",
        "Indexes that `migrate` gives the built-in tables: btree for quick look-ups, brin where far more is stored \
         than looked up",
    )
    .unset("as they are; new tables have btree")
    .only_migrate(),
    Setting::new(
        Group::Batches,
        "batch-size",
        "COUNT",
        "Messages that make a batch due",
    )
    .env("BATCH_SIZE")
    .default(&["100"])
    .kind(Kind::Number),
    Setting::new(
        Group::Batches,
        "commit-interval",
        "SECONDS",
        "Time after which a batch is due, however few messages wait",
    )
    .env("COMMIT_INTERVAL")
    .default(&["5.0"])
    .kind(Kind::Number),
    Setting::new(
        Group::Batches,
        "max-batch-bytes",
        "BYTES",
        "Size to which a batch grows while the one before it is stored; the bound of memory",
    )
    .env("MAX_BATCH_BYTES")
    .default(&["16MiB"])
    .kind(Kind::Number),
    Setting::new(
        Group::Events,
        "route",
        "TYPE=TABLE",
        "Table (or schema.table) for a type of event, in addition to the two built in; repeatable",
    )
    .default(&[
        "server_metric=server_metrics",
        "application_metric=application_metrics",
    ])
    .kind(Kind::Pairs),
    Setting::new(
        Group::Events,
        "unknown-types",
        "dead-letter|skip",
        "What becomes of events whose type has no route",
    )
    .default(&["dead-letter"]),
    Setting::new(
        Group::Running,
        "config",
        "FILE",
        "TOML file whose keys are these options' names; options and variables come before it",
    )
    .env("STORAGE_CONSUMER_CONFIG")
    .also_migrate()
    .also_healthcheck(),
    Setting::new(
        Group::Running,
        "workers",
        "COUNT",
        "Consumers in this process, each with a connection of its own to PostgreSQL",
    )
    .env("WORKERS")
    .default(&["1"])
    .kind(Kind::Number),
    Setting::new(
        Group::Running,
        "duration",
        "SECONDS",
        "Stop with grace after so long",
    )
    .unset("without end")
    .kind(Kind::Number),
    Setting::new(
        Group::Running,
        "startup-timeout",
        "SECONDS",
        "Give up when PostgreSQL or Kafka cannot be reached for so long at the start",
    )
    .env("STARTUP_TIMEOUT")
    .unset("without end")
    .kind(Kind::Number)
    .also_migrate(),
    Setting::new(
        Group::Running,
        "shutdown-timeout",
        "SECONDS",
        "Time that a stop may take to store what has been read",
    )
    .env("SHUTDOWN_TIMEOUT")
    .default(&["30"])
    .kind(Kind::Number),
    Setting::new(
        Group::Running,
        "no-migrate",
        "",
        "Don't create or update tables at the start",
    ),
    Setting::new(
        Group::Observing,
        "log-level",
        "LEVEL",
        "TRACE, DEBUG, INFO, WARNING, ERROR or CRITICAL, in any case",
    )
    .env("LOG_LEVEL")
    .default(&["INFO"])
    .also_migrate(),
    Setting::new(
        Group::Observing,
        "log-format",
        "json|text",
        "How a log line is written",
    )
    .env("LOG_FORMAT")
    .unset("text on a terminal, otherwise json")
    .also_migrate(),
    Setting::new(
        Group::Observing,
        "http-listen",
        "HOST:PORT|off",
        "Where the status page, /status, /live, /ready and /metrics are served",
    )
    .env("HTTP_LISTEN")
    .default(&["127.0.0.1:9090"])
    .also_healthcheck(),
    Setting::new(
        Group::Observing,
        "http-names",
        "NAME,NAME",
        "Further names under which the status page may be asked for, beside IP addresses and names of no public domain",
    )
    .env("HTTP_NAMES"),
];

/// The setting of that name, which must be one of the table's.
#[must_use]
pub fn setting(name: &str) -> &'static Setting {
    SETTINGS
        .iter()
        .find(|setting| setting.name == name)
        .expect("the name of a setting of the table")
}

#[cfg(test)]
mod tests;
