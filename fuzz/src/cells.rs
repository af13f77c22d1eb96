//! What each column type makes of a field by the event contract, in words that PostgreSQL prints, written without a look
//! at the encoder; and a reader of the encoder's rows, to hold it to that.

use super::moments::{moment, unix};
use super::reading::{self, fields, numbers, strings, without_constants};
use std::collections::BTreeMap;
use storage_consumer::dead_letter::Reason;
use storage_consumer::offsets::{Offset, Partition};
use storage_consumer::pipeline::decode::Decoder;
use storage_consumer::pipeline::encode::Encoder;
use storage_consumer::table::{Column, ColumnType, Coordinates, KeyColumn, Source, Table, TableName};

/// A column of every type; `extra` comes behind them.
pub const COLUMNS: [(&str, ColumnType); 15] = [
    ("f8", ColumnType::Float8),
    ("f4", ColumnType::Float4),
    ("i2", ColumnType::Int2),
    ("i4", ColumnType::Int4),
    ("i8", ColumnType::Int8),
    ("num", ColumnType::Numeric),
    ("txt", ColumnType::Text),
    ("vc", ColumnType::Varchar(5)),
    ("b", ColumnType::Bool),
    ("tz", ColumnType::Timestamptz),
    ("ts", ColumnType::Timestamp),
    ("d", ColumnType::Date),
    ("u", ColumnType::Uuid),
    ("j", ColumnType::Json),
    ("jb", ColumnType::Jsonb),
];

/// The table of those columns.
pub fn table() -> Table {
    let column = |name: &str, kind, source| Column {
        name: name.to_owned(),
        kind,
        not_null: false,
        default: None,
        source,
    };
    let columns = COLUMNS
        .iter()
        .map(|(name, kind)| column(name, *kind, Source::Field));
    Table {
        name: TableName {
            schema: None,
            name: "cells".to_owned(),
        },
        columns: columns
            .chain([column("extra", ColumnType::Jsonb, Source::Extra)])
            .collect(),
        key: (0..13)
            .map(|column| KeyColumn {
                column,
                descending: column % 2 == 0,
            })
            .collect(),
        fingerprint: String::new(),
    }
}

/// A row as `COPY … (FORMAT binary)` takes it, or the reason of its refusal. `None`: the payload is no event.
pub fn encoded(payload: &[u8]) -> Option<Result<Vec<u8>, Reason>> {
    let mut decoder = Decoder::default();
    let event = decoder.decode(Some(payload)).ok()?;
    let at = Coordinates {
        topic: "metrics",
        partition: Partition(0),
        offset: Offset(0),
        timestamp_ms: None,
        key: None,
    };
    let (mut row, mut key) = (Vec::new(), Vec::new());
    let result = Encoder::new(&table()).encode(&event, &at, &mut row, &mut key, &mut |name| {
        panic!("{name:?}: `extra` keeps it")
    });
    assert_eq!(result.is_err(), row.is_empty() && key.is_empty());
    Some(result.map(|()| row).map_err(|refusal| refusal.reason))
}

/// Holds the encoder to the other reading.
///
/// # Panics
///
/// Where the two differ.
pub fn check_encode(payload: &[u8]) {
    let (Some(encoded), Some(fields)) = (encoded(payload), fields(payload)) else {
        panic!("no event");
    };
    match (encoded, expected(&fields)) {
        (Err(told), Err(expected)) => {
            // Of two fields in `extra` that are refused, either may be the first.
            let in_extra = |reason| matches!(reason, Reason::NulCharacter | Reason::OutOfRange);
            assert!(
                told == expected || (in_extra(told) && in_extra(expected)),
                "{told:?} instead of {expected:?}"
            );
        }
        (Ok(row), Ok(expected)) => {
            let kinds = COLUMNS.iter().map(|(_, kind)| *kind).chain([ColumnType::Jsonb]);
            let cells = split(&row);
            assert_eq!(cells.len(), expected.len());
            for (at, ((kind, cell), expected)) in kinds.zip(cells).zip(expected).enumerate() {
                let cell = cell.map(|bytes| printed(kind, bytes));
                if at == COLUMNS.len() {
                    // `extra` keeps its fields in the payload's order.
                    let fields = |text: String| reading::fields(text.as_bytes()).expect("an object");
                    assert_eq!(cell.map(fields), expected.map(fields), "extra");
                } else {
                    assert_eq!(cell, expected, "{kind:?}");
                }
            }
        }
        (told, expected) => panic!("{told:?} instead of {expected:?}"),
    }
}

/// What the row holds, a column each, `extra` last; or the reason why there is none.
pub fn expected(fields: &BTreeMap<String, String>) -> Result<Vec<Option<String>>, Reason> {
    let mut row = Vec::new();
    for (name, kind) in COLUMNS {
        let raw = fields.get(name).filter(|raw| *raw != "null");
        row.push(raw.map(|raw| cell(kind, raw)).transpose()?);
    }
    let known = |name: &str| name == "type" || COLUMNS.iter().any(|(column, _)| *column == name);
    let extra: Vec<_> = fields.iter().filter(|(name, _)| !known(name)).collect();
    let text = extra.iter().map(|(name, raw)| {
        let document = cell(ColumnType::Jsonb, raw)?;
        if name.contains('\0') {
            return Err(Reason::NulCharacter);
        }
        Ok(format!(
            "{}:{document}",
            serde_json::to_string(name).expect("a string")
        ))
    });
    let text: Vec<_> = text.collect::<Result<_, _>>()?;
    row.push((!text.is_empty()).then(|| format!("{{{}}}", text.join(","))));
    Ok(row)
}

/// A value that isn't null.
fn cell(kind: ColumnType, raw: &str) -> Result<String, Reason> {
    let string = raw
        .starts_with('"')
        .then(|| serde_json::from_str::<String>(raw).expect("a string"));
    let number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && raw != "-Infinity";
    let constant = matches!(raw, "NaN" | "Infinity" | "-Infinity");
    match kind {
        ColumnType::Float8 | ColumnType::Float4 if constant => Ok(raw.to_owned()),
        ColumnType::Float8 | ColumnType::Float4 if number => {
            let text = if kind == ColumnType::Float8 {
                raw.parse::<f64>().map(float8)
            } else {
                raw.parse::<f32>().map(float4)
            };
            let text = text.expect("a float");
            if text.ends_with("Infinity") {
                Err(Reason::OutOfRange)
            } else {
                Ok(text)
            }
        }
        ColumnType::Int2 if number => integer(raw, i64::from(i16::MIN), i64::from(i16::MAX)),
        ColumnType::Int4 if number => integer(raw, i64::from(i32::MIN), i64::from(i32::MAX)),
        ColumnType::Int8 if number => integer(raw, i64::MIN, i64::MAX),
        ColumnType::Numeric if number => numeric(raw),
        ColumnType::Text | ColumnType::Varchar(_) => {
            let text = match string {
                Some(text) => text,
                None if raw.starts_with(['[', '{']) => return Err(Reason::TypeMismatch),
                None => raw.to_owned(),
            };
            match kind {
                _ if text.contains('\0') => Err(Reason::NulCharacter),
                ColumnType::Varchar(most) if text.chars().count() > most as usize => Err(Reason::TooLong),
                _ => Ok(text),
            }
        }
        ColumnType::Bool if matches!(raw, "true" | "false") => Ok(raw.to_owned()),
        ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date => {
            let micros = match string {
                Some(text) => moment(&text),
                None if number => unix(raw),
                None => None,
            };
            let micros = micros.ok_or(Reason::InvalidTimestamp)?;
            Ok(match kind {
                ColumnType::Date => micros.div_euclid(86_400_000_000).to_string(),
                _ => micros.to_string(),
            })
        }
        ColumnType::Uuid => string.as_deref().and_then(uuid).ok_or(Reason::TypeMismatch),
        ColumnType::Json | ColumnType::Jsonb => {
            let holds_nul = |string: &&str| {
                serde_json::from_str::<String>(string)
                    .expect("a string")
                    .contains('\0')
            };
            if kind == ColumnType::Jsonb && strings(raw).iter().any(holds_nul) {
                return Err(Reason::NulCharacter);
            }
            if kind == ColumnType::Jsonb && !numbers(raw).iter().all(|number| in_document(number)) {
                return Err(Reason::OutOfRange);
            }
            Ok(without_constants(raw, |word| format!("\"{word}\"")))
        }
        _ => Err(Reason::TypeMismatch),
    }
}

/// A float in the words of `expected`, whatever wrote it.
pub fn float8(float: f64) -> String {
    format!("{float:e}").replace("inf", "Infinity")
}

/// The same of half the width.
pub fn float4(float: f32) -> String {
    format!("{float:e}").replace("inf", "Infinity")
}

/// A number's sign, its digits from the first one that isn't zero on, and the power of ten of the last one.
pub fn decimal(raw: &str) -> (bool, String, i64) {
    let (negative, raw) = raw.strip_prefix('-').map_or((false, raw), |rest| (true, rest));
    let (digits, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let far = if exponent.starts_with('-') {
        -1_000_000_000
    } else {
        1_000_000_000
    };
    let exponent = exponent
        .parse::<i64>()
        .unwrap_or(far)
        .clamp(-1_000_000_000, 1_000_000_000);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    (
        negative,
        digits.trim_start_matches('0').to_owned(),
        exponent - fraction.len() as i64,
    )
}

fn integer(raw: &str, least: i64, most: i64) -> Result<String, Reason> {
    let (negative, digits, exponent) = decimal(raw);
    let significant = digits.trim_end_matches('0');
    let exponent = exponent + (digits.len() - significant.len()) as i64;
    if significant.is_empty() {
        return Ok("0".to_owned());
    }
    if exponent < 0 {
        return Err(Reason::TypeMismatch);
    }
    if significant.len() as i64 + exponent > 19 {
        return Err(Reason::OutOfRange);
    }
    let sign = if negative { "-" } else { "" };
    let number: i128 = format!("{sign}{significant}{}", "0".repeat(exponent as usize))
        .parse()
        .expect("digits");
    if (i128::from(least)..=i128::from(most)).contains(&number) {
        Ok(number.to_string())
    } else {
        Err(Reason::OutOfRange)
    }
}

fn numeric(raw: &str) -> Result<String, Reason> {
    let (negative, mut digits, exponent) = decimal(raw);
    let scale = (-exponent).max(0);
    let whole = digits.len() as i64 + exponent;
    if scale > 16_383 || !digits.is_empty() && whole > 131_072 {
        return Err(Reason::OutOfRange);
    }
    let sign = if negative && !digits.is_empty() { "-" } else { "" };
    if !digits.is_empty() {
        digits.push_str(&"0".repeat(exponent.max(0) as usize));
    }
    let scale = scale as usize;
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

/// Whether PostgreSQL reads the number in a `jsonb`: as `numeric`, and even a zero's exponent must not be monstrous.
fn in_document(raw: &str) -> bool {
    let exponent = raw.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
    let near = exponent
        .parse::<i64>()
        .is_ok_and(|exponent| exponent.abs() < 1_000_000_000);
    near && numeric(raw).is_ok()
}

fn uuid(text: &str) -> Option<String> {
    let text = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let digits = groups.concat();
    let shape = lengths == [32] || lengths == [8, 4, 4, 4, 12];
    (shape && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digits.to_ascii_lowercase())
}

/// The columns of one row.
pub fn split(row: &[u8]) -> Vec<Option<&[u8]>> {
    let (count, mut rest) = row.split_at(2);
    let count = i16::from_be_bytes(count.try_into().expect("two bytes"));
    let cells = (0..count)
        .map(|_| {
            let (length, behind) = rest.split_at(4);
            let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
            let (cell, behind) = behind.split_at(usize::try_from(length).unwrap_or(0));
            rest = behind;
            (length >= 0).then_some(cell)
        })
        .collect();
    assert!(rest.is_empty(), "nothing is left over");
    cells
}

/// A value of COPY's binary format in the words of `cell`.
fn printed(kind: ColumnType, bytes: &[u8]) -> String {
    let four = || i32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let eight = || i64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    match kind {
        ColumnType::Float8 => float8(f64::from_be_bytes(bytes.try_into().expect("eight bytes"))),
        ColumnType::Float4 => float4(f32::from_be_bytes(bytes.try_into().expect("four bytes"))),
        ColumnType::Int2 => i16::from_be_bytes(bytes.try_into().expect("two bytes")).to_string(),
        ColumnType::Int4 | ColumnType::Date => four().to_string(),
        ColumnType::Int8 | ColumnType::Timestamptz | ColumnType::Timestamp => eight().to_string(),
        ColumnType::Numeric => printed_numeric(bytes),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Json => text(bytes),
        ColumnType::Bool => match bytes {
            [0] => "false".to_owned(),
            [1] => "true".to_owned(),
            _ => panic!("no boolean"),
        },
        ColumnType::Uuid => {
            assert_eq!(bytes.len(), 16);
            bytes
                .iter()
                .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        }
        ColumnType::Jsonb => {
            let (version, document) = bytes.split_first().expect("a version");
            assert_eq!(*version, 1);
            text(document)
        }
        ColumnType::Bytea => panic!("no such column"),
    }
}

/// The digits of a `numeric`, as PostgreSQL prints it.
fn printed_numeric(bytes: &[u8]) -> String {
    let mut words = bytes
        .chunks(2)
        .map(|word| i16::from_be_bytes(word.try_into().expect("two bytes")));
    let mut word = || words.next().expect("a header");
    let (count, weight, sign, scale) = (word(), i64::from(word()), word(), word());
    let groups: Vec<i16> = words.collect();
    assert_eq!(groups.len(), usize::try_from(count).expect("a count"));
    let group = |power: i64| {
        let at = usize::try_from(weight - power).ok();
        let group = at.and_then(|at| groups.get(at)).copied().unwrap_or(0);
        assert!((0..10_000).contains(&group));
        format!("{group:04}")
    };
    let whole: String = (0..=weight.max(0)).rev().map(group).collect();
    let scale = usize::try_from(scale).expect("a scale");
    let fraction: String = (1..=scale as i64 / 4 + 1).map(|power| group(-power)).collect();
    // What is not shown must not be there.
    assert!(
        fraction[scale..].bytes().all(|digit| digit == b'0')
            && weight - i64::from(count) >= -(scale as i64) / 4 - 2
    );
    let whole = whole.trim_start_matches('0');
    format!(
        "{}{}{}{}",
        if sign == 0 { "" } else { "-" },
        if whole.is_empty() { "0" } else { whole },
        if scale == 0 { "" } else { "." },
        &fraction[..scale]
    )
}
