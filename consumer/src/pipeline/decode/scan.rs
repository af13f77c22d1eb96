//! Owns JSON's grammar: from a place in the payload, where a token or a value ends and what it is. Eight bytes at a
//! time where that pays (strings, digits); never recursive; reads no byte outside of the payload.

use super::{Kind, Marks, Number};

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

/// A value: where it ends and what was learned about it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) marks: Marks,
    pub(super) number: Number,
}

/// Digits that a `u64` holds, whatever they are.
const EXACT_DIGITS: usize = 19;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

const POW10: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
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
    let mut at = start;
    let mut marks = Marks::default();
    // Bit 7 of a byte is set in some byte: not all is ASCII.
    let mut high = 0_u64;
    loop {
        match word(bytes, at) {
            Some(word) => {
                let stop = stops(word);
                if stop == 0 {
                    high |= word;
                    at += 8;
                    continue;
                }
                let clear = stop.trailing_zeros() & !7;
                high |= word & ((1 << clear) - 1);
                at += clear as usize / 8;
            }
            None => loop {
                match bytes.get(at) {
                    Some(b'"' | b'\\' | 0..0x20) => break,
                    Some(&byte) => high |= u64::from(byte),
                    None => return Err(Fault::new(at, "a string must be closed")),
                }
                at += 1;
            },
        }
        match bytes[at] {
            b'"' => break,
            b'\\' => at = escape(bytes, at, &mut marks)?,
            _ => return Err(Fault::new(at, "control characters in strings must be escaped")),
        }
    }
    if high & HIGHS != 0 {
        utf8(bytes, start, at)?;
    }
    Ok((at, marks))
}

/// Marks a word's quotes, backslashes and control characters: the lowest mark is exact, those above it may not be.
#[inline]
fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    found & HIGHS
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

/// The value that starts at `at`. `open` is scratch.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize, open: &mut Vec<u8>) -> Result<Scanned, Fault> {
    match bytes.get(at) {
        Some(b'{' | b'[') => container(bytes, at, open),
        _ => scalar(bytes, at),
    }
}

#[inline]
fn scalar(bytes: &[u8], at: usize) -> Result<Scanned, Fault> {
    match bytes.get(at) {
        Some(b'0'..=b'9') => number(bytes, at, at),
        Some(b'"') => {
            let (end, marks) = string(bytes, at + 1)?;
            Ok(Scanned {
                end: end + 1,
                kind: Kind::String,
                marks,
                number: Number::default(),
            })
        }
        Some(b'-') if bytes.get(at + 1) != Some(&b'I') => number(bytes, at, at + 1),
        Some(b'-') => word_of(bytes, at, "-Infinity", Kind::NegInfinity, Marks::CONSTANT),
        Some(b't') => word_of(bytes, at, "true", Kind::True, Marks::default()),
        Some(b'f') => word_of(bytes, at, "false", Kind::False, Marks::default()),
        Some(b'n') => word_of(bytes, at, "null", Kind::Null, Marks::default()),
        Some(b'N') => word_of(bytes, at, "NaN", Kind::NaN, Marks::CONSTANT),
        Some(b'I') => word_of(bytes, at, "Infinity", Kind::Infinity, Marks::CONSTANT),
        _ => Err(Fault::new(at, "a value is needed")),
    }
}

#[inline]
fn word_of(bytes: &[u8], at: usize, text: &'static str, kind: Kind, marks: Marks) -> Result<Scanned, Fault> {
    if bytes[at..].starts_with(text.as_bytes()) {
        Ok(Scanned {
            end: at + text.len(),
            kind,
            marks,
            number: Number::default(),
        })
    } else {
        Err(Fault::new(at, "a value is needed"))
    }
}

/// A number that starts at `start` and whose first digit should stand at `first`.
#[inline]
fn number(bytes: &[u8], start: usize, first: usize) -> Result<Scanned, Fault> {
    let (mut at, mut mantissa) = digits(bytes, first, 0);
    let mut count = at - first;
    if count == 0 {
        return Err(Fault::new(at, "a digit is needed"));
    }
    if count > 1 && bytes[first] == b'0' {
        return Err(Fault::new(first, "a number must not start with zero"));
    }
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        let point = at + 1;
        (at, mantissa) = digits(bytes, point, mantissa);
        fraction = at - point;
        if fraction == 0 {
            return Err(Fault::new(at, "a digit is needed"));
        }
        count += fraction;
    }
    let mut number = Number {
        mantissa,
        exponent: 0,
        negative: first > start,
        exact: count <= EXACT_DIGITS,
    };
    if number.exact {
        // At most 19, so that it fits.
        number.exponent = -i16::try_from(fraction).unwrap_or(0);
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at = exponent(bytes, at + 1, &mut number)?;
    }
    Ok(Scanned {
        end: at,
        kind: Kind::Number,
        marks: Marks::default(),
        number,
    })
}

/// An exponent from the byte after its letter on: the place after it.
fn exponent(bytes: &[u8], mut at: usize, number: &mut Number) -> Result<usize, Fault> {
    let negative = bytes.get(at) == Some(&b'-');
    if let Some(b'+' | b'-') = bytes.get(at) {
        at += 1;
    }
    let first = at;
    let mut value = 0_i16;
    while let Some(&digit @ b'0'..=b'9') = bytes.get(at) {
        value = value.saturating_mul(10).saturating_add(i16::from(digit - b'0'));
        at += 1;
    }
    if at == first {
        return Err(Fault::new(at, "a digit is needed"));
    }
    if value > 10_000 {
        number.exact = false;
    } else {
        number.exponent += if negative { -value } else { value };
    }
    Ok(at)
}

/// Digits from `at` on: the place after them, and the number that they continue (which wraps if it grows too long).
#[inline]
fn digits(bytes: &[u8], mut at: usize, mut number: u64) -> (usize, u64) {
    while let Some(word) = word(bytes, at) {
        let values = word ^ (ONES * u64::from(b'0'));
        // Bit 7 of each byte that is no digit: the lowest one is exact.
        let stop = (values.wrapping_add(ONES * 0x76) | values) & HIGHS;
        if stop == 0 {
            number = number.wrapping_mul(100_000_000).wrapping_add(eight(values));
            at += 8;
            continue;
        }
        let count = stop.trailing_zeros() as usize / 8;
        if count > 0 {
            // The digits move to the word's end, zeros fill its start.
            let values = values << (64 - 8 * count);
            number = number.wrapping_mul(POW10[count & 7]).wrapping_add(eight(values));
        }
        return (at + count, number);
    }
    while let Some(&digit @ b'0'..=b'9') = bytes.get(at) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    (at, number)
}

/// Eight digits, one a byte, the first in the lowest byte, as one number.
#[inline]
fn eight(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let even = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let odd = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    even.wrapping_add(odd) >> 32
}

/// An object or an array, with all that it holds.
fn container(bytes: &[u8], start: usize, open: &mut Vec<u8>) -> Result<Scanned, Fault> {
    let mut marks = Marks::default();
    let mut at = start;
    open.clear();
    'value: loop {
        match bytes.get(at) {
            Some(b'{') => {
                at = space(bytes, at + 1);
                if bytes.get(at) == Some(&b'}') {
                    at += 1;
                } else {
                    open.push(b'{');
                    at = name(bytes, at, &mut marks)?;
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
                let value = scalar(bytes, at)?;
                marks.set(value.marks);
                at = value.end;
            }
        }
        while let Some(&container) = open.last() {
            at = space(bytes, at);
            match (bytes.get(at), container) {
                (Some(b','), b'{') => {
                    at = name(bytes, space(bytes, at + 1), &mut marks)?;
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
        return Ok(Scanned {
            end: at,
            kind,
            marks,
            number: Number::default(),
        });
    }
}

/// A nested field's name and its colon: the place of its value.
fn name(bytes: &[u8], at: usize, marks: &mut Marks) -> Result<usize, Fault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::new(at, "a field's name is needed"));
    }
    let (end, found) = string(bytes, at + 1)?;
    marks.set(found);
    let colon = space(bytes, end + 1);
    if bytes.get(colon) != Some(&b':') {
        return Err(Fault::new(colon, "a colon is needed"));
    }
    Ok(space(bytes, colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_any_count_make_their_number() {
        for text in [
            "1",
            "12",
            "1234567",
            "12345678",
            "123456789",
            "1234567890123456789",
        ] {
            for after in ["", ".", " and more than eight", "\u{e4}\u{e4}\u{e4}\u{e4}"] {
                let bytes = format!("{text}{after}");
                let expected = (text.len(), text.parse().expect("digits"));
                assert_eq!(digits(bytes.as_bytes(), 0, 0), expected, "{bytes}");
            }
        }
    }

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

    #[test]
    fn a_number_keeps_its_digits() {
        let read = |text: &str| number(text.as_bytes(), 0, usize::from(text.starts_with('-')));
        let value = read("-12.50e1").expect("a number");
        assert_eq!((value.number.mantissa, value.number.exponent), (1250, -1));
        assert!(value.number.negative && value.number.exact);
        let long = read("12345678901234567890").expect("a number");
        assert!(!long.number.exact);
        let far = read("1e99999").expect("a number");
        assert!(!far.number.exact);
    }
}
