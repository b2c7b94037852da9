//! What a simulated slave says of itself, and what it gives back.

use super::Slave;
use crate::simulation::future::Name;
use crate::simulation::net::{End, LinkId};
use crate::simulation::world::Shared;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::message::{Draining, Returned, Status};
use std::collections::{BTreeSet, VecDeque};

impl Slave {
    /// Gives attempts back that have not begun.
    pub(crate) fn give_back(
        &mut self,
        w: &mut Shared,
        link: LinkId,
        which: impl Fn(AttemptId) -> bool,
    ) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let lane = std::mem::take(&mut session.lane);
        let (back, kept): (Vec<_>, _) = lane.into_iter().partition(|a| !a.begun && which(a.id));
        session.lane = kept.into();
        if !back.is_empty() && !self.forgets(w) {
            self.tell_returned(w, link, back.iter().map(|attempt| attempt.id).collect());
        }
    }

    pub(crate) fn tell_returned(&mut self, w: &mut Shared, link: LinkId, attempts: Vec<AttemptId>) {
        w.net.say(link, End::Slave, ConversationId::LINK, &Returned { attempts });
    }

    /// All attempts that a session's master has to believe here.
    pub(crate) fn held_of(&self, link: LinkId) -> BTreeSet<AttemptId> {
        let its = |(at, id): &Name| (*at == link).then_some(*id);
        let mut held: BTreeSet<_> = self.running.keys().filter_map(its).collect();
        held.extend(self.idle.keys().filter_map(its));
        if let Some(session) = self.sessions.get(&link) {
            held.extend(&session.announced);
            held.extend(session.lane.iter().map(|attempt| attempt.id));
        }
        held
    }

    pub(crate) fn tell_status(&mut self, w: &mut Shared, link: LinkId) {
        let held = self.held_of(link);
        let Some(upto) = self.sessions.get(&link).map(|session| session.last) else { return };
        let is_running = |id: &AttemptId| self.running.contains_key(&(link, *id));
        let (running, others): (Vec<_>, Vec<_>) = held.into_iter().partition(is_running);
        let status = Status {
            slots: self.host.slots,
            running: self.running.len() as u32,
            waiting: self.idle.len() as u32,
            sandboxes: 0,
            queued: 0,
            taken: self.held.is_some_and(|by| by != link),
            upto,
            attempts: running.into_iter().collect(),
            others: others.into_iter().collect(),
        };
        w.net.say(link, End::Slave, ConversationId::LINK, &status);
    }

    /// It admits nothing new and ends with what it runs.
    pub(crate) fn drain(&mut self, w: &mut Shared) {
        self.draining = true;
        (self.held, self.wishes) = (None, VecDeque::new());
        let links: Vec<_> = self.sessions.keys().copied().collect();
        for link in links {
            w.net.say(link, End::Slave, ConversationId::LINK, &Draining {});
            self.give_back(w, link, |_| true);
        }
        self.go_on(w);
    }
}
