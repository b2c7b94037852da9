//! Buffers of large payloads, used again.
//!
//! A fresh buffer of 64 MiB costs 16,384 page faults, as much time as a fast link takes to
//! fill it. So the last large buffer is kept when its bytes are dropped, wherever that
//! happens, and taken for the next payload. Bound: one buffer of at most `KEPT` bytes for
//! each recycler; it is given back to the system when `PATIENCE` smaller payloads have
//! come and gone without a use for it. A large payload begins with a page, so that its pages can
//! change places with others.

use bytes::Bytes;
use std::collections::TryReserveError;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Buffers below this are the allocator's business.
const WORTH: usize = 1 << 20;

/// The largest buffer that is kept.
const KEPT: usize = 128 << 20;

/// Payloads that may go by without a use for the buffer that is kept.
const PATIENCE: u32 = 256;

/// What a large payload begins with a multiple of.
const PAGE: usize = 4096;

/// Keeps the last large buffer.
#[derive(Clone, Debug, Default)]
pub struct Recycler(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    buffer: Option<Vec<u8>>,
    unused: u32,
}

/// What a payload is put together in.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// Where the payload begins.
    begin: usize,
}

impl Buffer {
    /// An empty one.
    fn within(mut bytes: Vec<u8>, len: usize) -> Self {
        bytes.clear();
        let begin = match len >= WORTH {
            true => bytes.as_ptr().align_offset(PAGE),
            false => 0,
        };
        bytes.resize(begin, 0);
        Self { bytes, begin }
    }

    /// What the payload is appended to. The room that was asked for is there.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How much of the payload there is.
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.begin)
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A payload that has arrived, and that nobody else has.
#[derive(Debug, Default)]
pub struct Arrived(Kind);

#[derive(Debug)]
enum Kind {
    Small(Bytes),
    Large(Lent),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Small(Bytes::new())
    }
}

impl Arrived {
    /// The bytes, to be shared.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Small(bytes) => bytes,
            Kind::Large(lent) => Bytes::from_owner(lent),
        }
    }

    /// Whether it is large, and lies in memory of this process's allocator from the beginning of
    /// a page on.
    pub fn has_pages(&self) -> bool {
        matches!(self.0, Kind::Large(_))
    }
}

impl From<Bytes> for Arrived {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Small(bytes))
    }
}

impl Deref for Arrived {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Small(bytes) => bytes,
            Kind::Large(lent) => lent.as_ref(),
        }
    }
}

impl PartialEq for Arrived {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Arrived {}

/// A buffer that returns to its shelf.
#[derive(Debug)]
struct Lent {
    buffer: Buffer,
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
    pub fn take(&self, len: usize) -> Result<Buffer, TryReserveError> {
        let needed = if len >= WORTH { len.saturating_add(PAGE) } else { len };
        let mut shelf = lock(&self.0);
        // A small payload may be kept for long, and must not keep a large buffer with it.
        let fits =
            |buffer: &Vec<u8>| len >= WORTH && (needed..=2 * needed).contains(&buffer.capacity());
        if let Some(bytes) = shelf.buffer.take_if(|buffer| fits(buffer)) {
            shelf.unused = 0;
            return Ok(Buffer::within(bytes, len));
        }
        shelf.unused = shelf.unused.saturating_add(1);
        if shelf.unused > PATIENCE {
            shelf.buffer = None;
        }
        drop(shelf);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(needed)?;
        Ok(Buffer::within(bytes, len))
    }

    /// A buffer is full. It is kept when the last of its bytes is dropped.
    pub fn finish(&self, buffer: Buffer) -> Arrived {
        if buffer.bytes.capacity() < WORTH {
            return Bytes::from(buffer.bytes).split_off(buffer.begin).into();
        }
        Arrived(Kind::Large(Lent { buffer, home: Arc::downgrade(&self.0) }))
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.bytes.get(self.buffer.begin..).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let mut shelf = lock(&home);
        let kept = shelf.buffer.as_ref().map_or(0, Vec::capacity);
        let buffer = &mut self.buffer.bytes;
        if (kept + 1..=KEPT).contains(&buffer.capacity()) {
            shelf.unused = 0;
            shelf.buffer = Some(std::mem::take(buffer));
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
        buffer.bytes().extend_from_slice(b"first");
        let arrived = recycler.finish(buffer);
        let at = arrived.as_ptr();
        assert_eq!((&arrived[..], at.addr() % PAGE), (&b"first"[..], 0));
        assert!(arrived.has_pages());
        let bytes = arrived.into_bytes();
        assert_eq!(bytes.as_ptr(), at);
        let part = bytes.slice(1..);
        drop(bytes);
        assert!(lock(&recycler.0).buffer.is_none(), "a part of it is still in use");
        drop(part);
        let again = recycler.take(WORTH).expect("memory");
        let begin = again.bytes.as_ptr().wrapping_add(again.begin);
        assert_eq!((begin, again.len()), (at, 0));
        drop(recycler.finish(again));
        (0..=PATIENCE).for_each(|_| drop(recycler.take(10)));
        assert!(lock(&recycler.0).buffer.is_none());
    }

    #[test]
    fn small_and_huge_buffers_are_not_kept() {
        let recycler = Recycler::default();
        for len in [10, KEPT + PAGE] {
            let arrived = recycler.finish(recycler.take(len).expect("memory"));
            assert_eq!((arrived.len(), arrived.has_pages()), (0, len > WORTH));
            drop(arrived);
            assert!(lock(&recycler.0).buffer.is_none());
        }
    }
}
