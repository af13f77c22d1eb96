//! The event contract by examples, one rule a test.

use super::*;
use crate::offsets::{Offset, Partition};
use crate::pipeline::decode::Decoder;
use crate::table::TableName;

pub(super) fn column(name: &str, kind: ColumnType) -> Column {
    let source = match name {
        "extra" => Source::Extra,
        "kafka_topic" => Source::KafkaTopic,
        "kafka_partition" => Source::KafkaPartition,
        "kafka_offset" => Source::KafkaOffset,
        "kafka_timestamp" => Source::KafkaTimestamp,
        "kafka_key" => Source::KafkaKey,
        _ => Source::Field,
    };
    Column {
        name: name.to_owned(),
        kind,
        not_null: false,
        default: None,
        source,
    }
}

pub(super) fn table(columns: Vec<Column>) -> Table {
    Table {
        name: TableName {
            schema: None,
            name: "t".to_owned(),
        },
        columns,
        key: Vec::new(),
        fingerprint: String::new(),
    }
}

pub(super) fn coordinates<'a>() -> Coordinates<'a> {
    Coordinates {
        topic: "metrics",
        partition: Partition(3),
        offset: Offset(41),
        timestamp_ms: Some(946_684_800_001),
        key: Some(b"key"),
    }
}

/// The columns of one row, and the fields that had none.
type Row = (Vec<Option<Vec<u8>>>, Vec<String>);

pub(super) fn row_of(encoder: &mut Encoder, payload: &str, at: &Coordinates<'_>) -> Result<Row, Refusal> {
    let mut decoder = Decoder::default();
    let event = decoder.decode(Some(payload.as_bytes())).expect(payload);
    let (mut rows, mut keys, mut names) = (b"before".to_vec(), b"key".to_vec(), Vec::new());
    let result = encoder.encode(&event, at, &mut rows, &mut keys, &mut |name| {
        names.push(name.to_owned())
    });
    if let Err(refusal) = result {
        assert_eq!(
            (&rows[..], &keys[..]),
            (&b"before"[..], &b"key"[..]),
            "left as they were"
        );
        assert!(names.is_empty() && !refusal.detail.contains('\0'));
        return Err(refusal);
    }
    Ok((columns_of(&rows[6..]), names))
}

/// A reader of COPY BINARY rows, of its own.
pub(super) fn columns_of(row: &[u8]) -> Vec<Option<Vec<u8>>> {
    let take4 = |at: usize| i32::from_be_bytes(row[at..at + 4].try_into().expect("four bytes"));
    let count = i16::from_be_bytes(row[..2].try_into().expect("two bytes"));
    let mut at = 2;
    let mut columns = Vec::new();
    for _ in 0..count {
        let length = take4(at);
        at += 4;
        columns.push(
            usize::try_from(length)
                .ok()
                .map(|length| row[at..at + length].to_vec()),
        );
        at += usize::try_from(length).unwrap_or(0);
    }
    assert_eq!(at, row.len(), "nothing is left over");
    columns
}

/// The bytes of a value in a column of this type.
fn cell(kind: ColumnType, value: &str) -> Result<Vec<u8>, Refusal> {
    let mut encoder = Encoder::new(&table(vec![column("a", kind)]));
    let payload = format!(r#"{{"type":"t","a":{value}}}"#);
    let (columns, _) = row_of(&mut encoder, &payload, &coordinates())?;
    Ok(columns.into_iter().next().flatten().expect("not NULL"))
}

fn reason(kind: ColumnType, value: &str) -> Reason {
    cell(kind, value).expect_err(value).reason
}

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

#[test]
fn null_and_absent_are_null_or_the_default_or_refused() {
    let mut columns = vec![
        column("a", ColumnType::Int4),
        column("b", ColumnType::Json),
        column("c", ColumnType::Int4),
    ];
    columns[2].default = Some(vec![0, 0, 0, 9]);
    let mut encoder = Encoder::new(&table(columns.clone()));
    let row = |encoder: &mut Encoder, payload| row_of(encoder, payload, &coordinates());
    let nine = Some(vec![0, 0, 0, 9]);
    assert_eq!(
        row(&mut encoder, r#"{"type":"t"}"#),
        Ok((vec![None, None, nine.clone()], vec![]))
    );
    let nulls = r#"{"type":"t","a":null,"b":null,"c":null}"#;
    assert_eq!(row(&mut encoder, nulls), Ok((vec![None, None, None], vec![])));
    columns[2].not_null = true;
    let mut encoder = Encoder::new(&table(columns.clone()));
    assert_eq!(
        row(&mut encoder, r#"{"type":"t"}"#),
        Ok((vec![None, None, nine], vec![]))
    );
    let refusal = row(&mut encoder, nulls).expect_err("null");
    assert_eq!(refusal.reason, Reason::MissingField);
    assert_eq!(
        refusal.detail,
        "field \"c\": a value is needed for integer NOT NULL, found null"
    );
    columns[0].not_null = true;
    let mut encoder = Encoder::new(&table(columns));
    assert_eq!(
        row(&mut encoder, r#"{"type":"t"}"#).expect_err("absent").reason,
        Reason::MissingField
    );
}

#[test]
fn fields_come_in_any_order_and_the_last_of_a_repeated_key_wins() {
    let mut encoder = Encoder::new(&table(vec![
        column("a", ColumnType::Text),
        column("b", ColumnType::Text),
    ]));
    let expected = vec![Some(b"x".to_vec()), Some(b"y".to_vec())];
    for payload in [
        r#"{"type":"t","a":"x","b":"y"}"#,
        r#"{"b":"y","type":"t","a":"x"}"#,
        r#"{"a":"x","\u0062":"y","type":"t"}"#,
        r#"{"a":[],"b":null,"a":"x","b":"y","type":"t"}"#,
        r#"{"type":"t","a":"x","b":"y"}"#,
    ] {
        assert_eq!(
            row_of(&mut encoder, payload, &coordinates()),
            Ok((expected.clone(), vec![])),
            "{payload}"
        );
    }
}

#[test]
fn a_field_without_a_column_is_told_once_or_kept_in_extra() {
    let payload = r#"{"type":"t","u":1,"a":2,"\u0075":NaN,"v\n":{"k":1},"kafka_offset":5,"extra":6}"#;
    let mut plain = Encoder::new(&table(vec![
        column("a", ColumnType::Int2),
        column("kafka_offset", ColumnType::Int8),
    ]));
    let (columns, names) = row_of(&mut plain, payload, &coordinates()).expect("a row");
    assert_eq!(columns, [Some(vec![0, 2]), Some(41_i64.to_be_bytes().into())]);
    assert_eq!(names, ["u", "v\n", "kafka_offset", "extra"]);
    let mut keeps = Encoder::new(&table(vec![
        column("a", ColumnType::Int2),
        column("extra", ColumnType::Jsonb),
    ]));
    let (columns, names) = row_of(&mut keeps, payload, &coordinates()).expect("a row");
    let expected = "\u{1}{\"\\u0075\":\"NaN\",\"v\\n\":{\"k\":1},\"kafka_offset\":5,\"extra\":6}";
    assert_eq!(columns[1].as_deref(), Some(expected.as_bytes()));
    assert!(names.is_empty());
    let none = row_of(&mut keeps, r#"{"type":"t","a":1}"#, &coordinates()).expect("a row");
    assert_eq!(none.0[1], None);
    for payload in [r#"{"type":"t","u":"\u0000"}"#, r#"{"type":"t","\u0000":1}"#] {
        let refusal = row_of(&mut keeps, payload, &coordinates()).expect_err(payload);
        assert_eq!(refusal.reason, Reason::NulCharacter);
    }
}

#[test]
fn a_column_named_type_takes_the_type() {
    let mut encoder = Encoder::new(&table(vec![column("type", ColumnType::Text)]));
    let row = row_of(&mut encoder, r#"{"type":"t"}"#, &coordinates());
    assert_eq!(row, Ok((vec![Some(b"t".to_vec())], vec![])));
}

#[test]
fn coordinates_fill_their_columns() {
    let columns = vec![
        column("kafka_topic", ColumnType::Text),
        column("kafka_partition", ColumnType::Int4),
        column("kafka_offset", ColumnType::Int8),
        column("kafka_timestamp", ColumnType::Timestamptz),
        column("kafka_key", ColumnType::Bytea),
    ];
    let mut encoder = Encoder::new(&table(columns.clone()));
    let mut at = coordinates();
    let row = row_of(&mut encoder, r#"{"type":"t"}"#, &at).expect("a row").0;
    let expected = [
        b"metrics".to_vec(),
        3_i32.to_be_bytes().into(),
        41_i64.to_be_bytes().into(),
        1000_i64.to_be_bytes().into(),
        b"key".to_vec(),
    ];
    assert_eq!(row, expected.map(Some));
    (at.key, at.timestamp_ms) = (None, None);
    let row = row_of(&mut encoder, r#"{"type":"t"}"#, &at).expect("a row").0;
    assert_eq!(row[3..], [None, None]);
    let mut columns = columns;
    columns[4].kind = ColumnType::Varchar(3);
    columns[4].not_null = true;
    let mut encoder = Encoder::new(&table(columns));
    for (key, expected) in [
        (Some(&b"\xff"[..]), Reason::TypeMismatch),
        (Some(b"a\0"), Reason::NulCharacter),
        (Some(b"long"), Reason::TooLong),
        (None, Reason::MissingField),
    ] {
        at.key = key;
        assert_eq!(
            row_of(&mut encoder, r#"{"type":"t"}"#, &at)
                .expect_err("key")
                .reason,
            expected
        );
    }
}

#[test]
fn details_name_field_column_and_value() {
    let detail = |kind, value: &str| cell(kind, value).expect_err(value).detail;
    assert_eq!(
        detail(ColumnType::Float8, r#""abc""#),
        r#"field "a": a number is needed for double precision, found string "abc""#
    );
    assert_eq!(
        detail(ColumnType::Int2, "70000"),
        r#"field "a": a number is out of range of smallint, found number 70000"#
    );
    assert_eq!(
        detail(ColumnType::Varchar(2), r#""\u0001\u0002\u0003""#),
        r#"field "a": too many characters for varchar(2), found string "\u0001\u0002\u0003""#
    );
    assert_eq!(
        detail(ColumnType::Text, "[1]"),
        r#"field "a": a string is needed for text, found an array"#
    );
    assert!(detail(ColumnType::Bool, &format!("\"{}\"", "x".repeat(1000))).len() < 200);
}

#[test]
fn keys_follow_the_index() {
    let mut table = table(vec![
        column("t", ColumnType::Timestamptz),
        column("s", ColumnType::Text),
    ]);
    table.key = [(1, false), (0, true)]
        .map(|(column, descending)| KeyColumn { column, descending })
        .into();
    let mut encoder = Encoder::new(&table);
    let mut key = |payload: &str| {
        let (mut decoder, mut keys) = (Decoder::default(), Vec::new());
        let event = decoder.decode(Some(payload.as_bytes())).expect(payload);
        encoder
            .encode(&event, &coordinates(), &mut Vec::new(), &mut keys, &mut |_| {})
            .expect(payload);
        keys
    };
    let sorted = [
        r#"{"type":"t","s":"a"}"#,
        r#"{"type":"t","s":"a","t":"2025-01-02"}"#,
        r#"{"type":"t","s":"a","t":"1925-01-01"}"#,
        r#"{"type":"t","s":"ab","t":"2025-01-01"}"#,
        r#"{"type":"t","t":"2025-01-01"}"#,
    ];
    assert!(sorted.map(&mut key).is_sorted_by(|a, b| a < b));
}
