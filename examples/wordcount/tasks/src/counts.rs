//! How often what occurs in texts.
//!
//! Owns: the counts and their merging. Does not: know what a word or an identifier is;
//! `scan` does. Invariant: merging is commutative and associative.

use crate::scan;
use dpfw_guest::Shape;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::HashMap;

/// What was counted in some texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Counts {
    /// Texts.
    pub texts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often each word occurs, wherever in the text it is.
    pub words: HashMap<String, u64>,
    /// How often each identifier occurs in Rust code: not in comments, not in strings, and
    /// no keywords.
    pub identifiers: HashMap<String, u64>,
}

impl Counts {
    /// Adds what is in a text.
    pub fn add(&mut self, text: &[u8]) {
        self.texts += 1;
        self.bytes += text.len() as u64;
        scan::words(text).for_each(|word| count_one(&mut self.words, word));
        scan::identifiers(text).for_each(|name| count_one(&mut self.identifiers, name));
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.texts += other.texts;
        self.bytes += other.bytes;
        merge_into(&mut self.words, other.words);
        merge_into(&mut self.identifiers, other.identifiers);
    }

    /// How many words there are, each occurrence counted.
    pub fn all_words(&self) -> u64 {
        self.words.values().sum()
    }

    /// How many identifiers there are, each occurrence counted.
    pub fn all_identifiers(&self) -> u64 {
        self.identifiers.values().sum()
    }

    /// The most frequent identifiers, those that are equally frequent by name.
    pub fn most_frequent(&self, most: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.identifiers.iter().map(|(k, n)| (k.as_str(), *n)).collect();
        all.sort_unstable_by_key(|(name, n)| (Reverse(*n), *name));
        all.truncate(most);
        all
    }
}

fn count_one(counts: &mut HashMap<String, u64>, name: &[u8]) {
    let name = String::from_utf8_lossy(name);
    match counts.get_mut(&*name) {
        Some(n) => *n += 1,
        None => drop(counts.insert(name.into_owned(), 1)),
    }
}

/// Moves the smaller into the larger.
fn merge_into(counts: &mut HashMap<String, u64>, mut other: HashMap<String, u64>) {
    if other.len() > counts.len() {
        std::mem::swap(counts, &mut other);
    }
    for (name, n) in other {
        *counts.entry(name).or_default() += n;
    }
}
