//! The attempts that wait for a slot, and who may have one.
//!
//! Owns: a lane for each session, served in turn, so that a master with a long queue does
//! not hold up another; the reservation of all slots (`reserve`); who sleeps until there is work.
//! Does not: know sandboxes; who is not admitted for want of one waits here until one is given back.
//! Invariants: while a session holds or awaits the reservation no other session's attempt
//! starts, and of those that waited none goes on but to build what others wait for; the queue is
//! bounded; each job leaves it exactly once.

use crate::fiber::Fiber;
use crate::job::Job;
use crate::residents::Resident;
use crate::session::Session;
use dpfw_protocol::ids::AttemptId;
use lane::Lane;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

mod lane;
mod reserve;

pub(crate) use reserve::{Released, Reservation, Wished};

/// The queue of a slave.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: VecDeque<Lane>,
    len: usize,
    woken: usize,
    /// The sessions whose attempts hold a slot: as many entries as slots at most.
    running: Vec<Arc<Session>>,
    reservation: Option<Reservation>,
    /// Bounded by the number of links: one wish each.
    wishes: VecDeque<Reservation>,
    parked: usize,
    leader: Option<Waker>,
    stopped: bool,
}

/// What follows from a slot that is free again.
#[derive(Debug)]
pub(crate) struct Freed {
    /// The reservation that is granted by it.
    pub(crate) granted: Option<Reservation>,
    /// Whether jobs wait.
    pub(crate) waiting: bool,
}

/// What a slot does next.
#[derive(Debug)]
pub(crate) enum Next<P> {
    /// With what it was admitted with.
    Run(Job, P),
    Resume(Woken),
    Nothing,
    Stop,
}

/// What is there already, and wants a slot.
#[derive(Clone, Debug)]
pub(crate) enum Woken {
    /// An attempt that waited.
    Fiber(Arc<Fiber>),
    /// A resident, for the sake of this session.
    Resident(Arc<Resident>, Arc<Session>),
}

impl Woken {
    fn session(&self) -> &Arc<Session> {
        match self {
            Self::Fiber(fiber) => &fiber.job.session,
            Self::Resident(_, session) => session,
        }
    }

    /// Whether it builds an entry for which others may wait.
    fn is_building(&self) -> bool {
        match self {
            Self::Fiber(fiber) => fiber.is_building(),
            Self::Resident(resident, _) => resident.is_building(),
        }
    }
}

/// What a slot is given.
pub(crate) enum Entering<'a> {
    Job(&'a Job),
    Fiber(&'a Arc<Fiber>),
}

/// An attempt that is held back for want of a sandbox.
pub(crate) type Held = (Arc<Session>, AttemptId);

/// When the queue is full, a session with less than this part of it still gets in.
const SHARE: usize = 64;

impl Queue {
    /// A queue of at most `most` jobs.
    pub(crate) fn new(most: usize) -> Self {
        Self { inner: Mutex::default(), work: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a job; gives it back if the queue is full. Those of whom few wait get in for
    /// longer, so that one master cannot fill it for all.
    pub(crate) fn push(&self, job: Job) -> Result<(), Box<Job>> {
        let mut inner = self.lock();
        let is_full = inner.len >= self.most
            && (inner.len >= 2 * self.most || inner.waiting(&job.session) >= self.most / SHARE);
        if inner.stopped || is_full {
            return Err(Box::new(job));
        }
        inner.push(job);
        self.wake(inner);
        Ok(())
    }

    /// One that is there wants a slot. There is always room for it: it was let in.
    pub(crate) fn resume(&self, woken: Woken) {
        let mut inner = self.lock();
        if !inner.stopped {
            inner.woken += 1;
            let session = Arc::clone(woken.session());
            inner.lane_of(&session).resume(woken);
            self.wake(inner);
        }
    }

    /// Wakes somebody for what was pushed.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let leader = inner.leader.take();
        let wake = leader.is_none() && inner.parked > 0;
        let also = leader.is_some() && inner.parked > 0 && inner.len + inner.woken > 1;
        drop(inner);
        if let Some(leader) = leader {
            leader.wake();
        }
        if wake || also {
            self.work.notify_one();
        }
    }

    /// The next job that may start. It holds a slot until [`done`](Self::done). `enter`
    /// announces it to whoever may stop it, so that it is at no time neither here nor there.
    /// `admit` gives a job that has not begun what it needs beside a slot. One that does not get
    /// it is held back until [`vacated`](Self::vacated), and its master is to be told: it is added
    /// to `held`.
    pub(crate) fn next<P>(
        &self,
        enter: impl FnOnce(Entering<'_>),
        mut admit: impl FnMut(&Job) -> Option<P>,
        held: &mut Vec<Held>,
    ) -> Next<P> {
        let mut inner = self.lock();
        let next = inner.next(&mut admit, held);
        match &next {
            Next::Run(job, _) => enter(Entering::Job(job)),
            Next::Resume(Woken::Fiber(fiber)) => enter(Entering::Fiber(fiber)),
            // Its calls are announced one by one.
            Next::Resume(Woken::Resident(..)) | Next::Nothing | Next::Stop => {}
        }
        next
    }

    /// What jobs were held back for may be there now.
    pub(crate) fn vacated(&self) {
        let mut inner = self.lock();
        let held = inner.lanes.iter_mut().filter(|lane| lane.holds_back());
        if held.map(Lane::unbar).count() > 0 {
            self.wake(inner);
        }
    }

    /// Whether jobs are held back.
    pub(crate) fn holds_back(&self) -> bool {
        self.lock().lanes.iter().any(Lane::holds_back)
    }

    /// Takes those out that are held back.
    pub(crate) fn take_held(&self) -> Vec<Job> {
        let mut inner = self.lock();
        let held: Vec<_> = inner.lanes.iter_mut().flat_map(Lane::take_held).collect();
        inner.lanes.retain(|lane| !lane.is_empty());
        inner.len -= held.len();
        held
    }

    /// Whether the session's attempts may have a slot now.
    pub(crate) fn admits(&self, session: &Arc<Session>) -> bool {
        self.lock().is_admitted(session)
    }

    /// Sleeps until there may be work.
    pub(crate) fn park(&self, until: impl Fn() -> bool) {
        let mut inner = self.lock();
        inner.parked += 1;
        while !inner.stopped && !inner.may_start() && !until() {
            inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.parked -= 1;
    }

    /// Wakes all that sleep: something else than work has changed.
    pub(crate) fn rouse(&self) {
        let mut inner = self.lock();
        let leader = inner.leader.take();
        drop(inner);
        if let Some(leader) = leader {
            leader.wake();
        }
        self.work.notify_all();
    }

    /// Completes when there is work; for the one that leads.
    pub(crate) async fn ready(&self) {
        std::future::poll_fn(|cx| {
            let mut inner = self.lock();
            if inner.stopped || inner.may_start() {
                return Poll::Ready(());
            }
            inner.leader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.lock().leader = None;
    }

    /// A job of the session gave its slot back.
    pub(crate) fn done(&self, session: &Arc<Session>) -> Freed {
        let mut inner = self.lock();
        if let Some(at) = inner.running.iter().position(|s| Arc::ptr_eq(s, session)) {
            inner.running.swap_remove(at);
        }
        Freed { granted: inner.grant(), waiting: inner.len + inner.woken > 0 }
    }

    /// The session's attempts that have not started.
    pub(crate) fn unstarted(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let inner = self.lock();
        let lane = inner.lane(session).map(|at| &inner.lanes[at]);
        lane.map_or_else(Vec::new, |lane| lane.attempts().collect())
    }

    /// Takes the session's unstarted attempts out that are named.
    pub(crate) fn take(&self, session: &Arc<Session>, attempts: &[AttemptId]) -> Vec<Job> {
        let mut inner = self.lock();
        let Some(at) = inner.lane(session) else {
            return Vec::new();
        };
        let taken = inner.lanes[at].take(attempts);
        if inner.lanes[at].is_empty() {
            inner.lanes.remove(at);
        }
        inner.len -= taken.len();
        taken
    }

    /// Takes everything of a session out that has not started.
    pub(crate) fn take_session(&self, session: &Arc<Session>) -> VecDeque<Job> {
        let mut inner = self.lock();
        let Some(at) = inner.lane(session) else {
            return VecDeque::new();
        };
        let taken = inner.lanes[at].take_all();
        if inner.lanes[at].is_empty() {
            inner.lanes.remove(at);
        }
        inner.len -= taken.len();
        taken
    }

    /// Jobs that wait, and jobs that hold a slot.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.len, inner.running.len())
    }

    /// Lets the slots end with what they run. Gives what has not started and never will.
    pub(crate) fn stop(&self) -> Vec<Job> {
        let mut inner = self.lock();
        inner.stopped = true;
        (inner.len, inner.woken) = (0, 0);
        let left = inner.lanes.drain(..).flat_map(|mut lane| lane.take_all()).collect();
        drop(inner);
        self.rouse();
        left
    }
}

impl Inner {
    fn push(&mut self, job: Job) {
        self.len += 1;
        let session = Arc::clone(&job.session);
        self.lane_of(&session).push(job);
    }

    /// The session's lane; a new one if it has none.
    fn lane_of(&mut self, session: &Arc<Session>) -> &mut Lane {
        let at = self.lane(session).unwrap_or_else(|| {
            self.lanes.push_back(Lane::new(session));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// Where the session's jobs wait. There are no more lanes than links, and one for residents
    /// that nobody calls.
    fn lane(&self, session: &Arc<Session>) -> Option<usize> {
        self.lanes.iter().position(|lane| Arc::ptr_eq(&lane.session, session))
    }

    fn waiting(&self, session: &Arc<Session>) -> usize {
        self.lane(session).map_or(0, |at| self.lanes[at].unstarted())
    }

    /// Whether the session's attempts may start now.
    fn is_admitted(&self, session: &Arc<Session>) -> bool {
        if session.is_clogged() && session.is_open() {
            return false;
        }
        match (&self.reservation, self.wishes.front()) {
            (Some(held), _) => Arc::ptr_eq(&held.session, session),
            (None, Some(wish)) => Arc::ptr_eq(&wish.session, session),
            (None, None) => true,
        }
    }

    /// Whether a lane has something that may have a slot now. What builds an entry goes on
    /// whoever holds the slots: those that hold them may wait for it.
    fn may_go_on(&self, lane: &Lane) -> bool {
        (lane.is_ready() && self.is_admitted(&lane.session)) || lane.builder().is_some()
    }

    fn may_start(&self) -> bool {
        self.lanes.iter().any(|lane| self.may_go_on(lane))
    }

    fn next<P>(
        &mut self,
        admit: &mut impl FnMut(&Job) -> Option<P>,
        held: &mut Vec<Held>,
    ) -> Next<P> {
        if self.stopped {
            return Next::Stop;
        }
        // A lane that has nothing after all is barred, and not looked at again.
        while let Some(at) = self.lanes.iter().position(|lane| self.may_go_on(lane))
            && let Some(mut lane) = self.lanes.remove(at)
        {
            let next = match self.is_admitted(&lane.session) {
                true => lane.next(admit, held),
                false => lane.next_builder(),
            };
            let session = Arc::clone(&lane.session);
            if !lane.is_empty() {
                self.lanes.push_back(lane);
            }
            match &next {
                Some(Next::Run(..)) => self.len -= 1,
                Some(_) => self.woken -= 1,
                None => continue,
            }
            self.running.push(session);
            return next.unwrap_or(Next::Nothing);
        }
        Next::Nothing
    }
}

#[cfg(test)]
mod tests;
