//! The attempts that wait for a slot, and who may have one.
//!
//! Owns: a row for each principal, and in it a lane for each of its sessions; the reservation of
//! all slots (`reserve`); who sleeps until there is work. A free slot goes to the principal that is
//! in the fewest, of several to the one that had its last turn before the others, and within it to
//! its sessions in turn. So a master with a long queue, with long tasks or with many processes does
//! not hold up another.
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
use row::Row;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

mod lane;
mod reserve;
mod row;

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
    /// Whose turn it is next first.
    rows: VecDeque<Row>,
    /// Of the last row that became empty, so that the next one need not have its own made.
    spare: VecDeque<Lane>,
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

/// Where as many wait as may, a principal with less than this part of them still gets in.
const SHARE: usize = 64;

/// Whether nobody more of one may wait of whom `own` do, where `len` of `most` wait: one master
/// cannot fill it for all.
pub(crate) fn is_full(len: usize, most: usize, own: impl FnOnce() -> usize) -> bool {
    len >= most && (len >= 2 * most || own() >= most / SHARE)
}

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
        let own = || inner.waiting(&job.session);
        if inner.stopped || is_full(inner.len, self.most, own) {
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
        let held = inner.lanes_mut().filter(|lane| lane.holds_back());
        if held.map(Lane::unbar).count() > 0 {
            self.wake(inner);
        }
    }

    /// Whether jobs are held back.
    pub(crate) fn holds_back(&self) -> bool {
        self.lock().lanes().any(Lane::holds_back)
    }

    /// Takes those out that are held back.
    pub(crate) fn take_held(&self) -> Vec<Job> {
        let mut inner = self.lock();
        let held: Vec<_> = inner.lanes_mut().flat_map(Lane::take_held).collect();
        inner.rows.iter_mut().for_each(|row| row.lanes.retain(|lane| !lane.is_empty()));
        inner.rows.retain(|row| !row.lanes.is_empty());
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
            session.holdings.slots.fetch_sub(1, Relaxed);
        }
        Freed { granted: inner.grant(), waiting: inner.len + inner.woken > 0 }
    }

    /// The session's attempts that have not started.
    pub(crate) fn unstarted(&self, session: &Arc<Session>) -> Vec<AttemptId> {
        let inner = self.lock();
        let lane = inner.lane(session).map(|(row, at)| &inner.rows[row].lanes[at]);
        lane.map_or_else(Vec::new, |lane| lane.attempts().collect())
    }

    /// Takes the session's unstarted attempts out that are named.
    pub(crate) fn take(&self, session: &Arc<Session>, attempts: &[AttemptId]) -> Vec<Job> {
        let mut inner = self.lock();
        let taken = inner.take_from(session, |lane| lane.take(attempts)).unwrap_or_default();
        inner.len -= taken.len();
        taken
    }

    /// Takes everything of a session out that has not started.
    pub(crate) fn take_session(&self, session: &Arc<Session>) -> VecDeque<Job> {
        let mut inner = self.lock();
        let taken = inner.take_from(session, Lane::take_all).unwrap_or_default();
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
        let lanes = inner.rows.drain(..).flat_map(|row| row.lanes);
        let left = lanes.flat_map(|mut lane| lane.take_all()).collect();
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

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.rows.iter().flat_map(|row| &row.lanes)
    }

    fn lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.rows.iter_mut().flat_map(|row| &mut row.lanes)
    }

    /// Where the row of a session's principal is. There are no more rows than principals.
    fn row(&self, session: &Session) -> Option<usize> {
        self.rows.iter().position(|row| Arc::ptr_eq(&row.of, &session.holdings))
    }

    /// The session's lane; a new one if it has none.
    fn lane_of(&mut self, session: &Arc<Session>) -> &mut Lane {
        let at = self.row(session).unwrap_or_else(|| {
            let (of, lanes) = (Arc::clone(&session.holdings), std::mem::take(&mut self.spare));
            self.rows.push_back(Row { of, lanes });
            self.rows.len() - 1
        });
        self.rows[at].lane_of(session)
    }

    /// Where the session's jobs wait: in which row, and in which of its lanes.
    fn lane(&self, session: &Arc<Session>) -> Option<(usize, usize)> {
        let row = self.row(session)?;
        self.rows[row].lane(session).map(|lane| (row, lane))
    }

    /// Does something to a session's lane, which goes if nothing is left in it.
    fn take_from<T>(
        &mut self,
        session: &Arc<Session>,
        take: impl FnOnce(&mut Lane) -> T,
    ) -> Option<T> {
        let (at, lane) = self.lane(session)?;
        let lanes = &mut self.rows[at].lanes;
        let taken = take(&mut lanes[lane]);
        if lanes[lane].is_empty() {
            lanes.remove(lane);
        }
        if lanes.is_empty() {
            self.rows.remove(at);
        }
        Some(taken)
    }

    /// How many of a session's principal have not begun.
    fn waiting(&self, session: &Session) -> usize {
        self.row(session).map_or(0, |at| self.rows[at].unstarted())
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
        self.lanes().any(|lane| self.may_go_on(lane))
    }

    /// Whose turn it is: in which row, and in which of its lanes. Of those that have something for
    /// a slot, the first of those that are in the fewest.
    fn turn(&self) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize, usize)> = None;
        for (at, row) in self.rows.iter().enumerate() {
            let slots = row.of.slots.load(Relaxed);
            if best.is_some_and(|(fewest, ..)| fewest <= slots) {
                continue;
            }
            if let Some(lane) = row.lanes.iter().position(|lane| self.may_go_on(lane)) {
                best = Some((slots, at, lane));
                if slots == 0 {
                    break;
                }
            }
        }
        best.map(|(_, at, lane)| (at, lane))
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
        while let Some((at, lane)) = self.turn()
            && let Some(mut row) = self.rows.remove(at)
            && let Some(mut lane) = row.lanes.remove(lane)
        {
            let next = match self.is_admitted(&lane.session) {
                true => lane.next(admit, held),
                false => lane.next_builder(),
            };
            let session = Arc::clone(&lane.session);
            if !lane.is_empty() {
                row.lanes.push_back(lane);
            }
            match row.lanes.is_empty() {
                true => self.spare = row.lanes,
                false => self.rows.push_back(row),
            }
            match &next {
                Some(Next::Run(..)) => self.len -= 1,
                Some(_) => self.woken -= 1,
                None => continue,
            }
            session.holdings.slots.fetch_add(1, Relaxed);
            self.running.push(session);
            return next.unwrap_or(Next::Nothing);
        }
        Next::Nothing
    }
}

#[cfg(test)]
mod tests;
