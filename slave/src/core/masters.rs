//! Which masters are linked.
//!
//! Owns: the list of sessions. Does not: shake hands, or read what masters say. Invariants: a
//! master has one session, its newest; there are never more than the limit on links, and no
//! principal has more than its share of them.

use super::Core;
use crate::session::Session;
use crate::shares::may_take;
use dpfw_link::LinkError;
use dpfw_protocol::hello::Identity;
use dpfw_protocol::limits::HANDSHAKE;
use dpfw_protocol::store::Principal;
use std::pin::pin;
use std::sync::Arc;

impl Core {
    /// Whether a master that is not linked already would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.is_draining() || self.sessions().len() >= self.limits.links
    }

    /// Whether a master may be linked, as things are: one that is linked may always be linked
    /// anew.
    pub(crate) fn may_link(
        &self,
        master: &Identity,
        principal: &Principal,
    ) -> Result<(), LinkError> {
        let sessions = self.sessions();
        self.may_join(&sessions, Some(master), principal)
    }

    fn may_join(
        &self,
        sessions: &[Arc<Session>],
        master: Option<&Identity>,
        principal: &Principal,
    ) -> Result<(), LinkError> {
        if self.is_draining() {
            return Err(LinkError::Refused("the slave drains".into()));
        }
        let (most, all) = (self.limits.links, sessions.len());
        let is_its = |session: &&Arc<Session>| session.principal == *principal;
        let own = sessions.iter().filter(is_its).count();
        let may = may_take(own as u64, 1, all as u64, most as u64);
        if may || sessions.iter().any(|session| session.is_of(master)) {
            return Ok(());
        }
        let why = match all < most {
            true => format!(
                "busy: {own} of the {most} links that the slave may have are of {}, and what is left \
                 is for others",
                principal.0
            ),
            false => format!("busy: the slave has {most} links, and takes no more"),
        };
        Err(LinkError::Refused(why))
    }

    /// A master is linked, and its older session ends. Or why it may not stay: what arrives
    /// later need not have been begun later.
    pub(crate) fn join(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), LinkError> {
        let master = session.master.as_ref();
        let mut sessions = self.sessions();
        self.may_join(&sessions, master, &session.principal)?;
        let older = sessions.iter().find(|other| other.is_of(master)).cloned();
        if older.as_ref().is_some_and(|older| older.id > session.id) {
            return Err(LinkError::Superseded);
        }
        sessions.push(Arc::clone(session));
        session.holdings.link();
        drop(sessions);
        self.changed.notify_waiters();
        if let Some(older) = older {
            older.supersede();
            self.leave(&older);
        }
        self.tell_status(session);
        Ok(())
    }

    /// Waits until a master has no session. After one was superseded, the newer one is waited
    /// for first, as long as its handshake may still take.
    pub(crate) async fn without(&self, master: &Identity, was_superseded: bool) {
        if was_superseded {
            // If none comes after all, it is free to be dialled.
            let _ = tokio::time::timeout(HANDSHAKE, self.until(master, true)).await;
        }
        self.until(master, false).await;
    }

    async fn until(&self, master: &Identity, is_linked: bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.sessions().iter().any(|session| session.is_of(Some(master))) == is_linked {
                return;
            }
            changed.await;
        }
    }

    /// A master is gone: what it started ends.
    pub(crate) fn leave(self: &Arc<Self>, session: &Arc<Session>) {
        let mut sessions = self.sessions();
        let before = sessions.len();
        sessions.retain(|s| !Arc::ptr_eq(s, session));
        // One that was superseded comes here twice.
        if sessions.len() < before {
            session.holdings.unlink();
        }
        drop(sessions);
        self.changed.notify_waiters();
        // In the order in which attempts go: from the modules to the queue to a slot.
        if let Some((modules, _)) = self.modules() {
            drop(modules.session_gone(session));
        }
        drop(self.queue.take_session(session));
        self.watches.iter().for_each(|watch| {
            watch.cancel_session(session);
        });
        self.fibers.abandon(session);
        self.residents.forget(self, session);
        self.release(session);
    }
}
