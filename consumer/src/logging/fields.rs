//! Owns what an event or a span says: its message, and its fields as JSON values in the order in which they were given.

use serde_json::{Map, Value};
use std::error::Error;
use std::fmt::{Debug, Write as _};
use tracing::field::{Field, Visit};

/// The field whose value, a JSON object as text, becomes fields of its own.
const FLATTEN: &str = "flatten";

/// A message and its fields.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    others: Map<String, Value>,
}

impl Fields {
    /// The fields beside the message.
    pub(super) fn others(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.others.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Takes over a span's fields.
    pub(super) fn extend(&mut self, span: &Fields) {
        self.others.extend(
            span.others
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
    }

    fn add(&mut self, field: &Field, value: Value) {
        // tracing keeps the `r#` of a field that is named as a keyword: `r#type`.
        let name = field.name().trim_start_matches("r#");
        self.others.insert(name.to_owned(), value);
    }

    fn add_text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            FLATTEN => match serde_json::from_str::<Map<String, Value>>(&text) {
                Ok(object) => self.others.extend(object),
                Err(_) => self.add(field, text.into()),
            },
            _ => self.add(field, text.into()),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into()); // null where JSON has no such number
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.add(field, value.to_string().into()),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.add(field, value.to_string().into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value.to_owned());
    }

    /// The error and, after colons, what caused it: our errors leave their source out of their own text.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Other crates' errors may have told it already.
            if !text.ends_with(&cause_text) {
                write!(text, ": {cause_text}").expect("into memory");
            }
            source = cause.source();
        }
        self.add_text(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_text(field, format!("{value:?}"));
    }
}
