//! The slots of a simulated slave: attempts begin, wait, end.

use super::{Attempt, Slave};
use crate::simulation::future::{Happening, Name};
use crate::simulation::net::{End, LinkId};
use crate::simulation::world::Shared;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::message::{Done, Failed, Started, Timing, Waiting};

/// Attempts that run longer than this are reported.
const TICK: u64 = 5_000_000;

/// An attempt in a slot.
#[derive(Debug)]
pub(crate) struct Run {
    attempt: Attempt,
    since: u64,
    /// Whether its deadline ends it.
    late: bool,
    /// Whether it takes the process with it, and nothing stops that.
    pub(crate) dies: bool,
}

impl Slave {
    /// Fills the slots, lanes in turn.
    pub(crate) fn start(&mut self, w: &mut Shared) {
        while self.running.len() < self.host.slots as usize
            && let Some((link, attempt)) = self.next()
        {
            self.run(w, link, attempt);
        }
    }

    fn next(&mut self) -> Option<(LinkId, Attempt)> {
        for _ in 0..self.turns.len() {
            let link = self.turns.pop_front()?;
            self.turns.push_back(link);
            let is_admitted = self.is_admitted(link);
            let session = self.sessions.get_mut(&link)?;
            if is_admitted && let Some(attempt) = session.lane.pop_front() {
                return Some((link, attempt));
            }
        }
        None
    }

    fn run(&mut self, w: &mut Shared, link: LinkId, mut attempt: Attempt) {
        let name = (link, attempt.id);
        if let Some(key) =
            attempt.needs.as_ref().filter(|key| !attempt.begun && !self.keys.contains(*key))
        {
            let key = key.to_string();
            return self.tell_failed(w, link, attempt.id, Cause::KeyGone { key });
        }
        let work = attempt.left * 100 / self.host.speed;
        let phase = if attempt.pause > 0 { work / 2 } else { work };
        let end = attempt.deadline.map_or(w.now + phase, |at| at.min(w.now + phase)).max(w.now);
        let late = end < w.now + phase;
        let dies = w.plan.tasks[&attempt.task].poison && !late;
        if !attempt.begun {
            *w.runs.entry(attempt.task).or_default() += 1;
        }
        let report = if attempt.begun { w.now } else { w.now + TICK };
        if end > report {
            w.future.add(report, Happening::Reports(self.number, name));
        }
        match dies {
            true => w.future.add(w.now + phase / 2, Happening::Dies(self.number, name)),
            false => w.future.add(end, Happening::Ends(self.number, name)),
        }
        attempt.begun = true;
        self.running.insert(name, Run { attempt, since: w.now, late, dies });
    }

    /// An attempt's time in its slot is over, unless it was stopped before.
    pub(crate) fn over(&mut self, w: &mut Shared, name: Name) {
        let Some(run) = self.running.remove(&name) else { return };
        let Run { mut attempt, since, late, .. } = run;
        if late {
            self.tell_failed(w, name.0, name.1, Cause::DeadlineExceeded);
        } else if attempt.pause > 0 {
            let wakes = w.now + std::mem::take(&mut attempt.pause);
            let at = attempt.deadline.map_or(wakes, |deadline| deadline.min(wakes)).max(w.now);
            attempt.left /= 2;
            self.idle.insert(name, attempt);
            w.future.add(at, Happening::Wakes(self.number, name));
            let waiting = Waiting { attempts: vec![name.1] };
            w.net.say(name.0, End::Slave, ConversationId::LINK, &waiting);
        } else {
            self.tell_done(w, name, &attempt, w.now - since);
        }
        self.go_on(w);
    }

    /// What an attempt waited for is there: it is the next to have a slot.
    pub(crate) fn wake(&mut self, w: &mut Shared, name: Name) {
        let Some(attempt) = self.idle.remove(&name) else { return };
        if attempt.deadline.is_some_and(|deadline| deadline <= w.now) {
            self.tell_failed(w, name.0, name.1, Cause::DeadlineExceeded);
        } else if let Some(session) = self.sessions.get_mut(&name.0) {
            session.lane.push_front(attempt);
        }
        self.go_on(w);
    }

    pub(crate) fn report(&mut self, w: &mut Shared, name: Name) {
        if self.running.contains_key(&name) {
            let started = Started { attempts: vec![name.1] };
            w.net.say(name.0, End::Slave, ConversationId::LINK, &started);
        }
    }

    /// Whether an attempt takes its process with it now.
    pub(crate) fn runs(&self, name: Name) -> bool {
        self.up && self.running.contains_key(&name)
    }

    pub(crate) fn cancel(&mut self, w: &mut Shared, link: LinkId, id: AttemptId) {
        if self.forgets(w) {
            return;
        }
        let its = |at: &(LinkId, AttemptId)| at.1 == id && at.0 != link;
        if mutated!(CancelHitsOthers)
            && let Some(name) = self.running.keys().copied().find(its)
        {
            self.running.remove(&name);
            self.tell_failed(w, name.0, name.1, Cause::Cancelled);
        }
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let arriving = session.announced.remove(&id);
        if arriving {
            session.dropped.insert(id);
            w.net.unwanted(link, End::Slave, id.conversation());
        }
        let waiting = session.lane.len();
        session.lane.retain(|attempt| attempt.id != id);
        let was_ready = arriving || session.lane.len() < waiting;
        let name = (link, id);
        let stops = self.running.get(&name).is_some_and(|run| !run.dies);
        if was_ready
            || self.idle.remove(&name).is_some()
            || (stops && self.running.remove(&name).is_some())
        {
            self.tell_failed(w, link, id, Cause::Cancelled);
        }
    }

    pub(crate) fn tell_failed(&mut self, w: &mut Shared, link: LinkId, id: AttemptId, why: Cause) {
        if self.forgets(w) {
            return;
        }
        let failed = Failed { timing: Timing::default(), failure: why.into() };
        w.net.say(link, End::Slave, id.conversation(), &failed);
    }

    /// Says an attempt's result, which begins with the task's number.
    fn tell_done(&mut self, w: &mut Shared, name: Name, attempt: &Attempt, nanos: u64) {
        if self.forgets(w) {
            return;
        }
        let doubles = w.plan.faults.doubles;
        let times = if doubles > 0 && w.random.one_in(doubles) { 2 } else { 1 };
        let mut result = attempt.task.0.to_le_bytes().to_vec();
        let more = if times == 1 { w.plan.tasks[&attempt.task].bytes } else { 0 };
        result.resize(result.len() + more, 0);
        let timing = Timing { run_us: nanos / 1000, ..Timing::default() };
        let done = Done { timing, payload: result.len() as u64, kept: None };
        for _ in 0..times {
            let Some(queue) = w.net.queue(name.0, End::Slave) else { return };
            let result = result.clone().into();
            queue.message_with(name.1.conversation(), &done, result).expect("it fits a frame");
        }
    }
}
