//! Files below a directory, and batches of their contents.
//!
//! Owns: the walk and the reading. Invariant: the order is that of the paths, and symbolic
//! links are not followed, so that the walk ends and is the same each time.

use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use wordcount_tasks::Bytes;

/// Files with their sizes as the walk saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The paths.
    pub paths: Vec<PathBuf>,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Files {
    /// All files below a directory whose names end with `.extension`.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn below(dir: &Path, extension: &str) -> Result<Self> {
        let mut files = Self::default();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            let unread = || format!("{} cannot be read", dir.display());
            for entry in fs::read_dir(&dir).with_context(unread)? {
                let entry = entry.with_context(unread)?;
                let kind = entry.file_type().with_context(unread)?;
                let path = entry.path();
                if kind.is_dir() {
                    dirs.push(path);
                } else if kind.is_file() && path.extension().is_some_and(|e| e == extension) {
                    files.bytes += entry.metadata().with_context(unread)?.len();
                    files.paths.push(path);
                }
            }
        }
        files.paths.sort_unstable();
        Ok(files)
    }
}

/// The contents of files, put together to batches that are read one at a time.
///
/// A batch is as large as told or smaller, unless a single file is larger.
#[derive(Debug)]
pub struct Batches {
    paths: std::vec::IntoIter<PathBuf>,
    most: usize,
    /// Read, and did not fit the last batch.
    next: VecDeque<Bytes>,
}

impl Batches {
    /// Batches of `most` bytes.
    pub fn new(paths: Vec<PathBuf>, most: usize) -> Self {
        Self { paths: paths.into_iter(), most, next: VecDeque::with_capacity(1) }
    }

    fn read(&mut self) -> Option<Result<Bytes>> {
        if let Some(text) = self.next.pop_front() {
            return Some(Ok(text));
        }
        let path = self.paths.next()?;
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()));
        Some(text.map(Bytes::from))
    }
}

impl Iterator for Batches {
    type Item = Result<Vec<Bytes>>;

    fn next(&mut self) -> Option<Result<Vec<Bytes>>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(text) = self.read() {
            match text {
                Ok(text) if batch.is_empty() || bytes + text.len() <= self.most => {
                    bytes += text.len();
                    batch.push(text);
                }
                Ok(text) => {
                    self.next.push_back(text);
                    break;
                }
                Err(error) => return Some(Err(error)),
            }
        }
        (!batch.is_empty()).then_some(Ok(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_file_once_and_no_more_than_told() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("sub")).expect("a directory");
        let texts = [("a.rs", 3), ("b.rs", 4), ("c.txt", 1), ("d.rs", 20), ("sub/e.rs", 0)];
        for (name, bytes) in texts {
            fs::write(dir.path().join(name), vec![b'x'; bytes]).expect("a file");
        }
        let files = Files::below(dir.path(), "rs").expect("readable");
        assert_eq!((files.paths.len(), files.bytes), (4, 27));
        let batches: Vec<Vec<usize>> = Batches::new(files.paths, 8)
            .map(|batch| batch.expect("readable").iter().map(|text| text.len()).collect())
            .collect();
        assert_eq!(batches, [vec![3, 4], vec![20], vec![0]]);
    }

    #[test]
    fn a_file_that_is_gone_is_named() {
        let mut batches = Batches::new(vec!["/nowhere/x.rs".into()], 8);
        let error = batches.next().expect("one").expect_err("not there");
        assert!(error.to_string().contains("/nowhere/x.rs"), "{error}");
        assert!(Files::below(Path::new("/nowhere"), "rs").is_err());
    }
}
