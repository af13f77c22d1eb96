//! Owns the rows of one table in a batch: their bytes as they came, and as COPY takes them, in the order of the
//! table's key. Rows in that order fill a B-tree up to twice as fast, and a series' rows lie together on few pages.

use super::end_of;
use super::order::Order;
use bytes::{BufMut, Bytes, BytesMut};
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
    /// Lent to `SortedRows` from `sort` to `recycle`.
    bytes: Vec<u8>,
    keys: Vec<u8>,
    places: Vec<Row>,
    /// The rows in the order of their keys, if `is_in_order`.
    order: Order,
    is_in_order: bool,
    /// The last sorted rows' memory.
    spare: Vec<Sorted>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes that they occupy, and will when they are sorted.
    pub(super) fn footprint(&self) -> usize {
        const PER_ROW: usize = size_of::<Row>() + Order::PER_ROW + size_of::<Sorted>();
        self.bytes.len() + self.keys.len() + self.places.len() * PER_ROW
    }

    pub(super) fn clear(&mut self) {
        self.is_in_order = false;
        self.bytes.clear();
        self.keys.clear();
        self.places.clear();
    }

    pub(super) fn buffers(&mut self) -> (&mut Vec<u8>, &mut Vec<u8>) {
        (&mut self.bytes, &mut self.keys)
    }

    /// What was written to the buffers since the last row is the message's row.
    pub(super) fn close_row(&mut self, message: u32) {
        self.is_in_order = false;
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
        self.fit();
    }

    /// Nothing stands in the buffers behind the last row.
    fn fit(&mut self) {
        self.is_in_order = false;
        let (end, key_end) = self.places.last().map_or((0, 0), |row| (row.end, row.key_end));
        self.bytes.truncate(end as usize);
        self.keys.truncate(key_end as usize);
    }

    /// Puts the rows in the order of their keys; rows of the same key stay in order of arrival. Does nothing when they
    /// are in order already.
    pub(super) fn put_in_order(&mut self) {
        if self.is_in_order || self.keys.is_empty() {
            return;
        }
        let keys = |row: &Row| &self.keys[row.key_start as usize..row.key_end as usize];
        self.order.sort(&self.places, keys);
        self.is_in_order = true;
    }

    /// The rows in the order of their keys. Their bytes go along until `recycle` brings them back.
    pub(super) fn sort(&mut self) -> SortedRows {
        assert!(
            self.places.is_empty() || !self.bytes.is_empty(),
            "sorted rows are brought back before they are sorted again"
        );
        self.put_in_order();
        let mut rows = std::mem::take(&mut self.spare);
        rows.clear();
        let sorted = |row: &Row| Sorted {
            message: row.message,
            start: row.start,
            end: row.end,
        };
        if self.is_in_order {
            rows.extend(self.order.places().map(|place| sorted(&self.places[place])));
        } else {
            rows.extend(self.places.iter().map(sorted));
        }
        SortedRows {
            bytes: std::mem::take(&mut self.bytes),
            rows,
        }
    }

    pub(super) fn recycle(&mut self, rows: SortedRows) {
        self.bytes = rows.bytes;
        self.spare = rows.rows;
        self.fit();
    }
}

/// Where a row is among the bytes, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Sorted {
    message: u32,
    start: u32,
    end: u32,
}

/// Rows in the order of the table's key.
#[derive(Debug)]
pub struct SortedRows {
    /// As they came.
    bytes: Vec<u8>,
    rows: Vec<Sorted>,
}

impl SortedRows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn message(&self, row: usize) -> u32 {
        self.rows[row].message
    }

    /// A row, as it stands between a binary COPY's header and trailer.
    #[must_use]
    pub fn row(&self, row: usize) -> &[u8] {
        self.bytes_of(&self.rows[row])
    }

    fn bytes_of(&self, row: &Sorted) -> &[u8] {
        &self.bytes[row.start as usize..row.end as usize]
    }

    /// A complete binary COPY of some of the rows, in pieces of whole rows and about `piece` bytes. A piece is put
    /// together when it is asked for, while PostgreSQL works on the one before.
    pub fn copy_data(&self, rows: Range<usize>, piece: usize) -> impl Iterator<Item = Bytes> {
        let mut left = self.rows[rows].iter().peekable();
        let pieces = std::iter::from_fn(move || {
            left.peek()?;
            let mut bytes = BytesMut::with_capacity(piece.min(self.bytes.len()));
            while let Some(row) =
                left.next_if(|row| bytes.is_empty() || bytes.len() + (row.end - row.start) as usize <= piece)
            {
                bytes.put_slice(self.bytes_of(row));
            }
            Some(bytes.freeze())
        });
        std::iter::once(Bytes::from_static(HEADER))
            .chain(pieces)
            .chain(std::iter::once(Bytes::from_static(TRAILER)))
    }
}
