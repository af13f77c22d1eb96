//! Owns the numbers of JSON's grammar: where one ends, and its digits as an integer and an exponent, of which `encode`
//! makes what the column takes.

use super::scan::{Fault, HIGHS, ONES, word};
use super::{Number, Scanned};

/// Digits that a `u64` holds, whatever they are.
const EXACT_DIGITS: usize = 19;

const POW10: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// A number that starts at `start` and whose first digit should stand at `first`: the place after it.
#[inline]
pub(super) fn number(bytes: &[u8], start: usize, first: usize) -> Result<(usize, Scanned), Fault> {
    let (end, mut number) = match short(word(bytes, first)) {
        Some((length, number)) => (first + length, number),
        None => any_number(bytes, first)?,
    };
    number.negative = first > start;
    Ok((end, Scanned::number(number)))
}

/// Most numbers: up to seven bytes of digits, a point among them or not, in one word together with what ends them.
/// How many bytes it takes.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see scan::short_value")]
pub(super) fn short(word: u64) -> Option<(usize, Number)> {
    let values = word ^ (ONES * u64::from(b'0'));
    let stops = no_digits(values);
    if stops == 0 {
        return None;
    }
    let whole = stops.trailing_zeros() & !7;
    let below = (1 << whole) - 1;
    let byte = |at: u32| word >> at & 0xff;
    let ended = |stop: u32| byte(stop) | 0x20 != u64::from(b'e');
    if whole == 0 || (whole > 8 && byte(0) == u64::from(b'0')) {
        return None;
    }
    if byte(whole) != u64::from(b'.') {
        let mantissa = eight(values << (64 - whole));
        return ended(whole).then_some((whole as usize / 8, Number::short(mantissa, 0)));
    }
    // The point is ASCII, so that the mark above its own is exact too.
    let stops = stops & (stops - 1);
    if stops == 0 {
        return None;
    }
    let end = stops.trailing_zeros() & !7;
    if end == whole + 8 || !ended(end) {
        return None;
    }
    let digits = (values & below) | ((values >> 8) & !below);
    let mantissa = eight(digits << (72 - end));
    #[expect(clippy::cast_possible_truncation, reason = "at most six")]
    let fraction = (end - whole) as i16 / 8 - 1;
    Some((end as usize / 8, Number::short(mantissa, -fraction)))
}

/// Most of the others, such as floats with all their digits: no more of them than are exact, a point among them.
#[inline(always)]
#[expect(clippy::inline_always, reason = "see scan::short_value")]
pub(super) fn long(bytes: &[u8], at: usize) -> Option<(usize, Number)> {
    let (point, whole) = digits(bytes, at, 0);
    if bytes.get(point) != Some(&b'.') || point == at || (point > at + 1 && bytes[at] == b'0') {
        return None;
    }
    let (end, mantissa) = digits(bytes, point + 1, whole);
    let fraction = end - point - 1;
    let count = point - at + fraction;
    if fraction == 0 || count > EXACT_DIGITS || matches!(bytes.get(end), Some(b'e' | b'E')) {
        return None;
    }
    let number = Number {
        mantissa,
        exponent: -i16::try_from(fraction).ok()?,
        negative: false,
        exact: true,
        short: false,
    };
    Some((end, number))
}

/// Any number by the grammar, but for its sign.
fn any_number(bytes: &[u8], first: usize) -> Result<(usize, Number), Fault> {
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
        // At most 19 where it is exact, so that it fits.
        exponent: -i16::try_from(fraction).unwrap_or(0),
        negative: false,
        exact: count <= EXACT_DIGITS,
        short: false,
    };
    if let Some(b'e' | b'E') = bytes.get(at) {
        at = exponent(bytes, at + 1, &mut number)?;
    }
    Ok((at, number))
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
    } else if number.exact {
        number.exponent += if negative { -value } else { value };
    }
    Ok(at)
}

/// Digits from `at` on: the place after them, and the number that they continue (which wraps if it grows too long).
#[inline]
fn digits(bytes: &[u8], mut at: usize, mut number: u64) -> (usize, u64) {
    loop {
        let values = word(bytes, at) ^ (ONES * u64::from(b'0'));
        let stop = no_digits(values);
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
}

/// Bit 7 of each byte that is more than nine: the lowest one is exact, those above it may not be.
#[inline]
pub(in crate::pipeline) fn no_digits(values: u64) -> u64 {
    (values.wrapping_add(ONES * 0x76) | values) & HIGHS
}

/// Eight digits, one a byte, the first in the lowest byte, as one number.
#[inline]
pub(in crate::pipeline) fn eight(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let even = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let odd = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    even.wrapping_add(odd) >> 32
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
    fn a_number_keeps_its_digits() {
        let read = |text: &str| {
            let first = usize::from(text.starts_with('-'));
            let (end, scanned) = number(text.as_bytes(), 0, first).expect(text);
            assert_eq!(end, text.len());
            let longer = format!("{text}, \"and\": more");
            let (end, other) = number(longer.as_bytes(), 0, first).expect(text);
            assert_eq!((end, other.number), (text.len(), scanned.number));
            scanned.number
        };
        for (text, mantissa, exponent) in [
            ("7", 7, 0),
            ("0", 0, 0),
            ("0.5", 5, -1),
            ("0.05", 5, -2),
            ("45.23", 4523, -2),
            ("123.456", 123_456, -3),
            ("1234567", 1_234_567, 0),
            ("12345.67", 1_234_567, -2),
            ("1e5", 1, 5),
            ("1.5E5", 15, 4),
        ] {
            let number = read(text);
            assert_eq!(
                (number.mantissa, number.exponent, number.exact),
                (mantissa, exponent, true),
                "{text}"
            );
        }
        let number = read("-12.50e1");
        assert_eq!((number.mantissa, number.exponent), (1250, -1));
        assert!(number.negative && number.exact);
        assert!(!read("12345678901234567890").exact);
        assert!(!read("1e99999").exact);
    }
}
