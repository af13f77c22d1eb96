//! Owns the newest dead letters, kept as they are made: so many, and of each so much. All of them, and all of each, is in
//! `dead_letters`.

use crate::dead_letter::{DeadLetter, Reason};
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::Batch;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

/// So many are kept.
const MOST: usize = 20;

/// So many bytes are kept of a payload.
const MOST_PAYLOAD: usize = 512;

/// So many characters are kept of any other text.
const MOST_TEXT: usize = 400;

/// A dead letter as it is kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLetter {
    /// When it was committed.
    pub at: SystemTime,
    /// The partition that the message was read from.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// Why it is here.
    pub reason: Reason,
    /// What exactly was wrong, cut.
    pub detail: String,
    /// PostgreSQL's code, where PostgreSQL refused it.
    pub sqlstate: Option<String>,
    /// The event's `type`, where one could be read, cut.
    pub event_type: Option<String>,
    /// The table that the type is routed to, where it is routed.
    pub table: Option<String>,
    /// The beginning of the payload; nothing for a tombstone.
    pub payload: Vec<u8>,
    /// How long the whole payload is, in bytes; `None` for a tombstone.
    pub payload_bytes: Option<usize>,
}

impl KeptLetter {
    fn of(letter: &DeadLetter<'_>, at: SystemTime) -> Self {
        let payload = letter.payload.unwrap_or_default();
        Self {
            at,
            partition: letter.partition,
            offset: letter.offset,
            reason: letter.refusal.reason,
            detail: cut(&letter.refusal.detail),
            sqlstate: letter.sqlstate.map(str::to_owned),
            event_type: letter.event_type.map(cut),
            table: letter.target_table.map(str::to_owned),
            payload: payload[..payload.len().min(MOST_PAYLOAD)].to_vec(),
            payload_bytes: letter.payload.map(<[u8]>::len),
        }
    }
}

/// The newest ones, the oldest of them first.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<VecDeque<KeptLetter>>);

impl Newest {
    /// Takes those of a committed batch. `tables` are the routes' tables.
    pub(super) fn add(&self, batch: &Batch, tables: &[String], at: SystemTime) {
        let count = usize::try_from(batch.tally().dead_lettered).unwrap_or(usize::MAX);
        if count == 0 {
            return;
        }
        let letters = batch.dead_letters(tables).skip(count.saturating_sub(MOST));
        let letters: Vec<_> = letters.map(|letter| KeptLetter::of(&letter, at)).collect();
        let mut kept = self.0.lock().expect("not poisoned");
        kept.extend(letters);
        let surplus = kept.len().saturating_sub(MOST);
        kept.drain(..surplus);
    }

    /// The newest first.
    pub(super) fn get(&self) -> Vec<KeptLetter> {
        self.0
            .lock()
            .expect("not poisoned")
            .iter()
            .rev()
            .cloned()
            .collect()
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Refusal;
    use crate::pipeline::batch::{Fate, Incoming};
    use crate::table::Coordinates;
    use std::time::Instant;

    fn batch(offsets: std::ops::Range<i64>, payload: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.open(0, 1, Instant::now());
        for offset in offsets {
            let at = Coordinates {
                topic: "t",
                partition: Partition(3),
                offset: Offset(offset),
                timestamp_ms: None,
                key: None,
            };
            let incoming = Incoming {
                at,
                payload: Some(payload),
            };
            let fate = Fate::Refused {
                event_type: None,
                table: None,
                refusal: Refusal::new(Reason::InvalidJson, "x".repeat(1000)),
            };
            batch.push(&incoming, Offset(0), fate);
        }
        batch
    }

    #[test]
    fn the_newest_are_kept_and_of_each_so_much() {
        let newest = Newest::default();
        newest.add(&batch(0..3, b"{"), &[], SystemTime::UNIX_EPOCH);
        newest.add(&batch(3..100, &[b'['; 2000]), &[], SystemTime::now());
        newest.add(&batch(100..102, b"{"), &[], SystemTime::now());
        newest.add(&Batch::default(), &[], SystemTime::now());
        let kept = newest.get();
        let offsets: Vec<i64> = kept.iter().map(|letter| letter.offset.0).collect();
        assert_eq!(offsets, (82..102).rev().collect::<Vec<_>>());
        let long = &kept[2];
        assert_eq!(
            (long.payload.len(), long.payload_bytes),
            (MOST_PAYLOAD, Some(2000))
        );
        assert_eq!(long.detail.chars().count(), MOST_TEXT + 1);
    }
}
