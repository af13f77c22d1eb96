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
        self.batches_of(|_| true).count()
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
        self.batches_of(|request| request.partitions.iter().any(|of| partitions.contains(of)))
            .next()
            .is_some()
    }

    /// When the oldest message of the oldest batch came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.batches_of(|_| true).find_map(|(oldest, _)| *oldest)
    }

    pub(super) fn held(&self) -> Held {
        self.batches_of(|_| true).map(|(_, held)| *held).sum()
    }

    fn batches_of(
        &self,
        wanted: impl Fn(&Request) -> bool,
    ) -> impl Iterator<Item = &(Option<Instant>, Held)> {
        self.0
            .iter()
            .filter(move |request| wanted(request))
            .filter_map(|request| request.batch.as_ref())
    }
}
