//! Writing a large value in pieces.
//!
//! Invariant: nobody sees a value that is not finished.

use super::{StoreError, Terms, Version, backend, refused};
use std::io;

/// Begins a value that is written in pieces, of which the task never holds the whole.
///
/// Its bytes are what [`get_bytes`](super::get_bytes) reads. A task writes at most 16 values
/// at once.
///
/// ```
/// use dpfw_guest::store;
///
/// let mut squares = store::write("squares")?;
/// for n in 0..1000u32 {
///     squares.append(&(n * n).to_le_bytes())?;
/// }
/// assert_eq!(store::get_bytes("squares")?, None, "it is not there yet");
/// squares.finish()?;
/// assert_eq!(store::get_bytes("squares")?.map(|bytes| bytes.len()), Some(4000));
/// # Ok::<(), store::StoreError>(())
/// ```
///
/// # Errors
/// [`StoreError::Refused`].
pub fn write(key: &str) -> Result<Writer, StoreError> {
    Writer::begin(key, Terms::default())
}

/// A value that is being written: [`write()`]. Dropping it gives the value up, and what was under
/// its key stays.
#[derive(Debug)]
#[must_use = "the value is given up when this is dropped"]
pub struct Writer {
    number: u32,
}

impl Writer {
    pub(super) fn begin(key: &str, terms: Terms) -> Result<Self, StoreError> {
        // The answer's version is the number.
        let number = backend::write_begin(terms, key).map_err(refused)?.version as u32;
        Ok(Self { number })
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the store has no room for it.
    pub fn append(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        backend::write_append(self.number, piece).map(drop).map_err(refused)
    }

    /// Puts the value under its key, whatever was there; gives its version.
    ///
    /// # Errors
    /// [`StoreError::Refused`]; the value is lost then.
    pub fn finish(self) -> Result<Version, StoreError> {
        let finished = backend::write_end(self.number);
        // There is nothing left to give up.
        std::mem::forget(self);
        Ok(finished.map_err(refused)?.version)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The slave has forgotten it if this fails.
        let _ = backend::write_drop(self.number);
    }
}

impl io::Write for Writer {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.append(piece).map_err(io::Error::other)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
