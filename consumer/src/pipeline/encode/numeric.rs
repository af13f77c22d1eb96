//! Owns JSON numbers in the binary format of PostgreSQL's `numeric`, digit for digit: groups of four decimal digits
//! around the point, and how many digits stand after it (`1.50` is not `1.5`).
//!
//! The format is that of `numeric_send` in PostgreSQL's `src/backend/utils/adt/numeric.c`.

use super::close;
use super::number::{Decimal, OUT_OF_RANGE, place};
use super::refuse::Wrong;
use crate::dead_letter::Reason;
use crate::pipeline::decode::{Kind, Value};

/// So many digits may stand before the point.
const BEFORE: i64 = 131_072;
/// And so many after it.
const AFTER: i64 = 16_383;
const NEGATIVE: u16 = 0x4000;

/// Appends a number with its length.
pub(super) fn append(value: &Value<'_>, rows: &mut Vec<u8>) -> Result<(), Wrong> {
    if value.kind() != Kind::Number {
        return Err(Wrong::new(Reason::TypeMismatch, "a number is needed for"));
    }
    let decimal = Decimal::read(value.raw());
    if !fits(&decimal) {
        return Err(OUT_OF_RANGE);
    }
    let scale = u16::try_from(scale(&decimal)).map_err(|_| OUT_OF_RANGE)?;
    let start = rows.len();
    rows.extend_from_slice(&[0; 4]);
    let Some((first, last)) = decimal.nonzero() else {
        header(rows, 0, 0, 0, scale);
        close(rows, start);
        return Ok(());
    };
    // The digit at place `at` counts 10^(point - 1 - at).
    let point = place(decimal.whole.len()) + decimal.exponent;
    let weight = (point - 1 - place(first)).div_euclid(4);
    let lowest = (point - 1 - place(last)).div_euclid(4);
    let groups = u16::try_from(weight - lowest + 1).map_err(|_| OUT_OF_RANGE)?;
    let sign = if decimal.negative { NEGATIVE } else { 0 };
    header(
        rows,
        groups,
        i16::try_from(weight).map_err(|_| OUT_OF_RANGE)?,
        sign,
        scale,
    );
    for group in (lowest..=weight).rev() {
        let mut digits = 0;
        for power in (group * 4..group * 4 + 4).rev() {
            let at = usize::try_from(point - 1 - power).ok();
            let digit = at
                .filter(|at| (first..=last).contains(at))
                .map_or(0, |at| decimal.digit(at));
            digits = digits * 10 + u16::from(digit);
        }
        rows.extend_from_slice(&digits.to_be_bytes());
    }
    close(rows, start);
    Ok(())
}

/// Digits after the point.
fn scale(decimal: &Decimal<'_>) -> i64 {
    (place(decimal.fraction.len()) - decimal.exponent).max(0)
}

/// Whether a number is within `numeric`'s limits.
pub(super) fn fits(decimal: &Decimal<'_>) -> bool {
    let whole = |first| place(decimal.whole.len()) + decimal.exponent - place(first);
    scale(decimal) <= AFTER && decimal.nonzero().is_none_or(|(first, _)| whole(first) <= BEFORE)
}

fn header(rows: &mut Vec<u8>, groups: u16, weight: i16, sign: u16, scale: u16) {
    rows.extend_from_slice(&groups.to_be_bytes());
    rows.extend_from_slice(&weight.to_be_bytes());
    rows.extend_from_slice(&sign.to_be_bytes());
    rows.extend_from_slice(&scale.to_be_bytes());
}
