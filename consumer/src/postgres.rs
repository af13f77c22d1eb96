//! Owns the connection to PostgreSQL, and what follows from each of its errors (the fault table of the design).
//! What is sent over the connection is the business of `schema` and `pipeline::store`.

mod tls; // how far the server is trusted

use crate::config::{PostgresConfig, SslMode};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode as Mode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, NoTls, Socket};

/// How long a connection attempt may take, handshake included: a frozen server whose machine still answers is no
/// reason to wait without end.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that acknowledges nothing for so long is gone: noticed by TCP.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// What every connection asks of its session beside its `statement_timeout`, so that neither side waits for the other
/// without bound: a lock or a statement that takes too long ends as an error that is retried, and the server notices
/// when the consumer vanishes, in a transaction or in the middle of a statement, and lets go of its locks.
const SESSION: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s'; \
     SET timezone = 'UTC'; SET application_name = 'storage-consumer'";

/// The same for servers that know it (PostgreSQL 14 on Linux); refused elsewhere, which does no harm.
const SESSION_IF_KNOWN: &str = "SET client_connection_check_interval = '10s'";

/// Why there is no connection, or no answer over one.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server refuses it, or is not there.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server says nothing.
    #[error("no answer from postgres")]
    Silence,
    /// A file that the connection needs can't be used as it is now: it names the option.
    #[error("{0}")]
    File(String),
}

/// A client and its connection, which ends with it, whatever it still waits for: one that has gone silent must not
/// send the rest of what it holds when the network wakes up.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    driver: AbortHandle,
    statement_timeout: Duration,
}

impl Connection {
    /// Waits for PostgreSQL's answer, half as long again as a statement may take: PostgreSQL itself gives up before,
    /// so only a network that went silent, or a frozen server, is noticed here.
    pub async fn answer<T>(
        &self,
        request: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ConnectError> {
        match tokio::time::timeout(self.statement_timeout.mul_f64(1.5), request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(ConnectError::Silence),
        }
    }

    /// Sets what a statement may take from now on.
    pub async fn limit_statements(&mut self, limit: Duration) -> Result<(), ConnectError> {
        if self.statement_timeout != limit {
            self.answer(self.client.batch_execute(&statement_timeout(limit)))
                .await?;
            self.statement_timeout = limit;
        }
        Ok(())
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn statement_timeout(limit: Duration) -> String {
    format!("SET statement_timeout = {}", limit.as_millis())
}

/// Connects, and starts the task that drives the connection.
pub async fn connect(config: &PostgresConfig) -> Result<Connection, ConnectError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, open(config)).await {
        Ok(opened) => opened,
        Err(_) => Err(ConnectError::Silence),
    }
}

/// Whether the certificates can be used; the error names the option.
pub fn check_certificates(config: &PostgresConfig) -> Result<(), String> {
    tls::connector(&config.tls).map(drop)
}

async fn open(config: &PostgresConfig) -> Result<Connection, ConnectError> {
    let (client, driver) = log_in(config).await?;
    let connection = Connection {
        client,
        driver,
        statement_timeout: config.statement_timeout,
    };
    let limit = statement_timeout(config.statement_timeout);
    connection.batch_execute(&format!("{limit}; {SESSION}")).await?;
    let _ = connection.batch_execute(SESSION_IF_KNOWN).await;
    Ok(connection)
}

/// A session as libpq's `sslmode` wants it. Password and certificates are read now: they may have been rotated.
async fn log_in(config: &PostgresConfig) -> Result<(Client, AbortHandle), ConnectError> {
    let mut options = tokio_postgres::Config::new();
    options
        .host(&config.host)
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .password(config.current_password().map_err(ConnectError::File)?.expose())
        .application_name("storage-consumer")
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(4);
    // As with libpq, a Unix socket is never encrypted: nobody is between.
    let plain = config.tls.mode == SslMode::Disable || config.host.starts_with('/');
    if !plain {
        let prefer = config.tls.mode == SslMode::Prefer;
        options.ssl_mode(if prefer { Mode::Prefer } else { Mode::Require });
        let connector = tls::connector(&config.tls).map_err(ConnectError::File)?;
        match options.connect(connector).await {
            Ok((client, connection)) => return Ok((client, drive(connection))),
            Err(error) if prefer && is_for_encryption(&error) => {
                tracing::debug!(error = %describe(&error), "postgres is asked again, without encryption");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (client, connection) = options.ssl_mode(Mode::Disable).connect(NoTls).await?;
    Ok((client, drive(connection)))
}

/// Whether the connection may have been refused because it was to be encrypted.
fn is_for_encryption(error: &tokio_postgres::Error) -> bool {
    tls::cause(error).is_some() || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

fn drive<T>(connection: tokio_postgres::Connection<Socket, T>) -> AbortHandle
where
    T: TlsStream + Unpin + Send + 'static,
{
    let driver = tokio::spawn(async move {
        // The error reaches whoever waits for an answer; here it is only worth a line for those who debug.
        if let Err(error) = connection.await {
            tracing::debug!(error = %describe(&error), "postgres connection ended");
        }
    });
    driver.abort_handle()
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
    if code.code() == "22P04" {
        return Fault::Schema;
    }
    match code.code().get(..2) {
        // The server's own state, which is no row's fault: connections (08), transaction state and read-only servers
        // (25), prepared statements that a pooler or DISCARD has removed (26), authorization (28: passwords are
        // rotated), a database that is not there (yet) (3D), serialization and deadlocks (40), resources (53), locks
        // (55), operator intervention (57), input and output (58), snapshots (72), the server's configuration (F0),
        // foreign servers (HV), internal errors (XX). No code at all is no word of a row either.
        Some(
            "08" | "25" | "26" | "28" | "3D" | "40" | "53" | "55" | "57" | "58" | "72" | "F0" | "HV" | "XX",
        )
        | None => Fault::Transient,
        // Features that such a table does not have, schemas, names, types and permissions.
        Some("0A" | "3F" | "42") => Fault::Schema,
        // What a row can be refused for: data exceptions, constraints, cardinality, WITH CHECK OPTION, limits such as
        // an index row that is too large, what triggers and functions raise, and with it every class that PostgreSQL
        // does not know. Nothing is lost by it: a row is kept as a dead letter only if it is refused alone, and where
        // none is, the batch is tried again.
        Some(_) => Fault::Refused,
    }
}

/// Whether the session is as good as before after an error with this code. After others a new connection may reach
/// another server (25006: the one behind the name has changed its role), or find what this one has lost (26000).
#[must_use]
pub fn session_survives(code: &SqlState) -> bool {
    let code = code.code();
    code == "57014" || matches!(code.get(..2), Some("22" | "23" | "40" | "42" | "53" | "55"))
}

/// The error with its SQLSTATE, detail and cause, for a person to read. Holds no secret: PostgreSQL never echoes
/// the password.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(advice) = tls::advice(error) {
        return advice;
    }
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
                    "53300", "40001", "40P01", "55P03", "28P01", "28000", "3D000", "58030", "XX000", "26000",
                    "HV00N", "F0000", "72000",
                ],
            ),
            (
                Fault::Refused,
                &[
                    "22003", "22P05", "22021", "23502", "23505", "23514", "54000", "P0001", "44000", "45000",
                    "MY001", "02000", "21000", "2F003", "38001",
                ],
            ),
            (
                Fault::Schema,
                &["42P01", "42703", "42501", "42804", "22P04", "3F000", "0A000"],
            ),
        ];
        for (fault, codes) in cases {
            for code in *codes {
                assert_eq!(classify_code(&SqlState::from_code(code)), *fault, "{code}");
            }
        }
    }
}
