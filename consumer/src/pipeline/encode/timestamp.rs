//! Owns moments: ISO 8601 / RFC 3339 text and Unix time as microseconds since 2000-01-01 UTC, PostgreSQL's count.
//! Integers all the way: no float rounds a moment, no clock or time zone of this machine is read.

use super::number::Decimal;
use super::refuse::Wrong;
use super::text;
use crate::dead_letter::Reason;
use crate::pipeline::decode::{Kind, Value, eight, no_digits};

const WRONG: Wrong = Wrong::new(Reason::InvalidTimestamp, "an ISO 8601 or Unix time is needed for");
const BEYOND: Wrong = Wrong::new(Reason::InvalidTimestamp, "a moment is out of range of");

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2000-01-01 in Unix time, in seconds.
const EPOCH: i64 = 946_684_800;
/// PostgreSQL's limits (`MIN_TIMESTAMP`, `END_TIMESTAMP` in `src/include/datatype/timestamp.h`): 4714-11-24 BC,
/// and 294277-01-01, which is the first moment that is too late.
const FIRST: i64 = -211_813_488_000_000_000;
const END: i64 = 9_223_371_331_200_000_000;

/// Reads moments. The last date is kept: events that follow each other are mostly of one day.
#[derive(Debug)]
pub(super) struct Clock {
    date: [u8; 10],
    day: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            date: *b"2000-01-01",
            day: 0,
        }
    }
}

impl Clock {
    /// A field's moment. `scratch` is for a string with escapes.
    #[inline]
    pub(super) fn micros(&mut self, value: &Value<'_>, scratch: &mut Vec<u8>) -> Result<i64, Wrong> {
        match value.kind() {
            Kind::String => {
                let text = text::string(value, scratch).ok_or(WRONG)?;
                self.read(text).ok_or(WRONG)
            }
            Kind::Number => from_unix(value),
            _ => Err(WRONG),
        }
    }

    #[inline]
    fn read(&mut self, text: &[u8]) -> Option<i64> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        if *date != self.date {
            self.day = days(date)?;
            self.date = *date;
        }
        let midnight = self.day * DAY;
        if let Some((time, zone)) = full_time(rest) {
            let offset = if zone.is_empty() { 0 } else { offset(zone)? };
            return Some(midnight + time - offset);
        }
        match rest {
            [] => Some(midnight),
            [b'T' | b't' | b' ', time @ ..] => Some(midnight + time_of_day(time)?),
            _ => None,
        }
    }
}

/// `THH:MM:SS.ffffff`, as Python's `isoformat` writes it: microseconds since midnight, and what follows.
#[inline]
fn full_time(text: &[u8]) -> Option<(i64, &[u8])> {
    const TIME: u64 = u64::from_le_bytes(*b"T00:00:0");
    const FRACTION: u64 = u64::from_le_bytes(*b"0.000000");
    const BYTE: u64 = 0xff;
    let (time, rest) = text.split_first_chunk::<8>()?;
    let (fraction, zone) = rest.split_first_chunk::<8>()?;
    // One digit a byte, zeros between them; anything else is more than nine.
    let time = u64::from_le_bytes(*time) ^ TIME;
    let fraction = u64::from_le_bytes(*fraction) ^ FRACTION;
    let point = fraction >> 8 & BYTE;
    let colons = time & 0x00ff_0000_ff00_00ff;
    if no_digits(time) | no_digits(fraction) != 0 || point | colons != 0 {
        return None;
    }
    let two = |tens: u64, ones: u64| i64::from((tens & BYTE) as u8 * 10 + (ones & BYTE) as u8);
    let (hour, minute) = (two(time >> 8, time >> 16), two(time >> 32, time >> 40));
    let second = two(time >> 56, fraction);
    if hour > 23 || minute > 59 || second > 59 || zone.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let micros = i64::try_from(eight(fraction & !0xffff)).ok()?;
    Some((hour * HOUR + minute * MINUTE + second * SECOND + micros, zone))
}

/// The day that a moment lies in, counted from 2000-01-01 UTC on.
pub(super) fn day(micros: i64) -> i32 {
    // PostgreSQL's moments span 108 million days.
    i32::try_from(micros.div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// `YYYY-MM-DD` as days since 2000-01-01.
fn days(date: &[u8; 10]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let (year, month, day) = (two(y1, y2)? * 100 + two(y3, y4)?, two(m1, m2)?, two(d1, d2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    // Years are counted from March on, so that a leap day is the last day of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    // 730 425 days lie between 0000-03-01 and 2000-01-01.
    Some(year * 365 + year / 4 - year / 100 + year / 400 + of_year - 730_425)
}

/// `HH:MM[:SS[.fraction]]` and its zone: microseconds since midnight UTC of the date before it.
#[inline]
fn time_of_day(text: &[u8]) -> Option<i64> {
    let &[h1, h2, b':', m1, m2, ref rest @ ..] = text else {
        return None;
    };
    let (hour, minute) = (two(h1, h2)?, two(m1, m2)?);
    let (mut second, mut micros, mut zone) = (0, 0, rest);
    if let &[b':', s1, s2, ref rest @ ..] = rest {
        second = two(s1, s2)?;
        zone = rest;
        if let [b'.' | b',', digits @ ..] = rest {
            (micros, zone) = fraction(digits)?;
        }
    }
    // Second 60 is a leap second: the next minute's start, as PostgreSQL has it.
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let time = hour * HOUR + minute * MINUTE + second * SECOND + micros;
    if hour == 24 && time != DAY {
        return None;
    }
    if zone.is_empty() {
        return Some(time);
    }
    Some(time - offset(zone)?)
}

/// The digits after the point, rounded half up to the microsecond, and what follows them.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let (mut micros, mut unit) = (0, 100_000);
    let mut count = 0;
    while let Some(&digit @ b'0'..=b'9') = text.get(count) {
        micros += i64::from(digit - b'0') * unit;
        unit /= 10;
        count += 1;
        if count == 6 {
            break;
        }
    }
    if count == 6 && text.get(6).is_some_and(u8::is_ascii_digit) {
        micros += i64::from(text[6] >= b'5');
        count = text
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(text.len());
    }
    (count > 0).then(|| (micros, &text[count..]))
}

/// A zone's offset from UTC; a space may stand before it.
fn offset(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, hours, minutes) = match *text {
        [b'Z' | b'z'] => return Some(0),
        [sign, h1, h2] => (sign, two(h1, h2)?, 0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, two(h1, h2)?, two(m1, m2)?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = hours * HOUR + minutes * MINUTE;
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

/// A number as Unix time. Its size tells its unit: until the year 5138 seconds have eleven digits at most.
fn from_unix(value: &Value<'_>) -> Result<i64, Wrong> {
    let number = value.number();
    let (mantissa, exponent) = if number.exact {
        (u128::from(number.mantissa), i64::from(number.exponent))
    } else {
        let (mantissa, exponent, _) = Decimal::read(value.raw()).leading();
        (mantissa, exponent)
    };
    let power = [(11, 6), (14, 3), (17, 0)]
        .into_iter()
        .find(|&(limit, _)| below(mantissa, exponent, limit))
        .map_or(-3, |(_, power)| power);
    let magnitude = i128::try_from(mantissa).map_err(|_| BEYOND)?;
    let signed = if number.negative { -magnitude } else { magnitude };
    let unix = scaled(signed, exponent + power).ok_or(BEYOND)?;
    let micros = i64::try_from(unix - i128::from(EPOCH * SECOND)).map_err(|_| BEYOND)?;
    within(micros)
}

/// Whether `mantissa × 10^exponent` is less than `10^limit`.
fn below(mantissa: u128, exponent: i64, limit: i64) -> bool {
    match u32::try_from(limit - exponent) {
        // A mantissa has 38 digits at most.
        Ok(power) => 10_u128.checked_pow(power).is_none_or(|power| mantissa < power),
        Err(_) => mantissa == 0 || exponent < limit,
    }
}

/// `number × 10^exponent`, rounded half up.
fn scaled(number: i128, exponent: i64) -> Option<i128> {
    if number == 0 {
        return Some(0);
    }
    let power = u32::try_from(exponent.unsigned_abs())
        .ok()
        .and_then(|power| 10_i128.checked_pow(power));
    match power {
        Some(power) if exponent >= 0 => number.checked_mul(power),
        Some(power) => Some((number + power / 2).div_euclid(power)),
        // Less than a half of one.
        None if exponent < 0 => Some(0),
        None => None,
    }
}

/// Kafka's timestamps: milliseconds since the Unix epoch.
pub(super) fn from_unix_millis(millis: i64) -> Result<i64, Wrong> {
    let micros = millis
        .checked_mul(1000)
        .and_then(|unix| unix.checked_sub(EPOCH * SECOND));
    within(micros.ok_or(BEYOND)?)
}

fn within(micros: i64) -> Result<i64, Wrong> {
    if (FIRST..END).contains(&micros) {
        Ok(micros)
    } else {
        Err(BEYOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::decode::Decoder;

    fn read(value: &str) -> Result<i64, Wrong> {
        let mut decoder = Decoder::default();
        let payload = format!(r#"{{"type":"t","a":{value}}}"#);
        let event = decoder.decode(Some(payload.as_bytes())).expect(value);
        Clock::default().micros(&event.get("a").expect("a"), &mut Vec::new())
    }

    fn expected(text: &str) -> i64 {
        let moment: jiff::Timestamp = text.parse().expect(text);
        moment.as_microsecond() - EPOCH * SECOND
    }

    #[test]
    fn texts_are_read_in_all_their_shapes() {
        for (text, same) in [
            ("2025-01-01T12:00:00.123456", "2025-01-01T12:00:00.123456Z"),
            ("2025-01-01T23:59:59.000001+00:00", "2025-01-01T23:59:59.000001Z"),
            ("2025-01-01T09:08:07.654321-01:30", "2025-01-01T10:38:07.654321Z"),
            ("2016-12-31T23:59:60.000000Z", "2017-01-01T00:00:00Z"),
            ("2025-01-01T24:00:00.000000", "2025-01-02T00:00:00Z"),
            ("2025-01-01", "2025-01-01T00:00:00Z"),
            ("2025-01-01 12:30", "2025-01-01T12:30:00Z"),
            ("2025-01-01t12:30:15z", "2025-01-01T12:30:15Z"),
            ("2025-01-01T12:30:15+02:00", "2025-01-01T10:30:15Z"),
            ("2025-01-01T12:30:15-0230", "2025-01-01T15:00:15Z"),
            ("2025-01-01T01:30:15.5+02", "2024-12-31T23:30:15.5Z"),
            ("2025-01-01T12:30 +02", "2025-01-01T10:30:00Z"),
            ("2025-01-01T12:30:00 Z", "2025-01-01T12:30:00Z"),
            ("2025-01-01T12:30:00,25", "2025-01-01T12:30:00.25Z"),
            ("2025-01-01T12:30:00.1234564999", "2025-01-01T12:30:00.123456Z"),
            ("2025-01-01T12:30:00.1234565", "2025-01-01T12:30:00.123457Z"),
            ("2024-12-31T23:59:59.9999995", "2025-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60", "2017-01-01T00:00:00Z"),
            ("2024-02-28T24:00:00", "2024-02-29T00:00:00Z"),
            ("2024-02-29T24:00", "2024-03-01T00:00:00Z"),
            ("2000-02-29", "2000-02-29T00:00:00Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999-00:00"),
        ] {
            if let Ok(same) = same.parse::<jiff::Timestamp>() {
                assert_eq!(
                    read(&format!("\"{text}\"")),
                    Ok(same.as_microsecond() - EPOCH * SECOND),
                    "{text}"
                );
            } else {
                assert!(read(&format!("\"{text}\"")).is_ok(), "{text}");
            }
        }
        assert_eq!(read(r#""2025\u002d01-01""#), Ok(expected("2025-01-01T00:00:00Z")));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2025",
            "2025-1-1",
            "2025-13-01",
            "2025-00-01",
            "2025-01-00",
            "2025-04-31",
            "2025-02-29",
            "1900-02-29",
            "0000-01-01",
            "-001-01-01",
            "2025-01-01T",
            "2025-01-01T12",
            "2025-01-01T1:00",
            "2025-01-01T25:00",
            "2025-01-01T12:00:00.12345:",
            "2025-01-01T12:00:00:123456",
            "2025-01-01T12.00.00.123456",
            "2025-01-01T12:0x:00.123456",
            "2025-01-01T29:00:00.123456",
            "2025-01-01T12:61:00.123456",
            "2025-01-01T12:00:62.123456",
            "2025-01-01T12:00:00.123456+1",
            "2025-01-01T24:00:01",
            "2025-01-01T24:00:00.000001",
            "2025-01-01T24:01",
            "2025-01-01T12:60",
            "2025-01-01T12:00:61",
            "2025-01-01T12:00:00.",
            "2025-01-01T12:00:00.x",
            "2025-01-01T12:00:00.5x",
            "2025-01-01T12:00:00+",
            "2025-01-01T12:00:00+2",
            "2025-01-01T12:00:00+24",
            "2025-01-01T12:00:00+02:60",
            "2025-01-01T12:00:00+02:00:00",
            "2025-01-01T12:00:00  Z",
            "2025-01-01T12:00:00 ",
            "2025-01-01Z",
            "2025-01-01T12:00:00 UTC",
            " 2025-01-01",
            "2025-01-01 ",
            "20250101T120000",
            "1735732800",
            "now",
            "2025/01/01",
            "2025-01-01x12:00",
            r"\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000",
        ] {
            assert_eq!(read(&format!("\"{text}\"")), Err(WRONG), "{text}");
        }
        for value in ["NaN", "Infinity", "true", "[]", "{}"] {
            assert_eq!(read(value), Err(WRONG), "{value}");
        }
    }

    #[test]
    fn numbers_are_unix_time_and_their_size_tells_their_unit() {
        for (number, same) in [
            ("1735732800", "2025-01-01T12:00:00Z"),
            ("1735732800.123456", "2025-01-01T12:00:00.123456Z"),
            (
                "1735732800.12345649999999999999999999",
                "2025-01-01T12:00:00.123456Z",
            ),
            ("1735732800.1234565", "2025-01-01T12:00:00.123457Z"),
            ("1.7357328e9", "2025-01-01T12:00:00Z"),
            ("1735732800123", "2025-01-01T12:00:00.123Z"),
            ("1735732800123.4567", "2025-01-01T12:00:00.123457Z"),
            ("1735732800123456", "2025-01-01T12:00:00.123456Z"),
            ("1735732800123456.5", "2025-01-01T12:00:00.123457Z"),
            ("1735732800123456789", "2025-01-01T12:00:00.123457Z"),
            ("1735732800123456789.99999999999", "2025-01-01T12:00:00.123457Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("-0.0000005", "1970-01-01T00:00:00Z"),
            ("-1.5", "1969-12-31T23:59:58.5Z"),
            ("99999999999", "5138-11-16T09:46:39Z"),
            ("100000000000", "1973-03-03T09:46:40Z"),
            ("1e-999999", "1970-01-01T00:00:00Z"),
            ("0e99999999", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(number), Ok(expected(same)), "{number}");
        }
        for number in ["1e30", "1e999999999", "-1e300", "9.3e21", "-3e20"] {
            assert_eq!(read(number), Err(BEYOND), "{number}");
        }
        assert_eq!(from_unix_millis(i64::MAX), Err(BEYOND));
    }

    #[test]
    fn days_are_those_of_utc_before_the_epoch_too() {
        assert_eq!(day(-1), -1);
        assert_eq!(day(DAY - 1), 0);
    }
}
