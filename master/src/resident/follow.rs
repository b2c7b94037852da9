//! Where a resident is that is not where it was.
//!
//! Owns: the way from slave to slave. Does not: hold calls back meanwhile; the window does.
//! Invariants: after a lost link only the very resident is taken for it, at the same incarnation
//! of its slave, never another one under its key; it is followed a bounded number of times.

use super::requests::{ask, one};
use super::window::{Place, Window};
use crate::home::{Back, Home};
use crate::slave::Linked;
use dpfw_dispatch::SlaveId;
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::Identity;
use dpfw_protocol::ids::ResidentId;
use dpfw_protocol::message::ResidentOp;
use dpfw_protocol::store::Key;
use std::sync::Arc;

/// Moves that are followed in a row: more than a resident makes while its caller looks.
const HOPS: usize = 16;

/// Where a resident should be.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Where it was: its slave is looked for, and it by its number.
    Same(Identity, ResidentId),
    /// On the slave of this name, to which it has moved.
    Named(String),
    /// Here.
    Known(Box<Place>),
}

impl Target {
    /// The place itself, over another link to the same incarnation of its slave.
    pub(crate) fn of(place: &Place) -> Self {
        Self::Same(place.linked.hello.identity(), place.resident)
    }

    pub(crate) fn named(slave: String) -> Self {
        Self::Named(slave)
    }

    /// Whether a slave is the one.
    fn is(&self, linked: &Linked) -> bool {
        match self {
            Self::Same(identity, _) => linked.hello.identity() == *identity,
            Self::Named(name) => linked.hello.peer.as_str() == name,
            Self::Known(place) => linked.id == place.linked.id,
        }
    }

    pub(super) fn linked(&self, home: &Home) -> Option<Arc<Linked>> {
        home.slave(|linked| self.is(linked) && !linked.residents.is_over())
    }

    /// What became of its slave after the loss of a link, if these are linked; a link over which the
    /// resident was looked for in vain is none.
    pub(super) fn back(
        &self,
        slaves: &[Arc<Linked>],
        lost: SlaveId,
        tried: Option<SlaveId>,
    ) -> Option<Back> {
        let mut linked = slaves.iter().filter(|it| it.is_up());
        match (linked.clone().find(|linked| self.is(linked)), self) {
            (Some(linked), _) if Some(linked.id) == tried => Some(Back::Gone),
            (Some(linked), _) => Some(Back::Again(Arc::clone(linked))),
            (None, Self::Same(identity, _)) => {
                let is_next = |it: &Arc<Linked>| it.hello.peer == identity.peer && it.id > lost;
                linked.any(is_next).then_some(Back::Gone)
            }
            (None, Self::Named(_) | Self::Known(_)) => None,
        }
    }

    pub(crate) fn is_linked(&self, home: &Home) -> bool {
        self.linked(home).is_some()
    }

    /// Why what has not been sent is not.
    pub(crate) fn cause(&self, key: &Key) -> Cause {
        let key = key.to_string();
        match self {
            Self::Named(to) => Cause::ResidentMoved { key, to: to.clone() },
            Self::Same(..) | Self::Known(_) => Cause::ResidentLost { key, may_have_run: false },
        }
    }
}

/// A search, which tells its window how it ended, also if it ends with the master.
pub(super) struct Seeking {
    window: Arc<Window>,
    target: Target,
    found: Result<Place, Cause>,
}

impl Seeking {
    pub(super) fn new(window: Arc<Window>, target: Target) -> Self {
        Self { window, target, found: Err(Cause::Shutdown) }
    }
}

impl Drop for Seeking {
    fn drop(&mut self) {
        let found = std::mem::replace(&mut self.found, Err(Cause::Shutdown));
        self.window.settle(self.target.clone(), found);
    }
}

/// Looks for a resident.
pub(super) async fn follow(mut seeking: Seeking) {
    for _ in 0..HOPS {
        match look(&seeking.window, &seeking.target).await {
            Look::At(place) => {
                seeking.found = Ok(place);
                return;
            }
            Look::Further(next) => seeking.target = next,
            Look::No(cause) => {
                seeking.found = Err(cause);
                return;
            }
        }
    }
    seeking.found = Err(seeking.target.cause(&seeking.window.key));
}

enum Look {
    At(Place),
    Further(Target),
    No(Cause),
}

async fn look(window: &Window, target: &Target) -> Look {
    if let Target::Known(place) = target {
        return Look::At((**place).clone());
    }
    let Some(linked) = target.linked(&window.home) else {
        return Look::No(target.cause(&window.key));
    };
    let lost = || Cause::ResidentLost { key: window.key.to_string(), may_have_run: false };
    let found = ask(&linked, ResidentOp::Find { key: window.key.clone() }).await;
    match found.and_then(|reply| one(reply, &window.key)) {
        Ok(info) => match target {
            // Under its key there is another one now.
            Target::Same(_, resident) if info.resident != *resident => Look::No(lost()),
            _ if info.class != *window.class => Look::No(lost()),
            _ => Look::At(Place::of(linked, &info)),
        },
        Err(Cause::ResidentMoved { to, .. }) => Look::Further(Target::Named(to)),
        Err(Cause::NoResident { .. } | Cause::SlaveLost { .. }) => Look::No(lost()),
        Err(cause) => Look::No(cause),
    }
}
