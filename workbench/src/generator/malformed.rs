//! Owns the ways in which a message can be broken, and breaks one. Each kind names the reason for which
//! a consumer must put it among the dead letters, so that a test can check its counts.

use super::json::Line;
use super::noise::Dice;
use storage_consumer::dead_letter::Reason;

/// A kind of message that a consumer must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Malformed {
    /// JSON that ends in the middle.
    Truncated,
    /// JSON that is not an object.
    NotAnObject,
    /// An object, and then something more.
    TrailingData,
    /// Bytes that are not UTF-8 inside of a string.
    BrokenUtf8,
    /// No payload at all: Kafka's mark of deletion.
    Tombstone,
    /// A payload of no bytes.
    Empty,
    /// No `type`, or one that is not a string.
    MissingType,
    /// A `type` that no route takes.
    UnknownType,
    /// A required field is missing or null.
    MissingField,
    /// A value of a kind that the column doesn't take.
    WrongType,
    /// A number that the column can't hold.
    OutOfRange,
    /// A string with U+0000.
    NulCharacter,
    /// A timestamp that is none.
    InvalidTimestamp,
}

impl Malformed {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::Truncated,
        Self::NotAnObject,
        Self::TrailingData,
        Self::BrokenUtf8,
        Self::Tombstone,
        Self::Empty,
        Self::MissingType,
        Self::UnknownType,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::NulCharacter,
        Self::InvalidTimestamp,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::NotAnObject => "not_an_object",
            Self::TrailingData => "trailing_data",
            Self::BrokenUtf8 => "broken_utf8",
            Self::Tombstone => "tombstone",
            Self::Empty => "empty",
            Self::MissingType => "missing_type",
            Self::UnknownType => "unknown_type",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::NulCharacter => "nul_character",
            Self::InvalidTimestamp => "invalid_timestamp",
        }
    }

    /// Why a consumer refuses it.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Truncated
            | Self::NotAnObject
            | Self::TrailingData
            | Self::BrokenUtf8
            | Self::Tombstone
            | Self::Empty => Reason::InvalidJson,
            Self::MissingType => Reason::MissingType,
            Self::UnknownType => Reason::UnknownType,
            Self::MissingField => Reason::MissingField,
            Self::WrongType => Reason::TypeMismatch,
            Self::OutOfRange => Reason::OutOfRange,
            Self::NulCharacter => Reason::NulCharacter,
            Self::InvalidTimestamp => Reason::InvalidTimestamp,
        }
    }
}

/// Who sent the event that is broken: which fields it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    Server,
    Service,
}

/// Breaks a well-formed event; a tombstone leaves it to the caller to send nothing.
pub(super) fn spoil(kind: Malformed, sender: Sender, line: &mut Line, dice: &mut Dice) {
    let of_server = sender == Sender::Server;
    match kind {
        Malformed::Truncated => {
            let length = line.bytes().len();
            line.bytes_mut().truncate(1 + dice.below(length - 1));
        }
        Malformed::NotAnObject => {
            let bytes = line.bytes_mut();
            match dice.below(4) {
                0 => {
                    bytes.insert(0, b'[');
                    bytes.push(b']');
                }
                1 => bytes.splice(.., *b"\"server_metric\"").for_each(drop),
                2 => bytes.splice(.., *b"42").for_each(drop),
                _ => bytes.splice(.., *b"null").for_each(drop),
            }
        }
        Malformed::TrailingData => {
            let more: &[u8] = dice.pick(&[b"}".as_slice(), b" {}", b",", b" end"]);
            line.bytes_mut().extend_from_slice(more);
        }
        Malformed::BrokenUtf8 => {
            let bytes: &[u8] = dice.pick(&[b"\"\xff\xfe\"".as_slice(), b"\"R\xc3\"", b"\"\xed\xa0\x80\""]);
            line.set(if of_server { "rack_id" } else { "endpoint" }, bytes);
        }
        Malformed::Tombstone | Malformed::Empty => line.bytes_mut().clear(),
        Malformed::MissingType => match dice.below(3) {
            0 => line.remove("type"),
            1 => line.set("type", b"null"),
            _ => line.set("type", b"7"),
        },
        Malformed::UnknownType => unknown_type(line, dice),
        Malformed::MissingField => {
            let identity = if of_server { "server_id" } else { "service_name" };
            let field = dice.pick(&["timestamp", identity]);
            if dice.chance(0.5) {
                line.remove(field);
            } else {
                line.set(field, b"null");
            }
        }
        Malformed::WrongType => {
            let (field, value) = if of_server {
                dice.pick(&[
                    ("cpu_usage_percent", "\"high\""),
                    ("disk_read_mbps", "true"),
                    ("power_consumption_watts", "{\"watts\": 300}"),
                    ("fan_speed_rpm", "\"fast\""),
                    ("rack_id", "[\"R01\", 7]"),
                ])
            } else {
                dice.pick(&[
                    ("response_time_p99_ms", "\"slow\""),
                    ("error_rate_percent", "false"),
                    ("request_rate_per_sec", "[120.5]"),
                    ("error_count", "\"many\""),
                    ("endpoint", "{\"path\": \"/login\"}"),
                ])
            };
            line.set(field, value.as_bytes());
        }
        Malformed::OutOfRange => {
            let (field, value) = if of_server {
                dice.pick(&[
                    ("fan_speed_rpm", "9999999999"),
                    ("fan_speed_rpm", "-1e300"),
                    ("cpu_usage_percent", "1e999"),
                ])
            } else {
                dice.pick(&[
                    ("error_count", "-3000000000"),
                    ("queue_depth", "2147483648"),
                    ("response_time_p50_ms", "-1e400"),
                ])
            };
            line.set(field, value.as_bytes());
        }
        Malformed::NulCharacter => {
            let fields = if of_server {
                ["server_id", "rack_id"]
            } else {
                ["service_name", "endpoint"]
            };
            let value: &[u8] = dice.pick(&[b"\"a\\u0000b\"".as_slice(), b"\"\\u0000\""]);
            line.set(dice.pick(&fields), value);
        }
        Malformed::InvalidTimestamp => {
            let value: &[u8] = dice.pick(&[
                b"\"yesterday\"".as_slice(),
                b"\"\"",
                b"\"2025-02-30T12:00:00+00:00\"",
                b"\"2025-01-01T25:61:00+00:00\"",
                b"\"2025-01-01T12:00:00+99:99\"",
            ]);
            line.set("timestamp", value);
        }
    }
}

/// Gives an event a type that nobody knows.
pub(super) fn unknown_type(line: &mut Line, dice: &mut Dice) {
    let name: &[u8] = dice.pick(&[
        b"\"gpu_metric\"".as_slice(),
        b"\"network_metric\"",
        b"\"server_metrics\"",
    ]);
    line.set("type", name);
}
