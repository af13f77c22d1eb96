//! Owns reading a payload: one pass over the borrowed bytes finds the event's type and where each of its fields
//! stands. Strict JSON (RFC 8259) and the `NaN`, `Infinity`, `-Infinity` that Python's `json` writes.
//! What a field's value becomes in PostgreSQL is `encode`'s business.

mod scan;
mod text;

#[cfg(test)]
mod tests;

use crate::dead_letter::{Reason, Refusal};
use scan::Fault;
use std::borrow::Cow;

pub(in crate::pipeline) use text::unescape;

/// The longest payload that is read, in bytes: spans are 32 bits wide. Kafka's own limit is half of it.
const LONGEST: usize = u32::MAX as usize;

/// Reads payloads, one after the other; what it needs for that is kept and used again, so that a message costs
/// no allocation once it has seen a few.
#[derive(Debug, Default)]
pub struct Decoder {
    fields: Vec<Field>,
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

/// A field by its place in the payload.
#[derive(Clone, Copy, Debug)]
struct Field {
    number: Number,
    /// The key, without its quotes.
    key: (u32, u32),
    /// The value; a string's with its quotes.
    value: (u32, u32),
    kind: Kind,
    marks: Marks,
    key_marks: Marks,
}

/// An event: its type, and its fields in their order in the payload.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    payload: &'a [u8],
    fields: &'a [Field],
    kind: &'a str,
}

/// A field's name.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    raw: &'a [u8],
    marks: Marks,
}

/// A field's value.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    raw: &'a [u8],
    field: &'a Field,
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
        let mut type_at = None;
        let mut at = scan::space(bytes, 0);
        if bytes.get(at) != Some(&b'{') {
            return Err(Fault::new(at, "an object is needed"));
        }
        at = scan::space(bytes, at + 1);
        if bytes.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                if bytes.get(at) != Some(&b'"') {
                    return Err(Fault::new(at, "a field's name is needed"));
                }
                let key_start = at + 1;
                let (key_end, key_marks) = scan::string(bytes, key_start)?;
                at = scan::space(bytes, key_end + 1);
                if bytes.get(at) != Some(&b':') {
                    return Err(Fault::new(at, "a colon is needed"));
                }
                let start = scan::space(bytes, at + 1);
                let value = scan::value(bytes, start, &mut self.open)?;
                if key_end - key_start == 4 || key_marks.has(Marks::ESCAPED) {
                    let key = &bytes[key_start..key_end];
                    if key == b"type" || is_escaped_type(key, key_marks) {
                        type_at = Some(self.fields.len());
                    }
                }
                self.fields.push(Field {
                    number: value.number,
                    key: (narrow(key_start), narrow(key_end)),
                    value: (narrow(start), narrow(value.end)),
                    kind: value.kind,
                    marks: value.marks,
                    key_marks,
                });
                at = scan::space(bytes, value.end);
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
        if field.kind != Kind::String {
            let found = found(field.kind);
            return Err(Refusal::new(
                Reason::MissingType,
                format!("field \"type\": a string is needed, found {found}"),
            ));
        }
        let raw = &payload[field.value.0 as usize + 1..field.value.1 as usize - 1];
        let text = if field.marks.has(Marks::ESCAPED) {
            self.event_type.clear();
            unescape(raw, &mut self.event_type);
            &self.event_type
        } else {
            raw
        };
        Ok(Event {
            payload,
            fields: &self.fields,
            kind: std::str::from_utf8(text).expect("strings were validated when they were read"),
        })
    }
}

impl<'a> Event<'a> {
    /// The event's type, unescaped.
    pub fn event_type(&self) -> &'a str {
        self.kind
    }

    /// All fields in the payload's order, `type` among them. A repeated key comes again: the last one counts.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (Key<'a>, Value<'a>)> + use<'a> {
        let event = *self;
        self.fields
            .iter()
            .map(move |field| (event.key_of(field), event.value_of(field)))
    }

    /// The value of the last field of this name.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let event = *self;
        let field = event
            .fields
            .iter()
            .rev()
            .find(|field| event.key_of(field).text() == name)?;
        Some(event.value_of(field))
    }

    pub(super) fn key(&self, at: usize) -> Key<'a> {
        self.key_of(&self.fields[at])
    }

    pub(super) fn value(&self, at: usize) -> Value<'a> {
        self.value_of(&self.fields[at])
    }

    fn key_of(&self, field: &Field) -> Key<'a> {
        Key {
            raw: &self.payload[field.key.0 as usize..field.key.1 as usize],
            marks: field.key_marks,
        }
    }

    fn value_of(&self, field: &'a Field) -> Value<'a> {
        Value {
            raw: &self.payload[field.value.0 as usize..field.value.1 as usize],
            field,
        }
    }
}

impl<'a> Key<'a> {
    /// The name as it stands in the payload, between its quotes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The name, unescaped.
    pub fn text(&self) -> Cow<'a, str> {
        text_of(self.raw, self.marks)
    }

    pub(super) fn marks(&self) -> Marks {
        self.marks
    }
}

impl<'a> Value<'a> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.field.kind
    }

    /// Its text as it stands in the payload; a string's with its quotes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// A string, unescaped.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| text_of(self.between_quotes(), self.field.marks))
    }

    /// A string's text between its quotes, escapes and all. For strings only.
    pub(super) fn between_quotes(&self) -> &'a [u8] {
        &self.raw[1..self.raw.len() - 1]
    }

    pub(super) fn marks(&self) -> Marks {
        self.field.marks
    }

    /// The number that was read on the way. For numbers only.
    pub(super) fn number(&self) -> &'a Number {
        &self.field.number
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

/// What a person calls a value of this kind.
pub(super) fn found(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Number => "number",
        Kind::True => "true",
        Kind::False => "false",
        Kind::Null => "null",
        Kind::NaN => "NaN",
        Kind::Infinity => "Infinity",
        Kind::NegInfinity => "-Infinity",
        Kind::Object => "an object",
        Kind::Array => "an array",
    }
}

#[cold]
fn is_escaped_type(raw: &[u8], marks: Marks) -> bool {
    marks.has(Marks::ESCAPED) && text_of(raw, marks) == "type"
}

fn text_of(raw: &[u8], marks: Marks) -> Cow<'_, str> {
    if marks.has(Marks::ESCAPED) {
        let mut text = Vec::with_capacity(raw.len());
        unescape(raw, &mut text);
        Cow::Owned(String::from_utf8(text).expect("escapes were validated when they were read"))
    } else {
        Cow::Borrowed(std::str::from_utf8(raw).expect("strings were validated when they were read"))
    }
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
