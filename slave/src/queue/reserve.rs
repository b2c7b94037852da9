//! All slots for one session.
//!
//! Owns: how a session comes to hold them, and to give them back. Does not: tell it; the core does.
//! Invariants: one session holds them at most; those who wait get them when nobody else's attempt
//! is in a slot, principals in turn, and those of one principal in the order in which they asked.

use super::{Inner, Queue};
use crate::session::Session;
use dpfw_protocol::ids::ConversationId;
use std::sync::Arc;

/// All slots, held or wished for by a session.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) session: Arc<Session>,
    pub(crate) conversation: ConversationId,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wished {
    /// The session has all slots.
    Granted,
    /// They are granted by a later [`Queue::done`] or [`Queue::release`].
    Waiting,
    /// It does not get them.
    Refused,
}

/// What follows from a release.
#[derive(Debug)]
pub(crate) struct Released {
    /// The wish that is not waited for any more; it is answered all the same.
    pub(crate) withdrawn: Option<Reservation>,
    /// The reservation that is granted by it.
    pub(crate) granted: Option<Reservation>,
}

impl Queue {
    /// A session wishes for all slots.
    pub(crate) fn reserve(&self, wish: Reservation, wait: bool) -> Wished {
        let mut inner = self.lock();
        let is_mine = |r: &Reservation| Arc::ptr_eq(&r.session, &wish.session);
        let others = inner.running.iter().any(|s| !Arc::ptr_eq(s, &wish.session));
        if inner.reservation.is_none() && inner.wishes.is_empty() && !others {
            inner.reservation = Some(wish);
            return Wished::Granted;
        }
        let has_one = inner.reservation.iter().chain(&inner.wishes).any(is_mine);
        if !wait || has_one {
            return Wished::Refused;
        }
        inner.line_up(wish);
        Wished::Waiting
    }

    /// A session gives its reservation or its wish back.
    pub(crate) fn release(&self, session: &Arc<Session>) -> Released {
        let mut inner = self.lock();
        let at = inner.wishes.iter().position(|w| Arc::ptr_eq(&w.session, session));
        let withdrawn = at.and_then(|at| inner.wishes.remove(at));
        if inner.reservation.as_ref().is_some_and(|r| Arc::ptr_eq(&r.session, session)) {
            inner.reservation = None;
        }
        let granted = inner.grant();
        drop(inner);
        self.rouse();
        Released { withdrawn, granted }
    }

    /// Nobody holds or awaits all slots any more: what has started is to end.
    pub(crate) fn open(&self) {
        let mut inner = self.lock();
        inner.reservation = None;
        inner.wishes.clear();
        drop(inner);
        self.rouse();
    }

    /// Whether another session holds all slots.
    pub(crate) fn is_taken_from(&self, session: &Arc<Session>) -> bool {
        let inner = self.lock();
        inner.reservation.as_ref().is_some_and(|r| !Arc::ptr_eq(&r.session, session))
    }
}

impl Inner {
    /// A wish goes behind those of which as many precede of one principal as of its own, so that
    /// one with many sessions has the slots as often as another with one. The first stays the
    /// first if slots are kept free for it already.
    fn line_up(&mut self, wish: Reservation) {
        let of_same =
            |one: &Reservation, other: &Reservation| one.session.is_of_same(&other.session);
        let held = self.reservation.as_ref();
        let before = |wish: &Reservation, at: usize| {
            let ahead = held.into_iter().chain(self.wishes.iter().take(at));
            ahead.filter(|other| of_same(other, wish)).count()
        };
        let own = before(&wish, self.wishes.len());
        let first = usize::from(held.is_none());
        let later = (first..self.wishes.len()).find(|at| before(&self.wishes[*at], *at) > own);
        let at = later.unwrap_or(self.wishes.len());
        self.wishes.insert(at, wish);
    }

    pub(super) fn grant(&mut self) -> Option<Reservation> {
        if self.reservation.is_some() {
            return None;
        }
        let wish = self.wishes.front()?;
        if self.running.iter().any(|s| !Arc::ptr_eq(s, &wish.session)) {
            return None;
        }
        self.reservation = self.wishes.pop_front();
        self.reservation.clone()
    }
}
