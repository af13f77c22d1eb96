//! Owns sort keys: bytes that compare (by `memcmp`) as the table's B-tree index orders its rows.

use crate::table::ColumnType;

/// A text takes so many bytes of a key, or as many again: the series, as `batch::order` has it.
const BLOCK: usize = 32;

/// Appends the key of one column. `column` is what stands in the row from its length on.
///
/// First whether it is NULL (NULLs last, as PostgreSQL's indexes have them), then the value; all bits are turned
/// over for a descending column, NULLs first included. `numeric` and the documents are brought together, not in
/// order: they are no part of a key that rows are read by.
#[inline]
pub(super) fn append(column: &[u8], kind: ColumnType, descending: bool, keys: &mut Vec<u8>) {
    let start = keys.len();
    let (length, bytes) = column.split_first_chunk::<4>().unwrap_or((&super::NULL, &[]));
    match usize::try_from(i32::from_be_bytes(*length)) {
        Err(_) => {
            keys.push(1);
            if let ColumnType::Text | ColumnType::Varchar(_) = kind {
                keys.resize(start + BLOCK, 0);
            }
        }
        Ok(8) if is_ordered_number(kind) => {
            let value = bytes.first_chunk().copied().map_or(0, u64::from_be_bytes);
            let value = ordered(value, 63, kind);
            // Turned over before it is written: reading back what was just written in parts would wait for it.
            let turn = if descending { u64::MAX } else { 0 };
            let mut key = [0; 9];
            key[0] = u8::from(descending).wrapping_neg();
            key[1..].copy_from_slice(&(value ^ turn).to_be_bytes());
            keys.extend_from_slice(&key);
            return;
        }
        Ok(length) => {
            keys.push(0);
            value(&bytes[..length], kind, keys);
        }
    }
    if descending {
        for byte in &mut keys[start..] {
            *byte = !*byte;
        }
    }
}

#[inline]
fn is_ordered_number(kind: ColumnType) -> bool {
    use ColumnType::{Date, Float4, Float8, Int2, Int4, Int8, Timestamp, Timestamptz};
    matches!(
        kind,
        Int2 | Int4 | Int8 | Date | Timestamp | Timestamptz | Float4 | Float8
    )
}

/// A number whose sign is bit `sign`, as an unsigned one in the same order.
#[inline]
fn ordered(number: u64, sign: u32, kind: ColumnType) -> u64 {
    let negative = number >> sign & 1 == 1;
    if negative && matches!(kind, ColumnType::Float4 | ColumnType::Float8) {
        // Negative floats grow downwards.
        !number
    } else {
        number ^ 1 << sign
    }
}

fn value(bytes: &[u8], kind: ColumnType, keys: &mut Vec<u8>) {
    match kind {
        ColumnType::Text | ColumnType::Varchar(_) => {
            // PostgreSQL's text holds no U+0000: it ends the string, and shorter ones sort first. Those that follow it
            // let what comes next stand at the same place in most keys. One byte stands before the text.
            let mut block = [0; BLOCK - 1];
            if let Some(text) = block[..BLOCK - 2].get_mut(..bytes.len()) {
                text.copy_from_slice(bytes);
                keys.extend_from_slice(&block);
            } else {
                let blocks = (1 + bytes.len() + 1).next_multiple_of(BLOCK);
                keys.extend_from_slice(bytes);
                keys.resize(keys.len() + blocks - 1 - bytes.len(), 0);
            }
        }
        _ if is_ordered_number(kind) => {
            let number = bytes
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte));
            let bits = 8 * u32::try_from(bytes.len()).unwrap_or(8);
            let key = ordered(number, bits - 1, kind).to_be_bytes();
            keys.extend_from_slice(&key[8 - bytes.len()..]);
        }
        // Of one length, or with a count of what follows in front.
        ColumnType::Bool | ColumnType::Uuid | ColumnType::Numeric => keys.extend_from_slice(bytes),
        _ => {
            // A zero is told from the end by what follows it.
            for &byte in bytes {
                keys.push(byte);
                if byte == 0 {
                    keys.push(1);
                }
            }
            keys.extend_from_slice(&[0, 0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: ColumnType, descending: bool, value: Option<&[u8]>) -> Vec<u8> {
        let mut column = Vec::new();
        match value {
            Some(bytes) => super::super::sized(&mut column, bytes),
            None => column.extend_from_slice(&super::super::NULL),
        }
        column.extend_from_slice(b"what follows in the row");
        let mut keys = Vec::new();
        append(&column, kind, descending, &mut keys);
        keys
    }

    /// Values in ascending order; NULL is larger than all of them.
    fn ascend<const N: usize>(kind: ColumnType, values: &[[u8; N]]) {
        for pair in values.windows(2) {
            assert!(
                key(kind, false, Some(&pair[0])) < key(kind, false, Some(&pair[1])),
                "{pair:?}"
            );
            assert!(
                key(kind, true, Some(&pair[0])) > key(kind, true, Some(&pair[1])),
                "{pair:?}"
            );
        }
        for value in values {
            assert!(key(kind, false, Some(value)) < key(kind, false, None));
            assert!(key(kind, true, Some(value)) > key(kind, true, None));
        }
    }

    #[test]
    fn numbers_compare_by_value() {
        ascend(
            ColumnType::Int2,
            &[i16::MIN, -1, 0, 1, 256, i16::MAX].map(i16::to_be_bytes),
        );
        ascend(
            ColumnType::Int4,
            &[i32::MIN, -1, 0, 1, 256, i32::MAX].map(i32::to_be_bytes),
        );
        ascend(
            ColumnType::Timestamptz,
            &[i64::MIN, -1, 0, 1, i64::MAX].map(i64::to_be_bytes),
        );
        let floats = [
            f64::NEG_INFINITY,
            -2.5,
            -1e-300,
            0.0,
            1e-300,
            2.5,
            f64::INFINITY,
            f64::NAN,
        ];
        ascend(ColumnType::Float8, &floats.map(f64::to_be_bytes));
        let floats = [f32::NEG_INFINITY, -2.5, 0.0, 2.5, f32::INFINITY, f32::NAN];
        ascend(ColumnType::Float4, &floats.map(f32::to_be_bytes));
        ascend(ColumnType::Bool, &[[0], [1]]);
    }

    #[test]
    fn shorter_texts_sort_before_longer_ones_whatever_follows() {
        for kind in [ColumnType::Text, ColumnType::Bytea] {
            let texts: [&[u8]; 4] = [b"", b"a", b"ab", b"b"];
            for pair in texts.windows(2) {
                let joined = |text, next| [key(kind, false, Some(text)), vec![next]].concat();
                assert!(joined(pair[0], 255) < joined(pair[1], 0), "{pair:?}");
            }
        }
        assert!(key(ColumnType::Bytea, false, Some(&[0])) < key(ColumnType::Bytea, false, Some(&[0, 0])));
    }
}
