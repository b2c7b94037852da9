//! Values that are written in pieces, by guests that do not hold them whole.
//!
//! Owns: the pieces so far. Invariants: nobody sees a value before it is finished, and then
//! whole; its bytes are charged as they come, and given back if it is not finished; whoever
//! writes has at most [`MOST_DRAFTS`] of them, and they end with it.

use super::ledger::{Ledger, Need};
use super::shared::Spared;
use super::write::Write;
use super::{Answer, Content, Store};
use dpfw_protocol::error::Cause;
use dpfw_protocol::store::{FullKey, Principal, Terms};
use std::sync::Arc;

/// Values that one sandbox may be writing at once.
pub(crate) const MOST_DRAFTS: usize = 16;

/// The values that one sandbox is writing.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    drafts: Vec<(u32, Draft)>,
    last: u32,
}

/// A value that is being written.
#[derive(Debug)]
struct Draft {
    key: FullKey,
    terms: Terms,
    bytes: Vec<u8>,
    /// Gives the bytes back that were charged, unless they are an entry's by then.
    charged: Charged,
}

#[derive(Debug)]
struct Charged {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.ledger.give_bytes(self.bytes);
    }
}

impl Drafts {
    /// Begins a value; gives its number.
    ///
    /// # Errors
    /// [`Cause::Busy`] if there are too many.
    pub(crate) fn begin(
        &mut self,
        store: &Store,
        key: FullKey,
        terms: Terms,
    ) -> Result<u32, Cause> {
        if self.drafts.len() >= MOST_DRAFTS {
            let what = format!("{MOST_DRAFTS} values are being written: finish one, or drop it");
            return Err(Cause::Busy { what });
        }
        let charged = Charged { ledger: Arc::clone(&store.ledger), bytes: 0 };
        self.last += 1;
        self.drafts.push((self.last, Draft { key, terms, bytes: Vec::new(), charged }));
        Ok(self.last)
    }

    fn place(&self, number: u32) -> Result<usize, Cause> {
        let place = self.drafts.iter().position(|(other, _)| *other == number);
        let message = format!("no value is being written under the number {number}");
        place.ok_or(Cause::GuestAbi { message })
    }

    /// Takes the room for so many bytes more, before they are copied.
    ///
    /// # Errors
    /// [`Cause::Limit`] if there is none; what was written so far stays.
    pub(crate) fn reserve(
        &mut self,
        store: &Store,
        writer: &Principal,
        number: u32,
        more: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), Cause> {
        let place = self.place(number)?;
        let Draft { bytes, charged, .. } = &mut self.drafts[place].1;
        // It is no entry yet: a place among the entries is not needed.
        let (old, spared) = (Some(0), Spared::default());
        let need = Need { writer, key: None, new: more, old, old_is_lined: false, spared };
        let mut step = 0;
        while !store.ledger.take_bytes(more, 0) {
            step += 1;
            if !store.make_room(&need, step, go_on)? {
                return Err(store.ledger.quota());
            }
        }
        charged.bytes += more;
        bytes.reserve(more as usize);
        Ok(())
    }

    /// Adds a piece, for which there is room.
    pub(crate) fn append(&mut self, number: u32, piece: &[u8]) {
        if let Ok(place) = self.place(number) {
            self.drafts[place].1.bytes.extend_from_slice(piece);
        }
    }

    /// Puts the value under its key, whatever was there.
    ///
    /// # Errors
    /// As a put; the value is lost then.
    pub(crate) fn finish(
        &mut self,
        store: &Store,
        writer: &Principal,
        number: u32,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Answer, Cause> {
        let place = self.place(number)?;
        let (_, Draft { key, terms, mut bytes, charged }) = self.drafts.swap_remove(place);
        bytes.shrink_to_fit();
        drop(charged);
        let content = Content::Value(bytes.into());
        let keeps_terms = false;
        store.write(Write { key, writer, content, terms, keeps_terms, go_on }, |_| true)
    }

    /// Gives a value up.
    ///
    /// # Errors
    /// [`Cause::GuestAbi`] if there is none of that number.
    pub(crate) fn give_up(&mut self, number: u32) -> Result<(), Cause> {
        let place = self.place(number)?;
        self.drafts.swap_remove(place);
        Ok(())
    }
}
