//! The attempts that wait for a slot, and who may have one.
//!
//! Owns: a lane for each session, served in turn, so that a master with a long queue does
//! not hold up another; the reservation of all slots; who sleeps until there is work.
//! Invariants: while a session holds or awaits the reservation no other session's attempt
//! starts; the queue is bounded; each job leaves it exactly once.

use crate::job::Job;
use crate::session::Session;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

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
    /// The sessions whose attempts hold a slot: as many entries as slots at most.
    running: Vec<Arc<Session>>,
    reservation: Option<Reservation>,
    /// Bounded by the number of links: one wish each.
    wishes: VecDeque<Reservation>,
    parked: usize,
    leader: Option<Waker>,
    stopped: bool,
}

#[derive(Debug)]
struct Lane {
    session: Arc<Session>,
    jobs: VecDeque<Job>,
}

/// All slots, held or wished for by a session.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) session: Arc<Session>,
    pub(crate) conversation: ConversationId,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wished {
    /// The session has all slots.
    Granted,
    /// They are granted by a later [`Queue::done`] or [`Queue::release`].
    Waiting,
    /// It does not get them.
    Refused,
}

/// What follows from a release.
#[derive(Debug)]
pub(crate) struct Released {
    /// The wish that is not waited for any more; it is answered all the same.
    pub(crate) withdrawn: Option<Reservation>,
    /// The reservation that is granted by it.
    pub(crate) granted: Option<Reservation>,
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
pub(crate) enum Next {
    Run(Job),
    Nothing,
    Stop,
}

impl Queue {
    /// A queue of at most `most` jobs.
    pub(crate) fn new(most: usize) -> Self {
        Self { inner: Mutex::default(), work: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a job; gives it back if the queue is full.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut inner = self.lock();
        if inner.len >= self.most {
            return Err(job);
        }
        inner.push(job);
        let leader = inner.leader.take();
        let wake = leader.is_none() && inner.parked > 0;
        let also = leader.is_some() && inner.parked > 0 && inner.len > 1;
        drop(inner);
        if let Some(leader) = leader {
            leader.wake();
        }
        if wake || also {
            self.work.notify_one();
        }
        Ok(())
    }

    /// The next job that may start. It holds a slot until [`done`](Self::done).
    pub(crate) fn next(&self) -> Next {
        self.lock().next()
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
        Freed { granted: inner.grant(), waiting: inner.len > 0 }
    }

    /// A session wishes for all slots.
    pub(crate) fn reserve(&self, wish: Reservation, wait: bool) -> Wished {
        let mut inner = self.lock();
        let is_mine = |r: &Reservation| Arc::ptr_eq(&r.session, &wish.session);
        let others = inner.running.iter().any(|s| !Arc::ptr_eq(s, &wish.session));
        if inner.reservation.is_none() && inner.wishes.is_empty() && !others {
            inner.reservation = Some(wish);
            return Wished::Granted;
        }
        let has_one = inner.reservation.iter().chain(&inner.wishes).any(is_mine);
        if !wait || has_one {
            return Wished::Refused;
        }
        inner.wishes.push_back(wish);
        Wished::Waiting
    }

    /// A session gives its reservation or its wish back.
    pub(crate) fn release(&self, session: &Arc<Session>) -> Released {
        let mut inner = self.lock();
        let at = inner.wishes.iter().position(|w| Arc::ptr_eq(&w.session, session));
        let withdrawn = at.and_then(|at| inner.wishes.remove(at));
        if inner.reservation.as_ref().is_some_and(|r| Arc::ptr_eq(&r.session, session)) {
            inner.reservation = None;
        }
        let granted = inner.grant();
        drop(inner);
        self.rouse();
        Released { withdrawn, granted }
    }

    /// Whether another session holds all slots.
    pub(crate) fn is_taken_from(&self, session: &Arc<Session>) -> bool {
        let inner = self.lock();
        inner.reservation.as_ref().is_some_and(|r| !Arc::ptr_eq(&r.session, session))
    }

    /// Takes the session's unstarted attempts out that are named.
    pub(crate) fn take(&self, session: &Arc<Session>, attempts: &[AttemptId]) -> Vec<Job> {
        self.take_if(|job| Arc::ptr_eq(&job.session, session) && attempts.contains(&job.attempt))
    }

    /// Takes everything of a session out.
    pub(crate) fn take_session(&self, session: &Arc<Session>) -> Vec<Job> {
        self.take_if(|job| Arc::ptr_eq(&job.session, session))
    }

    /// Takes everything out.
    pub(crate) fn take_all(&self) -> Vec<Job> {
        self.take_if(|_| true)
    }

    fn take_if(&self, mut is_meant: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut inner = self.lock();
        let mut taken = Vec::new();
        for lane in &mut inner.lanes {
            let (out, stay): (VecDeque<_>, _) = lane.jobs.drain(..).partition(&mut is_meant);
            lane.jobs = stay;
            taken.extend(out);
        }
        inner.lanes.retain(|lane| !lane.jobs.is_empty());
        inner.len -= taken.len();
        taken
    }

    /// Jobs that wait, and jobs that hold a slot.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.len, inner.running.len())
    }

    /// Lets the slots end when they are done.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.rouse();
    }
}

impl Inner {
    fn push(&mut self, job: Job) {
        self.len += 1;
        let lane = self.lanes.iter_mut().find(|lane| Arc::ptr_eq(&lane.session, &job.session));
        match lane {
            Some(lane) => lane.jobs.push_back(job),
            None => {
                let session = Arc::clone(&job.session);
                self.lanes.push_back(Lane { session, jobs: VecDeque::from([job]) });
            }
        }
    }

    /// Whether the session's attempts may start now.
    fn is_admitted(&self, session: &Arc<Session>) -> bool {
        if session.is_clogged() {
            return false;
        }
        match (&self.reservation, self.wishes.front()) {
            (Some(held), _) => Arc::ptr_eq(&held.session, session),
            (None, Some(wish)) => Arc::ptr_eq(&wish.session, session),
            (None, None) => true,
        }
    }

    fn may_start(&self) -> bool {
        self.lanes.iter().any(|lane| self.is_admitted(&lane.session))
    }

    fn next(&mut self) -> Next {
        if self.stopped && self.len == 0 {
            return Next::Stop;
        }
        let Some(at) = self.lanes.iter().position(|lane| self.is_admitted(&lane.session)) else {
            return Next::Nothing;
        };
        let Some(mut lane) = self.lanes.remove(at) else {
            return Next::Nothing;
        };
        let job = lane.jobs.pop_front();
        let session = Arc::clone(&lane.session);
        if !lane.jobs.is_empty() {
            self.lanes.push_back(lane);
        }
        match job {
            Some(job) => {
                self.len -= 1;
                self.running.push(session);
                Next::Run(job)
            }
            None => Next::Nothing,
        }
    }

    fn grant(&mut self) -> Option<Reservation> {
        if self.reservation.is_some() {
            return None;
        }
        let wish = self.wishes.front()?;
        if self.running.iter().any(|s| !Arc::ptr_eq(s, &wish.session)) {
            return None;
        }
        self.reservation = self.wishes.pop_front();
        self.reservation.clone()
    }
}
