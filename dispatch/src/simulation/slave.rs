//! A simulated slave: the sessions of its masters, and what they say.
//!
//! Owns: what each session has taken in, reservations between masters, draining. The slots
//! are `slots`, what it says by mistake or on purpose is `flaws`. It does what
//! ARCHITECTURE.md says of the real one.

mod flaws;
mod reserve;
mod slots;
mod standing;

use crate::TaskId;
use crate::simulation::future::{Happening, Name, Process};
use crate::simulation::net::{End, LinkId};
use crate::simulation::plan::{Host, KEYS};
use crate::simulation::wire::Said;
use crate::simulation::world::{BEAT, SILENCE, Shared};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::message::{Dispatch, Located, close};
use dpfw_protocol::store::Key;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An attempt that has been taken in.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    task: TaskId,
    deadline: Option<u64>,
    /// What is left to do, at full speed.
    left: u64,
    /// How long it is to wait, half-way.
    pause: u64,
    /// The entry that it needs.
    needs: Option<Key>,
    begun: bool,
}

#[derive(Debug)]
struct Session {
    master: usize,
    /// The greatest attempt that was taken in.
    last: AttemptId,
    /// Attempts whose arguments are arriving.
    announced: BTreeSet<AttemptId>,
    /// Those of them that were cancelled: the last of their arguments may have been read already.
    dropped: BTreeSet<AttemptId>,
    lane: VecDeque<Attempt>,
    binds: u32,
    heard: u64,
    /// Whether its master was lied to.
    deceived: bool,
}

#[derive(Debug)]
pub(crate) struct Slave {
    pub(crate) number: usize,
    pub(crate) incarnation: u64,
    pub(crate) host: Host,
    pub(crate) up: bool,
    pub(crate) draining: bool,
    pub(crate) stalled_until: u64,
    sessions: BTreeMap<LinkId, Session>,
    /// Whose turn it is.
    turns: VecDeque<LinkId>,
    running: BTreeMap<Name, slots::Run>,
    /// Attempts that wait without a slot.
    idle: BTreeMap<Name, Attempt>,
    /// Who holds all slots.
    held: Option<LinkId>,
    wishes: VecDeque<(LinkId, ConversationId)>,
    /// The keys of its entries, which come and go.
    keys: BTreeSet<Key>,
}

impl Slave {
    pub(crate) fn new(number: usize, host: Host) -> Self {
        Self {
            number,
            incarnation: 0,
            host,
            up: false,
            draining: false,
            stalled_until: 0,
            sessions: BTreeMap::new(),
            turns: VecDeque::new(),
            running: BTreeMap::new(),
            idle: BTreeMap::new(),
            held: None,
            wishes: VecDeque::new(),
            keys: BTreeSet::new(),
        }
    }

    pub(crate) fn process(&self) -> Process {
        Process { role: End::Slave, number: self.number, incarnation: self.incarnation }
    }

    /// Its process begins.
    pub(crate) fn come(&mut self, w: &mut Shared) {
        let incarnation = self.incarnation + 1;
        *self = Self { incarnation, up: true, ..Self::new(self.number, self.host) };
        w.future.add(w.now + BEAT, Happening::Beats(self.process()));
        (0..w.plan.masters).for_each(|master| w.dial_soon((master, self.number)));
    }

    /// Its process ends, and what it ran with it.
    pub(crate) fn die(&mut self, w: &mut Shared) {
        for link in self.sessions.keys() {
            w.net.tear(*link, End::Slave, w.now, &mut w.random, &mut w.future);
        }
        self.end(w);
    }

    fn end(&mut self, w: &mut Shared) {
        self.up = false;
        self.sessions.clear();
        self.turns.clear();
        self.running.clear();
        self.idle.clear();
        (self.held, self.wishes) = (None, VecDeque::new());
        let pause = w.random.within(1..10_000_000);
        w.future.add(w.now + pause, Happening::SlaveComes(self.number));
    }

    /// Whether it has a session with that master, as it sees it.
    pub(crate) fn has(&self, master: usize) -> bool {
        self.sessions.values().any(|session| session.master == master)
    }

    /// What it holds for somebody, which is nothing when all is over.
    pub(crate) fn load(&self) -> Option<String> {
        let lanes: usize = self.sessions.values().map(|s| s.lane.len() + s.announced.len()).sum();
        let (running, idle) = (self.running.len(), self.idle.len());
        let is_kept = self.held.is_some() || !self.wishes.is_empty();
        (lanes + running + idle > 0 || is_kept).then(|| {
            let number = self.number;
            format!("slave {number}: {running} run, {idle} wait, {lanes} lie ready, kept {is_kept}")
        })
    }

    /// A session with a master begins; an older one of the same master is over.
    pub(crate) fn join(&mut self, w: &mut Shared, link: LinkId, master: usize) {
        let older: Vec<_> = self.links_of(master);
        for old in older {
            let code = Some(close::SUPERSEDED);
            w.net.close(old, End::Slave, code, w.now, &mut w.random, &mut w.future);
            self.leave(w, old);
        }
        let session = Session {
            master,
            last: AttemptId(0),
            announced: BTreeSet::new(),
            dropped: BTreeSet::new(),
            lane: VecDeque::new(),
            binds: 0,
            heard: w.now,
            deceived: false,
        };
        self.sessions.insert(link, session);
        self.turns.push_back(link);
        self.tell_status(w, link);
    }

    fn links_of(&self, master: usize) -> Vec<LinkId> {
        let its = self.sessions.iter().filter(|(_, session)| session.master == master);
        its.map(|(link, _)| *link).collect()
    }

    /// A session is over: what it started ends.
    fn leave(&mut self, w: &mut Shared, link: LinkId) {
        self.sessions.remove(&link);
        self.turns.retain(|turn| *turn != link);
        if !mutated!(LostMasterRunsOn) {
            self.running.retain(|(at, _), run| *at != link || run.dies);
        }
        self.idle.retain(|(at, _), _| *at != link);
        if !mutated!(LostMasterKeepsSlave) {
            self.release(w, link);
        }
        self.go_on(w);
    }

    /// The link has ended, or is to: the slave dials as well.
    pub(crate) fn hang_up(&mut self, w: &mut Shared, link: LinkId, code: Option<u16>) {
        let Some(master) = self.sessions.get(&link).map(|session| session.master) else { return };
        w.net.close(link, End::Slave, code, w.now, &mut w.random, &mut w.future);
        self.leave(w, link);
        w.future.add(w.now + BEAT, Happening::Dials((master, self.number)));
    }

    /// Looks after its sessions, once in so often.
    pub(crate) fn beat(&mut self, w: &mut Shared) {
        self.change_keys(w);
        let links: Vec<_> = self.sessions.keys().copied().collect();
        for link in links {
            let Some(session) = self.sessions.get_mut(&link) else { continue };
            let lies = self.host.lies && session.master == 0 && w.now < w.end_of_faults();
            let ends = session.deceived && !lies;
            session.deceived |= lies;
            // What its master was made to believe ends with the session.
            if ends || w.now > session.heard + SILENCE {
                self.hang_up(w, link, Some(close::REFUSED));
                continue;
            }
            self.tell_status(w, link);
            if lies {
                self.lie(w, link);
            }
        }
        w.future.add(w.now + BEAT, Happening::Beats(self.process()));
    }

    /// Somebody puts an entry, or removes it.
    fn change_keys(&mut self, w: &mut Shared) {
        let key = Key::new(w.random.within(1..KEYS + 1).to_string()).expect("it is short");
        if w.random.one_in(3) && !self.keys.remove(&key) {
            self.keys.insert(key);
        }
    }

    /// It stood still, and heard nothing meanwhile.
    pub(crate) fn go_on_after_stall(&mut self, now: u64) {
        self.sessions.values_mut().for_each(|session| session.heard = now);
    }

    pub(crate) fn hear(&mut self, w: &mut Shared, link: LinkId, said: Vec<Said>) {
        // Any byte is a sign of life.
        self.sessions.entry(link).and_modify(|session| session.heard = w.now);
        for one in said {
            self.obey(w, link, one);
        }
        self.go_on(w);
    }

    fn obey(&mut self, w: &mut Shared, link: LinkId, said: Said) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        match said {
            Said::Bind(bind) => {
                assert_eq!(bind.bind.0, session.binds, "a binding out of order");
                session.binds += 1;
            }
            Said::Announced(attempt) => {
                session.take_in(attempt);
                session.announced.insert(attempt);
            }
            Said::Dispatch(attempt, dispatch, args) => self.admit(w, link, attempt, dispatch, args),
            Said::Cancel(attempt) => self.cancel(w, link, attempt),
            Said::Recall(attempts) => self.give_back(w, link, |id| attempts.contains(&id)),
            Said::Reserve(conversation, wait) => self.reserve(w, link, conversation, wait),
            Said::Release => self.release(w, link),
            Said::Locate(conversation, keys) => {
                let held = keys.iter().map(|key| self.keys.contains(key)).collect();
                w.net.say(link, End::Slave, conversation, &Located { held });
            }
            Said::Credit(of, bytes) => w.net.credit(link, End::Slave, of, bytes),
            Said::Grant(of, bytes) => w.net.grant(link, End::Slave, of, bytes),
            Said::Close(_) => self.hang_up(w, link, None),
            said => panic!("a master said {said:?}"),
        }
    }

    fn admit(
        &mut self,
        w: &mut Shared,
        link: LinkId,
        id: AttemptId,
        dispatch: Dispatch,
        args: Bytes,
    ) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        if session.dropped.contains(&id) {
            return;
        }
        if !session.announced.remove(&id) {
            session.take_in(id);
        }
        assert!(dispatch.bind.0 < session.binds, "a task that was not bound");
        let task = TaskId(u64::from_le_bytes(*args.first_chunk().expect("a task's number")));
        let held = self.held_of(link).len() as u32;
        assert!(held < self.host.limit || self.host.lies, "sent more than it takes");
        let busy = w.plan.faults.busy;
        if self.draining {
            self.tell_returned(w, link, vec![id]);
        } else if busy > 0 && w.random.one_in(busy) {
            self.tell_failed(w, link, id, Cause::Busy { what: "sandboxes".into() });
        } else if !self.forgets(w) {
            let job = &w.plan.tasks[&task];
            let deadline = dispatch.budget_us.map(|us| w.now + us * 1000);
            let (left, pause) = (job.cost, job.pause);
            let needs = dispatch.extras.and_then(|mut extras| extras.needs.pop());
            let attempt = Attempt { id, task, deadline, left, pause, needs, begun: false };
            let Some(session) = self.sessions.get_mut(&link) else { return };
            let at = session.lane.partition_point(|other| other.begun || other.id < id);
            session.lane.insert(at, attempt);
        }
    }

    /// What was waiting for something that may have happened.
    pub(crate) fn go_on(&mut self, w: &mut Shared) {
        self.start(w);
        self.grant(w);
        let waits = self.sessions.values().any(|s| !s.lane.is_empty() || !s.announced.is_empty());
        let is_empty = self.running.is_empty() && self.idle.is_empty() && !waits;
        if self.draining && self.up && is_empty {
            for link in self.sessions.keys() {
                let code = Some(close::DRAINED);
                w.net.close(*link, End::Slave, code, w.now, &mut w.random, &mut w.future);
            }
            self.end(w);
        }
    }
}

impl Session {
    fn take_in(&mut self, attempt: AttemptId) {
        assert!(attempt > self.last, "an attempt that is not new");
        self.last = attempt;
    }
}
