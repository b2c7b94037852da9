//! How residents end, and what ends them.
//!
//! Invariants: one ends once, and then it is in no table, its entry is gone, and whoever waited
//! for it was told; one that is in somebody's hand is ended by whoever has it.

use super::call::{Call, key};
use super::life::Left;
use super::requests::{Asked, ended};
use super::resident::{Place, Resident, why_ended};
use super::{Gone, Method};
use crate::core::Core;
use crate::session::Session;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ResidentId;
use dpfw_protocol::payload::Payload;
use dpfw_protocol::resident::End;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl Resident {
    /// Ends it when its present call is over; those who wait in its mailbox are told now.
    pub(super) fn end(self: &Arc<Self>, core: &Arc<Core>, end: End) {
        let told = self.lock().life.end(end.clone());
        self.tell(told, &end);
        let end = self.lock().life.take_to_end();
        if let Some(end) = end {
            // On another thread: giving its memory back takes time that whoever serves the links
            // does not have.
            let (this, core) = (Arc::clone(self), Arc::clone(core));
            let handle = core.helm.handle().clone();
            drop(handle.spawn_blocking(move || this.over(&core, end)));
        }
    }

    /// It has ended.
    pub(super) fn over(self: &Arc<Self>, core: &Arc<Core>, end: End) {
        let mut inner = self.lock();
        let told = inner.life.over(end.clone());
        let place = std::mem::replace(&mut inner.place, Place::Nowhere);
        let (version, failure, is_left) = (inner.version, inner.failure.clone(), inner.is_left);
        let (room, mover) = (inner.room.take(), inner.mover.take());
        let state = inner.state.take();
        drop(inner);
        // Before anybody is told, so that whoever was finds its key free and its place given back.
        drop(place);
        // Before its key is free: who spawns under it next is not to find this one's state.
        match is_left {
            _ if version == 0 => {}
            true => self.leave_record(core, state.as_ref()),
            false => self.forget_record(core, &end),
        }
        // Or whoever removed its entry has forgotten it, and that is not on disk yet.
        let is_unkept = version != 0 && self.is_durable() && core.store.is_on_disk();
        let is_unkept = Arc::new(AtomicBool::new(is_unkept));
        let gone = Gone { key: self.key.clone(), end: end.clone(), failure, is_unkept };
        // In this order: whoever finds no resident under the key is not to find its entry.
        core.store.remove_resident(&self.key, version);
        core.residents.remove(self, gone.clone());
        // A drain waits for the last place, and does not miss what is told below.
        let room = room.filter(|_| end == End::Drained);
        tracing::debug!(resident = %self.key.key, ?end, "a resident has ended");
        self.tell(told, &end);
        if let Some(mover) = mover {
            let cause = why_ended(&self.key, &end, None);
            let failed = dpfw_protocol::message::ResidentReply {
                failure: Some(cause.into()),
                ..Default::default()
            };
            mover.reply(failed, Payload::default());
        }
        let mut inner = self.lock();
        inner.gone = Some(gone);
        let heirs = inner.heirs.take();
        drop(inner);
        self.tell_end(core);
        if let Some(makers) = heirs {
            self.hand_row_on(core, &makers);
        }
        drop(room);
        core.freed();
    }

    /// Tells those who wait for its end, if it has come and all else is done.
    pub(super) fn tell_end(&self, core: &Core) {
        let mut inner = self.lock();
        let Some(gone) = inner.gone.clone() else {
            return;
        };
        let asked = std::mem::take(&mut inner.awaiting);
        drop(inner);
        if !asked.is_empty() {
            gone.tell(core, asked);
        }
    }

    pub(super) fn tell(&self, calls: Vec<Call>, end: &End) {
        let failure = self.lock().failure.clone();
        for call in calls {
            call.refuse(why_ended(&self.key, end, failure.as_ref()));
        }
    }

    /// A session is gone.
    pub(super) fn forget(self: &Arc<Self>, core: &Arc<Core>, session: &Arc<Session>) {
        let mut inner = self.lock();
        let its = |asked: &mut Asked| Arc::ptr_eq(asked.session(), session);
        let asked: Vec<_> = inner.awaiting.extract_if(.., its).collect();
        let mover = inner.mover.take_if(its);
        let (calls, left) = inner.life.forget(key(session));
        match left {
            Left::Nothing => drop(inner),
            Left::Resumed => self.queue(core, inner),
            Left::Over => {
                // It may have ended where it came from, if who moves it knew of it here.
                inner.is_left = inner.is_told;
                drop(inner);
                self.end(core, End::Stopped);
            }
        }
        drop((calls, asked, mover));
    }

    /// Its slave drains: what changed is saved, then it ends.
    pub(super) fn drain(self: &Arc<Self>, core: &Arc<Core>) {
        let mut inner = self.lock();
        if inner.is_changed {
            inner.life.save_due();
        }
        let told = inner.life.end(End::Drained);
        let end = inner.life.take_to_end();
        drop(inner);
        self.tell(told, &End::Drained);
        match end {
            Some(end) => self.over(core, end),
            None => self.queue(core, self.lock()),
        }
    }

    /// Its time has come: its pause is over, or its state is to be taken.
    pub(super) fn due(self: &Arc<Self>, core: &Core) {
        let mut inner = self.lock();
        if inner.is_changed {
            inner.life.save_due();
        }
        inner.life.pause_over();
        self.queue(core, inner);
    }
}

impl Gone {
    /// Tells how it ended: one that may not be there again, when that is on disk.
    pub(super) fn tell(self, core: &Core, asked: Vec<Asked>) {
        if !self.is_unkept.load(Ordering::Acquire) {
            return self.tell_all(asked, Ok(()));
        }
        core.store.when_kept(Box::new(move |kept| self.tell_all(asked, kept)));
    }

    fn tell_all(self, asked: Vec<Asked>, kept: Result<(), Cause>) {
        if kept.is_ok() {
            self.is_unkept.store(false, Ordering::Release);
        }
        for one in asked {
            one.answer(match (&kept, &self.end) {
                // Its slave may find its state again, which whoever stopped it has to know.
                (Err(cause), End::Stopped) => Err(cause.clone()),
                _ => Ok(ended(self.end.clone(), self.failure.as_ref())),
            });
        }
    }
}

impl Call {
    /// Finds its resident and its method, and goes into the mailbox; or is answered.
    pub(super) fn take_in(
        mut self,
        core: &Arc<Core>,
        last: &mut Option<Arc<Resident>>,
        id: ResidentId,
        method: &mut Method,
    ) {
        let resident = match last {
            Some(resident) if resident.id == id => Arc::clone(resident),
            _ => match core.residents.find(id, &self.session().namespace) {
                Ok(resident) => Arc::clone(last.insert(resident)),
                Err(not_there) => return self.refuse(not_there.cause),
            },
        };
        if core.is_draining() {
            return self.refuse(Cause::Draining);
        }
        if resident.is_durable()
            && let Err(cause) = core.store.check_durable()
        {
            return self.refuse(cause);
        }
        match method.find(&resident.class, &resident.loaded, resident.module) {
            Ok(function) => {
                self.function = function;
                resident.accept(core, self);
            }
            Err(cause) => self.refuse(cause),
        }
    }
}
