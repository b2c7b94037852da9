//! A simulated master: a policy, and a driver that carries out what it says.
//!
//! Owns: the sessions with slaves, the policy's second opinion. Invariant: after every event
//! the policy's own checks and those of the second opinion are made.

mod drive;

use crate::audit::Audit;
use crate::simulation::future::{Happening, Process};
use crate::simulation::net::{End, LinkId};
use crate::simulation::wire::Said;
use crate::simulation::world::{BEAT, SILENCE, Shared, name};
use crate::{
    Config, Core, End as Ended, Event, KeyId, KindId, Loss, Placement, ReservationId, SlaveId,
    TaskId, TaskSpec, Time,
};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, BindId, ConversationId};
use dpfw_protocol::message::{Heartbeat, Timing, close};
use dpfw_protocol::store::Key;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
struct Session {
    link: LinkId,
    slave: usize,
    /// Which of the processes of that number.
    incarnation: u64,
    heard: u64,
    binds: BTreeMap<KindId, BindId>,
    wish: Option<(ConversationId, ReservationId)>,
    /// For which keys it was asked.
    asked: BTreeMap<ConversationId, Box<[KeyId]>>,
}

#[derive(Debug)]
pub(crate) struct Master {
    number: usize,
    incarnation: u64,
    pub(crate) up: bool,
    pub(crate) stalled_until: u64,
    core: Core,
    pub(crate) audit: Audit,
    sessions: BTreeMap<SlaveId, Session>,
    awake: Option<Time>,
    /// The result that the event being handled brought.
    carried: Option<Bytes>,
    pub(crate) last_resolved: u64,
}

impl Master {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            incarnation: 0,
            up: false,
            stalled_until: 0,
            core: Core::new(Config::default()),
            audit: Audit::default(),
            sessions: BTreeMap::new(),
            awake: None,
            carried: None,
            last_resolved: 0,
        }
    }

    pub(crate) fn process(&self) -> Process {
        Process { role: End::Master, number: self.number, incarnation: self.incarnation }
    }

    /// Its process begins, and knows nothing of an earlier one.
    pub(crate) fn come(&mut self, w: &mut Shared) {
        let incarnation = self.incarnation + 1;
        *self = Self { incarnation, up: true, ..Self::new(self.number) };
        w.future.add(w.now + BEAT, Happening::Beats(self.process()));
        (0..w.plan.slaves.len()).for_each(|slave| w.dial_soon((self.number, slave)));
    }

    /// Its process ends, and its tasks with it.
    pub(crate) fn die(&mut self, w: &mut Shared) {
        for session in self.sessions.values() {
            w.net.tear(session.link, End::Master, w.now, &mut w.random, &mut w.future);
        }
        (self.up, self.sessions) = (false, BTreeMap::new());
        // Its tasks die with it, and what was promised of them.
        (self.core, self.audit) = (Core::default(), Audit::default());
        let pause = w.random.within(1..50_000_000);
        w.future.add(w.now + pause, Happening::MasterComes(self.number));
    }

    /// Whether it has a session with that slave, as it sees it.
    pub(crate) fn has(&self, slave: usize) -> bool {
        self.sessions.values().any(|session| session.slave == slave)
    }

    /// What keeps it from being quiet.
    pub(crate) fn load(&self) -> Option<String> {
        let stats = self.core.stats();
        let (n, core) = (self.number, &self.core);
        match stats.unresolved {
            0 => core.is_at_rest().err().map(|what| format!("master {n}: {what}")),
            left => Some(format!("master {n}: {left} tasks never resolve: {core:?}")),
        }
    }

    /// A session with a slave begins; an older one with the same slave is over.
    pub(crate) fn join(&mut self, w: &mut Shared, link: LinkId, slave: usize, incarnation: u64) {
        let older = self.sessions.values().find(|session| session.slave == slave);
        if let Some((old, was)) = older.map(|session| (session.link, session.incarnation)) {
            // Another process has come: the old one has died, even if nobody saw it.
            let loss = if was == incarnation { Loss::Unreachable } else { Loss::Died };
            self.hang_up(w, old, Some(close::SUPERSEDED), loss);
        }
        w.last_slave += 1;
        let (id, host) = (SlaveId(w.last_slave), w.plan.slaves[slave]);
        let session = Session {
            link,
            slave,
            incarnation,
            heard: w.now,
            binds: BTreeMap::new(),
            wish: None,
            asked: BTreeMap::new(),
        };
        self.sessions.insert(id, session);
        self.tell(w, Event::SlaveJoined { slave: id, slots: host.slots, attempts: host.limit });
    }

    fn id_of(&self, link: LinkId) -> Option<SlaveId> {
        self.sessions.iter().find(|(_, session)| session.link == link).map(|(id, _)| *id)
    }

    /// A session is over: what its slave still says has no effect.
    pub(crate) fn hang_up(&mut self, w: &mut Shared, link: LinkId, code: Option<u16>, loss: Loss) {
        let Some(id) = self.id_of(link) else { return };
        let Some(session) = self.sessions.remove(&id) else { return };
        w.net.close(link, End::Master, code, w.now, &mut w.random, &mut w.future);
        w.future.add(w.now + BEAT, Happening::Dials((self.number, session.slave)));
        self.tell(w, Event::SlaveLost { slave: id, loss });
    }

    pub(crate) fn beat(&mut self, w: &mut Shared) {
        let all: Vec<_> = self.sessions.values().map(|s| (s.link, s.heard)).collect();
        for (link, heard) in all {
            match w.now > heard + SILENCE {
                true => self.hang_up(w, link, None, Loss::Unreachable),
                false => w.net.say(link, End::Master, ConversationId::LINK, &Heartbeat {}),
            }
        }
        w.future.add(w.now + BEAT, Happening::Beats(self.process()));
    }

    /// It stood still, and heard nothing meanwhile.
    pub(crate) fn go_on_after_stall(&mut self, now: u64) {
        self.sessions.values_mut().for_each(|session| session.heard = now);
    }

    pub(crate) fn hear(&mut self, w: &mut Shared, link: LinkId, said: Vec<Said>) {
        // Any byte is a sign of life.
        if let Some(session) = self.sessions.values_mut().find(|session| session.link == link) {
            session.heard = w.now;
        }
        for one in said {
            let Some(slave) = self.id_of(link) else { return };
            self.learn(w, slave, link, one);
        }
    }

    fn learn(&mut self, w: &mut Shared, slave: SlaveId, link: LinkId, said: Said) {
        let forget = |w: &mut Shared, attempt: AttemptId| {
            if let Some(queue) = w.net.queue(link, End::Master) {
                queue.abandon(attempt.conversation());
            }
        };
        match said {
            Said::Done(attempt, timing, result) => {
                forget(w, attempt);
                self.done(w, slave, attempt, &timing, result);
            }
            Said::Failed(attempt, cause) => {
                forget(w, attempt);
                w.net.unwanted(link, End::Master, attempt.conversation());
                let end = match &cause {
                    Cause::KeyGone { key } => Ended::KeyGone { key: key_id(key) },
                    _ => Ended::Failed { cause },
                };
                self.tell(w, Event::Finished { slave, attempt, end });
            }
            Said::Returned(attempts) => {
                attempts.iter().for_each(|attempt| forget(w, *attempt));
                self.tell(w, Event::Returned { slave, attempts });
            }
            Said::Started(attempts) => self.tell(w, Event::Started { slave, attempts }),
            Said::Waiting(attempts) => self.tell(w, Event::Waiting { slave, attempts }),
            Said::Reserved(conversation, granted) => {
                let session = self.sessions.get_mut(&slave);
                let wish =
                    session.and_then(|session| session.wish.take_if(|wish| wish.0 == conversation));
                if let Some((_, reservation)) = wish {
                    self.tell(w, Event::ReserveAnswered { slave, reservation, granted });
                }
            }
            Said::Located(conversation, held) => {
                let session = self.sessions.get_mut(&slave);
                if let Some(keys) = session.and_then(|it| it.asked.remove(&conversation)) {
                    let held = keys.iter().zip(held).filter(|(_, held)| *held);
                    let held = held.map(|(key, _)| *key).collect();
                    self.tell(w, Event::Located { slave, keys, held });
                }
            }
            Said::Status(status, attempts) => {
                let (slots, taken, upto) = (status.slots, status.taken, status.upto);
                let running = status.attempts.into_vec();
                self.tell(w, Event::SlaveStatus { slave, slots, taken, running });
                self.tell(w, Event::Holds { slave, upto, attempts });
            }
            Said::Draining => self.tell(w, Event::SlaveDraining { slave }),
            Said::Credit(of, bytes) => w.net.credit(link, End::Master, of, bytes),
            Said::Grant(of, bytes) => w.net.grant(link, End::Master, of, bytes),
            Said::Close(code) => {
                let left = code == close::DRAINED || code == close::DONE;
                let loss = if left { Loss::Left } else { Loss::Unreachable };
                self.hang_up(w, link, None, loss);
            }
            said => panic!("a slave said {said:?}"),
        }
    }

    fn done(
        &mut self,
        w: &mut Shared,
        slave: SlaveId,
        attempt: AttemptId,
        timing: &Timing,
        result: Bytes,
    ) {
        let run = Duration::from_micros(timing.run_us);
        self.carried = Some(result);
        self.tell(w, Event::Finished { slave, attempt, end: Ended::Done { run } });
        self.carried = None;
    }

    pub(crate) fn submit(&mut self, w: &mut Shared, task: TaskId, placement: Placement) {
        let job = &w.plan.tasks[&task];
        let flags = job.flags();
        let deadline = job.deadline.map(Time::from_nanos);
        let spec = TaskSpec { kind: KindId(job.kind), flags, deadline, placement, calls: 1 };
        self.tell(w, Event::Submit { task, spec });
    }

    pub(crate) fn wake(&mut self, w: &mut Shared) {
        self.awake = None;
        self.tell(w, Event::Tick);
    }

    pub(crate) fn tell(&mut self, w: &mut Shared, event: Event) {
        let (now, mut out) = (Time::from_nanos(w.now), Vec::new());
        let hedged = self.core.stats().hedged;
        self.core.handle(now, event.clone(), &mut out);
        let hedged = self.core.stats().hedged - hedged;
        if hedged > 0 {
            *w.seen.entry("Send, a second time".into()).or_default() += hedged;
        }
        if w.trace {
            eprintln!("{now:?} master {}: {event:?} -> {out:?}", self.number);
        }
        self.core.check_invariants();
        self.audit.follow(now, &event, &out);
        self.audit.compare(&self.core.stats());
        for effect in out {
            *w.seen.entry(name(&effect)).or_default() += 1;
            self.carry_out(w, effect);
        }
        if let Some(wake) = self.core.next_wake()
            && self.awake.is_none_or(|awake| wake < awake)
        {
            assert!(wake > now, "the policy wants to be woken at once");
            self.awake = Some(wake);
            w.future.add(wake.as_nanos(), Happening::Tick(self.number));
        }
    }

    /// The cause of a task's end, if it ended without a result.
    pub(crate) fn failure(&self, task: TaskId) -> Option<&Cause> {
        self.audit.failure(task)
    }
}

/// The name of an entry.
fn key_name(key: KeyId) -> Key {
    Key::new(key.to_string()).expect("it is short")
}

fn key_id(name: &str) -> KeyId {
    KeyId(name.parse().expect("slaves make up no names"))
}
