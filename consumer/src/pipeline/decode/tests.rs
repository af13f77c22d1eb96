//! The grammar by examples, and against `serde_json` by random documents.

use super::*;
use proptest::prelude::*;

fn read(payload: &str) -> Result<Vec<(String, Kind, String)>, Refusal> {
    let mut decoder = Decoder::default();
    let event = decoder.decode(Some(payload.as_bytes()))?;
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
    Ok(event
        .fields()
        .map(|(key, value)| (key.text().into_owned(), value.kind(), text(value.raw())))
        .collect())
}

fn refused(payload: &[u8]) -> Refusal {
    let mut decoder = Decoder::default();
    decoder
        .decode(Some(payload))
        .map(|_| ())
        .expect_err(&String::from_utf8_lossy(payload))
}

#[test]
fn fields_are_spans_in_their_order() {
    let payload = r#" {"a": -1.5e3 , "type":"t","c":null,"d":[1,{"x":"]"}] ,"e":{},"f":true,"g":false,
        "h":NaN,"i":Infinity,"j":-Infinity,"k":"\"\\"} "#;
    let expected = [
        ("a", Kind::Number, "-1.5e3"),
        ("type", Kind::String, "\"t\""),
        ("c", Kind::Null, "null"),
        ("d", Kind::Array, r#"[1,{"x":"]"}]"#),
        ("e", Kind::Object, "{}"),
        ("f", Kind::True, "true"),
        ("g", Kind::False, "false"),
        ("h", Kind::NaN, "NaN"),
        ("i", Kind::Infinity, "Infinity"),
        ("j", Kind::NegInfinity, "-Infinity"),
        ("k", Kind::String, r#""\"\\""#),
    ];
    let expected: Vec<_> = expected
        .map(|(key, kind, raw)| (key.to_owned(), kind, raw.to_owned()))
        .into();
    assert_eq!(read(payload), Ok(expected));
}

#[test]
fn the_type_may_stand_anywhere_and_the_last_one_wins() {
    let mut decoder = Decoder::default();
    for (payload, expected) in [
        (r#"{"a":1,"type":"last"}"#, "last"),
        (r#"{"type":7,"a":1,"type":"x"}"#, "x"),
        (r#"{"type":"x","\u0074ype":"y"}"#, "y"),
        (r#"{"type":"\u00e4\n"}"#, "\u{e4}\n"),
        (r#"{"type":""}"#, ""),
        ("{\"type\":\"gr\u{f6}\u{df}e\"}", "gr\u{f6}\u{df}e"),
    ] {
        let event = decoder.decode(Some(payload.as_bytes())).expect(payload);
        assert_eq!(event.event_type(), expected);
    }
}

#[test]
fn an_event_without_a_string_type_is_missing_type() {
    for payload in [
        "{}",
        r#"{"a":1}"#,
        r#"{"type":1}"#,
        r#"{"type":null}"#,
        r#"{"type":"x","type":{}}"#,
    ] {
        assert_eq!(
            refused(payload.as_bytes()).reason,
            Reason::MissingType,
            "{payload}"
        );
    }
}

#[test]
fn no_payload_is_invalid_json_by_name() {
    let tombstone = Decoder::default()
        .decode(None)
        .map(|_| ())
        .expect_err("nothing to read");
    assert_eq!(
        tombstone,
        Refusal::new(Reason::InvalidJson, "tombstone: no payload")
    );
    assert_eq!(refused(b""), Refusal::new(Reason::InvalidJson, "empty payload"));
}

#[test]
fn what_is_no_json_object_is_invalid_json() {
    let cases: &[&[u8]] = &[
        b" ",
        b"null",
        b"[1]",
        b"\"x\"",
        b"\xef\xbb\xbf{\"type\":\"x\"}",
        b"{\"type\":\"x\"}}",
        b"{\"type\":\"x\"} {}",
        b"{\"type\":\"x\"}\0",
        b"{\"type\":\"x\"",
        b"{\"type\":\"x\",}",
        b"{,\"type\":\"x\"}",
        b"{\"type\" \"x\"}",
        b"{\"type\":}",
        b"{type:\"x\"}",
        b"{'type':'x'}",
        b"{\"type\":\"x\",\"a\":[1,]}",
        b"{\"type\":\"x\",\"a\":[1}",
        b"{\"type\":\"x\",\"a\":[1}]",
        b"{\"type\":\"x\",\"a\":{\"b\"}}",
        b"{\"type\":\"x\",\"a\":{1:2}}",
        b"{\"type\":\"x\",\"a\":tru}",
        b"{\"type\":\"x\",\"a\":truee}",
        b"{\"type\":\"x\",\"a\":True}",
        b"{\"type\":\"x\",\"a\":nan}",
        b"{\"type\":\"x\",\"a\":-NaN}",
        b"{\"type\":\"x\",\"a\":+1}",
        b"{\"type\":\"x\",\"a\":01}",
        b"{\"type\":\"x\",\"a\":-01}",
        b"{\"type\":\"x\",\"a\":-}",
        b"{\"type\":\"x\",\"a\":.5}",
        b"{\"type\":\"x\",\"a\":5.}",
        b"{\"type\":\"x\",\"a\":5.e1}",
        b"{\"type\":\"x\",\"a\":5e}",
        b"{\"type\":\"x\",\"a\":5e+}",
        b"{\"type\":\"x\",\"a\":0x1}",
        b"{\"type\":\"x\",\"a\":\"tab\t\"}",
        b"{\"type\":\"x\",\"a\":\"tab before the eight bytes' end\x1f\"}",
        b"{\"type\":\"x\",\"a\":\"\\x\"}",
        b"{\"type\":\"x\",\"a\":\"\\u12g4\"}",
        b"{\"type\":\"x\",\"a\":\"\\u12",
        b"{\"type\":\"x\",\"a\":\"\\",
        b"{\"type\":\"x\",\"a\":\"open",
        b"{\"type\":\"x\",\"a\":\"\\ud800\"}",
        b"{\"type\":\"x\",\"a\":\"\\ud800\\u0041\"}",
        b"{\"type\":\"x\",\"a\":\"\\ud800\\ud800\"}",
        b"{\"type\":\"x\",\"a\":\"\\udc00\"}",
        b"{\"type\":\"x\",\"a\":\"\xff\"}",
        b"{\"type\":\"x\",\"a\":\"\xc3\"}",
        b"{\"type\":\"x\",\"a\":\"more than eight bytes \xed\xa0\x80\"}",
        b"{\"type\":\"x\",\"\xff\":1}",
        b"{\"type\":\"x\",\xff:1}",
        b"{\"type\":\"x\"/**/}",
    ];
    for payload in cases {
        assert_eq!(
            refused(payload).reason,
            Reason::InvalidJson,
            "{}",
            payload.escape_ascii()
        );
    }
}

#[test]
fn details_tell_the_place_and_hold_no_nul() {
    assert_eq!(
        refused(b"{\"a\" 1}").detail,
        "at byte 5: a colon is needed, found '1'"
    );
    assert_eq!(
        refused(b"{\"a\":").detail,
        "at byte 5: a value is needed, found the end"
    );
    assert_eq!(
        refused(b"{\xff").detail,
        "at byte 1: a field's name is needed, found byte 0xff"
    );
    assert!(!refused(b"{\0").detail.contains('\0'));
}

#[test]
fn nesting_of_any_depth_and_long_strings_are_read() {
    let deep = 1_000_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let payload = format!(
            "{{\"type\":\"x\",\"a\":{}1{}}}",
            open.repeat(deep),
            close.repeat(deep)
        );
        assert!(read(&payload).is_ok());
        assert!(read(&payload[..payload.len() - 2]).is_err());
    }
    let long = format!("{{\"type\":\"x\",\"a\":\"{}\"}}", "z\u{e4}".repeat(500_000));
    assert_eq!(read(&long).expect("valid").len(), 2);
}

#[test]
fn get_finds_the_last_one() {
    let mut decoder = Decoder::default();
    let payload = br#"{"a":1,"type":"x","\u0061":"\u0032"}"#;
    let event = decoder.decode(Some(payload)).expect("valid");
    assert_eq!(
        event.get("a").and_then(|value| value.as_str()).as_deref(),
        Some("2")
    );
    assert!(event.get("b").is_none());
}

/// JSON text, with all the freedom that the grammar gives it.
fn json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        8 => "[a-z ]{0,12}",
        4 => "[^\\x00-\\x1f\"\\\\]{0,8}",
        2 => Just(r"\n\u0041\ud83d\ude00\/".to_owned()),
        1 => Just(r"\u0000".to_owned()),
        2 => Just(r"t\u0079pe".to_owned()),
        1 => "[\\\\\"u0-9dD\\x00-\\x1f]{0,6}",
    ]
    .prop_map(|text| format!("\"{text}\""));
    let number = prop_oneof![
        9 => "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        1 => "[-+.0-9eE]{1,6}",
    ];
    let leaf = prop_oneof![
        8 => string.clone(),
        8 => number,
        4 => Just("true".to_owned()),
        4 => Just("false".to_owned()),
        4 => Just("null".to_owned()),
        1 => Just("nul".to_owned()),
    ];
    let space = "[ \\n\\t\\r]{0,2}";
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let object = prop::collection::vec((string.clone(), space, inner.clone()), 0..4)
            .prop_map(|fields| object(&fields));
        let array = prop::collection::vec((inner, space), 0..4).prop_map(|items| {
            let items: Vec<_> = items
                .iter()
                .map(|(item, space)| format!("{space}{item}{space}"))
                .collect();
            format!("[{}]", items.join(","))
        });
        prop_oneof![object, array]
    })
}

fn object(fields: &[(String, String, String)]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, space, value)| format!("{space}{key}{space}:{space}{value}{space}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// An object with a type in front of random fields, and a byte of it that may be changed.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec(("\"([a-z]{1,3}|type)\"", "[ \\n]{0,1}", json()), 0..5);
    let change = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (fields, change, 0..3_usize).prop_map(|(mut fields, change, cut)| {
        fields.insert(0, ("\"type\"".to_owned(), String::new(), "\"x\"".to_owned()));
        let mut bytes = object(&fields).into_bytes();
        if let Some((place, byte)) = change {
            match cut {
                0 => bytes.truncate(place.index(bytes.len())),
                1 => bytes.insert(place.index(bytes.len()), byte),
                _ => {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_accepts_what_serde_json_accepts_and_reads_the_same(bytes in payload()) {
        let oracle = serde_json::from_slice::<serde_json::Value>(&bytes);
        let mut decoder = Decoder::default();
        let decoded = decoder.decode(Some(&bytes));
        match (decoded, oracle) {
            (Err(refusal), Ok(tree)) => {
                let typed = tree.get("type").is_some_and(serde_json::Value::is_string);
                prop_assert!(!typed, "{refusal:?}");
                let expected = if tree.is_object() { Reason::MissingType } else { Reason::InvalidJson };
                prop_assert_eq!(refusal.reason, expected);
            }
            (Ok(_), Err(error)) => {
                // A number may be larger than a float; and Python's constants may have come about.
                let text = String::from_utf8_lossy(&bytes);
                let more = error.to_string().contains("out of range") || text.contains("NaN") || text.contains("Inf");
                prop_assert!(more, "{error}: {text}");
            }
            (Ok(event), Ok(tree)) => {
                let tree = tree.as_object().expect("an object");
                prop_assert_eq!(event.event_type(), tree["type"].as_str().expect("a string"));
                for (key, _) in event.fields() {
                    prop_assert!(tree.contains_key(&*key.text()));
                }
                for (key, expected) in tree {
                    let value = event.get(key).expect("the field");
                    let found: serde_json::Value = serde_json::from_slice(value.raw()).expect("a value");
                    prop_assert_eq!(&found, expected);
                    let string = value.as_str();
                    prop_assert_eq!(string.as_deref(), expected.as_str());
                }
            }
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Decoder::default().decode(Some(&bytes));
        let inside = [b"{\"type\":".as_slice(), &bytes].concat();
        let _ = Decoder::default().decode(Some(&inside));
    }

    #[test]
    fn bytes_of_the_grammar_never_panic(text in "[\\[\\]{}:,\"\\\\u0-9a-fNnItr.+eE -]{0,40}") {
        let _ = Decoder::default().decode(Some(text.as_bytes()));
        let _ = Decoder::default().decode(Some(format!("{{\"type\":\"x\",\"a\":{text}}}").as_bytes()));
    }

    #[test]
    fn what_was_learned_changes_nothing(payloads in prop::collection::vec(like_events(), 1..8)) {
        let mut warm = Decoder::default();
        for payload in &payloads {
            let mut fresh = Decoder::default();
            let fields = |event: Event<'_>| -> Vec<_> {
                let field = |(key, value): (Key<'_>, Value<'_>)| {
                    (key.text().into_owned(), value.kind(), value.raw().to_vec(), *value.number())
                };
                event.fields().map(field).collect()
            };
            let expected = fresh.decode(Some(payload.as_bytes())).map(fields);
            prop_assert_eq!(warm.decode(Some(payload.as_bytes())).map(fields), expected);
        }
    }
}

/// Objects of few names in many orders, spaced in many ways, some of them cut.
fn like_events() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "type",
        "a",
        "ab",
        "abc",
        r"\u0061",
        "a_name_of_twenty_seven_byte",
        "a_name_of_twenty_eight_bytes",
        "a_name_that_is_longer_than_thirty_two_bytes",
    ]);
    let value = prop::sample::select(vec![
        "1",
        "1.25",
        "-12345678.5",
        "\"x\"",
        "null",
        "[1]",
        "0",
        "9e9",
    ]);
    let fields = prop::collection::vec((name, " ?:[ \n]{0,2}", value), 0..6);
    (fields, prop::option::weighted(0.1, any::<prop::sample::Index>())).prop_map(|(fields, cut)| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, colon, value)| format!("\"{name}\"{colon}{value}"))
            .collect();
        let mut text = format!("{{\"type\": \"x\", {}}}", fields.join(", ")).replace(", }", "}");
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        text
    })
}
