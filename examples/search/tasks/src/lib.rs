//! The tasks of search: the index, built once or again and again, and its queries.
//!
//! Owns: what slaves run. Does not: know what a good answer is; `index` does. Invariant: the
//! three ways to search give the same hits; they differ in where the index comes from.

mod index;
mod words;

pub use dpfw_guest::Bytes;
pub use index::{Document, Hit, Index};
pub use words::words;

use dpfw_guest::store::{self, StoreError};
use dpfw_guest::{init, task};
use std::fmt;
use std::sync::OnceLock;

dpfw_guest::module!();

/// The key under which a slave's store has the documents.
pub const DOCUMENTS: &str = "search/documents";

/// The key under which it has the index.
pub const INDEX: &str = "search/index";

static BUILT: OnceLock<Index> = OnceLock::new();

/// Builds the index: what is expensive, and done once on a slave.
#[init]
pub fn build_index(documents: Vec<Document>) {
    // Once in an instance.
    let _ = BUILT.set(Index::of(documents));
}

/// Searches the index that is there.
#[task(image = build_index, effect_free)]
pub fn search(query: String, most: u32) -> Vec<Hit> {
    BUILT.get().map_or_else(Vec::new, |index| index.search(&query, most as usize))
}

/// For comparison: builds the index of the documents that its slave has, and searches it.
///
/// # Errors
/// [`NotThere`] if its slave does not have them.
#[task(effect_free)]
pub fn search_rebuilt(query: String, most: u32) -> Result<Vec<Hit>, NotThere> {
    let documents: Vec<Document> = store::get(DOCUMENTS)?.ok_or(NotThere::Gone(DOCUMENTS))?;
    Ok(Index::of(documents).search(&query, most as usize))
}

/// For comparison: reads the index that its slave has as a value, and searches it.
///
/// # Errors
/// [`NotThere`] if its slave does not have it.
#[task(effect_free)]
pub fn search_read(query: String, most: u32) -> Result<Vec<Hit>, NotThere> {
    let index: Index = store::get(INDEX)?.ok_or(NotThere::Gone(INDEX))?;
    Ok(index.search(&query, most as usize))
}

/// Why there is nothing to search.
#[derive(Debug, PartialEq, Eq)]
pub enum NotThere {
    /// There is no such entry.
    Gone(&'static str),
    /// It cannot be read.
    Store(StoreError),
}

impl From<StoreError> for NotThere {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(key) => write!(f, "this slave's store has no `{key}`"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
