//! Moments by the event contract, as microseconds since 2000-01-01 UTC, written without a look at the encoder.

use super::cells::decimal;

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().expect("few digits"))
}

/// ISO 8601 text as microseconds since 2000-01-01 UTC.
pub fn moment(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = date.split('-').collect::<Vec<_>>().try_into().ok()?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [
        31,
        if leap { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let months = lengths.get(..usize::try_from(month).ok()?)?;
    let (length, before) = months.split_last()?;
    if year == 0 || day == 0 || day > *length {
        return None;
    }
    let years = year - 1;
    // 730 119 days lie between 0001-01-01 and 2000-01-01.
    let days =
        years * 365 + years / 4 - years / 100 + years / 400 + before.iter().sum::<i64>() + day - 1 - 730_119;
    let midnight = days * 86_400_000_000;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let zone = rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let (time, fraction) = match time.split_once(['.', ',']) {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let parts: Vec<&str> = time.split(':').collect();
    let (hour, minute) = (digits(parts.first()?, 2)?, digits(parts.get(1)?, 2)?);
    let second = parts.get(2).map_or(Some(0), |second| digits(second, 2))?;
    if parts.len() > 3 || hour > 24 || minute > 59 || second > 60 || (fraction.is_some() && parts.len() != 3)
    {
        return None;
    }
    let micros = match fraction {
        Some(fraction) => {
            if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let seven: i64 = format!("{fraction:0<7}")[..7].parse().expect("digits");
            (seven + 5) / 10
        }
        None => 0,
    };
    let time = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    if hour == 24 && time != 86_400_000_000 {
        return None;
    }
    let zone = match zone.strip_prefix(' ').map_or(zone, |zone| zone) {
        "" if zone.is_empty() => 0,
        "Z" | "z" => 0,
        zone => {
            let sign = match zone.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let zone = &zone[1..];
            let (hours, minutes) = match zone.split_once(':') {
                Some(parts) => parts,
                None if zone.len() == 2 => (zone, "00"),
                None => zone.split_at_checked(2)?,
            };
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 60 + minutes) * 60_000_000
        }
    };
    Some(midnight + time - zone)
}

/// Unix time as microseconds since 2000-01-01 UTC; rounded half up.
pub fn unix(raw: &str) -> Option<i64> {
    let (negative, digits, exponent) = decimal(raw);
    let size = digits.len() as i64 + exponent;
    let power = match size {
        _ if digits.is_empty() => 0,
        ..=11 => 6,
        12..=14 => 3,
        15..=17 => 0,
        18..=30 => -3,
        _ => return None,
    };
    let exponent = exponent + power;
    // The digits before the point of the microseconds, and those behind it.
    let padded = format!("{digits}{}", "0".repeat(exponent.clamp(0, 40) as usize));
    let behind = usize::try_from(-exponent).unwrap_or(0);
    let (whole, fraction) = match padded.len().checked_sub(behind) {
        Some(point) => padded.split_at(point),
        None => ("", "0"),
    };
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().expect("few digits")
    };
    let up = fraction.starts_with(['5', '6', '7', '8', '9'])
        && !(negative && fraction.starts_with('5') && fraction[1..].bytes().all(|byte| byte == b'0'));
    let magnitude = whole + i128::from(up);
    let micros = if negative { -magnitude } else { magnitude } - 946_684_800_000_000;
    // From 4714-11-24 BC to before 294277-01-01.
    (-211_813_488_000_000_000..9_223_371_331_200_000_000)
        .contains(&micros)
        .then(|| i64::try_from(micros).expect("in range"))
}
