//! Owns the rows of one table in a batch: their bytes as they came, and as COPY takes them, in the order of the
//! table's key. Rows in that order fill a B-tree up to twice as fast, and a series' rows lie together on few pages.

use super::end_of;
use bytes::{BufMut, Bytes, BytesMut};
use std::cmp::Ordering;
use std::ops::Range;

/// The start of every binary COPY: signature, flags, length of the header's extension
/// (PostgreSQL's documentation, COPY, "Binary Format").
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The end of every binary COPY: a field count of -1.
const TRAILER: &[u8] = &[0xff, 0xff];

/// Where a row is in the buffers, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Row {
    message: u32,
    start: u32,
    end: u32,
    key_start: u32,
    key_end: u32,
}

/// Rows in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    keys: Vec<u8>,
    places: Vec<Row>,
    /// Scratch of `sort`, kept for its memory.
    order: Vec<(u128, u32)>,
    sorted: BytesMut,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes that they occupy, the sorted copy included.
    pub(super) fn footprint(&self) -> usize {
        2 * self.bytes.len()
            + self.keys.len()
            + self.places.len() * (size_of::<Row>() + size_of::<(u128, u32)>())
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.keys.clear();
        self.places.clear();
    }

    pub(super) fn buffers(&mut self) -> (&mut Vec<u8>, &mut Vec<u8>) {
        (&mut self.bytes, &mut self.keys)
    }

    /// What was written to the buffers since the last row is the message's row.
    pub(super) fn close_row(&mut self, message: u32) {
        let (start, key_start) = self.places.last().map_or((0, 0), |row| (row.end, row.key_end));
        self.places.push(Row {
            message,
            start,
            end: end_of(&self.bytes),
            key_start,
            key_end: end_of(&self.keys),
        });
    }

    /// Forgets rows. The last row's place is kept in the buffers, so that the next one is written behind it.
    pub(super) fn forget(&mut self, forgotten: &dyn Fn(u32) -> bool) {
        self.places.retain(|row| !forgotten(row.message));
        let (end, key_end) = self.places.last().map_or((0, 0), |row| (row.end, row.key_end));
        self.bytes.truncate(end as usize);
        self.keys.truncate(key_end as usize);
    }

    /// Sorts by key; rows of the same key stay in order of arrival. Most keys of a batch start alike ("server-0…"),
    /// so the comparison starts where they differ, with 16 bytes at once, and seldom needs the rest.
    pub(super) fn sort(&mut self) -> SortedRows {
        let common = self.common_prefix();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(
            self.places
                .iter()
                .zip(0u32..)
                .map(|(row, place)| (prefix(&self.key(row)[common..]), place)),
        );
        if !self.keys.is_empty() {
            order.sort_unstable_by(|a, b| {
                a.0.cmp(&b.0)
                    .then_with(|| self.compare_rest(a.1, b.1, common))
                    .then(a.1.cmp(&b.1))
            });
        }
        let mut bytes = std::mem::take(&mut self.sorted);
        bytes.clear();
        bytes.reserve(self.bytes.len() + HEADER.len() + TRAILER.len());
        let mut ends = Vec::with_capacity(order.len());
        let mut messages = Vec::with_capacity(order.len());
        for (_, place) in &order {
            let row = &self.places[*place as usize];
            bytes.put_slice(&self.bytes[row.start as usize..row.end as usize]);
            ends.push(end_of(&bytes));
            messages.push(row.message);
        }
        self.order = order;
        SortedRows {
            bytes: bytes.freeze(),
            ends,
            messages,
        }
    }

    pub(super) fn recycle(&mut self, rows: SortedRows) {
        // Somebody may still hold a slice (an aborted COPY): then that memory is simply not used again.
        if let Ok(bytes) = rows.bytes.try_into_mut() {
            self.sorted = bytes;
        }
    }

    fn key(&self, row: &Row) -> &[u8] {
        &self.keys[row.key_start as usize..row.key_end as usize]
    }

    fn compare_rest(&self, a: u32, b: u32, common: usize) -> Ordering {
        let rest = |place: u32| {
            let key = self.key(&self.places[place as usize]);
            &key[(common + size_of::<u128>()).min(key.len())..]
        };
        rest(a).cmp(rest(b))
    }

    /// How many bytes all keys start with.
    fn common_prefix(&self) -> usize {
        let Some(first) = self.places.first() else {
            return 0;
        };
        let first = self.key(first);
        let mut common = first.len();
        for row in &self.places {
            let key = self.key(row);
            common = common.min(key.len());
            if key[..common] != first[..common] {
                common = key.iter().zip(first).take_while(|(a, b)| a == b).count();
            }
        }
        common
    }
}

/// The first 16 bytes as a number that compares as they do. Shorter keys are filled up with zeros; keys are made so
/// that none is the beginning of another.
fn prefix(key: &[u8]) -> u128 {
    let mut bytes = [0; size_of::<u128>()];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(bytes)
}

/// Rows as COPY takes them, in the order of the table's key.
#[derive(Debug)]
pub struct SortedRows {
    bytes: Bytes,
    /// Where each row ends.
    ends: Vec<u32>,
    messages: Vec<u32>,
}

impl SortedRows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn message(&self, row: usize) -> u32 {
        self.messages[row]
    }

    /// A complete binary COPY of some of the rows, in pieces of about `piece` bytes; nothing is copied.
    pub fn copy_data(&self, rows: Range<usize>, piece: usize) -> impl Iterator<Item = Bytes> {
        let start = if rows.start == 0 {
            0
        } else {
            self.ends[rows.start - 1] as usize
        };
        let end = if rows.end == 0 {
            0
        } else {
            self.ends[rows.end - 1] as usize
        };
        let body = self.bytes.slice(start..end);
        let pieces = (0..body.len().div_ceil(piece)).map(move |at| {
            let start = at * piece;
            body.slice(start..(start + piece).min(body.len()))
        });
        std::iter::once(Bytes::from_static(HEADER))
            .chain(pieces)
            .chain(std::iter::once(Bytes::from_static(TRAILER)))
    }
}
