//! Reads a payload by `serde_json`, which knows nothing of the decoder, and holds the decoder to it.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use storage_consumer::dead_letter::Reason;
use storage_consumer::pipeline::decode::{Decoder, Kind};

/// Python writes them, and JSON doesn't know them.
const CONSTANTS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// JSON text with the constants outside of strings written another way.
pub fn without_constants(text: &str, write: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = if let Some(constant) = CONSTANTS.into_iter().find(|word| rest.starts_with(word)) {
            out.push_str(&write(constant));
            at += constant.len();
            continue;
        } else if rest.starts_with('"') {
            string(rest)
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        out.push_str(&rest[..length]);
        at += length;
    }
    out
}

/// The length of the string that the text starts with, its quotes included.
fn string(text: &str) -> usize {
    let mut escaped = true; // the opening quote ends nothing
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The strings of valid JSON, quotes included.
pub fn strings(text: &str) -> Vec<&str> {
    let mut strings = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('"') {
        let start = at + found;
        at = start + string(&text[start..]);
        strings.push(&text[start..at]);
    }
    strings
}

/// The numbers of valid JSON.
pub fn numbers(text: &str) -> Vec<&str> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        at += match letter {
            '"' => string(rest),
            '0'..='9' => {
                let end = rest.find(|c: char| !c.is_ascii_digit() && !".eE+-".contains(c));
                let end = end.unwrap_or(rest.len());
                numbers.push(&rest[..end]);
                end
            }
            _ => letter.len_utf8(),
        };
    }
    numbers
}

/// The fields, the last of a repeated one: its value as the payload writes it. `None`: not valid JSON, not an object.
pub fn fields(payload: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(payload).ok()?;
    // A mark that no payload holds tells the constants from strings that read alike.
    let marked = without_constants(text, |word| format!("[\"\\u0001 {word}\"]"));
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&marked).ok()?;
    // Nested text is passed over by serde_json without a look at its surrogates.
    let valid = strings(text)
        .iter()
        .all(|string| serde_json::from_str::<String>(string).is_ok());
    let back = |raw: &str| {
        CONSTANTS.iter().fold(raw.to_owned(), |raw, word| {
            raw.replace(&format!("[\"\\u0001 {word}\"]"), word)
        })
    };
    valid.then(|| {
        fields
            .into_iter()
            .map(|(name, raw)| (name, back(raw.get())))
            .collect()
    })
}

/// What a value is, by its first letter.
fn kind(raw: &str) -> Kind {
    match raw.as_bytes()[0] {
        b'"' => Kind::String,
        b't' => Kind::True,
        b'f' => Kind::False,
        b'n' => Kind::Null,
        b'N' => Kind::NaN,
        b'I' => Kind::Infinity,
        b'{' => Kind::Object,
        b'[' => Kind::Array,
        _ if raw == "-Infinity" => Kind::NegInfinity,
        _ => Kind::Number,
    }
}

/// Holds the decoder to the other reading. Whether it is an event.
///
/// # Panics
///
/// Where the two readings differ.
pub fn check_decode(payload: &[u8]) -> bool {
    let mut decoder = Decoder::default();
    // What was read before must not matter: the second look finds the names known.
    decoder.decode(Some(payload)).ok();
    let other = fields(payload);
    let event = match decoder.decode(Some(payload)) {
        Ok(event) => event,
        Err(refusal) if refusal.reason == Reason::MissingType => {
            let other = other.expect("serde_json reads it, too");
            assert!(
                other.get("type").is_none_or(|raw| !raw.starts_with('"')),
                "a type"
            );
            return false;
        }
        Err(refusal) => {
            assert_eq!(refusal.reason, Reason::InvalidJson);
            assert!(other.is_none(), "serde_json reads it: {}", refusal.detail);
            return false;
        }
    };
    let other = other.expect("serde_json reads it, too");
    let text = |raw: &str| serde_json::from_str::<String>(raw).expect("a string");
    assert_eq!(event.event_type(), text(&other["type"]));
    let mut last = BTreeMap::new();
    for (key, value) in event.fields() {
        last.insert(key.text().into_owned(), value);
    }
    assert!(last.keys().eq(other.keys()), "the same fields");
    for (name, raw) in &other {
        for value in [last[name], event.get(name).expect("the field")] {
            assert_eq!(value.raw(), raw.as_bytes(), "field {name:?}");
            assert_eq!(value.kind(), kind(raw), "field {name:?}");
            let expected = (value.kind() == Kind::String).then(|| text(raw));
            assert_eq!(value.as_str().as_deref(), expected.as_deref(), "field {name:?}");
        }
    }
    true
}
