//! Owns JSON's grammar: from a place in the payload, where a token or a value ends and what it is. Eight bytes at a
//! time where that pays; never recursive; reads no byte outside of the payload. Numbers are `number`'s business.

use super::number::{long, number, short};
use super::{Kind, Marks, Scanned};

/// The payload isn't JSON: from which byte on, and what would have been needed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

impl Fault {
    #[cold]
    pub(super) fn new(at: usize, what: &'static str) -> Self {
        Self { at, what }
    }
}

pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Eight bytes from `at` on, the first one lowest; zeros where the payload has ended.
#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => last_word(bytes, at),
    }
}

#[inline(never)]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// The first place from `at` on that isn't JSON's whitespace.
#[inline]
pub(super) fn space(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(&byte) if byte > b' ' => at,
        // Python's `json` writes one space after each colon and comma.
        Some(b' ') if bytes.get(at + 1).is_some_and(|&next| next > b' ') => at + 1,
        _ => longer_space(bytes, at),
    }
}

fn longer_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// A string from the byte after its opening quote on: the place of its closing quote.
#[inline]
pub(super) fn string(bytes: &[u8], start: usize) -> Result<(usize, Marks), Fault> {
    match plain(bytes, start) {
        Some((end, ascii)) => {
            if !ascii {
                utf8(bytes, start, end)?;
            }
            Ok((end, Marks::default()))
        }
        None => any_string(bytes, start),
    }
}

/// Most strings: without escapes. The place of the closing quote, and whether all bytes are known to be ASCII.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see short_value")]
fn plain(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let (words, _) = bytes.get(start..)?.as_chunks();
    let mut at = start;
    let mut all = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        // What follows the string may be seen too: then it is validated for nothing.
        all |= word;
        let stop = stops(word);
        if stop != 0 {
            return quote(word, stop, at).map(|end| (end, all & HIGHS == 0));
        }
        at += 8;
    }
    let word = last_word(bytes, at);
    quote(word, stops(word), at).map(|end| (end, (all | word) & HIGHS == 0))
}

/// The place of the closing quote, if that is what stops `word`, which stands at `at`.
#[inline]
fn quote(word: u64, stop: u64, at: usize) -> Option<usize> {
    let clear = stop.trailing_zeros() & !7 & 63;
    (word >> clear & 0xff == u64::from(b'"')).then_some(at + clear as usize / 8)
}

/// A string that has escapes, or isn't one.
#[inline(never)]
fn any_string(bytes: &[u8], start: usize) -> Result<(usize, Marks), Fault> {
    let mut at = start;
    let mut marks = Marks::default();
    loop {
        let stop = stops(word(bytes, at));
        if stop == 0 {
            at += 8;
            continue;
        }
        at += stop.trailing_zeros() as usize / 8;
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => at = escape(bytes, at, &mut marks)?,
            Some(_) => return Err(Fault::new(at, "control characters in strings must be escaped")),
            None => return Err(Fault::new(at, "a string must be closed")),
        }
    }
    utf8(bytes, start, at)?;
    Ok((at, marks))
}

/// Marks a word's quotes, backslashes and control characters: the lowest mark is exact, those above it may not be.
#[inline]
fn stops(word: u64) -> u64 {
    // Less one, what is zero borrows from its bit 7, and nothing else below 0x80 does; the same below 0x20.
    let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    (quote | backslash | control) & !word & HIGHS
}

/// Outside of strings every byte is ASCII by the grammar, so that strings alone need this.
#[cold]
fn utf8(bytes: &[u8], start: usize, end: usize) -> Result<(), Fault> {
    match std::str::from_utf8(&bytes[start..end]) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(start + error.valid_up_to(), "UTF-8 is needed")),
    }
}

/// An escape, or a pair of them for one character: the place after it.
fn escape(bytes: &[u8], at: usize, marks: &mut Marks) -> Result<usize, Fault> {
    marks.set(Marks::ESCAPED);
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2)? {
            0 => {
                marks.set(Marks::NUL);
                Ok(at + 6)
            }
            0xd800..=0xdbff => {
                let low = match bytes.get(at + 6..at + 8) {
                    Some(br"\u") => hex4(bytes, at + 8)?,
                    _ => 0,
                };
                match low {
                    0xdc00..=0xdfff => Ok(at + 12),
                    _ => Err(Fault::new(
                        at + 6,
                        "the second half of a surrogate pair is needed",
                    )),
                }
            }
            0xdc00..=0xdfff => Err(Fault::new(at, "a surrogate pair needs its first half")),
            _ => Ok(at + 6),
        },
        _ => Err(Fault::new(at + 1, "a known escape is needed")),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    let mut code = 0;
    for place in at..at + 4 {
        let digit = bytes.get(place).and_then(|&byte| char::from(byte).to_digit(16));
        code = code * 16 + digit.ok_or(Fault::new(place, "a hexadecimal digit is needed"))?;
    }
    Ok(code)
}

/// Most values, numbers and strings: the place after it, and what it is. `word` is what stands at `at`. `None` where it
/// takes a closer look.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "once a field: what comes back by way of memory costs as much as the work"
)]
pub(super) fn short_value(bytes: &[u8], at: usize, word: u64) -> Option<(usize, Scanned)> {
    if word & 0xff == u64::from(b'"') {
        return match plain(bytes, at + 1) {
            Some((end, true)) => Some((end + 1, Scanned::of(Kind::String))),
            _ => None,
        };
    }
    if let Some((length, number)) = short(word) {
        return Some((at + length, Scanned::number(number)));
    }
    let (end, number) = long(bytes, at)?;
    Some((end, Scanned::number(number)))
}

/// Any value: the place after it, and what it is. `open` is scratch.
#[inline(never)]
pub(super) fn value(bytes: &[u8], at: usize, open: &mut Vec<u8>) -> Result<(usize, Scanned), Fault> {
    match bytes.get(at) {
        Some(b'{' | b'[') => container(bytes, at, open),
        _ => scalar(bytes, at),
    }
}

fn scalar(bytes: &[u8], at: usize) -> Result<(usize, Scanned), Fault> {
    match bytes.get(at) {
        Some(b'0'..=b'9') => number(bytes, at, at),
        Some(b'"') => {
            let (end, marks) = string(bytes, at + 1)?;
            Ok((
                end + 1,
                Scanned {
                    marks,
                    ..Scanned::of(Kind::String)
                },
            ))
        }
        Some(b'-') if bytes.get(at + 1) != Some(&b'I') => number(bytes, at, at + 1),
        _ => constant(bytes, at),
    }
}

fn constant(bytes: &[u8], at: usize) -> Result<(usize, Scanned), Fault> {
    let (text, kind): (&[u8], _) = match bytes.get(at) {
        Some(b't') => (b"true", Kind::True),
        Some(b'f') => (b"false", Kind::False),
        Some(b'n') => (b"null", Kind::Null),
        Some(b'N') => (b"NaN", Kind::NaN),
        Some(b'I') => (b"Infinity", Kind::Infinity),
        Some(b'-') => (b"-Infinity", Kind::NegInfinity),
        _ => return Err(Fault::new(at, "a value is needed")),
    };
    if !bytes[at..].starts_with(text) {
        return Err(Fault::new(at, "a value is needed"));
    }
    let mut scanned = Scanned::of(kind);
    if let Kind::NaN | Kind::Infinity | Kind::NegInfinity = kind {
        scanned.marks.set(Marks::CONSTANT);
    }
    Ok((at + text.len(), scanned))
}

/// An object or an array, with all that it holds.
fn container(bytes: &[u8], start: usize, open: &mut Vec<u8>) -> Result<(usize, Scanned), Fault> {
    let mut marks = Marks::default();
    let mut at = start;
    open.clear();
    open.shrink_to(1 << 16);
    'value: loop {
        match bytes.get(at) {
            Some(b'{') => {
                at = space(bytes, at + 1);
                if bytes.get(at) == Some(&b'}') {
                    at += 1;
                } else {
                    open.push(b'{');
                    let (_, found, start) = name(bytes, at)?;
                    marks.set(found);
                    at = start;
                    continue 'value;
                }
            }
            Some(b'[') => {
                at = space(bytes, at + 1);
                if bytes.get(at) == Some(&b']') {
                    at += 1;
                } else {
                    open.push(b'[');
                    continue 'value;
                }
            }
            _ => {
                let value;
                (at, value) = scalar(bytes, at)?;
                marks.set(value.marks);
                if value.kind == Kind::Number && !value.number.exact {
                    marks.set(Marks::LONG);
                }
            }
        }
        while let Some(&container) = open.last() {
            at = space(bytes, at);
            match (bytes.get(at), container) {
                (Some(b','), b'{') => {
                    let (_, found, start) = name(bytes, space(bytes, at + 1))?;
                    marks.set(found);
                    at = start;
                    continue 'value;
                }
                (Some(b','), _) => {
                    at = space(bytes, at + 1);
                    continue 'value;
                }
                (Some(b'}'), b'{') | (Some(b']'), b'[') => {
                    open.pop();
                    at += 1;
                }
                (_, b'{') => return Err(Fault::new(at, "a comma or a closing brace is needed")),
                _ => return Err(Fault::new(at, "a comma or a closing bracket is needed")),
            }
        }
        let kind = if bytes[start] == b'{' {
            Kind::Object
        } else {
            Kind::Array
        };
        return Ok((
            at,
            Scanned {
                marks,
                ..Scanned::of(kind)
            },
        ));
    }
}

/// A field's name, whose quote should stand at `at`, and its colon: where the name ends, and where the value starts.
pub(super) fn name(bytes: &[u8], at: usize) -> Result<(usize, Marks, usize), Fault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::new(at, "a field's name is needed"));
    }
    let (end, marks) = string(bytes, at + 1)?;
    let colon = space(bytes, end + 1);
    if bytes.get(colon) != Some(&b':') {
        return Err(Fault::new(colon, "a colon is needed"));
    }
    Ok((end, marks, space(bytes, colon + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_stops_a_string_where_it_should() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut word = *b"\x7f!#[] \xff\x80";
                word[place] = byte;
                let stop = stops(u64::from_le_bytes(word));
                if matches!(byte, b'"' | b'\\' | 0..0x20) {
                    assert_eq!(stop.trailing_zeros() as usize / 8, place, "{byte:#x}");
                } else {
                    assert_eq!(stop, 0, "{byte:#x}");
                }
            }
        }
    }
}
