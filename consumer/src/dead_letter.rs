//! Owns the record of a refused message: where it stood, its bytes, and why it was refused.
//! Storing it is `pipeline::store`'s business.

use crate::offsets::{Offset, Partition};
use std::fmt;

/// Why a message is not a row. The words are stored in `dead_letters.reason` and label the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not JSON, not an object, not UTF-8; also a tombstone or an empty payload.
    InvalidJson,
    /// The object has no string field `type`.
    MissingType,
    /// `type` names no route.
    UnknownType,
    /// A NOT NULL column has no value.
    MissingField,
    /// The JSON value is of another kind than the column takes.
    TypeMismatch,
    /// A number outside of the column's range.
    OutOfRange,
    /// A string longer than `varchar(n)` takes.
    TooLong,
    /// A string with U+0000, which PostgreSQL's text can't hold.
    NulCharacter,
    /// Not a timestamp that the contract knows.
    InvalidTimestamp,
    /// PostgreSQL refused the row; `sqlstate` and `detail` say why.
    RejectedByDatabase,
}

impl Reason {
    /// All reasons, in the order of the path of an event.
    pub const ALL: [Self; 10] = [
        Self::InvalidJson,
        Self::MissingType,
        Self::UnknownType,
        Self::MissingField,
        Self::TypeMismatch,
        Self::OutOfRange,
        Self::TooLong,
        Self::NulCharacter,
        Self::InvalidTimestamp,
        Self::RejectedByDatabase,
    ];

    /// The word for it, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::MissingType => "missing_type",
            Self::UnknownType => "unknown_type",
            Self::MissingField => "missing_field",
            Self::TypeMismatch => "type_mismatch",
            Self::OutOfRange => "out_of_range",
            Self::TooLong => "too_long",
            Self::NulCharacter => "nul_character",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::RejectedByDatabase => "rejected_by_database",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal by `decode` or `encode`: the reason and what exactly was wrong, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The word for it.
    pub reason: Reason,
    /// Names the field, the column and what was found, without the whole value of a long one.
    pub detail: String,
}

impl Refusal {
    /// A refusal for `reason`; `detail` names what was wrong.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// A refused message as it is kept in `dead_letters`; borrows its bytes from the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The partition that the message was read from.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// The broker's or producer's timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The message's key, byte for byte.
    pub key: Option<&'a [u8]>,
    /// The message's payload, byte for byte; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// The event's `type`, where one could be read.
    pub event_type: Option<&'a str>,
    /// The table that the type is routed to, where it is routed.
    pub target_table: Option<&'a str>,
    /// Why it is here.
    pub refusal: &'a Refusal,
    /// PostgreSQL's code, five characters, where PostgreSQL refused it.
    pub sqlstate: Option<&'a str>,
}
