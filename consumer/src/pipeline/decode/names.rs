//! Owns the names of fields that were seen. Events of one type write the same names in the same order, with the same
//! text between a value and the next: that text is guessed and compared as a whole, instead of being taken apart and
//! looked up. A name that was guessed has a number, by which `encode` finds its column. What is learned changes the
//! speed, never the result.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes of a payload are compared at once: a comma, a name with its quotes, a colon, spaces. A text that is kept
/// is shorter than that.
const WIDTH: usize = 32;
/// So many are looked at: the value's first ones too.
const REACH: usize = WIDTH + 8;
/// So many names are kept: a flood of new ones costs a lookup each and no more memory.
const MOST: usize = 1024;
/// The number of names that aren't kept.
pub(in crate::pipeline) const UNKNOWN: u16 = 0;
/// The number of what stands before an event's first name. That name's text starts with a brace: it must not be taken
/// for one that follows a value.
pub(super) const START: u16 = 1;

type Text = [u8; WIDTH];

#[derive(Debug)]
pub(super) struct Names {
    /// The names by number; the first ones stand for `UNKNOWN` and `START`.
    known: Vec<Name>,
    by_text: HashMap<Text, u16>,
    identity: u64,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct Name {
    /// The payload's text from the last value's end to this one's start, such as `, "name": `; then zeros.
    text: Text,
    /// Ones where the text is.
    mask: Text,
    /// What followed it, for two types of events that go on differently.
    next: [Step; 2],
}

impl Name {
    /// Nothing is like it: where the mask has no ones, the text would have to be zero.
    const NONE: Self = Self {
        text: [1; WIDTH],
        mask: [0; WIDTH],
        next: [Step::NONE; 2],
    };
}

/// To a name, with what is known of it: reading that from the name would come later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) number: u16,
    length: u8,
    key_start: u8,
    key_end: u8,
    is_type: bool,
}

impl Step {
    const NONE: Self = Self {
        number: UNKNOWN,
        length: 0,
        key_start: 0,
        key_end: 0,
        is_type: false,
    };

    /// From the last value's end to this one's start.
    #[inline]
    pub(super) fn length(self) -> usize {
        usize::from(self.length)
    }

    /// From the last value's end to where the key starts, behind its quote.
    #[inline]
    pub(super) fn key_start(self) -> usize {
        usize::from(self.key_start)
    }

    /// And to where it ends.
    #[inline]
    pub(super) fn key_end(self) -> usize {
        usize::from(self.key_end)
    }

    /// The key is `type`.
    #[inline]
    pub(super) fn is_type(self) -> bool {
        self.is_type
    }
}

impl Default for Names {
    fn default() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            known: vec![Name::NONE; usize::from(START) + 1],
            by_text: HashMap::new(),
            identity: 1 + LAST.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Names {
    /// Tells the numbers of these names from those of all others.
    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    /// What leads from the end of a value, or from the event's start, to the next value, if it is what came after
    /// `before` lately; and that value's first eight bytes, zeros where the payload has ended.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see scan::short_value")]
    pub(super) fn guess(&self, bytes: &[u8], at: usize, before: u16) -> Option<(&Step, u64)> {
        let rest = bytes.get(at..)?;
        match rest.first_chunk() {
            Some(here) => self.step(here, before),
            None => self.last_step(rest, before),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see scan::short_value")]
    fn step(&self, here: &[u8; REACH], before: u16) -> Option<(&Step, u64)> {
        let [first, second] = &self.known[usize::from(before)].next;
        let step = if self.is(first.number, here) {
            first
        } else if self.is(second.number, here) {
            second
        } else {
            return None;
        };
        // A text is shorter than WIDTH: so much is told to the compiler, which then need not look whether it is.
        let value = here[step.length() % WIDTH..].first_chunk()?;
        Some((step, u64::from_le_bytes(*value)))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see scan::short_value")]
    fn is(&self, number: u16, here: &[u8; REACH]) -> bool {
        let name = &self.known[usize::from(number)];
        let mut differs = 0;
        for ((here, text), mask) in here.iter().zip(&name.text).zip(&name.mask) {
            differs |= (here & mask) ^ text;
        }
        differs == 0
    }

    /// The same with fewer bytes left than are looked at.
    #[inline(never)]
    fn last_step(&self, rest: &[u8], before: u16) -> Option<(&Step, u64)> {
        // Mostly this is the brace that ends the event.
        if rest.len() < 2 {
            return None;
        }
        let mut here = [0; REACH];
        here[..rest.len()].copy_from_slice(rest);
        self.step(&here, before)
    }

    /// Keeps what leads to a value: `text`, in which the name is at `key`; it came after `before`.
    pub(super) fn learn(&mut self, text: &[u8], key: Range<usize>, before: u16) -> u16 {
        if text.len() >= WIDTH {
            return UNKNOWN;
        }
        let mut padded = [0; WIDTH];
        padded[..text.len()].copy_from_slice(text);
        let number = match self.by_text.get(&padded) {
            Some(&number) => number,
            None if self.known.len() >= MOST => return UNKNOWN,
            None => {
                let Ok(number) = u16::try_from(self.known.len()) else {
                    return UNKNOWN;
                };
                let mut mask = [0; WIDTH];
                mask[..text.len()].fill(0xff);
                self.by_text.insert(padded, number);
                self.known.push(Name {
                    text: padded,
                    mask,
                    next: Name::NONE.next,
                });
                number
            }
        };
        let narrow = |length: usize| u8::try_from(length).unwrap_or(0);
        let step = Step {
            number,
            length: narrow(text.len()),
            key_start: narrow(key.start),
            key_end: narrow(key.end),
            is_type: &text[key] == b"type",
        };
        let next = &mut self.known[usize::from(before)].next;
        *next = [step, next[0]];
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(names: &mut Names, text: &str, before: u16) -> u16 {
        let key = text.find('"').expect("a quote") + 1..text.rfind('"').expect("a quote");
        names.learn(text.as_bytes(), key, before)
    }

    #[test]
    fn what_followed_is_guessed_and_nothing_else() {
        let mut names = Names::default();
        let first = learn(&mut names, r#"{"a": "#, START);
        let second = learn(&mut names, r#","type":"#, first);
        let third = learn(&mut names, r#", "a_longer_name_of_24_chars": "#, first);
        let guess = |bytes: &str, before| {
            let (step, word) = names.guess(bytes.as_bytes(), 0, before)?;
            assert_eq!(
                word.to_le_bytes()[0],
                bytes.as_bytes().get(step.length()).copied().unwrap_or(0)
            );
            let key = bytes[step.key_start()..step.key_end()].to_owned();
            Some((step.number, key, step.length(), step.is_type()))
        };
        assert_eq!(
            guess(r#"{"a": 1}"#, START),
            Some((first, "a".to_owned(), 6, false))
        );
        assert_eq!(guess(r#"{"a": 1}"#, UNKNOWN), None);
        assert_eq!(guess(r#"{"a":1}"#, START), None);
        assert_eq!(
            guess(r#","type":1, and more that follows it here}"#, first),
            Some((second, "type".to_owned(), 8, true))
        );
        assert_eq!(
            guess(r#", "a_longer_name_of_24_chars": 1}"#, first),
            Some((third, "a_longer_name_of_24_chars".to_owned(), 31, false))
        );
        assert_eq!(guess(r#", "a_longer_name_of_24_chars":"#, first), None);
        assert_eq!(guess(r#","type":1"#, second), None);
        assert_eq!(guess("", first), None);
        assert_eq!(names.guess(&[0; 40], 0, START).map(|(step, _)| step.number), None);
        assert_ne!(names.identity(), Names::default().identity());
    }

    #[test]
    fn no_more_than_a_bound_is_kept() {
        let mut names = Names::default();
        for count in 0..2 * MOST {
            learn(&mut names, &format!(",\"{count}\":"), UNKNOWN);
        }
        assert_eq!(names.known.len(), MOST);
        assert_eq!(names.learn(&[b'x'; WIDTH], 1..30, UNKNOWN), UNKNOWN);
    }
}
