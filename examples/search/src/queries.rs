//! Queries as somebody might type them.
//!
//! Invariant: they follow from the documents alone, so that every run asks the same.

use search_tasks::{Document, words};

/// Words of a query, at most.
const WORDS: u64 = 3;

/// Words that stand together are looked for together: so far from the first.
const NEAR: u64 = 12;

/// So many queries: one to three words that stand close to each other in one of the documents.
pub fn queries(documents: &[Document], number: usize) -> Vec<String> {
    let mut random = Random(0x5eed);
    let mut queries = Vec::with_capacity(number);
    // Some documents have no words; if none has, there is nothing to ask for.
    for _ in 0..number.saturating_mul(20) {
        if queries.len() == number {
            break;
        }
        let document = random.below(documents.len() as u64) as usize;
        queries.extend(documents.get(document).and_then(|document| query(document, &mut random)));
    }
    queries
}

fn query(document: &Document, random: &mut Random) -> Option<String> {
    // From somewhere within, and not from a first word that was cut.
    let from = random.below(document.text.len() as u64) as usize;
    let near: Vec<_> = words(&document.text[from..]).skip(1).take(NEAR as usize).collect();
    let mut query = Vec::new();
    for _ in 0..=random.below(WORDS) {
        let (_, word) = near.get(random.below(near.len() as u64) as usize)?;
        let word = std::str::from_utf8(word).ok()?;
        if !query.contains(&word) {
            query.push(word);
        }
    }
    Some(query.join(" "))
}

/// Numbers that look random: splitmix64.
struct Random(u64);

impl Random {
    /// A number below this, or 0.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(end).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use search_tasks::Index;

    #[test]
    fn queries_are_the_same_each_time_and_all_are_answered() {
        let document = |n: u32| Document {
            name: format!("{n}.rs"),
            text: format!("fn name_{n}(other_{n}: Vec<String>) -> Option<usize> {{ }}")
                .repeat(5)
                .into_bytes()
                .into(),
        };
        let documents: Vec<_> = (0..20).map(document).collect();
        let asked = queries(&documents, 50);
        assert_eq!(asked.len(), 50);
        assert_eq!(asked, queries(&documents, 50));
        let index = Index::of(documents);
        assert!(asked.iter().all(|query| !index.search(query, 1).is_empty()), "{asked:?}");
        let empty = Document { name: String::new(), text: Vec::new().into() };
        assert!(queries(&[empty], 5).is_empty() && queries(&[], 5).is_empty());
    }
}
