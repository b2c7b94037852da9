//! An inverted index over documents: which words are where, and how often.
//!
//! Owns: building it and looking things up. Does not: know of slaves. Invariants: it follows
//! from the documents and their order alone, here as there, so scores are whole numbers;
//! postings of a word are sorted by document.

use crate::words::words;
use dpfw_guest::{Bytes, Shape};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// A table of numbers. Without randomness in it, so that the image is the same wherever it is
/// built.
type Table<K> = HashMap<K, u32, BuildHasherDefault<DefaultHasher>>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Document {
    /// What it is called.
    pub name: String,
    /// What is in it.
    pub text: Bytes,
}

/// An answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Hit {
    /// The document's name.
    pub name: String,
    /// How good it is, beside others.
    pub score: u32,
    /// The line in which the query's rarest word is found first, counted from 1.
    pub line: u32,
    /// What is in this line.
    pub text: String,
}

/// A word in a document.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Posting {
    document: u32,
    count: u32,
    /// In which line it is first, counted from 1, and where that begins.
    line: u32,
    begin: u32,
}

/// See the module's page.
#[derive(Debug, Serialize, Deserialize)]
pub struct Index {
    documents: Vec<Document>,
    /// Each word and its number.
    words: Table<String>,
    /// Where the postings of each word end, by its number.
    ends: Vec<u32>,
    /// Those of the first word, of the second, and so on.
    postings: Vec<Posting>,
}

/// Bytes of a line that are shown.
const SHOWN: usize = 120;

/// A word that is in a document more often counts no more.
const ENOUGH: u32 = 100;

impl Index {
    /// The index of these documents.
    pub fn of(documents: Vec<Document>) -> Self {
        let mut words_known: Table<Box<[u8]>> = Table::default();
        // By document, and of a word how many there are.
        let mut found: Vec<(u32, Posting)> = Vec::new();
        let mut ends: Vec<u32> = Vec::new();
        for (number, document) in (0..).zip(&documents) {
            // Where in `found` the words of this document are.
            let from = found.len();
            let mut here: Table<u32> = Table::default();
            let mut line = Line::default();
            for (at, word) in words(&document.text) {
                let id = match words_known.get(word) {
                    Some(id) => *id,
                    None => {
                        let id = ends.len() as u32;
                        words_known.insert(word.into(), id);
                        ends.push(0);
                        id
                    }
                };
                let place = *here.entry(id).or_insert_with(|| {
                    line.advance(&document.text, at);
                    let Line { number: line, begin, .. } = line;
                    found.push((id, Posting { document: number, count: 0, line, begin }));
                    ends[id as usize] += 1;
                    (found.len() - 1 - from) as u32
                });
                found[from + place as usize].1.count += 1;
            }
        }
        // Numbers become ends; those are then filled from the first posting on.
        let mut total = 0;
        let mut next: Vec<u32> = Vec::with_capacity(ends.len());
        for end in &mut ends {
            next.push(total);
            total += *end;
            *end = total;
        }
        let mut postings = vec![Posting::default(); found.len()];
        for (id, posting) in found {
            let place = &mut next[id as usize];
            postings[*place as usize] = posting;
            *place += 1;
        }
        let text = |word: Box<[u8]>| String::from_utf8_lossy(&word).into_owned();
        let words = words_known.into_iter().map(|(word, id)| (text(word), id)).collect();
        Self { documents, words, ends, postings }
    }

    /// The documents that have all words of a query, the best first.
    pub fn search(&self, query: &str, most: usize) -> Vec<Hit> {
        let found = words(query.as_bytes()).map(|(_, word)| self.postings_of(word));
        let mut found: Vec<&[Posting]> = found.collect();
        found.sort_by_key(|postings| postings.len());
        let Some((rarest, others)) = found.split_first() else {
            return Vec::new();
        };
        let scored = rarest.iter().filter_map(|posting| {
            let mut score = self.weigh(rarest.len(), posting.count);
            for other in others {
                let at = other.binary_search_by_key(&posting.document, |p| p.document).ok()?;
                score += self.weigh(other.len(), other[at].count);
            }
            Some((Reverse(score), posting.document, posting.line, posting.begin))
        });
        let mut scored: Vec<_> = scored.collect();
        if let Some(beyond) = most.checked_sub(1).filter(|at| *at < scored.len()) {
            scored.select_nth_unstable(beyond);
        }
        scored.truncate(most);
        scored.sort_unstable();
        scored
            .into_iter()
            .map(|(Reverse(score), document, line, at)| self.hit(score, document, line, at))
            .collect()
    }

    fn postings_of(&self, word: &[u8]) -> &[Posting] {
        let id = std::str::from_utf8(word).ok().and_then(|word| self.words.get(word));
        let Some(id) = id.map(|id| *id as usize) else {
            return &[];
        };
        let begin =
            id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(id).copied().unwrap_or(begin);
        self.postings.get(begin as usize..end as usize).unwrap_or_default()
    }

    /// What so many occurrences are worth of a word that is in so many documents: twice as many
    /// add as much as a word that is half as common.
    fn weigh(&self, documents: usize, count: u32) -> u32 {
        let rarity = self.documents.len().checked_div(documents).and_then(usize::checked_ilog2);
        (1 + rarity.unwrap_or(0)) * (1 + count.min(ENOUGH).checked_ilog2().unwrap_or(0))
    }

    fn hit(&self, score: u32, document: u32, line: u32, begin: u32) -> Hit {
        let document = self.documents.get(document as usize);
        let (name, text) = document.map_or(("", &[][..]), |d| (d.name.as_str(), &d.text[..]));
        let rest = text.get(begin as usize..).unwrap_or_default();
        let shown = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown[..shown.len().min(SHOWN)]).trim().to_owned();
        Hit { name: name.to_owned(), score, line, text: shown }
    }

    /// The documents.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// How many different words there are.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// How many words of how many documents: the size of the index.
    pub fn postings(&self) -> usize {
        self.postings.len()
    }
}

/// A line of a text.
#[derive(Clone, Copy)]
struct Line {
    /// Counted from 1.
    number: u32,
    /// Where it begins.
    begin: u32,
    /// How far was looked.
    seen: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { number: 1, begin: 0, seen: 0 }
    }
}

impl Line {
    /// Goes on to the line of what is here.
    fn advance(&mut self, text: &[u8], to: usize) {
        for (at, byte) in (self.seen..).zip(text.get(self.seen..to).unwrap_or_default()) {
            if *byte == b'\n' {
                self.number += 1;
                self.begin = at as u32 + 1;
            }
        }
        self.seen = to;
    }
}
