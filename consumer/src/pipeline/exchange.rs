//! Owns what a consume loop and its store say to each other: one command at a time, and one outcome for each. Knows
//! neither Kafka nor PostgreSQL.

use super::batch::Batch;
use crate::offsets::{Offset, Partition, Stored};
use std::collections::BTreeMap;

/// What the store is asked for. One at a time: the next when the outcome is there.
#[derive(Debug)]
pub enum Command {
    /// The stored offsets of all partitions that have one.
    Load,
    /// Store where partitions without a row start, then load them.
    Start(Vec<(Partition, Offset)>),
    /// A batch.
    Store(Box<Batch>),
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The stored offsets of all partitions that have one.
    Loaded(BTreeMap<Partition, Stored>),
    /// The batch is committed. It comes back for its memory and for what it covered.
    Stored(Box<Batch>),
    /// The fence missed: nothing of the batch is stored (promise 3). It comes back for its memory.
    Fenced(Box<Batch>),
    /// A person must act; nothing is stored.
    Failed(StoreError),
}

/// Why the store gives up.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is not as the routes need it.
    #[error(
        "postgres refuses the work as a whole: {0}; repair the database and start again, nothing was lost"
    )]
    Schema(String),
    /// A routed table is gone or can't be filled any more.
    #[error("the routed tables can't be filled: {0}; repair the database and start again, nothing was lost")]
    Catalog(String),
}
