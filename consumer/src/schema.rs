//! Owns what the database must have before the first event: migrations, behind an advisory lock, and which indexes.
//! Waits for a server that is not there yet. What the routed tables must look like is `table::catalog`'s.

mod indexes; // the built-in tables' indexes: B-tree or BRIN
pub mod privileges; // what the user must be allowed

use self::privileges::Missing;
use crate::config::{Indexes, PostgresConfig};
use crate::health::PostgresHealth;
use crate::postgres::{self, ConnectError};
use crate::retry::Backoff;
use crate::table::TableName;
use crate::table::catalog::{self, Catalog, CatalogError};
use refinery::Report;
use tokio_postgres::Client;

mod embedded {
    #![allow(missing_docs)] // the macro writes none
    refinery::embed_migrations!("migrations");
}

use self::embedded::migrations;

/// Where the applied migrations are kept. Named after the program: the database is its owner's.
const HISTORY: &str = "storage_consumer_migrations";

/// The advisory lock that all members of all groups take while they migrate: an arbitrary number ("storcons" in
/// ASCII), the same in every version.
const LOCK: i64 = 0x7374_6f72_636f_6e73;

/// What takes long here, another member's migration included, is no reason to give up.
const PATIENT: &str = "SET lock_timeout = 0; SET statement_timeout = 0";

/// Why the database could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// PostgreSQL did not answer, or refused a statement outside of the migrations.
    #[error("could not prepare the database: {}", postgres::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// PostgreSQL could not be reached.
    #[error("could not connect to the database: {0}")]
    Connect(#[from] ConnectError),
    /// A migration failed; nothing of it is left.
    #[error("a migration failed: {}", migration_cause(.0))]
    Migration(#[from] refinery::Error),
}

impl SchemaError {
    /// Whether another attempt may help: the server was starting, the connection broke, a lock took too long.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let error = match self {
            Self::Connect(ConnectError::Silence | ConnectError::File(_)) => return true,
            Self::Postgres(error) | Self::Connect(ConnectError::Postgres(error)) => Some(error),
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
async fn migrate(client: &mut Client) -> Result<Vec<String>, SchemaError> {
    if is_current(client).await? {
        return Ok(Vec::new());
    }
    client.batch_execute(PATIENT).await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let mut runner = migrations::runner();
    let report: Report = runner.set_migration_table_name(HISTORY).run_async(client).await?;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(report
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect())
}

/// Whether all migrations of this version are applied.
pub async fn is_current(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let known = client
        .query_one("SELECT to_regclass($1) IS NOT NULL", &[&HISTORY])
        .await?;
    if !known.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let newest = migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max();
    let applied = client
        .query_one(&format!("SELECT max(version) FROM {HISTORY}"), &[])
        .await?;
    Ok(applied.try_get::<_, Option<i32>>(0)? >= newest)
}

/// Why the database can't be used as it is: a person must act.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The migrations can't be applied.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The tables can't be filled.
    #[error("{}", catalog_cause(.0))]
    Catalog(#[from] CatalogError),
    /// Migrations are missing, and `--no-migrate` forbids to apply them.
    #[error(
        "the database lacks tables of this version; run `storage-consumer migrate`, or leave out --no-migrate"
    )]
    NotMigrated,
    /// The user may not do what the main job does.
    #[error("{}", in_one_line(.0))]
    Privileges(Vec<Missing>),
    /// Events are Unicode, and this database can't hold all of it: a dead letter's own words could be refused.
    #[error("the database's encoding is {0}: events need one in UTF8; create it with ENCODING 'UTF8'")]
    Encoding(String),
}

fn catalog_cause(error: &CatalogError) -> String {
    match error {
        CatalogError::Postgres(error) => format!("could not read the catalog: {}", postgres::describe(error)),
        CatalogError::Connect(error) => error.to_string(),
        CatalogError::Unfit(findings) => findings.to_string(),
    }
}

fn in_one_line(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(Missing::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl StartError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Schema(error) => error.is_transient(),
            Self::Catalog(CatalogError::Postgres(error)) => {
                postgres::classify(error) == postgres::Fault::Transient
            }
            Self::Catalog(CatalogError::Connect(_)) => true,
            Self::Catalog(CatalogError::Unfit(_))
            | Self::NotMigrated
            | Self::Privileges(_)
            | Self::Encoding(_) => false,
        }
    }
}

/// Prepares the database and reads the routed tables. A server that is not there is waited for, and it is said so.
pub async fn prepare(
    config: &PostgresConfig,
    tables: &[TableName],
    may_migrate: bool,
    health: &PostgresHealth,
) -> Result<Catalog, StartError> {
    when_there(health, async || try_to_prepare(config, tables, may_migrate).await).await
}

/// The command `migrate`: applies the missing migrations. A server that is not there is waited for.
pub async fn migrate_when_there(config: &PostgresConfig, health: &PostgresHealth) -> Result<(), StartError> {
    when_there(health, async || Ok(migrate_and_tell(config).await?)).await
}

/// Gives the built-in tables the indexes of this design. A server that is not there is waited for.
pub async fn index_when_there(
    config: &PostgresConfig,
    design: Indexes,
    health: &PostgresHealth,
) -> Result<(), StartError> {
    when_there(health, async || {
        let mut client = postgres::connect(config).await.map_err(SchemaError::from)?;
        Ok(indexes::change(&mut client, design)
            .await
            .map_err(SchemaError::from)?)
    })
    .await
}

/// Tries until PostgreSQL takes it, or a person must act.
async fn when_there<T>(
    health: &PostgresHealth,
    attempt: impl AsyncFn() -> Result<T, StartError>,
) -> Result<T, StartError> {
    let mut backoff = Backoff::new();
    loop {
        match attempt().await {
            Ok(done) => {
                health.answered();
                return Ok(done);
            }
            Err(error) if error.is_transient() => {
                let pause = backoff.next_pause();
                let reason = error.to_string();
                health.lost(&reason);
                tracing::warn!(
                    reason,
                    attempts = backoff.attempts(),
                    retry_in_sec = pause.as_secs_f64(),
                    "waiting for postgres",
                );
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_to_prepare(
    config: &PostgresConfig,
    tables: &[TableName],
    may_migrate: bool,
) -> Result<Catalog, StartError> {
    let client = postgres::connect(config).await.map_err(SchemaError::from)?;
    let missing = privileges::missing(&client, tables)
        .await
        .map_err(SchemaError::from)?;
    if !missing.is_empty() {
        return Err(StartError::Privileges(missing));
    }
    if may_migrate {
        migrate_and_tell(config).await?;
    }
    if let Some(encoding) = unfit_encoding(&client).await.map_err(SchemaError::from)? {
        return Err(StartError::Encoding(encoding));
    }
    if !may_migrate && !is_current(&client).await.map_err(SchemaError::from)? {
        return Err(StartError::NotMigrated);
    }
    Ok(catalog::read(&client, tables).await?)
}

/// Applies the missing migrations over a connection of its own, and logs each.
async fn migrate_and_tell(config: &PostgresConfig) -> Result<(), SchemaError> {
    let mut client = postgres::connect(config).await?;
    for name in migrate(&mut client).await? {
        tracing::info!(migration = name, "migration applied");
    }
    Ok(())
}

/// The database's encoding, if there are characters that it can't hold.
pub async fn unfit_encoding(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let row = client
        .query_one("SELECT current_setting('server_encoding')", &[])
        .await?;
    let encoding: String = row.try_get(0)?;
    // SQL_ASCII takes bytes as they are.
    Ok((!["UTF8", "SQL_ASCII"].contains(&encoding.as_str())).then_some(encoding))
}
