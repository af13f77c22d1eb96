//! Owns the text of an event: one JSON object on a line, written as Python's `json.dumps` writes it,
//! into a buffer that is used again. Knows where each field lies, so that fields can be moved.

use super::noise::Dice;
use std::ops::Range;

/// A JSON object under construction. Names and texts come from the generator and need no escapes.
#[derive(Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// Each field from its name's quote to the end of its value.
    fields: Vec<Range<usize>>,
    spare: Vec<u8>,
}

impl Line {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes without the fields' places: for what is no object any more.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.fields.clear();
        &mut self.bytes
    }

    pub(super) fn start(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.bytes.push(b'{');
    }

    pub(super) fn finish(&mut self) {
        self.bytes.push(b'}');
    }

    fn field(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        if !self.fields.is_empty() {
            self.bytes.extend_from_slice(b", ");
        }
        let start = self.bytes.len();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\": ");
        value(&mut self.bytes);
        self.fields.push(start..self.bytes.len());
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.field(name, |out| {
            out.push(b'"');
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        });
    }

    /// A value of at least 0, rounded to two decimals and written as Python does: `3.0`, `3.1`, `3.14`.
    pub(super) fn decimal(&mut self, name: &str, value: f64) {
        self.field(name, |out| {
            let hundredths = whole(value * 100.0);
            digits(out, hundredths / 100);
            out.push(b'.');
            let rest = u8::try_from(hundredths % 100).expect("below 100");
            out.push(b'0' + rest / 10);
            if !rest.is_multiple_of(10) {
                out.push(b'0' + rest % 10);
            }
        });
    }

    /// A value of at least 0, rounded.
    pub(super) fn integer(&mut self, name: &str, value: f64) {
        self.field(name, |out| digits(out, whole(value)));
    }

    /// Adds a field to a finished object; `value` is JSON.
    pub(super) fn append(&mut self, name: &str, value: &str) {
        self.bytes.pop();
        self.field(name, |out| out.extend_from_slice(value.as_bytes()));
        self.finish();
    }

    /// Puts other bytes in the place of a field's value.
    pub(super) fn set(&mut self, name: &str, value: &[u8]) {
        let at = self.position(name);
        let field = self.fields[at].clone();
        let old = field.start + name.len() + 4..field.end;
        let (grown, shrunk) = (value.len(), old.len());
        self.bytes.splice(old, value.iter().copied());
        self.fields[at].end = field.end + grown - shrunk;
        for later in &mut self.fields[at + 1..] {
            later.start = later.start + grown - shrunk;
            later.end = later.end + grown - shrunk;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let at = self.position(name);
        self.fields.remove(at);
        self.lay_out();
    }

    /// Puts the fields in random order.
    pub(super) fn shuffle(&mut self, dice: &mut Dice) {
        dice.shuffle(&mut self.fields);
        self.lay_out();
    }

    fn position(&self, name: &str) -> usize {
        self.fields
            .iter()
            .position(|field| {
                let rest = &self.bytes[field.start + 1..field.end];
                rest.starts_with(name.as_bytes()) && rest[name.len()] == b'"'
            })
            .expect("the generator asks for fields that it wrote")
    }

    /// Writes the object anew, its fields in the order of `fields`.
    fn lay_out(&mut self) {
        self.spare.clear();
        self.spare.push(b'{');
        for (i, field) in self.fields.iter_mut().enumerate() {
            if i > 0 {
                self.spare.extend_from_slice(b", ");
            }
            let start = self.spare.len();
            self.spare.extend_from_slice(&self.bytes[field.clone()]);
            *field = start..self.spare.len();
        }
        self.spare.push(b'}');
        std::mem::swap(&mut self.bytes, &mut self.spare);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and metrics are far from the ends"
)]
fn whole(value: f64) -> u64 {
    (value + 0.5) as u64
}

fn digits(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [0_u8; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(value % 10).expect("a digit");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Writes timestamps as Python's `datetime.isoformat` does for UTC: `2025-01-01T12:00:00.123456+00:00`,
/// and without a fraction when that is 0. The text down to the second is kept: it serves many events.
#[derive(Default)]
pub(super) struct Clock {
    second: Option<i64>,
    text: String,
}

impl Clock {
    pub(super) fn text(&mut self, micros_since_epoch: i64) -> &str {
        const TO_THE_SECOND: usize = "2025-01-01T12:00:00".len();
        let second = micros_since_epoch.div_euclid(1_000_000);
        if self.second != Some(second) {
            use std::fmt::Write as _;
            let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
            let time = jiff::tz::Offset::UTC.to_datetime(time);
            self.text.clear();
            write!(
                self.text,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                time.year(),
                time.month(),
                time.day(),
                time.hour(),
                time.minute(),
                time.second()
            )
            .expect("a string takes all");
            self.second = Some(second);
        }
        self.text.truncate(TO_THE_SECOND);
        let mut fraction = micros_since_epoch.rem_euclid(1_000_000);
        if fraction != 0 {
            let mut six = [b'0'; 6];
            for digit in six.iter_mut().rev() {
                *digit = b'0' + u8::try_from(fraction % 10).expect("a digit");
                fraction /= 10;
            }
            self.text.push('.');
            self.text.push_str(str::from_utf8(&six).expect("digits"));
        }
        self.text.push_str("+00:00");
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_python_writes_them() {
        let mut line = Line::default();
        line.start();
        line.decimal("a", 3.0);
        line.decimal("b", 3.1);
        line.decimal("c", 2.34159);
        line.decimal("d", 0.049);
        line.decimal("e", 0.0);
        line.integer("f", 1234.5);
        line.text("g", "x");
        line.finish();
        assert_eq!(
            str::from_utf8(line.bytes()).unwrap_or_default(),
            r#"{"a": 3.0, "b": 3.1, "c": 2.34, "d": 0.05, "e": 0.0, "f": 1235, "g": "x"}"#
        );
    }

    #[test]
    fn fields_can_be_set_removed_added_and_shuffled() {
        let mut line = Line::default();
        line.start();
        line.text("a", "1");
        line.text("ab", "2");
        line.text("b", "3");
        line.finish();
        line.set("ab", b"null");
        line.set("b", b"[1, 2, 3]");
        line.remove("a");
        line.append("c", "true");
        line.set("b", b"7");
        assert_eq!(line.bytes(), br#"{"ab": null, "b": 7, "c": true}"#);
        line.shuffle(&mut Dice::new(1, 0));
        line.set("c", b"false");
        let value: serde_json::Value = serde_json::from_slice(line.bytes()).expect("JSON");
        assert_eq!(value, serde_json::json!({"ab": null, "b": 7, "c": false}));
    }

    #[test]
    fn timestamps_look_as_python_writes_them() {
        let mut clock = Clock::default();
        assert_eq!(
            clock.text(1_735_732_800_123_456),
            "2025-01-01T12:00:00.123456+00:00"
        );
        assert_eq!(
            clock.text(1_735_732_800_000_001),
            "2025-01-01T12:00:00.000001+00:00"
        );
        assert_eq!(clock.text(1_735_732_800_000_000), "2025-01-01T12:00:00+00:00");
        assert_eq!(clock.text(-1), "1969-12-31T23:59:59.999999+00:00");
    }
}
