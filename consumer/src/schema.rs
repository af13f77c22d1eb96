//! Owns what the database must have before the first event: migrations, behind an advisory lock.
//! What the routed tables must look like is `table::catalog`'s.

use crate::postgres;
use refinery::Report;
use tokio_postgres::Client;

refinery::embed_migrations!("migrations");

/// Where the applied migrations are kept. Named after the program: the database is its owner's.
const HISTORY: &str = "storage_consumer_migrations";

/// The advisory lock that all members of all groups take while they migrate: an arbitrary number ("storcons" in
/// ASCII), the same in every version.
const LOCK: i64 = 0x7374_6f72_636f_6e73;

/// Why the database could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// PostgreSQL did not answer, or refused a statement outside of the migrations.
    #[error("could not prepare the database: {}", postgres::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// A migration failed; nothing of it is left.
    #[error("a migration failed: {}", migration_cause(.0))]
    Migration(#[from] refinery::Error),
}

impl SchemaError {
    /// Whether another attempt may help: the server was starting, the connection broke, a lock took too long.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let error = match self {
            Self::Postgres(error) => Some(error),
            Self::Migration(error) => database_error(error),
        };
        error.is_some_and(|error| postgres::classify(error) == postgres::Fault::Transient)
    }
}

fn database_error(error: &refinery::Error) -> Option<&tokio_postgres::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<tokio_postgres::Error>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

fn migration_cause(error: &refinery::Error) -> String {
    database_error(error).map_or_else(|| error.to_string(), postgres::describe)
}

/// Applies the migrations that are missing and returns their names. Members that start together wait for each other.
/// A role that may not create tables can call this all the same when nothing is missing.
pub async fn migrate(client: &mut Client) -> Result<Vec<String>, SchemaError> {
    if is_current(client).await? {
        return Ok(Vec::new());
    }
    // A long migration of another member is no reason to give up.
    client.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let mut runner = migrations::runner();
    let report: Report = runner.set_migration_table_name(HISTORY).run_async(client).await?;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Whether all migrations of this version are applied.
pub async fn is_current(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let known = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&HISTORY]).await?;
    if !known.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let newest = migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    let applied = client.query_one(&format!("SELECT max(version) FROM {HISTORY}"), &[]).await?;
    Ok(applied.try_get::<_, Option<i32>>(0)? >= newest)
}
