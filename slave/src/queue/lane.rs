//! What waits of one session.
//!
//! Owns: its attempts that have not begun, those of them that found no sandbox, and those that
//! waited and want a slot again. Does not: choose among sessions; the queue does. Invariants: what
//! begins does so in the order of the attempts, but for those that are held back until there is a
//! sandbox, which others that need none pass; one that is held back is asked about again only when
//! a sandbox was given back.

use super::{Held, Next, Woken};
use crate::job::Job;
use crate::session::Session;
use dpfw_protocol::ids::AttemptId;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Attempts looked up one by one; for more a set is made of them.
const FEW: usize = 8;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) session: Arc<Session>,
    jobs: VecDeque<Job>,
    /// Those that found no sandbox. They are older than what is in `jobs`.
    held: VecDeque<Job>,
    /// Nothing of `held` may begin before a sandbox is given back.
    barred: bool,
    /// Those that want a slot to go on in. Bounded by the sandboxes that may wait, and by the
    /// residents, each of which is here once at most.
    woken: VecDeque<Woken>,
    /// Whose turn it is, where there are both.
    resumed: bool,
}

impl Lane {
    pub(super) fn new(session: &Arc<Session>) -> Self {
        let (jobs, held, woken) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { session: Arc::clone(session), jobs, held, barred: false, woken, resumed: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.held.is_empty() && self.woken.is_empty()
    }

    /// Whether there is something that may have a slot.
    pub(super) fn is_ready(&self) -> bool {
        !self.woken.is_empty() || self.may_begin()
    }

    fn may_begin(&self) -> bool {
        !self.jobs.is_empty() || (!self.held.is_empty() && !self.barred)
    }

    /// Whether something is held back.
    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many have not begun.
    pub(super) fn unstarted(&self) -> usize {
        self.jobs.len() + self.held.len()
    }

    /// Those that have not begun.
    pub(super) fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.held.iter().chain(&self.jobs).map(|job| job.attempt)
    }

    /// What has waited longest, of attempts that go on and of attempts that begin in turn. What
    /// is held back meanwhile for want of a sandbox is added to `held`.
    pub(super) fn next<P>(
        &mut self,
        admit: &mut impl FnMut(&Job) -> Option<P>,
        held: &mut Vec<Held>,
    ) -> Option<Next<P>> {
        let begins = self.resumed && self.may_begin();
        self.resumed = !begins && !self.woken.is_empty();
        match self.resumed {
            true => self.woken.pop_front().map(Next::Resume),
            // Where nothing may begin after all, something may go on.
            false => self.begin(admit, held).or_else(|| self.woken.pop_front().map(Next::Resume)),
        }
    }

    /// The first that may begin, of those that were held back first.
    fn begin<P>(
        &mut self,
        admit: &mut impl FnMut(&Job) -> Option<P>,
        news: &mut Vec<Held>,
    ) -> Option<Next<P>> {
        if let Some(job) = self.held.pop_front_if(|_| !self.barred) {
            match admit(&job) {
                Some(place) => return Some(Next::Run(job, place)),
                None => self.hold(job),
            }
        }
        while let Some(job) = self.jobs.pop_front() {
            match admit(&job) {
                Some(place) => return Some(Next::Run(job, place)),
                None => {
                    news.push((Arc::clone(&self.session), job.attempt));
                    self.hold(job);
                }
            }
        }
        None
    }

    fn hold(&mut self, job: Job) {
        self.barred = true;
        insert(&mut self.held, job);
    }

    /// A sandbox was given back.
    pub(super) fn unbar(&mut self) {
        self.barred = false;
    }

    /// The first that builds an entry goes on.
    pub(super) fn next_builder<P>(&mut self) -> Option<Next<P>> {
        self.woken.remove(self.builder()?).map(Next::Resume)
    }

    /// The first that builds an entry for which others may wait.
    pub(super) fn builder(&self) -> Option<usize> {
        self.woken.iter().position(Woken::is_building)
    }

    /// Appends one that has arrived.
    pub(super) fn push(&mut self, job: Job) {
        insert(&mut self.jobs, job);
    }

    /// Appends one that is there already.
    pub(super) fn resume(&mut self, woken: Woken) {
        self.woken.push_back(woken);
    }

    /// Takes those out that have not begun and are named.
    pub(super) fn take(&mut self, attempts: &[AttemptId]) -> Vec<Job> {
        let mut taken = take(&mut self.held, attempts);
        taken.append(&mut take(&mut self.jobs, attempts));
        taken
    }

    /// Takes those out that were held back.
    pub(super) fn take_held(&mut self) -> VecDeque<Job> {
        std::mem::take(&mut self.held)
    }

    /// Takes everything out that has not begun.
    pub(super) fn take_all(&mut self) -> VecDeque<Job> {
        let mut all = self.take_held();
        all.append(&mut self.jobs);
        all
    }
}

/// Jobs stay in the order of their attempts, which is that of their dispatches; most come in it.
fn insert(jobs: &mut VecDeque<Job>, job: Job) {
    match jobs.back() {
        Some(last) if last.attempt > job.attempt => {
            let at = jobs.partition_point(|other| other.attempt < job.attempt);
            jobs.insert(at, job);
        }
        _ => jobs.push_back(job),
    }
}

fn take(from: &mut VecDeque<Job>, attempts: &[AttemptId]) -> Vec<Job> {
    if attempts.len() > FEW {
        let attempts: HashSet<_> = attempts.iter().copied().collect();
        let jobs = std::mem::take(from);
        let (taken, stay): (VecDeque<_>, _) =
            jobs.into_iter().partition(|job| attempts.contains(&job.attempt));
        *from = stay;
        return taken.into();
    }
    let take = |id: &AttemptId| {
        let at = from.binary_search_by_key(id, |job| job.attempt).ok()?;
        from.remove(at)
    };
    attempts.iter().filter_map(take).collect()
}
