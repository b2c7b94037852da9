//! What the guest of one sandbox watches of the store.
//!
//! Owns: its watches, by their numbers. Does not: wait for them; the imports do. Invariants: at
//! most [`MOST`] at once, each counted among those of the slave and of its principal; they end
//! with the sandbox, and those of a resident's call with the call; a sandbox never uses a number
//! again.

use crate::core::Core;
use crate::session::Session;
use crate::shares::Taken;
use crate::store::changes::Watching;
use crate::watches::none_left;
use dpfw_protocol::error::Cause;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;

/// Watches that a sandbox may have at once: what waits for each is bounded by the store.
pub(crate) const MOST: usize = 16;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    all: Vec<(u32, Watched, Taken)>,
    last: u32,
}

/// One watch: what it has to tell, and when it has something.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) watching: Arc<Watching>,
    pub(super) wake: Arc<Notify>,
}

impl Watches {
    /// Begins one; gives its number.
    ///
    /// # Errors
    /// [`Cause::Busy`] if there are too many.
    pub(super) fn begin(
        &mut self,
        core: &Core,
        session: &Session,
        prefix: &str,
        present: bool,
    ) -> Result<u32, Cause> {
        if self.all.len() >= MOST {
            let what = format!("{MOST} prefixes are watched: drop one of the watches");
            return Err(Cause::Busy { what });
        }
        let taken = core.watched.lend(&session.holdings.watches, 1);
        let taken = taken.ok_or_else(|| none_left(core))?;
        let wake = Arc::<Notify>::default();
        let watched = Arc::clone(&wake);
        let call = Box::new(move || wake.notify_one());
        let watching = core.store.watch(&session.namespace, prefix.to_owned(), present, call);
        let watched = Watched { watching: Arc::new(watching), wake: watched };
        self.last += 1;
        self.all.push((self.last, watched, taken));
        Ok(self.last)
    }

    fn place(&self, number: u32) -> Result<usize, Cause> {
        let place = self.all.iter().position(|(other, ..)| *other == number);
        let message = format!("there is no watch {number}: it was ended, or is another call's");
        place.ok_or(Cause::GuestAbi { message })
    }

    /// The watch of that number.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn find(&self, number: u32) -> Result<Watched, Cause> {
        self.place(number).map(|place| self.all[place].1.clone())
    }

    /// Ends one.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn end(&mut self, number: u32) -> Result<(), Cause> {
        self.place(number).map(|place| drop(self.all.swap_remove(place)))
    }

    /// Ends all.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}
