//! Owns values as PostgreSQL's `text`, `varchar(n)`, `uuid` and (for a message's key) `bytea`.

use super::refuse::Wrong;
use super::{close, sized};
use crate::dead_letter::Reason;
use crate::pipeline::decode::{Kind, Marks, Value, unescape};
use crate::table::ColumnType;

const NOT_TEXT: Wrong = Wrong::new(Reason::TypeMismatch, "a string is needed for");
const NUL: Wrong = Wrong::new(Reason::NulCharacter, "U+0000 can't be stored in");
const TOO_LONG: Wrong = Wrong::new(Reason::TooLong, "too many characters for");
const NOT_UUID: Wrong = Wrong::new(Reason::TypeMismatch, "a UUID is needed for");

/// Appends a string, or the JSON text of a number or constant, with its length; of at most so many characters.
#[inline]
pub(super) fn append(value: &Value<'_>, most: Option<u32>, rows: &mut Vec<u8>) -> Result<(), Wrong> {
    let plain = match value.kind() {
        Kind::Object | Kind::Array => return Err(NOT_TEXT),
        Kind::String if value.marks().has(Marks::ESCAPED) => return escaped(value, most, rows),
        Kind::String => value.between_quotes(),
        _ => value.raw(),
    };
    if let Some(most) = most {
        short(plain, most)?;
    }
    sized(rows, plain);
    Ok(())
}

fn escaped(value: &Value<'_>, most: Option<u32>, rows: &mut Vec<u8>) -> Result<(), Wrong> {
    if value.marks().has(Marks::NUL) {
        return Err(NUL);
    }
    let start = rows.len();
    rows.extend_from_slice(&[0; 4]);
    unescape(value.between_quotes(), rows);
    if let Some(most) = most {
        short(&rows[start + 4..], most)?;
    }
    close(rows, start);
    Ok(())
}

/// `varchar(n)` counts characters, not bytes.
fn short(text: &[u8], most: u32) -> Result<(), Wrong> {
    let most = most as usize;
    let is_start = |byte: &&u8| **byte & 0xc0 != 0x80;
    if text.len() <= most || text.iter().filter(is_start).count() <= most {
        Ok(())
    } else {
        Err(TOO_LONG)
    }
}

/// Appends bytes that come from outside of the payload, with their length.
pub(super) fn plain(bytes: &[u8], kind: ColumnType, rows: &mut Vec<u8>) -> Result<(), Wrong> {
    if kind != ColumnType::Bytea {
        if std::str::from_utf8(bytes).is_err() {
            return Err(Wrong::new(Reason::TypeMismatch, "UTF-8 is needed for"));
        }
        if memchr::memchr(0, bytes).is_some() {
            return Err(NUL);
        }
        if let ColumnType::Varchar(most) = kind {
            short(bytes, most)?;
        }
    }
    sized(rows, bytes);
    Ok(())
}

/// A UUID: 32 hexadecimal digits, with hyphens after 8, 12, 16 and 20 of them or without, in braces or not.
pub(super) fn uuid(value: &Value<'_>, scratch: &mut Vec<u8>) -> Result<[u8; 16], Wrong> {
    let text = string(value, scratch).ok_or(NOT_UUID)?;
    let text = match text.strip_prefix(b"{") {
        Some(rest) => rest.strip_suffix(b"}").ok_or(NOT_UUID)?,
        None => text,
    };
    let hyphens: &[usize] = match text.len() {
        32 => &[],
        36 => &[8, 13, 18, 23],
        _ => return Err(NOT_UUID),
    };
    let mut uuid = [0; 16];
    let mut count = 0;
    for (at, &byte) in text.iter().enumerate() {
        if hyphens.contains(&at) {
            if byte != b'-' {
                return Err(NOT_UUID);
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(NOT_UUID),
        };
        uuid[count / 2] = uuid[count / 2] << 4 | digit;
        count += 1;
    }
    Ok(uuid)
}

/// A string's characters; unescaped into `scratch` where that is needed.
#[inline]
pub(super) fn string<'a>(value: &Value<'a>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if value.kind() != Kind::String {
        return None;
    }
    let raw = value.between_quotes();
    if !value.marks().has(Marks::ESCAPED) {
        return Some(raw);
    }
    scratch.clear();
    unescape(raw, scratch);
    Some(scratch)
}
