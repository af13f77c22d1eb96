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
use names::{Names, START};
use scan::Fault;

pub use event::{Event, Key, Value};
pub(super) use names::UNKNOWN;
pub(super) use number::{eight, no_digits};
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
    event_types: EventTypes,
}

/// The types of events that came lately: text that need not be validated again.
#[derive(Debug, Default)]
struct EventTypes {
    known: Vec<String>,
    /// The place of the one that was learned last: the next one but that goes first.
    newest: usize,
}

impl EventTypes {
    const MOST: usize = 8;
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
    /// It has seven digits at most, up to six of them behind the point, and no exponent.
    pub(super) short: bool,
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

/// A field's name that was read by the grammar.
struct Found {
    number: u16,
    key: (usize, usize),
    marks: Marks,
    /// Where its value starts.
    start: usize,
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
        let mut name = START;
        // Before the object, later behind a value.
        let mut at = 0;
        loop {
            let (key, key_marks, start, word);
            if let Some((guess, first)) = self.names.guess(bytes, at, name) {
                name = guess.number;
                key = (at + guess.key_start(), at + guess.key_end());
                key_marks = Marks::default();
                start = at + guess.length();
                word = first;
                if guess.is_type() {
                    type_at = Some(self.fields.len());
                }
            } else {
                let Some(found) = self.search(bytes, at, name)? else {
                    return Ok(type_at);
                };
                (name, key, key_marks, start) = (found.number, found.key, found.marks, found.start);
                word = scan::word(bytes, start);
                if is_type(&bytes[key.0..key.1], key_marks) {
                    type_at = Some(self.fields.len());
                }
            }
            let mut take = |start: usize, (end, scanned): (usize, Scanned)| {
                self.fields.push(Field {
                    scanned,
                    key: (narrow(key.0), narrow(key.1)),
                    value: (narrow(start), narrow(end)),
                    name,
                    key_marks,
                });
                at = end;
            };
            // Not one `take` of either: the two would meet in memory, which takes as long as the work.
            if let Some(short) = scan::short_value(bytes, start, word) {
                take(start, short);
            } else {
                // A name that was guessed may have more space behind it this time.
                let start = scan::space(bytes, start);
                take(start, scan::value(bytes, start, &mut self.open)?);
            }
        }
    }

    /// The field that follows what ends at `at`, as the grammar has it; `None` when the payload ends as it should.
    #[inline(never)]
    fn search(&mut self, bytes: &[u8], at: usize, before: u16) -> Result<Option<Found>, Fault> {
        let from = at;
        let mut at = scan::space(bytes, at);
        let next = bytes.get(at);
        let ends = if before == START {
            if next != Some(&b'{') {
                return Err(Fault::new(at, "an object is needed"));
            }
            at = scan::space(bytes, at + 1);
            bytes.get(at) == Some(&b'}')
        } else if next == Some(&b',') {
            at = scan::space(bytes, at + 1);
            false
        } else if next == Some(&b'}') {
            true
        } else {
            return Err(Fault::new(at, "a comma or a closing brace is needed"));
        };
        if ends {
            at = scan::space(bytes, at + 1);
            return if at == bytes.len() {
                Ok(None)
            } else {
                Err(Fault::new(at, "nothing may follow the object"))
            };
        }
        let (key_end, marks, start) = scan::name(bytes, at)?;
        let key = (at + 1, key_end);
        let number = if marks.has(Marks::ESCAPED) {
            UNKNOWN
        } else {
            self.names
                .learn(&bytes[from..start], key.0 - from..key.1 - from, before)
        };
        Ok(Some(Found {
            number,
            key,
            marks,
            start,
        }))
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
        let escaped = field.scanned.marks.has(Marks::ESCAPED);
        Ok(Event {
            payload,
            fields: &self.fields,
            names: self.names.identity(),
            kind: self.event_types.text_of(raw, escaped),
        })
    }
}

impl EventTypes {
    /// A type as text. `raw` is a validated string, between its quotes.
    #[inline]
    fn text_of(&mut self, raw: &[u8], escaped: bool) -> &str {
        let known = self.known.iter().position(|known| known.as_bytes() == raw);
        let at = match known {
            Some(at) if !escaped => at,
            _ => self.learn(raw, escaped),
        };
        &self.known[at]
    }

    #[cold]
    fn learn(&mut self, raw: &[u8], escaped: bool) -> usize {
        let marks = if escaped { Marks::ESCAPED } else { Marks::default() };
        if self.known.len() < Self::MOST {
            self.known.push(String::new());
        }
        self.newest = (self.newest + 1) % self.known.len();
        self.known[self.newest] = text_of(raw, marks).into_owned();
        self.newest
    }
}

impl Number {
    #[inline]
    fn short(mantissa: u64, exponent: i16) -> Self {
        Self {
            mantissa,
            exponent,
            negative: false,
            exact: true,
            short: true,
        }
    }
}

impl Scanned {
    #[inline]
    fn of(kind: Kind) -> Self {
        Self {
            number: Number::default(),
            kind,
            marks: Marks::default(),
        }
    }

    #[inline]
    fn number(number: Number) -> Self {
        Self {
            number,
            ..Self::of(Kind::Number)
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

fn is_type(raw: &[u8], marks: Marks) -> bool {
    raw == b"type" || (marks.has(Marks::ESCAPED) && text_of(raw, marks) == "type")
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
