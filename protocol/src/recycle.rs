//! Buffers of large payloads, used again.
//!
//! A fresh buffer of 64 MiB costs 16,384 page faults, as much time as a fast link takes to
//! fill it. So the last large buffer is kept when its bytes are dropped, wherever that
//! happens, and taken for the next payload. Bound: one buffer of at most `KEPT` bytes for
//! each recycler; it is given back to the system when `PATIENCE` smaller payloads have
//! come and gone without a use for it.

use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Buffers below this are the allocator's business.
const WORTH: usize = 1 << 20;

/// The largest buffer that is kept.
const KEPT: usize = 128 << 20;

/// Payloads that may go by without a use for the buffer that is kept.
const PATIENCE: u32 = 256;

/// Keeps the last large buffer.
#[derive(Clone, Debug, Default)]
pub struct Recycler(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    buffer: Option<Vec<u8>>,
    unused: u32,
}

/// A buffer that returns to its shelf.
struct Lent {
    buffer: Vec<u8>,
    home: Weak<Mutex<Shelf>>,
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recycler {
    /// An empty buffer with room for `len` bytes.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn take(&self, len: usize) -> Result<Vec<u8>, std::collections::TryReserveError> {
        let mut shelf = lock(&self.0);
        // A small payload may be kept for long, and must not keep a large buffer with it.
        let fits = |buffer: &Vec<u8>| len >= WORTH && (len..=2 * len).contains(&buffer.capacity());
        if shelf.buffer.as_ref().is_some_and(fits) {
            shelf.unused = 0;
            let mut buffer = shelf.buffer.take().unwrap_or_default();
            buffer.clear();
            return Ok(buffer);
        }
        shelf.unused = shelf.unused.saturating_add(1);
        if shelf.unused > PATIENCE {
            shelf.buffer = None;
        }
        drop(shelf);
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(len)?;
        Ok(buffer)
    }

    /// Makes a full buffer shared bytes. It is kept when the last of them is dropped.
    pub fn share(&self, buffer: Vec<u8>) -> Bytes {
        match (WORTH..=KEPT).contains(&buffer.capacity()) {
            true => Bytes::from_owner(Lent { buffer, home: Arc::downgrade(&self.0) }),
            false => buffer.into(),
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let mut shelf = lock(&home);
        let kept = shelf.buffer.as_ref().map_or(0, Vec::capacity);
        if self.buffer.capacity() > kept {
            shelf.unused = 0;
            shelf.buffer = Some(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_used_again_and_not_kept_for_ever() {
        let recycler = Recycler::default();
        let mut buffer = recycler.take(WORTH).expect("memory");
        buffer.extend_from_slice(b"first");
        let at = buffer.as_ptr();
        let bytes = recycler.share(buffer);
        let part = bytes.slice(1..);
        drop(bytes);
        assert!(lock(&recycler.0).buffer.is_none(), "a part of it is still in use");
        drop(part);
        let again = recycler.take(WORTH).expect("memory");
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        drop(recycler.share(again));
        (0..=PATIENCE).for_each(|_| drop(recycler.take(10)));
        assert!(lock(&recycler.0).buffer.is_none());
    }

    #[test]
    fn small_and_huge_buffers_are_not_kept() {
        let recycler = Recycler::default();
        drop(recycler.share(vec![0; 10]));
        assert!(lock(&recycler.0).buffer.is_none());
    }
}
