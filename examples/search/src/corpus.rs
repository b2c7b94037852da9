//! What is searched: the contents of files.
//!
//! Owns: reading them, and how many are taken. Invariant: what was left out is told.

use anyhow::{Context, Result, ensure};
use examples_kit::registry;
use search_tasks::Document;
use std::fs;
use std::path::{Path, PathBuf};

/// Documents, and what is not among them.
#[derive(Debug)]
pub struct Corpus {
    /// Where they are.
    pub root: PathBuf,
    /// The documents, by name.
    pub documents: Vec<Document>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Files that were left out for want of room.
    pub left_out: u64,
    /// Their bytes.
    pub left_out_bytes: u64,
}

impl Corpus {
    /// Reads the Rust files below `dir`, or those of the local cargo registry, as long as all
    /// of them have no more than `most` bytes.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub fn read(dir: Option<&Path>, most: u64) -> Result<Self> {
        let (root, files) = registry::find(dir)?;
        // In the registry the first part says where packages come from, and is always the same.
        let skipped = root.components().count() + usize::from(dir.is_none());
        let mut corpus = Self { root, documents: vec![], bytes: 0, left_out: 0, left_out_bytes: 0 };
        for path in files.paths {
            let name: PathBuf = path.components().skip(skipped).collect();
            let text =
                fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let bytes = text.len() as u64;
            if corpus.bytes + bytes > most {
                corpus.left_out += 1;
                corpus.left_out_bytes += bytes;
                continue;
            }
            corpus.bytes += bytes;
            let name = name.display().to_string();
            corpus.documents.push(Document { name, text: text.into() });
        }
        ensure!(!corpus.documents.is_empty(), "no file has less than {most} bytes");
        Ok(corpus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_told() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("sub")).expect("a directory");
        for (name, bytes) in [("a.rs", 30), ("b.rs", 80), ("sub/c.rs", 60), ("d.txt", 1)] {
            fs::write(dir.path().join(name), vec![b'x'; bytes]).expect("a file");
        }
        let corpus = Corpus::read(Some(dir.path()), 100).expect("readable");
        let names: Vec<_> = corpus.documents.iter().map(|d| d.name.as_str()).collect();
        assert_eq!((names, corpus.bytes), (vec!["a.rs", "sub/c.rs"], 90));
        assert_eq!((corpus.left_out, corpus.left_out_bytes), (1, 80));
        let error = Corpus::read(Some(dir.path()), 10).expect_err("nothing fits");
        assert!(error.to_string().contains("no file has less than 10 bytes"), "{error}");
    }
}
