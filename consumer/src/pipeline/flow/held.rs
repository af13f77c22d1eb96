//! Owns how much batches hold, for the numbers and for a stop.

use crate::pipeline::batch::Batch;
use std::iter::Sum;

/// What batches hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Held {
    pub(in crate::pipeline) messages: usize,
    pub(in crate::pipeline) bytes: usize,
}

impl Held {
    pub(in crate::pipeline) fn of(batch: &Batch) -> Self {
        Self {
            messages: batch.len(),
            bytes: batch.bytes(),
        }
    }
}

impl Sum for Held {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, held| Self {
            messages: sum.messages + held.messages,
            bytes: sum.bytes + held.bytes,
        })
    }
}
