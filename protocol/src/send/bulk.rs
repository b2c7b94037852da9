//! A payload that leaves in chunks, or a stream.
//!
//! Owns: what of it was not sent, and how much its receiver allows. Does not: choose whose turn it
//! is. Invariant: no more is taken than is allowed, and what is taken is of one piece.

use crate::ids::ConversationId;
use crate::limits::CHUNK;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// A payload, or what of a stream has not been sent.
#[derive(Debug)]
pub(super) struct Bulk {
    pub(super) conversation: ConversationId,
    pub(super) pieces: VecDeque<Bytes>,
    /// Behind the pieces: small writes to a stream, put together.
    pub(super) tail: BytesMut,
    pub(super) left: usize,
    pub(super) credit: u64,
    /// Whether more may come: it is a stream that has not ended.
    pub(super) more: bool,
    /// Whether its receiver has ever allowed anything.
    pub(super) begun: bool,
}

impl Bulk {
    pub(super) fn allow(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes);
        self.begun = true;
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        self.left += bytes.len();
        while !bytes.is_empty() {
            self.tail.reserve(bytes.len().min(CHUNK));
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.tail.len()));
            self.tail.extend_from_slice(now);
            if self.tail.len() == CHUNK {
                self.seal();
            }
            bytes = rest;
        }
    }

    /// Makes a piece of the small writes.
    pub(super) fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// The next bytes: of one piece, within the credit.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        if self.pieces.is_empty() {
            self.seal();
        }
        let Some(front) = self.pieces.front_mut() else {
            return Bytes::new();
        };
        let n = front.len().min(most).min(credit);
        let data = front.copy_to_bytes(n);
        if front.is_empty() {
            self.pieces.pop_front();
        }
        self.left -= n;
        self.credit -= n as u64;
        data
    }
}
