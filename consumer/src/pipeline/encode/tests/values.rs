//! The event contract by examples: what a column of each type takes, one rule a test.

use super::*;

#[test]
fn floats_take_numbers_and_pythons_constants() {
    let float =
        |value: &str| cell(ColumnType::Float8, value).map(|b| f64::from_be_bytes(b.try_into().expect("8")));
    for text in [
        "0",
        "1",
        "45.23",
        "-0.0",
        "1e22",
        "1e23",
        "1e-22",
        "123456789012345678",
        "0.1234567890123456789",
        "9007199254740993",
        "1.7976931348623157e308",
        "5e-324",
        "1e-400",
        "8.5e-9",
        "100.0",
    ] {
        let expected: f64 = text.parse().expect("a float");
        assert_eq!(float(text).expect(text).to_bits(), expected.to_bits(), "{text}");
    }
    assert!(float("NaN").expect("NaN").is_nan());
    assert_eq!(float("Infinity"), Ok(f64::INFINITY));
    assert_eq!(float("-Infinity"), Ok(f64::NEG_INFINITY));
    for text in ["1e309", "-1e309", "1e99999999999999999999"] {
        assert_eq!(reason(ColumnType::Float8, text), Reason::OutOfRange, "{text}");
    }
    for text in [r#""1""#, "true", "[]", "{}"] {
        assert_eq!(reason(ColumnType::Float8, text), Reason::TypeMismatch, "{text}");
    }
}

#[test]
fn reals_are_rounded_once_and_bounded() {
    let float =
        |value: &str| cell(ColumnType::Float4, value).map(|b| f32::from_be_bytes(b.try_into().expect("4")));
    for text in [
        "0.1",
        "16777217",
        "1.00000017881393432617187499",
        "1e-46",
        "3.4028234e38",
    ] {
        assert_eq!(float(text), Ok(text.parse().expect("a float")), "{text}");
    }
    assert_eq!(float("-Infinity"), Ok(f32::NEG_INFINITY));
    assert_eq!(reason(ColumnType::Float4, "1e39"), Reason::OutOfRange);
}

#[test]
fn integers_take_integral_numbers_in_range() {
    let int =
        |value: &str| cell(ColumnType::Int8, value).map(|b| i64::from_be_bytes(b.try_into().expect("8")));
    for (text, expected) in [
        ("7", 7),
        ("7.0", 7),
        ("7e0", 7),
        ("70e-1", 7),
        ("0.07E+2", 7),
        ("-0", 0),
        ("-0.0", 0),
        ("0e999999999999", 0),
        ("0.000e-999999999999", 0),
        ("9007199254740993.0", 9_007_199_254_740_993),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        (
            "9223372036854775807.0000000000000000000000000000000000000000000000",
            i64::MAX,
        ),
        ("-922337203685477580.80000000000000000000000e1", i64::MIN),
        ("1000000000000000000000000000000e-30", 1),
    ] {
        assert_eq!(int(text), Ok(expected), "{text}");
    }
    for text in [
        "7.5",
        "1e-1",
        "1e-999999999",
        "0.1e-9999999999999999999999",
        "1.00000000000000000000000001",
    ] {
        assert_eq!(reason(ColumnType::Int8, text), Reason::TypeMismatch, "{text}");
    }
    let sixty = format!("1{}.5", "2".repeat(60));
    assert_eq!(reason(ColumnType::Int8, &sixty), Reason::TypeMismatch);
    let whole = format!("1{}", "2".repeat(60));
    for text in [
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1e999999999999",
        "18446744073709551616",
        &whole,
    ] {
        assert_eq!(reason(ColumnType::Int8, text), Reason::OutOfRange, "{text}");
    }
    assert_eq!(
        cell(ColumnType::Int4, "-2147483648"),
        Ok(i32::MIN.to_be_bytes().into())
    );
    assert_eq!(reason(ColumnType::Int4, "2147483648"), Reason::OutOfRange);
    assert_eq!(
        cell(ColumnType::Int2, "3.2767e4"),
        Ok(i16::MAX.to_be_bytes().into())
    );
    assert_eq!(reason(ColumnType::Int2, "32768"), Reason::OutOfRange);
    for text in [r#""7""#, "NaN", "true"] {
        assert_eq!(reason(ColumnType::Int4, text), Reason::TypeMismatch, "{text}");
    }
}

/// Count of groups, weight, sign, scale, and the groups.
fn numeric(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
    let count = u16::try_from(groups.len()).expect("few");
    let head = [count, weight.cast_unsigned(), sign, scale];
    head.iter()
        .chain(groups)
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

#[test]
fn numerics_are_kept_digit_for_digit() {
    for (text, expected) in [
        ("0", numeric(0, 0, 0, &[])),
        ("-0.00", numeric(0, 0, 2, &[])),
        ("1", numeric(0, 0, 0, &[1])),
        ("1.50", numeric(0, 0, 2, &[1, 5000])),
        ("-12345.678", numeric(1, 0x4000, 3, &[1, 2345, 6780])),
        ("1e3", numeric(0, 0, 0, &[1000])),
        ("1e-5", numeric(-2, 0, 5, &[1000])),
        ("1.5e1", numeric(0, 0, 0, &[15])),
        ("10000", numeric(1, 0, 0, &[1])),
        ("100000000.0001", numeric(2, 0, 4, &[1, 0, 0, 1])),
        ("0.0001", numeric(-1, 0, 4, &[1])),
        ("1e131071", numeric(32767, 0, 0, &[1000])),
        ("0e999999999999", numeric(0, 0, 0, &[])),
        ("1e-16383", numeric(-4096, 0, 16383, &[10])),
    ] {
        assert_eq!(cell(ColumnType::Numeric, text), Ok(expected), "{text}");
    }
    for text in ["1e131072", "1e-16384", "0e-16384", "1e999999999999999999999"] {
        assert_eq!(reason(ColumnType::Numeric, text), Reason::OutOfRange, "{text}");
    }
    for text in ["NaN", "Infinity", r#""1""#, "false"] {
        assert_eq!(reason(ColumnType::Numeric, text), Reason::TypeMismatch, "{text}");
    }
}

#[test]
fn texts_take_strings_and_the_json_text_of_scalars() {
    for (value, expected) in [
        (r#""plain""#, "plain"),
        (r#""\u00e4\n\"""#, "\u{e4}\n\""),
        ("\"\u{1f600}\"", "\u{1f600}"),
        ("1.50", "1.50"),
        ("true", "true"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        (r#""""#, ""),
    ] {
        assert_eq!(cell(ColumnType::Text, value), Ok(expected.into()), "{value}");
    }
    assert_eq!(reason(ColumnType::Text, "{}"), Reason::TypeMismatch);
    assert_eq!(reason(ColumnType::Text, "[1]"), Reason::TypeMismatch);
    assert_eq!(reason(ColumnType::Text, r#""a\u0000b""#), Reason::NulCharacter);
    for value in ["\"\u{e4}\u{e4}\u{e4}\"", r#""\u00e4\u00e4\u00e4""#, "1.5"] {
        assert!(cell(ColumnType::Varchar(3), value).is_ok(), "{value}");
        assert_eq!(reason(ColumnType::Varchar(2), value), Reason::TooLong, "{value}");
    }
}

#[test]
fn booleans_and_uuids_take_nothing_else() {
    assert_eq!(cell(ColumnType::Bool, "true"), Ok(vec![1]));
    assert_eq!(cell(ColumnType::Bool, "false"), Ok(vec![0]));
    for value in ["1", r#""true""#, "NaN"] {
        assert_eq!(reason(ColumnType::Bool, value), Reason::TypeMismatch, "{value}");
    }
    let expected: Vec<u8> = (1..=8).chain(0xf1..=0xf8).collect();
    for value in [
        "01020304-0506-0708-f1f2-f3f4f5f6f7f8",
        "01020304-0506-0708-F1F2-F3F4F5F6F7F8",
        "0102030405060708f1f2f3f4f5f6f7f8",
        "{01020304-0506-0708-f1f2-f3f4f5f6f7f8}",
        r"\u00301020304-0506-0708-f1f2-f3f4f5f6f7f8",
    ] {
        assert_eq!(
            cell(ColumnType::Uuid, &format!("\"{value}\"")),
            Ok(expected.clone()),
            "{value}"
        );
    }
    for value in [
        "",
        "{",
        "01020304-0506-0708-f1f2-f3f4f5f6f7f",
        "0102030405-06-0708-f1f2-f3f4f5f6f7f8",
        "g1020304-0506-0708-f1f2-f3f4f5f6f7f8",
        "{01020304-0506-0708-f1f2-f3f4f5f6f7f8",
        "01020304 0506 0708 f1f2 f3f4f5f6f7f8",
    ] {
        assert_eq!(
            reason(ColumnType::Uuid, &format!("\"{value}\"")),
            Reason::TypeMismatch,
            "{value}"
        );
    }
    assert_eq!(reason(ColumnType::Uuid, "1"), Reason::TypeMismatch);
}

#[test]
fn documents_keep_their_text() {
    let jsonb = |value: &str| cell(ColumnType::Jsonb, value);
    for value in [r#"{"a" : [1, "x\n"]}"#, "1.50", r#""s""#, "true", "[]"] {
        assert_eq!(cell(ColumnType::Json, value), Ok(value.into()));
        assert_eq!(jsonb(value), Ok([b"\x01", value.as_bytes()].concat()));
    }
    let value = r#"{"NaN":[NaN,-Infinity,{"a\"":Infinity,"b\\":-1}],"c":"Infinity"}"#;
    let expected = r#"{"NaN":["NaN","-Infinity",{"a\"":"Infinity","b\\":-1}],"c":"Infinity"}"#;
    assert_eq!(cell(ColumnType::Json, value), Ok(expected.into()));
    assert_eq!(cell(ColumnType::Json, "NaN"), Ok(r#""NaN""#.into()));
    for value in [r#""\u0000""#, r#"[{"\u0000":1}]"#] {
        assert_eq!(jsonb(value).expect_err(value).reason, Reason::NulCharacter);
        assert!(cell(ColumnType::Json, value).is_ok());
    }
    assert!(jsonb(r#""\\u0000""#).is_ok());
}
