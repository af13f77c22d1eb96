//! Owns JSON numbers as PostgreSQL's floats and integers. Floats are rounded once, from the digits to the column's
//! width; integers are exact, whatever the exponent, without a float on the way.

use super::refuse::Wrong;
use crate::dead_letter::Reason;
use crate::pipeline::decode::{Kind, Number, Value};

pub(super) const OUT_OF_RANGE: Wrong = Wrong::new(Reason::OutOfRange, "a number is out of range of");
const NOT_A_NUMBER: Wrong = Wrong::new(Reason::TypeMismatch, "a number is needed for");
const NOT_INTEGRAL: Wrong = Wrong::new(Reason::TypeMismatch, "a number without a fraction is needed for");

/// Powers of ten that a `f64` holds exactly.
const POW10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A number of up to seven digits, which the decoder told apart: whole and divisor are exact, so that the one operation
/// rounds once, to the nearest f64.
#[inline]
pub(super) fn short_float8(number: &Number) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seven digits: none is lost")]
    let whole = number.mantissa.cast_signed() as f64;
    let signed = if number.negative { -whole } else { whole };
    signed / POW10[usize::from(number.exponent.wrapping_neg().cast_unsigned() & 7)]
}

/// The same as an integer, where it has no fraction.
#[inline]
pub(super) fn short_integer(number: &Number) -> Option<i32> {
    if number.exponent != 0 {
        return None;
    }
    let magnitude = i32::try_from(number.mantissa).ok()?;
    Some(if number.negative { -magnitude } else { magnitude })
}

pub(super) fn float8(value: &Value<'_>) -> Result<f64, Wrong> {
    if value.kind() == Kind::Number {
        let number = value.number();
        if number.exact && number.mantissa <= 1 << 53 && (-22..=0).contains(&number.exponent) {
            // Both operands are exact, so that the one operation rounds once: the result is the nearest f64.
            #[expect(clippy::cast_precision_loss, reason = "up to 2^53 none is lost")]
            let whole = number.mantissa as f64;
            let signed = if number.negative { -whole } else { whole };
            return Ok(signed / POW10[usize::from(number.exponent.unsigned_abs())]);
        }
    }
    any_float8(value)
}

fn any_float8(value: &Value<'_>) -> Result<f64, Wrong> {
    match value.kind() {
        Kind::Number => {}
        Kind::NaN => return Ok(f64::NAN),
        Kind::Infinity => return Ok(f64::INFINITY),
        Kind::NegInfinity => return Ok(f64::NEG_INFINITY),
        _ => return Err(NOT_A_NUMBER),
    }
    let number = value.number();
    if number.exact && number.mantissa > 0 && (-19..0).contains(&number.exponent) {
        let float = quotient(number.mantissa, u32::from(number.exponent.unsigned_abs()));
        return Ok(if number.negative { -float } else { float });
    }
    let float = parsed::<f64>(value)?;
    if float.is_infinite() {
        Err(OUT_OF_RANGE)
    } else {
        Ok(float)
    }
}

/// The `f64` nearest to `mantissa / 10^power`, for floats that are written with all their digits: one division of
/// integers, a fraction of what reading the text again takes. `mantissa` isn't zero, `power` is 19 at most.
fn quotient(mantissa: u64, power: u32) -> f64 {
    let divisor = 10_u64.pow(power);
    let (up, down) = (mantissa.leading_zeros(), divisor.leading_zeros());
    // Both with their highest bit set: the quotient has 63 or 64 bits.
    let dividend = u128::from(mantissa << up) << 63;
    let divisor = divisor << down;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than 2^127 / 2^63; and its lower half alone counts"
    )]
    let (quotient, low) = ((dividend / u128::from(divisor)) as u64, dividend as u64);
    let remainder = low.wrapping_sub(quotient.wrapping_mul(divisor));
    // An f64 keeps 53 bits. Of those that it drops the lowest tells whether anything follows, which is all that
    // matters for rounding to the nearest, and to the even one of two.
    #[expect(clippy::cast_precision_loss, reason = "this is the rounding")]
    let rounded = (quotient | u64::from(remainder != 0)) as f64;
    // A power of two, by its exponent's bits: exact.
    rounded * f64::from_bits(u64::from(1023 - 63 + down - up) << 52)
}

pub(super) fn float4(value: &Value<'_>) -> Result<f32, Wrong> {
    if value.kind() != Kind::Number {
        // NaN and the infinities are the same in both widths.
        #[expect(clippy::cast_possible_truncation, reason = "none of these is a finite number")]
        return any_float8(value).map(|float| float as f32);
    }
    let number = value.number();
    if number.exact && number.mantissa <= 1 << 24 && (-10..=0).contains(&number.exponent) {
        // Exact in f32, like the powers of ten up to the tenth: rounded once, as above.
        #[expect(clippy::cast_precision_loss, reason = "up to 2^24 none is lost")]
        let whole = number.mantissa as f32;
        let signed = if number.negative { -whole } else { whole };
        #[expect(clippy::cast_possible_truncation, reason = "exact")]
        return Ok(signed / POW10[usize::from(number.exponent.unsigned_abs())] as f32);
    }
    // From the digits: by way of f64 it would be rounded twice.
    let float = parsed::<f32>(value)?;
    if float.is_infinite() {
        Err(OUT_OF_RANGE)
    } else {
        Ok(float)
    }
}

fn parsed<T: std::str::FromStr>(value: &Value<'_>) -> Result<T, Wrong> {
    let text = std::str::from_utf8(value.raw()).map_err(|_| NOT_A_NUMBER)?;
    text.parse().map_err(|_| NOT_A_NUMBER)
}

#[inline]
pub(super) fn integer(value: &Value<'_>) -> Result<i64, Wrong> {
    if value.kind() != Kind::Number {
        return Err(NOT_A_NUMBER);
    }
    let number = value.number();
    if number.exact && number.exponent == 0 {
        return signed(number.negative, number.mantissa);
    }
    scaled(value.raw(), number)
}

#[cold]
fn scaled(text: &[u8], number: &Number) -> Result<i64, Wrong> {
    let (mantissa, exponent) = if number.exact {
        (u128::from(number.mantissa), i64::from(number.exponent))
    } else {
        let decimal = Decimal::read(text);
        let (mantissa, exponent, whole) = decimal.leading();
        if !whole {
            // More than 38 digits, the last of them not zero: too large, or not integral.
            return Err(if exponent + LEADING < decimal.significant() {
                NOT_INTEGRAL
            } else {
                OUT_OF_RANGE
            });
        }
        (mantissa, exponent)
    };
    let magnitude = if mantissa == 0 {
        0
    } else if exponent >= 0 {
        let power = u32::try_from(exponent)
            .ok()
            .and_then(|exponent| 10_u128.checked_pow(exponent));
        power
            .and_then(|power| mantissa.checked_mul(power))
            .ok_or(OUT_OF_RANGE)?
    } else {
        // 10^39 is more than any mantissa: what is left is a fraction.
        let power = u32::try_from(-exponent)
            .ok()
            .and_then(|exponent| 10_u128.checked_pow(exponent));
        match power {
            Some(power) if mantissa % power == 0 => mantissa / power,
            _ => return Err(NOT_INTEGRAL),
        }
    };
    signed(
        number.negative,
        u64::try_from(magnitude).map_err(|_| OUT_OF_RANGE)?,
    )
}

#[inline]
fn signed(negative: bool, magnitude: u64) -> Result<i64, Wrong> {
    if negative {
        0_i64.checked_sub_unsigned(magnitude).ok_or(OUT_OF_RANGE)
    } else {
        i64::try_from(magnitude).map_err(|_| OUT_OF_RANGE)
    }
}

/// Exponents are cut off here: beyond every limit.
const FAR: i64 = 1_000_000_000;

/// So many digits fit an `i128`.
const LEADING: i64 = 38;

/// A number's text, taken apart: `whole.fraction × 10^exponent`.
pub(super) struct Decimal<'a> {
    pub(super) negative: bool,
    pub(super) whole: &'a [u8],
    pub(super) fraction: &'a [u8],
    /// Cut off at `FAR`, up or down.
    pub(super) exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Takes apart a number that is valid by JSON's grammar.
    pub(super) fn read(text: &'a [u8]) -> Self {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let letter = text.iter().position(|byte| byte | 0x20 == b'e');
        let (digits, exponent) = text.split_at(letter.unwrap_or(text.len()));
        let (whole, fraction) = match digits.iter().position(|&byte| byte == b'.') {
            Some(point) => (&digits[..point], &digits[point + 1..]),
            None => (digits, &[][..]),
        };
        let mut value = 0;
        for digit in exponent.iter().filter(|byte| byte.is_ascii_digit()) {
            value = (value * 10 + i64::from(digit - b'0')).min(FAR);
        }
        let exponent = if exponent.get(1) == Some(&b'-') {
            -value
        } else {
            value
        };
        Self {
            negative,
            whole,
            fraction,
            exponent,
        }
    }

    /// Whether its exponent is not cut off.
    pub(super) fn is_near(&self) -> bool {
        self.exponent.abs() < FAR
    }

    /// How many digits there are.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// The digit at a place, counted from the first one on.
    pub(super) fn digit(&self, at: usize) -> u8 {
        let digit = self
            .whole
            .get(at)
            .or_else(|| self.fraction.get(at - self.whole.len()));
        digit.map_or(0, |digit| digit - b'0')
    }

    /// The places of the first digit and the last one that aren't zero.
    pub(super) fn nonzero(&self) -> Option<(usize, usize)> {
        let first = (0..self.len()).find(|&at| self.digit(at) != 0)?;
        let last = (first..self.len()).rev().find(|&at| self.digit(at) != 0)?;
        Some((first, last))
    }

    /// How many digits stand from the first one that isn't zero to the last one that isn't.
    fn significant(&self) -> i64 {
        self.nonzero().map_or(0, |(first, last)| place(last - first + 1))
    }

    /// The number as `mantissa × 10^exponent`, of at most 38 digits, and whether that is all of it. Its sign is
    /// left out.
    pub(super) fn leading(&self) -> (u128, i64, bool) {
        let Some((first, last)) = self.nonzero() else {
            return (0, 0, true);
        };
        let end = last.min(first + 37);
        let mantissa = (first..=end).fold(0, |value, at| value * 10 + u128::from(self.digit(at)));
        let exponent = place(self.whole.len()) - place(end + 1) + self.exponent;
        (mantissa, exponent, end == last)
    }
}

/// A place in a payload as a number that may be subtracted.
pub(super) fn place(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotients_halfway_between_two_floats_go_to_the_even_one() {
        // 2^53 + 1, + 2, + 3; and 2^52 + 1/2, + 3/2.
        for text in [
            "9007199254740993.0",
            "9007199254740994.0",
            "9007199254740995.00",
            "4503599627370496.5",
            "4503599627370497.5",
        ] {
            let (whole, fraction) = text.split_once('.').expect("a point");
            let mantissa = format!("{whole}{fraction}").parse().expect("digits");
            let power = u32::try_from(fraction.len()).expect("few");
            let expected: f64 = text.parse().expect("a float");
            assert_eq!(quotient(mantissa, power).to_bits(), expected.to_bits(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn quotients_are_the_nearest_floats(mantissa in 1..=u64::MAX, shift in 0..64_u32, power in 1..=19_u32) {
            let mantissa = (mantissa >> shift).max(1);
            let expected: f64 = format!("{mantissa}e-{power}").parse().expect("a float");
            prop_assert_eq!(quotient(mantissa, power).to_bits(), expected.to_bits());
        }
    }
}
