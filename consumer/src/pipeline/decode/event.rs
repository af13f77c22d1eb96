//! Owns what is known of an event once it is read: its type, and each field's name and value as spans of the payload,
//! unescaped when they are asked for.

use super::{Field, Kind, Marks, Number, unescape};
use std::borrow::Cow;

/// An event: its type, and its fields in their order in the payload.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub(super) payload: &'a [u8],
    pub(super) fields: &'a [Field],
    pub(super) kind: &'a str,
    pub(super) names: u64,
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
    pub(super) payload: &'a [u8],
    field: &'a Field,
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

    /// What tells the numbers of its names from those of another decoder.
    pub(in crate::pipeline) fn names(&self) -> u64 {
        self.names
    }

    /// How many fields there are, repeated ones included.
    pub(in crate::pipeline) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The number of a field's name, or `UNKNOWN`.
    #[inline]
    pub(in crate::pipeline) fn name_number(&self, at: usize) -> u16 {
        self.fields[at].name
    }

    /// Whether these are the numbers of its fields' names.
    #[inline]
    pub(in crate::pipeline) fn has_names(&self, numbers: &[u16]) -> bool {
        // Mostly they are: to stop at the first other one would cost more than to look at all.
        let differs = |all, (field, number): (&Field, &u16)| all | (field.name ^ number);
        self.fields.len() == numbers.len() && self.fields.iter().zip(numbers).fold(0, differs) == 0
    }

    /// A field's number, if it is a short one.
    #[inline]
    pub(in crate::pipeline) fn short_number(&self, at: usize) -> Option<&'a Number> {
        let number = &self.fields[at].scanned.number;
        number.short.then_some(number)
    }

    /// A string without escapes: the payload from its first character on, and how many bytes of that it is.
    #[inline]
    pub(in crate::pipeline) fn plain_text(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let Field { scanned, value, .. } = &self.fields[at];
        if scanned.kind != Kind::String || scanned.marks.has(Marks::ESCAPED) {
            return None;
        }
        let (start, end) = (value.0 as usize + 1, value.1 as usize - 1);
        Some((self.payload.get(start..)?, end - start))
    }

    pub(in crate::pipeline) fn key(&self, at: usize) -> Key<'a> {
        self.key_of(&self.fields[at])
    }

    pub(in crate::pipeline) fn value(&self, at: usize) -> Value<'a> {
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
            payload: self.payload,
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

    pub(in crate::pipeline) fn marks(&self) -> Marks {
        self.marks
    }
}

impl<'a> Value<'a> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.field.scanned.kind
    }

    /// Its text as it stands in the payload; a string's with its quotes.
    pub fn raw(&self) -> &'a [u8] {
        &self.payload[self.field.value.0 as usize..self.field.value.1 as usize]
    }

    /// A string, unescaped.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| text_of(self.between_quotes(), self.field.scanned.marks))
    }

    /// A string's text between its quotes, escapes and all. For strings only.
    pub(in crate::pipeline) fn between_quotes(&self) -> &'a [u8] {
        &self.payload[self.field.value.0 as usize + 1..self.field.value.1 as usize - 1]
    }

    pub(in crate::pipeline) fn marks(&self) -> Marks {
        self.field.scanned.marks
    }

    /// The number that was read on the way. For numbers only.
    pub(in crate::pipeline) fn number(&self) -> &'a Number {
        &self.field.scanned.number
    }
}

impl Kind {
    /// What a person calls a value of this kind.
    pub(in crate::pipeline) fn found(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::True => "true",
            Self::False => "false",
            Self::Null => "null",
            Self::NaN => "NaN",
            Self::Infinity => "Infinity",
            Self::NegInfinity => "-Infinity",
            Self::Object => "an object",
            Self::Array => "an array",
        }
    }
}

/// Validated text, unescaped.
pub(super) fn text_of(raw: &[u8], marks: Marks) -> Cow<'_, str> {
    if marks.has(Marks::ESCAPED) {
        let mut text = Vec::with_capacity(raw.len());
        unescape(raw, &mut text);
        Cow::Owned(String::from_utf8(text).expect("escapes were validated when they were read"))
    } else {
        Cow::Borrowed(std::str::from_utf8(raw).expect("strings were validated when they were read"))
    }
}
