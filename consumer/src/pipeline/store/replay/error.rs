//! Owns why a replay ends early: PostgreSQL is out of reach, or a person must act.

use super::super::session::Interruption;
use crate::offsets::Partition;
use crate::postgres::{self, ConnectError, Fault};
use crate::table::catalog::CatalogError;

/// Why a replay ends early. What was stored before stays.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// PostgreSQL is out of reach.
    #[error("postgres can't be reached: {0}; what was replayed before stays, start again for the rest")]
    Unreachable(String),
    /// The database is not as it must be.
    #[error("{0}")]
    Database(String),
    /// The group has not counted so many dead letters.
    #[error(
        "the group {group} has counted fewer dead letters in partition {partition} than are kept there for it: they are \
         another group's, or its row of consumer_offsets was removed; name their group in --group-id"
    )]
    NotCounted {
        /// The group.
        group: String,
        /// The partition.
        partition: Partition,
    },
}

pub(super) fn unreachable(error: ConnectError) -> ReplayError {
    let ConnectError::Postgres(error) = error else {
        return ReplayError::Unreachable(error.to_string());
    };
    unanswered(&error)
}

pub(super) fn unanswered(error: &tokio_postgres::Error) -> ReplayError {
    let text = postgres::describe(error);
    match postgres::classify(error) {
        Fault::Transient => ReplayError::Unreachable(text),
        Fault::Refused | Fault::Schema => ReplayError::Database(text),
    }
}

pub(super) fn of_interruption(interruption: &Interruption) -> ReplayError {
    match interruption {
        Interruption::Postgres(error) | Interruption::Refused { error, .. } => unanswered(error),
        _ => ReplayError::Unreachable(ConnectError::Silence.to_string()),
    }
}

pub(super) fn of_catalog(error: CatalogError) -> ReplayError {
    match error {
        CatalogError::Postgres(error) => unanswered(&error),
        CatalogError::Connect(error) => unreachable(error),
        CatalogError::Unfit(findings) => ReplayError::Database(findings.to_string()),
    }
}
