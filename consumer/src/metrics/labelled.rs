//! Owns counts by a label whose values come from outside: so many of them are told apart, and no more.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// The label under which everything is counted that came after the set was full.
pub const OTHER: &str = "(other)";

/// Counts by a label.
#[derive(Debug)]
pub(super) struct Labelled {
    counts: Mutex<BTreeMap<String, u64>>,
    most: usize,
}

impl Labelled {
    /// Tells so many labels apart.
    pub(super) fn new(most: usize) -> Self {
        Self {
            counts: Mutex::default(),
            most,
        }
    }

    /// Counts. Whether the label is a new one.
    pub(super) fn add(&self, label: &str, count: u64) -> bool {
        let mut counts = self.counts.lock().expect("not poisoned");
        if let Some(known) = counts.get_mut(label) {
            *known += count;
            return false;
        }
        let label = if counts.len() < self.most { label } else { OTHER };
        let is_new = !counts.contains_key(label);
        *counts.entry(label.to_owned()).or_default() += count;
        is_new
    }

    pub(super) fn get(&self) -> BTreeMap<String, u64> {
        self.counts.lock().expect("not poisoned").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_labels_are_counted_together() {
        let labelled = Labelled::new(2);
        assert!(labelled.add("a", 1));
        assert!(labelled.add("b", 1));
        assert!(!labelled.add("a", 2));
        assert!(labelled.add("c", 5));
        assert!(!labelled.add("d", 5));
        let counts: Vec<_> = labelled.get().into_iter().collect();
        assert_eq!(
            counts,
            [(OTHER.to_owned(), 10), ("a".to_owned(), 3), ("b".to_owned(), 1)]
        );
    }
}
