//! All slots of a simulated slave for one session.

use super::Slave;
use crate::simulation::net::{End, LinkId};
use crate::simulation::world::Shared;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::Reserved;

impl Slave {
    /// Whether the session's attempts may begin now.
    pub(crate) fn is_admitted(&self, link: LinkId) -> bool {
        match (self.held, self.wishes.front()) {
            (Some(by), _) => by == link,
            (None, Some((wish, _))) => *wish == link,
            (None, None) => true,
        }
    }

    fn others_run(&self, link: LinkId) -> bool {
        self.running.keys().any(|(at, _)| *at != link)
    }

    pub(crate) fn reserve(
        &mut self,
        w: &mut Shared,
        link: LinkId,
        conversation: ConversationId,
        wait: bool,
    ) {
        let is_free = self.held.is_none() && self.wishes.is_empty();
        let has_one = self.held == Some(link) || self.wishes.iter().any(|(at, _)| *at == link);
        // Now and then it refuses without a reason that the master could know.
        let refuses = self.draining || (w.plan.faults.busy > 0 && w.random.one_in(5));
        if is_free && !refuses && !self.others_run(link) {
            self.held = Some(link);
            self.answer(w, link, conversation, true);
            self.tell_others(w, link);
        } else if !wait || has_one || refuses {
            self.answer(w, link, conversation, false);
        } else {
            self.wishes.push_back((link, conversation));
        }
    }

    fn answer(&self, w: &mut Shared, link: LinkId, conversation: ConversationId, granted: bool) {
        w.net.say(link, End::Slave, conversation, &Reserved { granted });
    }

    /// A session gives its reservation or its wish back.
    pub(crate) fn release(&mut self, w: &mut Shared, link: LinkId) {
        let at = self.wishes.iter().position(|(wish, _)| *wish == link);
        if let Some((_, conversation)) = at.and_then(|at| self.wishes.remove(at)) {
            self.answer(w, link, conversation, false);
        }
        self.held.take_if(|by| *by == link);
        self.grant(w);
        self.tell_others(w, link);
        self.start(w);
    }

    /// Grants the first wish, if nobody else runs anything.
    pub(crate) fn grant(&mut self, w: &mut Shared) {
        if self.held.is_none()
            && let Some((link, conversation)) = self.wishes.front().copied()
            && !self.others_run(link)
        {
            self.wishes.pop_front();
            self.held = Some(link);
            self.answer(w, link, conversation, true);
            self.tell_others(w, link);
            self.start(w);
        }
    }

    fn tell_others(&mut self, w: &mut Shared, than: LinkId) {
        let others: Vec<_> = self.sessions.keys().copied().filter(|link| *link != than).collect();
        others.into_iter().for_each(|link| self.tell_status(w, link));
    }
}
