//! Owns the names of fields that were seen. Events of one type write the same names in the same order: the next name
//! is guessed and compared as four words, instead of being searched for its end and looked up. A name that was
//! guessed has a number, by which `encode` finds its column. What is learned changes the speed, never the result.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many bytes of a payload are compared at once: a name with its quotes, colon and space.
const WIDTH: usize = 32;
/// So many names are kept: a flood of new ones costs a lookup each and no more memory.
const MOST: usize = 1024;
/// The number of names that aren't kept, and of what stands before an event's first name.
pub(in crate::pipeline) const UNKNOWN: u16 = 0;

type Words = [u64; WIDTH / 8];

#[derive(Debug)]
pub(super) struct Names {
    /// The names by number; the first stands for `UNKNOWN`.
    known: Vec<Name>,
    by_text: HashMap<Words, u16>,
    identity: u64,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(128))]
struct Name {
    /// The payload's text from the opening quote to the value, such as `"name": `; then zeros.
    text: Words,
    /// Ones where the text is.
    mask: Words,
    /// What followed it, for two types of events that go on differently.
    next: [Step; 2],
}

/// To a name, with what is known of it: reading that from the name would come later.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    number: u16,
    length: u8,
    name_length: u8,
}

/// A name that was guessed.
pub(super) struct Guess {
    pub(super) number: u16,
    /// Where its value starts, or the space before it.
    pub(super) end: usize,
    pub(super) name_length: usize,
}

impl Default for Names {
    fn default() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            known: vec![Name::default()],
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

    /// The name that starts (with its quote) at `at`, if it is one that came after `before` lately.
    #[inline]
    pub(super) fn guess(&self, bytes: &[u8], at: usize, before: u16) -> Option<Guess> {
        let here = words(bytes, at);
        for step in self.known[usize::from(before)].next {
            let name = &self.known[usize::from(step.number)];
            let mut differs = u64::from(step.number == UNKNOWN);
            for ((here, text), mask) in here.iter().zip(name.text).zip(name.mask) {
                differs |= (here ^ text) & mask;
            }
            if differs == 0 {
                return Some(Guess {
                    number: step.number,
                    end: at + usize::from(step.length),
                    name_length: usize::from(step.name_length),
                });
            }
        }
        None
    }

    /// Keeps the name whose text, from its opening quote to its value, is `text`; it came after `before`.
    pub(super) fn learn(&mut self, text: &[u8], name_length: usize, before: u16) -> u16 {
        if text.len() > WIDTH {
            return UNKNOWN;
        }
        let mut padded = [0; WIDTH];
        padded[..text.len()].copy_from_slice(text);
        let text_words = words(&padded, 0);
        let number = match self.by_text.get(&text_words) {
            Some(&number) => number,
            None if self.known.len() >= MOST => return UNKNOWN,
            None => {
                let Ok(number) = u16::try_from(self.known.len()) else {
                    return UNKNOWN;
                };
                padded[..text.len()].fill(0xff);
                self.by_text.insert(text_words, number);
                self.known.push(Name {
                    text: text_words,
                    mask: words(&padded, 0),
                    next: [Step::default(); 2],
                });
                number
            }
        };
        let narrow = |length: usize| u8::try_from(length).unwrap_or(0);
        let step = Step {
            number,
            length: narrow(text.len()),
            name_length: narrow(name_length),
        };
        let next = &mut self.known[usize::from(before)].next;
        *next = [step, next[0]];
        number
    }
}

/// The bytes from `at` on as words, with zeros for what is beyond the end.
#[inline]
fn words(bytes: &[u8], at: usize) -> Words {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(chunk) = rest.first_chunk::<WIDTH>() else {
        return last_words(rest);
    };
    let mut words = Words::default();
    for (word, chunk) in words.iter_mut().zip(chunk.chunks_exact(8)) {
        *word = chunk.try_into().map_or(0, u64::from_le_bytes);
    }
    words
}

fn last_words(rest: &[u8]) -> Words {
    let mut padded = [0; WIDTH];
    padded[..rest.len()].copy_from_slice(rest);
    words(&padded, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_is_guessed_and_nothing_else() {
        let mut names = Names::default();
        let first = names.learn(b"\"a\": ", 1, UNKNOWN);
        let second = names.learn(b"\"ab\":", 2, first);
        let third = names.learn(b"\"a_longer_name_of_24_chars\": ", 25, first);
        let guess = |bytes: &[u8], before| {
            names
                .guess(bytes, 0, before)
                .map(|guess| (guess.number, guess.end))
        };
        assert_eq!(guess(b"\"a\": 1}", UNKNOWN), Some((first, 5)));
        assert_eq!(guess(b"\"a\":1}", UNKNOWN), None);
        assert_eq!(
            guess(b"\"ab\": 1, and more that follows it here}", first),
            Some((second, 5))
        );
        assert_eq!(
            guess(b"\"a_longer_name_of_24_chars\": 1}", first),
            Some((third, 29))
        );
        assert_eq!(guess(b"\"a_longer_name_of_24_chars\":", first), None);
        assert_eq!(guess(b"\"ab\": 1", second), None);
        assert_eq!(guess(b"", first), None);
        assert_eq!(guess(&[0; 40], UNKNOWN), None);
        assert_ne!(names.identity(), Names::default().identity());
    }

    #[test]
    fn no_more_than_a_bound_is_kept() {
        let mut names = Names::default();
        for count in 0..2 * MOST {
            names.learn(format!("\"{count}\":").as_bytes(), 4, UNKNOWN);
        }
        assert_eq!(names.known.len(), MOST);
        assert_eq!(names.learn(&[b'x'; WIDTH + 1], 30, UNKNOWN), UNKNOWN);
    }
}
