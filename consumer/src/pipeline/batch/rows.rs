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
    /// Lent to `SortedRows` from `sort` to `recycle`.
    bytes: Vec<u8>,
    keys: Vec<u8>,
    places: Vec<Row>,
    /// Scratch of `sort`, kept for its memory.
    order: Vec<(Prefix, u32)>,
    /// The last sorted rows' memory.
    spare: Vec<Sorted>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes that they occupy, and will when they are sorted.
    pub(super) fn footprint(&self) -> usize {
        const PER_ROW: usize = size_of::<Row>() + size_of::<(Prefix, u32)>() + size_of::<Sorted>();
        self.bytes.len() + self.keys.len() + self.places.len() * PER_ROW
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
        self.fit();
    }

    /// Nothing stands in the buffers behind the last row.
    fn fit(&mut self) {
        let (end, key_end) = self.places.last().map_or((0, 0), |row| (row.end, row.key_end));
        self.bytes.truncate(end as usize);
        self.keys.truncate(key_end as usize);
    }

    /// Sorts by key; rows of the same key stay in order of arrival. Most keys of a batch start alike ("server-0…"),
    /// so the comparison starts where they differ, with 16 bytes at once, and seldom needs the rest. The rows' bytes
    /// go along until `recycle` brings them back.
    pub(super) fn sort(&mut self) -> SortedRows {
        let mut rows = std::mem::take(&mut self.spare);
        rows.clear();
        let sorted = |row: &Row| Sorted {
            message: row.message,
            start: row.start,
            end: row.end,
        };
        if self.keys.is_empty() {
            rows.extend(self.places.iter().map(sorted));
        } else {
            self.put_in_order();
            rows.extend(
                self.order
                    .iter()
                    .map(|(_, place)| sorted(&self.places[*place as usize])),
            );
        }
        SortedRows {
            bytes: std::mem::take(&mut self.bytes),
            rows,
        }
    }

    /// Fills `order`.
    fn put_in_order(&mut self) {
        let common = self.common_prefix();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(
            self.places
                .iter()
                .zip(0u32..)
                .map(|(row, place)| (prefix(&self.key(row)[common..]), place)),
        );
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| self.compare_rest(a.1, b.1, common))
                .then(a.1.cmp(&b.1))
        });
        self.order = order;
    }

    pub(super) fn recycle(&mut self, rows: SortedRows) {
        self.bytes = rows.bytes;
        self.spare = rows.rows;
        self.fit();
    }

    fn key(&self, row: &Row) -> &[u8] {
        &self.keys[row.key_start as usize..row.key_end as usize]
    }

    fn compare_rest(&self, a: u32, b: u32, common: usize) -> Ordering {
        let rest = |place: u32| {
            let key = self.key(&self.places[place as usize]);
            &key[(common + PREFIX).min(key.len())..]
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

/// The first 16 bytes of a key, as two numbers: a u128 would stand at places of 16 bytes, and take as many for nothing.
type Prefix = (u64, u64);

const PREFIX: usize = size_of::<Prefix>();

/// The first 16 bytes as numbers that compare as they do. Shorter keys are filled up with zeros; keys are made so
/// that none is the beginning of another.
fn prefix(key: &[u8]) -> Prefix {
    if let Some([first, second]) = key.first_chunk::<PREFIX>().map(halves) {
        return (u64::from_be_bytes(first), u64::from_be_bytes(second));
    }
    let mut bytes = [0; PREFIX];
    bytes[..key.len()].copy_from_slice(key);
    let [first, second] = halves(&bytes);
    (u64::from_be_bytes(first), u64::from_be_bytes(second))
}

fn halves(bytes: &[u8; PREFIX]) -> [[u8; 8]; 2] {
    let (first, second) = bytes.split_at(8);
    [first, second].map(|half| half.try_into().expect("half of sixteen"))
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

    /// A complete binary COPY of some of the rows, in pieces of whole rows and about `piece` bytes. A piece is put
    /// together when it is asked for, while PostgreSQL works on the one before.
    pub fn copy_data(&self, rows: Range<usize>, piece: usize) -> impl Iterator<Item = Bytes> {
        let mut left = self.rows[rows].iter().peekable();
        let pieces = std::iter::from_fn(move || {
            left.peek()?;
            let mut bytes = BytesMut::with_capacity(piece);
            while let Some(row) = left.next_if(|row| {
                bytes.is_empty() || bytes.len() + (row.end - row.start) as usize <= piece
            }) {
                bytes.put_slice(&self.bytes[row.start as usize..row.end as usize]);
            }
            Some(bytes.freeze())
        });
        std::iter::once(Bytes::from_static(HEADER))
            .chain(pieces)
            .chain(std::iter::once(Bytes::from_static(TRAILER)))
    }
}
