//! The event contract by examples: which field fills which column. What a value becomes is in `values`.

mod values;

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
        names.push(name.to_owned());
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
