//! Owns what the store was asked and has not answered yet. It answers in the order in which it was asked.

use super::Held;
use crate::offsets::Partition;
use crate::pipeline::batch::Batch;
use std::collections::VecDeque;
use std::time::Instant;

/// Something that the store was asked.
#[derive(Debug)]
struct Request {
    partitions: Vec<Partition>,
    /// Where it is a batch: when its oldest message came, and what it holds.
    batch: Option<(Option<Instant>, Held)>,
}

/// Oldest first.
#[derive(Debug, Default)]
pub(super) struct Requests(VecDeque<Request>);

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of them are batches.
    pub(super) fn batches(&self) -> usize {
        self.all_batches().count()
    }

    /// A question about partitions, or what to store of them beside messages.
    pub(super) fn ask(&mut self, partitions: Vec<Partition>) {
        self.0.push_back(Request {
            partitions,
            batch: None,
        });
    }

    pub(super) fn store(&mut self, batch: &Batch) {
        self.0.push_back(Request {
            partitions: batch.ranges().iter().map(|range| range.partition).collect(),
            batch: Some((batch.opened_at(), Held::of(batch))),
        });
    }

    /// The oldest one is answered: the partitions that it was about.
    pub(super) fn answered(&mut self) -> Vec<Partition> {
        self.0
            .pop_front()
            .map(|request| request.partitions)
            .unwrap_or_default()
    }

    /// Whether a batch holds something of one of the partitions.
    pub(super) fn store_any_of(&self, partitions: &[Partition]) -> bool {
        self.all_batches()
            .any(|(of_batch, ..)| of_batch.iter().any(|of| partitions.contains(of)))
    }

    /// When the oldest message of the oldest batch came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.all_batches().find_map(|(_, oldest, _)| oldest)
    }

    pub(super) fn held(&self) -> Held {
        self.all_batches().map(|(.., held)| held).sum()
    }

    fn all_batches(&self) -> impl Iterator<Item = (&[Partition], Option<Instant>, Held)> {
        self.0.iter().filter_map(|request| {
            let (oldest, held) = request.batch?;
            Some((request.partitions.as_slice(), oldest, held))
        })
    }
}
