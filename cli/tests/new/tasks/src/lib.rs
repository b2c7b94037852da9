//! The tasks of sums: what slaves run, and masters call.

use dpfw_guest::task;
use std::collections::BTreeMap;

dpfw_guest::module!();

/// Adds two numbers.
#[task(effect_free)]
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Counts the words of a text.
#[task(effect_free)]
pub fn count_words(text: String) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    // A task is a plain function.
    #[test]
    fn words_are_counted() {
        assert_eq!(count_words("to be or not to be".into())["be"], 2);
        assert_eq!(add(2, 3), 5);
    }
}
