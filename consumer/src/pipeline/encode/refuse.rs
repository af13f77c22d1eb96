//! Owns the words of a refusal: which field, which column, what was found. They go into a text column, so that
//! strings are quoted as the payload writes them: escaped, and cut where they are long.

use crate::dead_letter::{Reason, Refusal};
use crate::pipeline::decode::{Kind, Value};
use crate::table::{Column, ColumnType};
use std::borrow::Cow;

/// So much of a value is shown, in bytes.
const SHOWN: usize = 100;

/// What is wrong with a value; the column's type follows `what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) reason: Reason,
    what: &'static str,
}

impl Wrong {
    pub(super) const fn new(reason: Reason, what: &'static str) -> Self {
        Self { reason, what }
    }

    /// The refusal of a field's value. `key` is its name as the payload writes it.
    #[cold]
    pub(super) fn in_field(self, key: &[u8], kind: ColumnType, value: &Value<'_>) -> Refusal {
        let Self { reason, what } = self;
        let (key, kind) = (shown(key), name(kind));
        let found = match value.kind() {
            Kind::String | Kind::Number => format!("{} {}", value.kind().found(), shown(value.raw())),
            other => other.found().to_owned(),
        };
        Refusal::new(reason, format!("field \"{key}\": {what} {kind}, found {found}"))
    }

    /// The refusal of one of the message's own coordinates.
    #[cold]
    pub(super) fn in_coordinate(self, column: &Column) -> Refusal {
        let Self { reason, what } = self;
        let (column, kind) = (&column.name, name(column.kind));
        Refusal::new(reason, format!("column \"{column}\": {what} {kind}"))
    }
}

/// The refusal of an event without a value for a NOT NULL column.
#[cold]
pub(super) fn missing(column: &Column, found: &str) -> Refusal {
    let (field, kind) = (&column.name, name(column.kind));
    Refusal::new(
        Reason::MissingField,
        format!("field \"{field}\": a value is needed for {kind} NOT NULL, {found}"),
    )
}

/// Text from the payload, which holds no control characters, cut if it is long.
pub(super) fn shown(raw: &[u8]) -> Cow<'_, str> {
    if raw.len() <= SHOWN {
        return String::from_utf8_lossy(raw);
    }
    // A character is at most four bytes long: the cut never lands inside of one.
    let cut = (SHOWN - 3..=SHOWN)
        .rev()
        .find(|&at| raw[at] & 0xc0 != 0x80)
        .unwrap_or(SHOWN);
    Cow::Owned(format!("{}…", String::from_utf8_lossy(&raw[..cut])))
}

/// PostgreSQL's name of a type.
pub(super) fn name(kind: ColumnType) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        ColumnType::Float8 => "double precision",
        ColumnType::Float4 => "real",
        ColumnType::Int2 => "smallint",
        ColumnType::Int4 => "integer",
        ColumnType::Int8 => "bigint",
        ColumnType::Numeric => "numeric",
        ColumnType::Text => "text",
        ColumnType::Varchar(most) => return Cow::Owned(format!("varchar({most})")),
        ColumnType::Bool => "boolean",
        ColumnType::Timestamptz => "timestamptz",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Date => "date",
        ColumnType::Uuid => "uuid",
        ColumnType::Json => "json",
        ColumnType::Jsonb => "jsonb",
        ColumnType::Bytea => "bytea",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "\u{e4}".repeat(80);
        let text = shown(long.as_bytes()).into_owned();
        assert!(text.ends_with("\u{e4}…") && text.len() <= SHOWN + 3);
        let odd = format!("a{long}");
        assert!(!shown(odd.as_bytes()).contains(char::REPLACEMENT_CHARACTER));
        assert_eq!(shown(b"short"), "short");
    }
}
