//! What the driver does about keys: numbers for the policy, names for slaves and callers.
//!
//! Owns: nothing but the way between the two. Invariant: every task that waits with a key has
//! taken its number, and gives it back when it resolves.

use super::{Carried, Driver, Entry};
use crate::image::Plan;
use crate::kept::KeptAt;
use crate::keys::Name;
use crate::link::FromSlave;
use crate::noted::Word;
use crate::slave::Slave;
use dpfw_dispatch::{End, Event, KeyId, Outcome, Placement, SlaveId};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ImageId};
use dpfw_protocol::message::{Extras, KeptAs, Locate, Timing};
use dpfw_protocol::store::Key;
use std::sync::Arc;
use std::time::Duration;

impl Driver {
    /// Where a task may run that needs entries: only where they are, unless it was placed
    /// anyway. Then its slave looks for them. One on an image had rather run where that is.
    pub(super) fn place(
        &mut self,
        placement: Placement,
        extras: Option<&Extras>,
        image: Option<&Plan>,
    ) -> Placement {
        let needs = extras.map_or(&[][..], |extras| &extras.needs);
        let keys: Box<[KeyId]> = needs.iter().map(|key| self.await_key(key)).collect();
        let image = image.map(|plan| self.take_image(plan.id));
        match (placement, image) {
            (Placement::Anywhere, _) if !keys.is_empty() => Placement::At(keys),
            (Placement::Anywhere, Some(image)) => Placement::Near([image].into()),
            (placed, _) => placed,
        }
    }

    /// The number of a key that a task waits with. What was seen of it so far is for the policy
    /// now, and what will be as soon as it is.
    fn await_key(&mut self, key: &Key) -> KeyId {
        let id = self.keys.take(Name::Entry(key.clone()));
        for word in self.inbox.noted().begin(key) {
            self.learn_key(id, word);
        }
        id
    }

    /// The number of an image, for a task that waits with it. If it had none, the policy has
    /// forgotten where it is.
    fn take_image(&mut self, image: ImageId) -> KeyId {
        let is_known = self.keys.find(&Name::Image(image)).is_some();
        let key = self.keys.take(Name::Image(image));
        if !is_known {
            let at: Vec<_> = self.images.standings(image).map(|(at, it)| (at, it.init())).collect();
            at.into_iter().for_each(|(slave, cost)| self.image_at(slave, key, cost));
        }
        key
    }

    /// An image is at a slave, and was made at this cost.
    pub(super) fn image_at(&mut self, slave: SlaveId, key: KeyId, cost: Duration) {
        self.handle(Event::KeyCost { key, cost });
        self.handle(Event::KeyAt { slave, key });
    }

    /// A task has resolved that had been placed.
    pub(super) fn leave(&mut self, extras: Option<&Extras>, image: Option<&Plan>) {
        if let Some(id) = image.and_then(|plan| self.keys.find(&Name::Image(plan.id))) {
            self.keys.give(id);
        }
        for key in extras.map_or(&[][..], |extras| &extras.needs) {
            if let Some(id) = self.keys.find(&Name::Entry(key.clone()))
                && self.keys.give(id)
            {
                self.inbox.noted().end(key);
            }
        }
    }

    /// Somebody has seen whether a slave has a key with which a task waited then.
    pub(super) fn seen(&mut self, key: &Key, word: Word) {
        let id = self.keys.intern(Name::Entry(key.clone()));
        self.learn_key(id, word);
    }

    fn learn_key(&mut self, key: KeyId, (slave, there): Word) {
        self.handle(match there {
            true => Event::KeyAt { slave, key },
            false => Event::KeyGone { slave, key },
        });
    }

    /// Forgets keys and kinds beyond as many as are remembered.
    pub(super) fn forget(&mut self) {
        while let Some(key) = self.keys.forget() {
            self.handle(Event::KeyForgotten { key });
        }
        while let Some(kind) = self.kinds.forget() {
            self.slaves.values_mut().for_each(|told| told.forget(kind));
            self.handle(Event::KindForgotten { kind });
        }
    }

    /// Asks a slave which of these keys it has.
    pub(super) fn locate(&mut self, slave: SlaveId, keys: Box<[KeyId]>) {
        let name = |key: &KeyId| self.keys.name(*key)?.entry().cloned();
        let names: Vec<Key> = keys.iter().filter_map(name).collect();
        let Some(told) = self.slaves.get_mut(&slave) else { return };
        let (conversation, unanswered) = told.locate(keys);
        self.tell(slave, conversation, &Locate { keys: names });
        if let Some(keys) = unanswered {
            self.unlocated.push((slave, keys));
        }
    }

    /// A slave has said which of the keys it has.
    pub(super) fn located(&mut self, slave: SlaveId, asked: ConversationId, held: &[bool]) {
        let told = self.slaves.get_mut(&slave);
        let Some(keys) = told.and_then(|told| told.located(asked)) else { return };
        let held = keys.iter().zip(held).filter(|(_, held)| **held).map(|(key, _)| *key).collect();
        self.handle(Event::Located { slave, keys, held });
    }

    /// An attempt has ended with a result that stays at its slave.
    pub(super) fn kept(
        &mut self,
        slave: SlaveId,
        attempt: AttemptId,
        timing: Timing,
        kept: KeptAs,
    ) {
        let keep = |entry: &Entry| entry.extras.as_ref()?.keep.clone();
        if let Some(key) = self.entry_of(slave, attempt).and_then(keep) {
            let key = self.keys.intern(Name::Entry(key));
            self.handle(Event::KeyAt { slave, key });
        }
        let run = Duration::from_micros(timing.init_us.saturating_add(timing.run_us));
        self.carry(slave, attempt, timing, dpfw_protocol::Bytes::new(), Some(kept));
        self.handle(Event::Finished { slave, attempt, end: End::Done { run } });
        self.carried = None;
    }

    /// How an attempt failed, as the policy wants to know it.
    pub(super) fn end_of(&self, slave: SlaveId, attempt: AttemptId, cause: Cause) -> End {
        if matches!(cause, Cause::ImageGone { .. }) {
            return End::Failed { cause: self.image_gone(slave, attempt, cause) };
        }
        let Cause::KeyGone { key } = &cause else { return End::Failed { cause } };
        let extras = self.entry_of(slave, attempt).and_then(|entry| entry.extras.as_ref());
        let needed = extras.and_then(|it| it.needs.iter().find(|need| need.as_str() == key));
        let id = needed.and_then(|need| self.keys.find(&Name::Entry(need.clone())));
        id.map_or(End::Failed { cause }, |key| End::KeyGone { key })
    }

    /// Why a task ended for want of a key.
    pub(super) fn gone(&self, key: KeyId) -> Cause {
        let name = self.keys.name(key).and_then(Name::entry);
        Cause::KeyGone { key: name.map_or_else(String::new, Key::to_string) }
    }

    /// Where a result stays, if it does.
    pub(super) fn kept_at(
        &self,
        outcome: &Outcome,
        entry: &Entry,
        carried: Option<&Carried>,
    ) -> Option<KeptAt> {
        let Outcome::Accepted { slave, .. } = outcome else { return None };
        let KeptAs { version, bytes } = carried?.kept?;
        let key = entry.extras.as_ref()?.keep.as_ref()?.to_string();
        let slave = Slave(Arc::clone(&self.slaves.get(slave)?.linked));
        Some(KeptAt { slave, key, version, bytes })
    }

    /// What a slave says of keys.
    pub(super) fn hear_of_keys(&mut self, slave: SlaveId, said: FromSlave) {
        match said {
            FromSlave::Kept(attempt, timing, kept) => self.kept(slave, attempt, timing, kept),
            FromSlave::Located(asked, held) => self.located(slave, asked, &held),
            FromSlave::Key(key, there) => self.seen(&key, (slave, there)),
            _ => {}
        }
    }
}

/// Why a task did not run whose slave was gone: with the slave goes what it needs there.
pub(super) fn cause_of(entry: &Entry, cause: Cause) -> Cause {
    let needs = entry.extras.as_ref().and_then(|extras| extras.needs.first());
    match (needs, &cause) {
        (Some(key), Cause::SlaveLost { may_have_run: false }) => {
            Cause::KeyGone { key: key.to_string() }
        }
        _ => cause,
    }
}
