//! Owns which dead letters a replay takes, and the sums of what became of them.

use crate::dead_letter::Reason;
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::Batch;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Which dead letters are replayed: those that are all of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this partition.
    pub partition: Option<Partition>,
    /// At this offset.
    pub offset: Option<Offset>,
    /// Refused for this reason.
    pub reason: Option<Reason>,
    /// Refused at this moment or later.
    pub since: Option<SystemTime>,
}

/// Dead letters that are selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Their partition.
    pub partition: Partition,
    /// Why they were refused, as stored.
    pub reason: String,
    /// How many they are.
    pub count: u64,
}

/// What became of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Rows that were stored, by table.
    pub stored: BTreeMap<String, u64>,
    /// Those that were refused again, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Sums {
    /// All rows that were stored.
    #[must_use]
    pub fn all_stored(&self) -> u64 {
        self.stored.values().sum()
    }

    /// All that were refused again.
    #[must_use]
    pub fn all_refused(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(super) fn add(&mut self, batch: &Batch, tables: &[String]) {
        for (table, name) in tables
            .iter()
            .enumerate()
            .filter(|(table, _)| batch.rows(*table) > 0)
        {
            *self.stored.entry(name.clone()).or_default() += batch.rows(table) as u64;
        }
        for (reason, count) in Reason::ALL.into_iter().zip(batch.reasons()) {
            if count > 0 {
                *self.refused.entry(reason.as_str()).or_default() += count;
            }
        }
    }
}
