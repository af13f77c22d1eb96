//! What `encode` writes, read back by another reader, is what other libraries read from the same text.

use super::tests::{column, columns_of, coordinates, row_of, table};
use super::*;
use crate::pipeline::decode::Decoder;
use proptest::prelude::*;

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(|float| format!("{float:e}")),
        any::<i64>().prop_map(|int| int.to_string()),
        (any::<i32>(), 0..10_i32).prop_map(|(int, exponent)| format!("{int}e-{exponent}")),
        "-?[0-9]{1}\\.[0-9]{1,25}",
        "-?[1-9][0-9]{0,25}",
        "-?[1-9][0-9]{0,5}\\.[0-9]{1,4}",
        "-?[1-9][0-9]{0,3}(\\.[0-9]{1,3})?[eE][-+]?[0-9]{1,2}",
    ]
}

/// The digits of a `numeric`, as PostgreSQL prints it.
fn printed(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes
        .chunks(2)
        .map(|word| i32::from(i16::from_be_bytes([word[0], word[1]])))
        .collect();
    let (count, weight, sign, scale) = (words[0], words[1], words[2], words[3]);
    let group = |power: i32| {
        let at = weight - power;
        if (0..count).contains(&at) {
            words[4 + usize::try_from(at).expect("in range")]
        } else {
            0
        }
    };
    let whole: String = (0..=weight.max(0)).rev().fold(String::new(), |text, power| {
        text + &format!("{:04}", group(power))
    });
    let fraction: String = (1..=scale / 4 + 1).fold(String::new(), |text, power| {
        text + &format!("{:04}", group(-power))
    });
    let whole = whole.trim_start_matches('0');
    format!(
        "{}{}.{}",
        if sign == 0 { "" } else { "-" },
        if whole.is_empty() { "0" } else { whole },
        &fraction[..usize::try_from(scale).expect("positive")]
    )
}

/// The digits of a JSON number without its exponent: text work alone.
fn expanded(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: i64 = exponent.parse().expect("small");
    let mut point = i64::try_from(whole.len()).expect("short") + exponent;
    let mut all = format!("{whole}{fraction}");
    while point < 0 {
        all.insert(0, '0');
        point += 1;
    }
    while i64::try_from(all.len()).expect("short") < point {
        all.push('0');
    }
    let (whole, fraction) = all.split_at(usize::try_from(point).expect("positive"));
    let whole = whole.trim_start_matches('0');
    let zero = all.bytes().all(|byte| byte == b'0');
    format!(
        "{}{}.{fraction}",
        if zero { "" } else { sign },
        if whole.is_empty() { "0" } else { whole }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn numbers_read_back_are_the_numbers(text in number()) {
        let kinds = [ColumnType::Float8, ColumnType::Int8, ColumnType::Numeric, ColumnType::Float4];
        let cells = kinds.map(|kind| {
            let mut encoder = Encoder::new(&table(vec![column("a", kind)]));
            let payload = format!(r#"{{"type":"t","a":{text}}}"#);
            row_of(&mut encoder, &payload, &coordinates())
                .map(|(columns, _)| columns[0].clone().expect("a value"))
                .map_err(|refusal| refusal.reason)
        });
        let [float8, int8, numeric, float4] = cells;
        let expected: f64 = text.parse().expect("a float");
        prop_assert_eq!(float8.expect("finite"), expected.to_be_bytes());
        let narrow: f32 = text.parse().expect("a float");
        prop_assert_eq!(float4.ok(), narrow.is_finite().then(|| narrow.to_be_bytes().to_vec()));
        let decimal = expanded(&text);
        let (whole, fraction) = decimal.split_once('.').expect("a point");
        let expected = if fraction.bytes().all(|byte| byte == b'0') {
            let integer = whole.parse::<i64>().map_err(|_| Reason::OutOfRange);
            integer.map(|integer| integer.to_be_bytes().to_vec())
        } else {
            Err(Reason::TypeMismatch)
        };
        prop_assert_eq!(int8, expected);
        prop_assert_eq!(printed(&numeric.expect("in range")), decimal);
    }

    #[test]
    fn strings_and_documents_read_back_are_what_serde_json_reads(
        text in "\\PC{0,12}", escapes in "(\\\\[nrtbf/]|\\\\u00[2-9a-f][0-9a-f]|\\\\ud83d\\\\ude0[0-9]){0,3}",
    ) {
        let string = serde_json::to_string(&text).expect("a string");
        let string = format!("\"{escapes}{}", &string[1..]);
        let payload = format!(r#"{{"type":"t","text":{string},"doc":[{string},{{"k":{string}}}],{string}:null}}"#);
        let tree: serde_json::Value = serde_json::from_str(&payload).expect("valid");
        let columns = [("text", ColumnType::Text), ("doc", ColumnType::Jsonb), ("extra", ColumnType::Json)];
        let mut encoder = Encoder::new(&table(columns.map(|(name, kind)| column(name, kind)).into()));
        let (row, _) = row_of(&mut encoder, &payload, &coordinates()).expect("a row");
        prop_assert_eq!(row[0].as_deref(), tree["text"].as_str().map(str::as_bytes));
        let doc = row[1].as_deref().expect("a value");
        prop_assert_eq!(doc[0], 1);
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&doc[1..]).expect("JSON"), &tree["doc"]);
        let extra: serde_json::Value = serde_json::from_slice(row[2].as_deref().expect("a value")).expect("JSON");
        prop_assert!(extra.as_object().is_some_and(|extra| extra.len() == 1));
    }

    #[test]
    fn moments_read_back_are_what_jiff_reads(
        seconds in -62_135_596_800_i64..253_402_207_200, nanos in 0..1_000_000_000_i64, hours in -23..=23_i64,
        minutes in 0..60_i64, digits in 0..=9_usize, separator in "[T ]",
    ) {
        let local = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_second(seconds).expect("in range"));
        let fraction = &format!(".{nanos:09}")[..if digits == 0 { 0 } else { digits + 1 }];
        let text = format!("{}{separator}{}{fraction}", local.strftime("%Y-%m-%d"), local.strftime("%H:%M:%S"));
        let zone = format!("{}{:02}:{minutes:02}", if hours < 0 { '-' } else { '+' }, hours.abs());
        let offset = if hours < 0 { hours * 3600 - minutes * 60 } else { hours * 3600 + minutes * 60 };
        let nanos = format!("{:0<9}", fraction.trim_start_matches('.')).parse::<i64>().expect("digits");
        let unix = (seconds - offset) * 1_000_000 + (nanos + 500) / 1000;
        let expected = unix - 946_684_800_000_000;
        let kinds = [("t", ColumnType::Timestamptz), ("d", ColumnType::Date)];
        let mut encoder = Encoder::new(&table(kinds.map(|(name, kind)| column(name, kind)).into()));
        let payload = format!(r#"{{"type":"t","t":"{text}{zone}","d":"{text}{zone}"}}"#);
        let (row, _) = row_of(&mut encoder, &payload, &coordinates()).expect("a row");
        prop_assert_eq!(row[0].as_deref(), Some(&expected.to_be_bytes()[..]));
        let day = i32::try_from(expected.div_euclid(86_400_000_000)).expect("in range");
        prop_assert_eq!(row[1].as_deref(), Some(&day.to_be_bytes()[..]));
    }

    #[test]
    fn any_fields_make_a_row_or_leave_all_as_it_was(
        fields in prop::collection::vec(("[a-hu]", "(\"[a-z0-9{}-]{0,40}\"|-?[1-9][0-9]{0,30}(\\.[0-9]{1,9})?|true|null|NaN|\\[NaN\\]|\"\\\\u0000\")"), 0..12),
    ) {
        let kinds = [
            ColumnType::Float8, ColumnType::Int4, ColumnType::Numeric, ColumnType::Varchar(9), ColumnType::Uuid,
            ColumnType::Timestamptz, ColumnType::Jsonb, ColumnType::Bool,
        ];
        let columns: Vec<_> = kinds.into_iter().zip('a'..).map(|(kind, name)| column(&name.to_string(), kind)).collect();
        let mut described = table(columns);
        described.key = (0..8).map(|column| KeyColumn { column, descending: column % 2 == 0 }).collect();
        let mut encoder = Encoder::new(&described);
        let texts: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let payload = [vec![r#""type":"t""#.to_owned()], texts].concat().join(",");
        let payload = format!("{{{payload}}}");
        // Refusals are checked to leave the buffers alone; a second turn must write what the first one wrote.
        let first = row_of(&mut encoder, &payload, &coordinates());
        prop_assert_eq!(&first, &row_of(&mut encoder, &payload, &coordinates()));
        if let Ok((row, names)) = first {
            prop_assert_eq!(row.len(), 8);
            prop_assert_eq!(names.len(), usize::from(payload.contains("\"u\":")));
        }
    }

    #[test]
    fn rows_follow_each_other(count in 1..5_usize) {
        let mut encoder = Encoder::new(&table(vec![column("a", ColumnType::Int2)]));
        let mut decoder = Decoder::default();
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let event = decoder.decode(Some(br#"{"type":"t","a":7}"#)).expect("valid");
            encoder.encode(&event, &coordinates(), &mut rows, &mut keys, &mut |_| {}).expect("a row");
        }
        let length = rows.len() / count;
        for row in rows.chunks(length) {
            prop_assert_eq!(columns_of(row), [Some(vec![0, 7])]);
        }
    }

    #[test]
    fn rows_dont_depend_on_what_came_before(
        turns in prop::collection::vec((prop::collection::vec("[a-du]", 0..6), any::<bool>()), 1..10),
    ) {
        let columns = ["a", "b", "c", "d"].map(|name| column(name, ColumnType::Int2));
        let described = table(columns.into());
        let mut warm = Encoder::new(&described);
        let mut decoders = [Decoder::default(), Decoder::default()];
        for (names, second) in &turns {
            let fields = names.iter().zip(0..).map(|(name, value)| format!(",\"{name}\":{value}"));
            let payload = format!("{{\"type\":\"t\"{}}}", fields.collect::<String>());
            let (mut rows, mut keys, mut unmapped) = (Vec::new(), Vec::new(), Vec::new());
            let event = decoders[usize::from(*second)].decode(Some(payload.as_bytes())).expect("valid");
            warm.encode(&event, &coordinates(), &mut rows, &mut keys, &mut |name| unmapped.push(name.to_owned()))
                .expect("a row");
            let fresh = row_of(&mut Encoder::new(&described), &payload, &coordinates());
            prop_assert_eq!(Ok((columns_of(&rows), unmapped)), fresh);
        }
    }
}
