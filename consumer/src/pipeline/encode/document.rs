//! Owns values as PostgreSQL's `json` and `jsonb`: the payload's own text, in which Python's numbers that JSON
//! doesn't know become strings, since PostgreSQL doesn't know them either.

use super::number::{Decimal, OUT_OF_RANGE};
use super::refuse::Wrong;
use super::{close, numeric};
use crate::dead_letter::{Reason, Refusal};
use crate::pipeline::decode::{Event, Kind, Marks, Value};
use crate::table::ColumnType;

const NUL: Wrong = Wrong::new(Reason::NulCharacter, "U+0000 can't be stored in");
/// The version that stands before the text of a `jsonb`.
const VERSION: u8 = 1;

/// Appends a value with its length.
pub(super) fn append(value: &Value<'_>, kind: ColumnType, rows: &mut Vec<u8>) -> Result<(), Wrong> {
    // `json` keeps the text as it is, whatever is escaped in it and however large its numbers are.
    if kind == ColumnType::Jsonb {
        fits_jsonb(value)?;
    }
    let start = open(kind, rows);
    text(value, rows);
    close(rows, start);
    Ok(())
}

/// Appends some of an event's fields as one object, with its length.
pub(super) fn object(
    event: &Event<'_>,
    fields: &[usize],
    kind: ColumnType,
    rows: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let start = open(kind, rows);
    rows.push(b'{');
    for (count, &field) in fields.iter().enumerate() {
        let (key, value) = (event.key(field), event.value(field));
        let fits = if key.marks().has(Marks::NUL) {
            Err(NUL)
        } else {
            fits_jsonb(&value)
        };
        fits.map_err(|wrong| wrong.in_field(key.raw(), kind, &value))?;
        if count > 0 {
            rows.push(b',');
        }
        rows.push(b'"');
        rows.extend_from_slice(key.raw());
        rows.extend_from_slice(b"\":");
        text(&value, rows);
    }
    rows.push(b'}');
    close(rows, start);
    Ok(())
}

/// `jsonb` takes strings apart, which can't hold U+0000, and keeps its numbers as `numeric`.
#[inline]
fn fits_jsonb(value: &Value<'_>) -> Result<(), Wrong> {
    if value.marks().has(Marks::NUL) {
        return Err(NUL);
    }
    let long = value.marks().has(Marks::LONG) || (value.kind() == Kind::Number && !value.number().exact);
    if long { numbers_fit(value.raw()) } else { Ok(()) }
}

/// Whether all numbers of a validated value are within `numeric`'s limits.
#[cold]
fn numbers_fit(raw: &[u8]) -> Result<(), Wrong> {
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw[at..];
        at += match rest[0] {
            b'"' => string(rest),
            b'0'..=b'9' => {
                let in_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let end = rest
                    .iter()
                    .position(|byte| !in_number(byte))
                    .unwrap_or(rest.len());
                let decimal = Decimal::read(&rest[..end]);
                // PostgreSQL reads the exponent before it sees that the number is 0.
                if !decimal.is_near() || !numeric::fits(&decimal) {
                    return Err(OUT_OF_RANGE);
                }
                end
            }
            _ => 1,
        };
    }
    Ok(())
}

fn open(kind: ColumnType, rows: &mut Vec<u8>) -> usize {
    let start = rows.len();
    rows.extend_from_slice(&[0; 4]);
    if kind == ColumnType::Jsonb {
        rows.push(VERSION);
    }
    start
}

fn text(value: &Value<'_>, rows: &mut Vec<u8>) {
    if value.marks().has(Marks::CONSTANT) {
        quote_constants(value.raw(), rows);
    } else {
        rows.extend_from_slice(value.raw());
    }
}

/// Copies a validated value with `NaN`, `Infinity`, `-Infinity` in quotes.
fn quote_constants(raw: &[u8], rows: &mut Vec<u8>) {
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw[at..];
        let constant = [&b"NaN"[..], b"Infinity", b"-Infinity"]
            .into_iter()
            .find(|constant| rest.starts_with(constant));
        if let Some(constant) = constant {
            rows.push(b'"');
            rows.extend_from_slice(constant);
            rows.push(b'"');
            at += constant.len();
            continue;
        }
        let length = if rest[0] == b'"' { string(rest) } else { 1 };
        rows.extend_from_slice(&rest[..length]);
        at += length;
    }
}

/// The length of the string that `raw` starts with, its quotes included.
fn string(raw: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', raw.get(at..).unwrap_or_default()) {
        if raw[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    raw.len()
}
