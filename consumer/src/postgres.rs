//! Owns the connection to PostgreSQL, and what follows from each of its errors (the fault table of the design).
//! What is sent over the connection is the business of `schema` and `pipeline::store`.

use crate::config::PostgresConfig;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// How long a connection attempt may take, handshake included: a frozen server whose machine still answers is no
/// reason to wait without end.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that acknowledges nothing for so long is gone: noticed by TCP.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A request without an answer after so long has lost it: PostgreSQL itself gives up before (`statement_timeout` of
/// the session), so only a network that went silent, or a frozen server, is noticed here.
pub const SILENCE: Duration = Duration::from_secs(45);

/// What every connection asks of its session, so that neither side waits for the other without bound:
/// a lock or a statement that takes too long ends as an error that is retried, and the server notices when the
/// consumer vanishes, in a transaction or in the middle of a statement, and lets go of its locks.
const SESSION: &str = "SET lock_timeout = '10s'; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '10s'; SET timezone = 'UTC'; SET application_name = 'storage-consumer'";

/// The same for servers that know it (PostgreSQL 14 on Linux); refused elsewhere, which does no harm.
const SESSION_IF_KNOWN: &str = "SET client_connection_check_interval = '10s'";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server refuses it, or is not there.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server says nothing.
    #[error("no answer from postgres")]
    Silence,
}

/// Connects, and starts the task that drives the connection; the task ends when the client is dropped.
pub async fn connect(config: &PostgresConfig) -> Result<Client, ConnectError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, open(config)).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(ConnectError::Silence),
    }
}

async fn open(config: &PostgresConfig) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::Config::new()
        .host(&config.host)
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .password(config.password.expose())
        .application_name("storage-consumer")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(4)
        .connect(NoTls)
        .await?;
    tokio::spawn(async move {
        // The error reaches whoever waits for an answer; here it is only worth a line for those who debug.
        if let Err(error) = connection.await {
            tracing::debug!(error = %describe(&error), "postgres connection ended");
        }
    });
    client.batch_execute(SESSION).await?;
    let _ = client.batch_execute(SESSION_IF_KNOWN).await;
    Ok(client)
}

/// What follows from an error of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The fault will pass: try again, without end.
    Transient,
    /// A row was refused: find it, keep it as a dead letter, store the rest.
    Refused,
    /// The database is not as expected (table, column, permission, type): a person must act unless a fresh look
    /// at the catalog helps.
    Schema,
}

/// Decides by SQLSTATE (PostgreSQL's documentation, appendix A). An error without one is a connection's.
#[must_use]
pub fn classify(error: &tokio_postgres::Error) -> Fault {
    error.code().map_or(Fault::Transient, classify_code)
}

fn classify_code(code: &SqlState) -> Fault {
    // A wrong form of the stream as a whole can only be our own view of the table: never a row's fault.
    if matches!(code.code(), "22P04" | "3F000") {
        return Fault::Schema;
    }
    match &code.code()[..2] {
        // What a row can be refused for: data exceptions, constraints, cardinality, WITH CHECK OPTION, what
        // triggers and functions raise, and limits such as an index row that is too large.
        "09" | "20" | "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "44" | "54" | "P0" => Fault::Refused,
        "42" => Fault::Schema,
        // Connections (08), authorization (28: passwords are rotated), transaction state and serialization (25, 40),
        // resources (53), operator intervention (57), locks (55), system and internal errors (58, XX), and whatever
        // else there is: dropping nothing is the safe answer to the unknown.
        _ => Fault::Transient,
    }
}

/// The error with its SQLSTATE, detail and cause, for a person to read. Holds no secret: PostgreSQL never echoes
/// the password.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        let detail = database
            .detail()
            .map(|detail| format!(" ({detail})"))
            .unwrap_or_default();
        return format!(
            "{}{detail} [SQLSTATE {}]",
            database.message(),
            database.code().code()
        );
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_of_the_fault_table_has_its_consequence() {
        let cases: &[(Fault, &[&str])] = &[
            (
                Fault::Transient,
                &[
                    "08006", "08003", "57P01", "57P02", "57P03", "57014", "25006", "25P03", "53100", "53200",
                    "53300", "40001", "40P01", "55P03", "28P01", "28000", "3D000", "58030", "XX000",
                ],
            ),
            (
                Fault::Refused,
                &[
                    "22003", "22P05", "22021", "23502", "23505", "23514", "54000", "P0001", "44000",
                ],
            ),
            (
                Fault::Schema,
                &["42P01", "42703", "42501", "42804", "22P04", "3F000"],
            ),
        ];
        for (fault, codes) in cases {
            for code in *codes {
                assert_eq!(classify_code(&SqlState::from_code(code)), *fault, "{code}");
            }
        }
    }
}
