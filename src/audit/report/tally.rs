//! Counting within bounds, whatever a log says.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Most different words that are counted apart.
const MAX_WORDS: usize = 100;
/// Most different names that are counted.
const MAX_NAMES: usize = 100_000;
/// How many entries are named as examples.
const EXAMPLES: usize = 3;

/// Which entries: how many, the first and the last, and some to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// How many.
    pub entries: u64,
    /// The first.
    pub first: Option<u64>,
    /// The last.
    pub last: Option<u64>,
    /// The first few.
    pub examples: Vec<u64>,
}

impl Seen {
    pub(super) fn add(&mut self, seq: u64) {
        self.entries += 1;
        self.first.get_or_insert(seq);
        self.last = Some(seq);
        if self.examples.len() < EXAMPLES {
            self.examples.push(seq);
        }
    }
}

/// How often each word was said.
#[derive(Debug, Default)]
pub(super) struct Words(BTreeMap<String, u64>);

impl Words {
    pub(super) fn add(&mut self, word: &str) {
        let known = self.0.contains_key(word) || self.0.len() < MAX_WORDS;
        let word = if known { word } else { "others" };
        *self.0.entry(word.to_owned()).or_default() += 1;
    }

    pub(super) fn of(&self, word: &str) -> u64 {
        self.0.get(word).copied().unwrap_or_default()
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    pub(super) fn told(&self) -> String {
        let told = self.0.iter().map(|(word, count)| format!("{word} {count}"));
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Different names.
#[derive(Debug, Default)]
pub(super) struct Distinct(BTreeSet<String>);

impl Distinct {
    pub(super) fn add(&mut self, name: &str) {
        if self.0.len() < MAX_NAMES && !self.0.contains(name) {
            self.0.insert(name.to_owned());
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(super) fn told(&self) -> String {
        match self.0.len() {
            MAX_NAMES => format!("{MAX_NAMES} or more"),
            count => count.to_string(),
        }
    }
}

/// Lengths of time, to three digits.
#[derive(Debug, Default)]
pub(super) struct Spans {
    lengths: Option<Histogram<u64>>,
    longest: u64,
}

impl Spans {
    pub(super) fn add(&mut self, length: u64) {
        self.longest = self.longest.max(length);
        if self.lengths.is_none() {
            self.lengths = Histogram::new(3).ok();
        }
        if let Some(lengths) = &mut self.lengths {
            // It grows by itself, and takes any length.
            lengths.record(length).unwrap_or_default();
        }
    }

    pub(super) fn median(&self) -> Option<u64> {
        let lengths = self.lengths.as_ref()?;
        Some(lengths.lowest_equivalent(lengths.value_at_quantile(0.5)))
    }

    pub(super) fn longest(&self) -> Option<u64> {
        self.lengths.as_ref().map(|_| self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_nothing_but_new_words_is_counted_within_bounds() {
        let (mut words, mut names) = (Words::default(), Distinct::default());
        for n in 0..=MAX_NAMES {
            words.add(&n.to_string());
            names.add(&n.to_string());
        }
        assert_eq!(words.sum(), MAX_NAMES as u64 + 1);
        assert_eq!(words.0.len(), MAX_WORDS + 1);
        assert_eq!(names.told(), "100000 or more");
    }

    #[test]
    fn of_no_lengths_there_is_no_median() {
        let mut spans = Spans::default();
        assert_eq!((spans.median(), spans.longest()), (None, None));
        for length in [300, 300, 60, 7_200_000] {
            spans.add(length);
        }
        assert_eq!(
            (spans.median(), spans.longest()),
            (Some(300), Some(7_200_000))
        );
    }
}
