//! PostgreSQL's faults: the server, its sessions, its tables, its limits.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::Undo;
use crate::chaos::fault::{Fault, Kind};
use crate::chaos::stage::{DATABASE, Stage};
use crate::database::Database;
use crate::services::wait_until;

/// Beyond its own duration a statement of ours may wait so long for locks.
const PATIENCE: Duration = Duration::from_mins(1);
/// A server that is just starting, or just becoming writable, needs a moment until it takes our statements.
const SOON: Duration = Duration::from_secs(20);

const TERMINATE: &str =
    "SELECT 1 / count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'consumer'";
const CANCEL: &str = "SELECT 1 / count(pg_cancel_backend(pid)) FROM pg_stat_activity
                      WHERE usename = 'consumer' AND state = 'active'";
/// The consumer moves its offsets and then locks its tables. Its own deadlock timer of one second runs out first, except
/// where another consumer's deadlock was found before.
const OPPOSITE_ORDER: &str = "SET deadlock_timeout = '2s'; BEGIN; LOCK TABLE server_metrics IN ACCESS EXCLUSIVE MODE;
                              SELECT pg_sleep(0.6); UPDATE consumer_offsets SET updated_at = updated_at; COMMIT";

pub(super) fn inject(stage: &mut Stage, fault: Fault) -> anyhow::Result<Option<Undo>> {
    Ok(Some(match fault.kind {
        Kind::BackendTerminated => {
            let every = Duration::from_millis(100 + 50 * fault.choose(10) as u64);
            repeat(stage, TERMINATE.to_owned(), every, fault.lasts)?
        }
        Kind::StatementCancelled => repeat(stage, CANCEL.to_owned(), Duration::from_millis(3), fault.lasts)?,
        Kind::Deadlock => repeat(
            stage,
            OPPOSITE_ORDER.to_owned(),
            Duration::from_millis(100),
            fault.lasts,
        )?,
        Kind::TableLocked => {
            let table = crate::referee::TABLES[fault.choose(2)];
            let seconds = fault.lasts.as_secs_f64();
            let sql = format!(
                "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
            );
            // Once: it lasts as long as it is to last.
            repeat(stage, sql, Duration::ZERO, Duration::ZERO)?
        }
        Kind::BackendKilled => {
            if !kill_a_backend(stage, fault)? {
                return Ok(None);
            }
            Undo::Nothing
        }
        Kind::PostgresCrashed => {
            stage.postgres.stop_immediate()?;
            Undo::StartPostgres
        }
        Kind::PostgresRestarted => {
            stage.postgres.stop_fast()?;
            Undo::StartPostgres
        }
        kind => {
            let Some((sql, undo)) = statements(kind) else {
                return Ok(None);
            };
            sql.iter().try_for_each(|sql| execute(stage, sql))?;
            Undo::Sql(undo)
        }
    }))
}

/// What a few statements make, and what undoes it.
fn statements(kind: Kind) -> Option<(&'static [&'static str], &'static [&'static str])> {
    const NEW_SESSIONS: &str =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'consumer'";
    Some(match kind {
        Kind::SerializationFailure => (
            &["CREATE TRIGGER chaos BEFORE INSERT ON server_metrics
               FOR EACH STATEMENT EXECUTE FUNCTION chaos_serialization()"],
            &["DROP TRIGGER chaos ON server_metrics"],
        ),
        Kind::TableAltered => (
            &["ALTER TABLE server_metrics ADD COLUMN chaos text"],
            &["ALTER TABLE server_metrics DROP COLUMN chaos"],
        ),
        Kind::RowsRefused => (
            &["ALTER TABLE server_metrics ADD CONSTRAINT chaos CHECK (kafka_offset % 50 <> 7) NOT VALID"],
            &["ALTER TABLE server_metrics DROP CONSTRAINT chaos"],
        ),
        Kind::ReadOnly => (
            &[
                "ALTER SYSTEM SET default_transaction_read_only = on",
                "SELECT pg_reload_conf()",
            ],
            &[
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            ],
        ),
        Kind::ConnectionLimit => (
            &["ALTER ROLE consumer CONNECTION LIMIT 0", NEW_SESSIONS],
            &["ALTER ROLE consumer CONNECTION LIMIT -1"],
        ),
        Kind::WrongPassword => (
            &["ALTER ROLE consumer PASSWORD 'another'", NEW_SESSIONS],
            &["ALTER ROLE consumer PASSWORD 'consumer'"],
        ),
        _ => return None,
    })
}

/// A statement of ours, tried again for a while.
pub(super) fn execute(stage: &Stage, sql: &str) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    wait_until(SOON, || {
        outcome = stage.postgres.execute(DATABASE, sql);
        outcome.is_ok()
    });
    outcome
}

/// Statements of ours, in a thread, until the time is over but once at least.
fn repeat(stage: &Stage, sql: String, every: Duration, lasts: Duration) -> anyhow::Result<Undo> {
    let mut database = Database::new(stage.postgres.config(DATABASE))?;
    let thread = thread::Builder::new()
        .name("fault".to_owned())
        .spawn(move || {
            let begun = Instant::now();
            let mut succeeded = 0;
            loop {
                succeeded += u64::from(database.query_within(PATIENCE, &sql).is_ok());
                if begun.elapsed() >= lasts {
                    return succeeded;
                }
                thread::sleep(every);
            }
        })
        .context("no thread for a fault")?;
    Ok(Undo::Join(thread))
}

/// SIGKILL to one of the consumers' backends; false where there is none in this moment.
fn kill_a_backend(stage: &Stage, fault: Fault) -> anyhow::Result<bool> {
    let mut database = Database::new(stage.postgres.config(DATABASE))?;
    let rows = database.query("SELECT pid FROM pg_stat_activity WHERE usename = 'consumer' ORDER BY pid")?;
    let pids: Vec<i32> = rows
        .iter()
        .filter_map(|row| row.first()?.as_ref()?.parse().ok())
        .collect();
    let Some(pid) = pids
        .get(fault.choose(pids.len()))
        .and_then(|pid| Pid::from_raw(*pid))
    else {
        return Ok(false);
    };
    kill_process(pid, Signal::KILL).context("the backend can't be killed")?;
    Ok(true)
}
