//! Owns the order of a table's rows in a batch: their places, sorted by their keys. Most keys are those of few series
//! ("server-0042", newest first) and close to each other in time, so that a number of 64 bits tells each from the others.

mod series; // the beginnings of keys, numbered in their order

use series::Series;

/// The order of rows, and the memory for finding it.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// In order; the lowest bits are the row's place.
    entries: Vec<u64>,
    place_bits: u32,
    series: Series,
    spare: Vec<u64>,
    wide: Vec<u128>,
}

/// So many bytes of a key are its series.
const BLOCK: usize = Series::WORDS * WORD;
/// So many words of a key are looked at behind them.
const WORDS: usize = 4;
const WORD: usize = size_of::<u64>();

/// What tells the keys of a series apart: some neighbouring bits of a word.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    word: usize,
    shift: u32,
    bits: u32,
}

impl Order {
    /// What it takes for a row at most, in bytes: an entry, and what is sorted to get there.
    pub(super) const PER_ROW: usize = size_of::<u64>() + size_of::<u128>();

    /// The places of the rows in the order of their keys; rows of the same key in order of arrival.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let mask = (1 << self.place_bits) - 1;
        #[expect(clippy::cast_possible_truncation, reason = "a batch holds far fewer rows")]
        self.entries.iter().map(move |entry| (entry & mask) as usize)
    }

    /// Finds the order of `rows`. Keys are made so that none is the beginning of another: what a shorter one has no byte
    /// for may count as zero.
    pub(super) fn sort<'a, R>(&mut self, rows: &'a [R], key: impl Fn(&'a R) -> &'a [u8]) {
        if !self.sort_by_series(rows, &key) {
            self.sort_wide(rows, &key);
        }
    }

    /// By the number of a key's series, and what tells its keys apart, if both fit beside the row's place: says so.
    fn sort_by_series<'a, R>(&mut self, rows: &'a [R], key: &impl Fn(&'a R) -> &'a [u8]) -> bool {
        self.entries.clear();
        self.series.clear(rows.len());
        let mut first = [0; WORDS];
        let mut differing = [0; WORDS];
        let mut longest = 0;
        for row in rows {
            let key = key(row);
            let tail = key.get(BLOCK..).unwrap_or_default();
            let Some(series) = self.series.number(std::array::from_fn(|at| word(key, at))) else {
                return false;
            };
            if self.entries.is_empty() {
                first = std::array::from_fn(|at| word(tail, at));
            }
            self.entries.push(u64::from(series));
            longest = longest.max(tail.len());
            let words = longest.div_ceil(WORD).min(WORDS);
            for (at, (differing, first)) in differing.iter_mut().zip(&first).enumerate().take(words) {
                *differing |= word(tail, at) ^ first;
            }
        }
        if longest > WORDS * WORD {
            return false;
        }
        let (windows, count) = windows(&differing);
        let windows = &windows[..count];
        self.place_bits = bits_of(rows.len());
        let bits = bits_of(self.series.len()) + windows.iter().map(|window| window.bits).sum::<u32>();
        if bits + self.place_bits > u64::BITS {
            return false;
        }
        let ranks = self.series.ranks();
        for ((entry, row), place) in self.entries.iter_mut().zip(rows).zip(0_u64..) {
            #[expect(clippy::cast_possible_truncation, reason = "a series' number")]
            let mut number = u64::from(ranks[*entry as usize]);
            let tail = key(row).get(BLOCK..).unwrap_or_default();
            for window in windows {
                let telling =
                    word(tail, window.word) >> window.shift & (u64::MAX >> (u64::BITS - window.bits));
                number = number << window.bits | telling;
            }
            *entry = number << self.place_bits | place;
        }
        radix_sort(&mut self.entries, &mut self.spare, self.place_bits, bits);
        true
    }

    /// By as much of the keys as fits a wide number, and their rest.
    fn sort_wide<'a, R>(&mut self, rows: &'a [R], key: &impl Fn(&'a R) -> &'a [u8]) {
        let telling = TellingBytes::of(rows.iter().map(key));
        let wide = &mut self.wide;
        wide.clear();
        wide.extend(
            rows.iter()
                .zip(0u32..)
                .map(|(row, place)| telling.gather(key(row)) | u128::from(place)),
        );
        match telling.rest {
            None => wide.sort_unstable(),
            Some(rest) => wide.sort_unstable_by(|a, b| {
                let rest_of = |entry| key(&rows[place(entry)]).get(rest..);
                (a >> PLACE_BITS)
                    .cmp(&(b >> PLACE_BITS))
                    .then_with(|| rest_of(*a).cmp(&rest_of(*b)))
                    .then(a.cmp(b))
            }),
        }
        self.place_bits = PLACE_BITS;
        self.entries.clear();
        self.entries.extend(wide.iter().map(|entry| place(*entry) as u64));
    }
}

/// Sorts numbers by some of their bits, from the lowest on; what is alike in these keeps its order.
fn radix_sort(numbers: &mut Vec<u64>, spare: &mut Vec<u64>, lowest: u32, bits: u32) {
    const DIGIT: u32 = 11;
    const DIGITS: usize = 1 << DIGIT;
    /// Fewer are sorted sooner than the counts of a digit are cleared.
    const FEW: usize = 512;
    if numbers.len() < FEW {
        // They end with their place, so that all are different.
        numbers.sort_unstable();
        return;
    }
    spare.clear();
    spare.resize(numbers.len(), 0);
    for shift in (lowest..lowest + bits).step_by(DIGIT as usize) {
        #[expect(clippy::cast_possible_truncation, reason = "a digit is small")]
        let digit = |number: u64| (number >> shift) as usize % DIGITS;
        let mut ends = [0_u32; DIGITS];
        for number in &*numbers {
            ends[digit(*number)] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        for number in &*numbers {
            let place = &mut ends[digit(*number)];
            spare[*place as usize] = *number;
            *place += 1;
        }
        std::mem::swap(numbers, spare);
    }
}

/// The bits that tell words apart, from the highest to the lowest of each; so many windows.
fn windows(differing: &[u64; WORDS]) -> ([Window; WORDS], usize) {
    let mut windows = [Window::default(); WORDS];
    let mut count = 0;
    for (word, differing) in differing
        .iter()
        .enumerate()
        .filter(|(_, differing)| **differing != 0)
    {
        let shift = differing.trailing_zeros();
        windows[count] = Window {
            word,
            shift,
            bits: u64::BITS - differing.leading_zeros() - shift,
        };
        count += 1;
    }
    (windows, count)
}

/// So many bits hold the numbers below `count`.
fn bits_of(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Eight bytes of a key as a number that compares as they do; zeros where it has ended.
#[inline]
fn word(key: &[u8], at: usize) -> u64 {
    let rest = key.get(at * WORD..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => rest
            .iter()
            .zip((0..u64::BITS).step_by(8).rev())
            .fold(0, |word, (byte, shift)| word | u64::from(*byte) << shift),
    }
}

/// An entry of the order ends with the row's place.
const PLACE_BITS: u32 = u32::BITS;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the place is all of the lowest 32 bits"
)]
fn place(entry: u128) -> usize {
    entry as u32 as usize
}

/// Which bytes of a batch's keys tell them apart. Most keys are alike in most bytes ("server-0…", the year), and the few
/// others compare as the whole keys do, at once, as one number.
struct TellingBytes {
    /// Their places in the key, in order; so many of them as fit.
    places: [u8; TellingBytes::MOST],
    count: usize,
    /// There are more, from this place on.
    rest: Option<usize>,
}

impl TellingBytes {
    /// Beside 32 bits for the row's place.
    const MOST: usize = 12;
    /// So much of a key is looked at.
    const WORDS: usize = 8;

    fn of<'a>(mut keys: impl Iterator<Item = &'a [u8]>) -> Self {
        let first = keys.next().unwrap_or_default();
        let mut differing = [0; Self::WORDS];
        let mut longest = first.len();
        for key in keys {
            longest = longest.max(key.len());
            for (at, differing) in differing.iter_mut().enumerate().take(longest.div_ceil(WORD)) {
                *differing |= word(key, at) ^ word(first, at);
            }
        }
        let bytes = differing.iter().flat_map(|word| word.to_be_bytes());
        let mut telling = Self {
            places: [0; Self::MOST],
            count: 0,
            rest: (longest > Self::WORDS * WORD).then_some(Self::WORDS * WORD),
        };
        for (place, _) in (0u8..).zip(bytes).filter(|(_, differs)| *differs != 0) {
            if telling.count == Self::MOST {
                telling.rest = Some(usize::from(place));
                break;
            }
            telling.places[telling.count] = place;
            telling.count += 1;
        }
        telling
    }

    /// A key's telling bytes as a number that compares as they do, with room for the row's place below. Keys are made so
    /// that none is the beginning of another: what a shorter one has no byte for may count as zero.
    fn gather(&self, key: &[u8]) -> u128 {
        let gather = |places: &[u8]| {
            places.iter().fold(0, |number: u64, &place| {
                number << 8 | u64::from(key.get(usize::from(place)).copied().unwrap_or(0))
            })
        };
        let (first, second) = self.places.split_at(WORD);
        let second = gather(&second[..self.count.saturating_sub(WORD)]);
        let first = gather(&first[..self.count.min(WORD)]);
        u128::from(first) << 64 | u128::from(second) << PLACE_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stable(keys: &[Vec<u8>]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..keys.len()).collect();
        places.sort_by_key(|&place| &keys[place]);
        places
    }

    /// A key as `encode` makes one: a text, filled up to whole blocks, and a moment.
    fn key(name: &str, moment: u64) -> Vec<u8> {
        let mut key = [b"\0", name.as_bytes(), b"\0"].concat();
        key.resize(key.len().next_multiple_of(BLOCK), 0);
        key.push(0xff);
        key.extend_from_slice(&(!moment).to_be_bytes());
        key
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn few_series_are_sorted_as_a_stable_sort_does(
            names in prop::collection::vec("[a-c-]{0,40}", 1..20),
            rows in prop::collection::vec((0..20_usize, 0..5_000_u64), 100..1_500),
            shift in 0..20_u32,
        ) {
            let keys: Vec<_> = rows.iter().map(|(name, moment)| key(&names[name % names.len()], moment << shift)).collect();
            let mut order = Order::default();
            let is_narrow = order.sort_by_series(&keys, &|key: &Vec<u8>| &key[..]);
            prop_assert!(is_narrow || names.iter().any(|name| name.len() > 30));
            order.sort(&keys, |key| key);
            prop_assert_eq!(order.places().collect::<Vec<_>>(), stable(&keys));
        }

        #[test]
        fn any_keys_are_sorted_as_a_stable_sort_does(
            keys in prop::collection::vec("[ab]{0,80}", 0..600),
        ) {
            let keys: Vec<_> = keys.into_iter().map(|key| [key.as_bytes(), b"\0"].concat()).collect();
            let mut order = Order::default();
            // Once more with what is left of the first time.
            for _ in 0..2 {
                order.sort(&keys, |key| key);
                prop_assert_eq!(order.places().collect::<Vec<_>>(), stable(&keys));
            }
        }
    }
}
