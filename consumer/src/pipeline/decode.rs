//! Owns reading a payload: one pass over the borrowed bytes finds the event's type and where each of its fields
//! stands. Strict JSON (RFC 8259) and the `NaN`, `Infinity`, `-Infinity` that Python's `json` writes.
//! What a field's value becomes in PostgreSQL is `encode`'s business.

mod event;
mod names;
mod number;
mod scan;
mod text;

#[cfg(test)]
mod tests;

use crate::dead_letter::{Reason, Refusal};
use event::text_of;
use names::Names;
use scan::Fault;

pub use event::{Event, Key, Value};
pub(super) use names::UNKNOWN;
pub(super) use text::unescape;

/// The longest payload that is read, in bytes: spans are 32 bits wide. Kafka's own limit is half of it.
const LONGEST: usize = u32::MAX as usize;

/// So many fields' places are kept from one message to the next: a monstrous one costs its memory once.
const KEPT: usize = 4096;

/// Reads payloads, one after the other; what it needs for that is kept and used again, so that a message costs
/// no allocation once it has seen a few.
#[derive(Debug, Default)]
pub struct Decoder {
    fields: Vec<Field>,
    names: Names,
    /// The open containers while a nested value is passed over: nesting of any depth, no recursion.
    open: Vec<u8>,
    /// The event's type, where it is written with escapes.
    event_type: Vec<u8>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `"…"`
    String,
    /// A number by JSON's grammar.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
    /// `NaN`, which Python writes and JSON doesn't know.
    NaN,
    /// `Infinity`, likewise.
    Infinity,
    /// `-Infinity`, likewise.
    NegInfinity,
    /// `{…}`
    Object,
    /// `[…]`
    Array,
}

/// What a pass over a value has learned that spares `encode` a second one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// Some string of the value is written with escapes.
    pub(super) const ESCAPED: Self = Self(1);
    /// Some string of the value holds U+0000, which can only be escaped.
    pub(super) const NUL: Self = Self(2);
    /// `NaN`, `Infinity` or `-Infinity` stands in the value.
    pub(super) const CONSTANT: Self = Self(4);
    /// Some number within the value has more digits, or a larger exponent, than is read on the way.
    pub(super) const LONG: Self = Self(8);

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }
}

/// A number as read on the way: `±mantissa × 10^exponent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) mantissa: u64,
    pub(super) exponent: i16,
    pub(super) negative: bool,
    /// The two numbers above are the whole truth; otherwise the text has more digits than they hold.
    pub(super) exact: bool,
}

/// What the pass over a value has learned.
#[derive(Clone, Copy, Debug)]
struct Scanned {
    number: Number,
    kind: Kind,
    marks: Marks,
}

/// A field by its place in the payload.
#[derive(Clone, Copy, Debug)]
struct Field {
    scanned: Scanned,
    /// The key, without its quotes.
    key: (u32, u32),
    /// The value; a string's with its quotes.
    value: (u32, u32),
    /// The name's number.
    name: u16,
    key_marks: Marks,
}

impl Decoder {
    /// Reads one message's payload.
    pub fn decode<'a>(&'a mut self, payload: Option<&'a [u8]>) -> Result<Event<'a>, Refusal> {
        let Some(payload) = payload else {
            return Err(Refusal::new(Reason::InvalidJson, "tombstone: no payload"));
        };
        if payload.is_empty() {
            return Err(Refusal::new(Reason::InvalidJson, "empty payload"));
        }
        if payload.len() > LONGEST {
            return Err(Refusal::new(Reason::InvalidJson, "payload of 4 GiB or more"));
        }
        let type_at = self.read(payload).map_err(|fault| fault.into_refusal(payload))?;
        self.event(payload, type_at)
    }

    /// Fills `fields`; the place of the last one named `type` comes back.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        self.fields.clear();
        if self.fields.capacity() > KEPT {
            self.fields = Vec::new();
        }
        let mut type_at = None;
        let mut name = UNKNOWN;
        let mut at = scan::space(bytes, 0);
        if bytes.get(at) != Some(&b'{') {
            return Err(Fault::new(at, "an object is needed"));
        }
        at = scan::space(bytes, at + 1);
        if bytes.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                let key_start = at + 1;
                let (key_end, key_marks, start);
                if let Some(guess) = self.names.guess(bytes, at, name) {
                    name = guess.number;
                    key_end = key_start + guess.name_length;
                    key_marks = Marks::default();
                    start = scan::space(bytes, guess.end);
                } else {
                    (key_end, key_marks, start) = scan::name(bytes, at)?;
                    name = if key_marks.has(Marks::ESCAPED) {
                        UNKNOWN
                    } else {
                        self.names.learn(&bytes[at..start], key_end - key_start, name)
                    };
                }
                if key_end - key_start == 4 || key_marks.has(Marks::ESCAPED) {
                    let key = &bytes[key_start..key_end];
                    if key == b"type" || is_escaped_type(key, key_marks) {
                        type_at = Some(self.fields.len());
                    }
                }
                // The value is written to its final place at once: a copy of what was written a moment ago in
                // smaller parts would wait for all of them.
                let field = self.fields.push_mut(Field {
                    scanned: Scanned::default(),
                    key: (narrow(key_start), narrow(key_end)),
                    value: (narrow(start), 0),
                    name,
                    key_marks,
                });
                let end = scan::value(bytes, start, &mut self.open, &mut field.scanned)?;
                field.value.1 = narrow(end);
                at = scan::space(bytes, end);
                match bytes.get(at) {
                    Some(b',') => at = scan::space(bytes, at + 1),
                    Some(b'}') => {
                        at += 1;
                        break;
                    }
                    _ => return Err(Fault::new(at, "a comma or a closing brace is needed")),
                }
            }
        }
        at = scan::space(bytes, at);
        if at != bytes.len() {
            return Err(Fault::new(at, "nothing may follow the object"));
        }
        Ok(type_at)
    }

    fn event<'a>(&'a mut self, payload: &'a [u8], type_at: Option<usize>) -> Result<Event<'a>, Refusal> {
        let Some(field) = type_at.map(|at| &self.fields[at]) else {
            return Err(Refusal::new(Reason::MissingType, "no field \"type\""));
        };
        if field.scanned.kind != Kind::String {
            let found = field.scanned.kind.found();
            return Err(Refusal::new(
                Reason::MissingType,
                format!("field \"type\": a string is needed, found {found}"),
            ));
        }
        let raw = &payload[field.value.0 as usize + 1..field.value.1 as usize - 1];
        let text = if field.scanned.marks.has(Marks::ESCAPED) {
            self.event_type.clear();
            unescape(raw, &mut self.event_type);
            &self.event_type
        } else {
            raw
        };
        Ok(Event {
            payload,
            fields: &self.fields,
            names: self.names.identity(),
            kind: std::str::from_utf8(text).expect("strings were validated when they were read"),
        })
    }
}

impl Default for Scanned {
    fn default() -> Self {
        Self {
            number: Number::default(),
            kind: Kind::Null,
            marks: Marks::default(),
        }
    }
}

impl Fault {
    #[cold]
    fn into_refusal(self, payload: &[u8]) -> Refusal {
        let Self { at, what } = self;
        let detail = match payload.get(at) {
            Some(byte) if byte.is_ascii() => {
                format!("at byte {at}: {what}, found {:?}", char::from(*byte))
            }
            Some(byte) => format!("at byte {at}: {what}, found byte 0x{byte:02x}"),
            None => format!("at byte {at}: {what}, found the end"),
        };
        Refusal::new(Reason::InvalidJson, detail)
    }
}

#[cold]
fn is_escaped_type(raw: &[u8], marks: Marks) -> bool {
    marks.has(Marks::ESCAPED) && text_of(raw, marks) == "type"
}

/// A place in a payload, whose length `LONGEST` bounds.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "payloads longer than LONGEST are refused"
)]
fn narrow(at: usize) -> u32 {
    at as u32
}
