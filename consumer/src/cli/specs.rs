//! Owns the list of commands: their names, which settings they take, what they say of themselves, and their examples.

use crate::commands::{self, Task};
use crate::config::Command;
use clap::{ArgMatches, Args, FromArgMatches};

/// A command.
pub(super) struct Spec {
    /// Which settings it takes.
    pub(super) command: Command,
    /// Its name, of one word, or of two where it belongs to a family.
    pub(super) words: &'static [&'static str],
    pub(super) about: &'static str,
    pub(super) after: &'static str,
    /// Adds what it takes beside settings.
    pub(super) own: fn(clap::Command) -> clap::Command,
    /// Reads that.
    pub(super) task: fn(&ArgMatches) -> Result<Task, clap::Error>,
}

/// Commands of two words, by the first.
pub(super) static FAMILIES: [(&str, &str); 2] = [
    ("offsets", "Show or set the offsets that are stored in PostgreSQL"),
    ("config", "Write a configuration file, or show what is in effect"),
];

fn nothing(command: clap::Command) -> clap::Command {
    command
}

fn own<A: Args>(command: clap::Command) -> clap::Command {
    A::augment_args(command)
}

fn read<A: FromArgMatches>(matches: &ArgMatches, task: fn(A) -> Task) -> Result<Task, clap::Error> {
    A::from_arg_matches(matches).map(task)
}

pub(super) static COMMANDS: [Spec; 13] = [
    Spec {
        command: Command::Consume,
        words: &["consume"],
        about: "Move events from the Kafka topic into their PostgreSQL tables, each exactly once",
        after: CONSUME_EXAMPLES,
        own: nothing,
        task: |_| Ok(Task::Consume),
    },
    Spec {
        command: Command::Migrate,
        words: &["migrate"],
        about: "Create the tables, or bring them up to date, and end",
        after: "Tables that exist already are taken as they are. `consume` does the same at its start, unless \
                --no-migrate is given.\n\
                --indexes changes the built-in tables' own indexes, also later: what is written waits meanwhile.\n\n\
                Example: as the tables' owner, before a `consume --no-migrate` of a user with fewer privileges\n  \
                storage-consumer migrate --postgres-user owner --postgres-password-file /run/secrets/owner",
        own: nothing,
        task: |_| Ok(Task::Migrate),
    },
    Spec {
        command: Command::Check,
        words: &["check"],
        about: "Say whether `consume` could run with these options: servers, permissions, tables",
        after: "Takes every option of `consume`, so that the same command line and environment can be checked. \
                Changes nothing.\n\n\
                Example: what a deployment would meet\n  \
                storage-consumer check --config /etc/storage-consumer.toml",
        own: nothing,
        task: |_| Ok(Task::Check),
    },
    Spec {
        command: Command::Healthcheck,
        words: &["healthcheck"],
        about: "Ask the running consumer on this machine whether it is ready: exit code 0, or 1 and the reasons",
        after: HEALTHCHECK_EXAMPLES,
        own: own::<commands::healthcheck::Options>,
        task: |matches| read(matches, Task::Healthcheck),
    },
    Spec {
        command: Command::Status,
        words: &["status"],
        about: "Show where the group stands: members, offsets, lag, rate, newest dead letters",
        after: STATUS_EXAMPLES,
        own: own::<commands::status::Options>,
        task: |matches| read(matches, Task::Status),
    },
    Spec {
        command: Command::Replay,
        words: &["replay"],
        about: "Store dead letters after all, with the tables and routes as they are now",
        after: REPLAY_EXAMPLES,
        own: own::<commands::replay::Options>,
        task: |matches| read(matches, Task::Replay),
    },
    Spec {
        command: Command::Audit,
        words: &["audit"],
        about: "Prove the sums: what was consumed is stored, dead-lettered or skipped, and is there",
        after: AUDIT_EXAMPLES,
        own: own::<commands::audit::Options>,
        task: |matches| read(matches, Task::Audit),
    },
    Spec {
        command: Command::Offsets,
        words: &["offsets", "show"],
        about: "Show the stored offset of each partition beside its log",
        after: "Example:\n  storage-consumer offsets show --topic datacenter-metrics",
        own: own::<commands::offsets::ShowOptions>,
        task: |matches| read(matches, Task::OffsetsShow),
    },
    Spec {
        command: Command::Offsets,
        words: &["offsets", "set"],
        about: "Set where the group goes on; refuses while it is live, shows what follows, and asks",
        after: OFFSETS_SET_EXAMPLES,
        own: own::<commands::offsets::SetOptions>,
        task: |matches| read(matches, Task::OffsetsSet),
    },
    Spec {
        command: Command::Print,
        words: &["config", "init"],
        about: "Write a commented file of all settings, for --config",
        after: "Example:\n  storage-consumer config init /etc/storage-consumer.toml",
        own: own::<commands::print::InitOptions>,
        task: |matches| read(matches, Task::ConfigInit),
    },
    Spec {
        command: Command::ShowConfig,
        words: &["config", "show"],
        about: "Show the configuration that `consume` would run with, and where each value comes from",
        after: "Secrets are hidden. What is shown can be used as a file of --config, once its secrets are filled in.\n\n\
                Example: what an environment amounts to\n  \
                WORKERS=4 storage-consumer config show --config /etc/storage-consumer.toml",
        own: own::<commands::print::ShowOptions>,
        task: |matches| read(matches, Task::ConfigShow),
    },
    Spec {
        command: Command::Print,
        words: &["completions"],
        about: "Print the completions of a shell",
        after: "Examples:\n  \
                storage-consumer completions bash > /etc/bash_completion.d/storage-consumer\n  \
                storage-consumer completions zsh > \"${fpath[1]}/_storage-consumer\"\n  \
                storage-consumer completions fish > ~/.config/fish/completions/storage-consumer.fish",
        own: own::<commands::print::CompletionsOptions>,
        task: |matches| read(matches, Task::Completions),
    },
    Spec {
        command: Command::Print,
        words: &["man"],
        about: "Print a manual page, or write all of them into a folder",
        after: "Examples:\n  \
                storage-consumer man | man -l -\n  \
                storage-consumer man offsets set | man -l -\n  \
                storage-consumer man --out /usr/local/share/man/man1",
        own: own::<commands::print::ManOptions>,
        task: |matches| read(matches, Task::Man),
    },
];

const CONSUME_EXAMPLES: &str = "\
Examples:
  High throughput
    storage-consumer consume --batch-size 500 --commit-interval 10.0 --max-poll-records 1000
  Low latency
    storage-consumer consume --batch-size 50 --commit-interval 1.0
  Debugging: every step, for what arrives from now on
    storage-consumer consume --log-level DEBUG --offset-reset latest

An option comes before its environment variable, the variable before the file of --config.
SIGHUP reads environment and file again, and takes over the log's level, the routes and --unknown-types.";

const HEALTHCHECK_EXAMPLES: &str = "\
Examples:
  In a Dockerfile, beside a consumer that is told where to listen by HTTP_LISTEN
    HEALTHCHECK CMD [\"storage-consumer\", \"healthcheck\"]
  Should it be started again?
    storage-consumer healthcheck --live

It looks for --http-listen where `consume` does: option, variable, file. An address that stands for all of the \
machine's (0.0.0.0, ::) is asked on loopback.";

const STATUS_EXAMPLES: &str = "\
Asks Kafka and PostgreSQL; needs nothing of the consumer's process, and runs wherever both can be reached.

Examples:
  storage-consumer status
  storage-consumer status --watch
  storage-consumer status --json | jq '.lag_messages'

Exit codes: 0 all is shown and somebody consumes; 1 messages wait and nobody consumes, or a stored offset is not in its log; \
69 Kafka or PostgreSQL can't be reached.";

const REPLAY_EXAMPLES: &str = "\
Each dead letter is decoded and encoded as if it had just arrived; its row is stored, the dead letter deleted and the group's \
count moved, in one transaction a batch: a crash neither loses nor doubles anything, and a consumer may run meanwhile. What is \
refused again stays, with its new reason.

Examples:
  What would become of all of them
    storage-consumer replay --all --dry-run
  One message, as the status page shows it
    storage-consumer replay --partition 3 --offset 1234
  After a table or a route was added
    storage-consumer replay --reason unknown_type --route gpu_metric=gpu_metrics --yes

Exit codes: 0 all that was selected is stored; 1 some was refused again, or the work ended early; 69 PostgreSQL can't be \
reached; 130 interrupted.";

const AUDIT_EXAMPLES: &str = "\
Counts in one snapshot, so a consumer may run meanwhile. Where a table has the columns kafka_partition and kafka_offset, its rows \
are held to the counts of each partition, and none may be there twice.

Examples:
  storage-consumer audit
  storage-consumer audit --route gpu_metric=gpu_metrics --json

Exit codes: 0 the sums agree; 1 they don't, and it is said why that may be; 69 Kafka or PostgreSQL can't be reached.";

const OFFSETS_SET_EXAMPLES: &str = "\
PostgreSQL's offset decides where the group goes on (`consumer_offsets`); Kafka's follows it. Both are set.

Examples:
  Read everything again that is still in the log
    storage-consumer offsets set --to earliest
  Pass over a backlog
    storage-consumer offsets set --to latest
  From a moment on, in one partition
    storage-consumer offsets set --to 2026-01-15T10:30:00Z --partition 3

Exit codes: 0 set, or nothing to set; 1 refused (members are in the group, an offset is outside of the log, the question was \
answered with no); 69 Kafka or PostgreSQL can't be reached.";
