//! Owns what can break: each kind of fault with its name, what it means, how long it lasts, and the words by which the
//! server's log proves that it came about. How it is done is for `inject`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Whose fault it is. Two at a time are never the same part's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Consumer,
    Postgres,
    Network,
    Kafka,
}

/// One row of the table of faults.
struct Row {
    kind: Kind,
    part: Part,
    name: &'static str,
    /// For the report.
    meaning: &'static str,
    /// It lasts from … to so many seconds.
    seconds: (f64, f64),
    /// What PostgreSQL's log then says; empty where something else proves it.
    evidence: &'static str,
}

macro_rules! faults {
    ($($kind:ident $part:ident $name:literal $meaning:literal $from:literal..$to:literal $evidence:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Kind { $($kind,)* }

        const ROWS: &[Row] = &[$(Row {
            kind: Kind::$kind,
            part: Part::$part,
            name: $name,
            meaning: $meaning,
            seconds: ($from, $to),
            evidence: $evidence,
        },)*];
    };
}

faults! {
    ConsumerKilled Consumer "consumer-killed" "a consumer gets SIGKILL and is started again" 0.0..3.0 "";
    ConsumerFrozen Consumer "consumer-frozen" "a consumer is frozen (SIGSTOP) for longer than its group waits, and goes on" 6.5..9.0 "";
    ConsumerStopped Consumer "consumer-stopped" "a consumer gets SIGTERM and is started again" 0.0..2.0 "";
    WorkersChanged Consumer "workers-changed" "a consumer is restarted with another number of workers" 0.0..0.5 "";
    MemberJoins Consumer "member-joins" "another consumer joins the group and leaves it" 2.0..5.0 "";
    StaticRestart Consumer "static-restart" "a static member (`group.instance.id`) is killed and comes back at once" 0.0..0.5 "";
    BackendTerminated Postgres "backend-terminated" "the sessions are terminated (`pg_terminate_backend`), again and again" 1.0..4.0
        "terminating connection due to administrator command";
    BackendKilled Postgres "backend-killed" "a backend gets SIGKILL: PostgreSQL goes through crash recovery" 0.0..0.5
        "was terminated by signal 9";
    PostgresCrashed Postgres "postgres-crashed" "PostgreSQL is shut down in the middle (SIGQUIT) and stays away" 1.0..12.0
        "received immediate shutdown request";
    PostgresRestarted Postgres "postgres-restarted" "PostgreSQL is restarted in good order (SIGINT)" 0.0..3.0
        "received fast shutdown request";
    StatementCancelled Postgres "statement-cancelled" "statements are cancelled (`pg_cancel_backend`), again and again" 1.5..4.0
        "canceling statement due to user request";
    Deadlock Postgres "deadlock" "another session locks in the opposite order, and the consumer is the victim" 1.5..4.0
        "deadlock detected";
    SerializationFailure Postgres "serialization-failure" "inserts fail with SQLSTATE 40001 now and then" 1.5..4.0
        "chaos: could not serialize access";
    TableLocked Postgres "table-locked" "a table is locked (ACCESS EXCLUSIVE) for longer than a batch takes, sometimes than `lock_timeout`" 2.0..12.0 "";
    TableAltered Postgres "table-altered" "a column is added to a table, and dropped again" 1.0..3.0 "";
    RowsRefused Postgres "rows-refused" "a CHECK refuses some rows for a while" 1.5..4.0 "violates check constraint \"chaos\"";
    ReadOnly Postgres "read-only" "the server is read-only for a while (SQLSTATE 25006)" 1.0..5.0
        "in a read-only transaction";
    ConnectionLimit Postgres "connection-limit" "no connection is left for the consumer (SQLSTATE 53300)" 1.0..5.0
        "too many connections for role";
    WrongPassword Postgres "wrong-password" "the consumer's password is wrong for a while (SQLSTATE 28P01)" 1.0..5.0
        "password authentication failed";
    ConnectionCut Network "connection-cut" "the connection to PostgreSQL is cut after some bytes" 0.5..2.0 "";
    AnswerLost Network "commit-answer-lost" "COMMIT is carried out, its answer is lost" 0.5..2.0 "";
    RequestLost Network "commit-request-lost" "COMMIT never arrives" 0.5..2.0 "";
    NetworkSilent Network "network-silent" "the network to PostgreSQL swallows everything, without a reset" 2.0..8.0 "";
    NetworkRefuses Network "network-refuses" "connections to PostgreSQL are cut and refused" 1.0..5.0 "";
    BrokerKilled Kafka "broker-killed" "one of three brokers gets SIGKILL and stays away" 1.0..5.0 "";
    LeaderKilled Kafka "leader-killed" "the broker that leads a partition gets SIGKILL" 1.0..5.0 "";
    CoordinatorKilled Kafka "coordinator-killed" "the broker that coordinates the group gets SIGKILL" 1.0..5.0 "";
    PartitionsAdded Kafka "partitions-added" "the topic gets another partition" 0.0..0.5 "";
}

impl Kind {
    /// All of them, in the table's order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub(super) fn part(self) -> Part {
        self.row().part
    }

    pub(super) fn name(self) -> &'static str {
        self.row().name
    }

    pub(super) fn meaning(self) -> &'static str {
        self.row().meaning
    }

    pub(super) fn seconds(self) -> (f64, f64) {
        self.row().seconds
    }

    pub(super) fn evidence(self) -> Option<&'static str> {
        Some(self.row().evidence).filter(|words| !words.is_empty())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::all().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            format!("choose of {}", names.join(", "))
        })
    }
}

/// One fault, ready to happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// How long it lasts.
    pub(super) lasts: Duration,
    /// Chooses what the kind leaves open: which member, which broker, after how many bytes.
    pub(super) dice: usize,
}

impl Fault {
    /// One of so many.
    pub(super) fn choose(&self, from: usize) -> usize {
        self.dice % from.max(1)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.kind.name();
        write!(f, "{name} ({:.1} s, {})", self.lasts.as_secs_f64(), self.dice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_its_own_row_and_found_by_its_name() {
        for kind in Kind::all() {
            assert_eq!(kind.row().kind, kind);
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("meteor".parse::<Kind>().is_err());
    }
}
