//! One module or image on its way: who waits for it, who was asked for it, what became of it.
//!
//! Owns: the stages. Does not: move code from one to the next; [`Modules`](super::load::Modules)
//! does. Invariant: a job that waits is in one stage of one cell.

use super::code::Wanted;
use super::load::Loaded;
use crate::job::Job;
use crate::session::{Session, tell_of};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::message::{Loading, NeedImage, NeedModule};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where code is on its way.
#[derive(Debug)]
pub(super) enum State {
    /// The cache is being asked.
    Looking(Vec<Job>),
    /// Masters are being asked for the bytes, one after the other.
    Asked(Asked),
    /// It is being compiled, or waits for that, as the load of this number.
    Loading(u64, Vec<Job>),
    Ready(Arc<Loaded>),
    Refused(Cause),
}

/// Who was asked for the bytes, and who waits for them.
#[derive(Debug)]
pub(super) struct Asked {
    /// Those who have not answered, the last asked last.
    pub(super) whom: Vec<Arc<Session>>,
    pub(super) since: Instant,
    pub(super) waiting: Vec<Job>,
}

/// When a master has not sent the bytes in this time, another one is asked as well, so that
/// its silence holds up nobody's tasks but its own.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

impl Asked {
    /// Nobody yet.
    pub(super) fn new(waiting: Vec<Job>) -> Self {
        Self { whom: Vec::new(), since: Instant::now(), waiting }
    }

    /// Asks the first of those whose attempts wait and who were not asked before. Whether
    /// anybody has been asked who may still answer.
    pub(super) fn ask(&mut self) -> bool {
        let is_new = |session: &Arc<Session>| {
            session.is_open() && !self.whom.iter().any(|asked| Arc::ptr_eq(asked, session))
        };
        if let Some(job) = self.waiting.iter().find(|job| is_new(&job.session)) {
            let session = Arc::clone(&job.session);
            // Both always fit a frame.
            let _ = match &job.bound.image {
                None => {
                    let need = NeedModule { module: job.bound.module };
                    session.outbox.message(ConversationId::LINK, &need)
                }
                Some(Wanted { id, .. }) => {
                    let need = NeedImage { image: *id, refused: job.refused.is_some() };
                    session.outbox.message(ConversationId::LINK, &need)
                }
            };
            session.outbox.flush();
            self.whom.push(session);
        }
        self.since = Instant::now();
        !self.whom.is_empty()
    }

    /// Whether this session was asked and has not answered.
    pub(super) fn has_asked(&self, session: &Arc<Session>) -> bool {
        self.whom.iter().any(|whom| Arc::ptr_eq(whom, session))
    }

    /// A session does not answer any more; its attempts.
    pub(super) fn without(&mut self, session: &Arc<Session>) -> Vec<Job> {
        self.whom.retain(|asked| !Arc::ptr_eq(asked, session));
        self.waiting.extract_if(.., |job| Arc::ptr_eq(&job.session, session)).collect()
    }

    /// The attempts of a session's principal: what it sends is for them alone.
    pub(super) fn take_of(&mut self, session: &Arc<Session>) -> Vec<Job> {
        self.whom.retain(|asked| !Arc::ptr_eq(asked, session));
        let is_its = |job: &mut Job| job.session.is_of_same(session);
        self.waiting.extract_if(.., is_its).collect()
    }
}

impl State {
    /// Tells the master of the last attempt that waits, if the code will take its time: what
    /// is in the cache is there in a moment.
    pub(super) fn tell_of_last(&self) {
        let waiting = match self {
            Self::Asked(asked) => &asked.waiting,
            Self::Loading(_, waiting) => waiting,
            Self::Looking(_) | Self::Ready(_) | Self::Refused(_) => return,
        };
        tell_of(waiting.last().map(its).into_iter(), |attempts| Loading { attempts });
    }

    /// Those that wait, if it is not decided.
    pub(super) fn waiting(&self) -> Option<&Vec<Job>> {
        match self {
            Self::Looking(waiting) | Self::Loading(_, waiting) => Some(waiting),
            Self::Asked(asked) => Some(&asked.waiting),
            Self::Ready(_) | Self::Refused(_) => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn waiting_mut(&mut self) -> Option<&mut Vec<Job>> {
        match self {
            Self::Looking(waiting) | Self::Loading(_, waiting) => Some(waiting),
            Self::Asked(asked) => Some(&mut asked.waiting),
            Self::Ready(_) | Self::Refused(_) => None,
        }
    }
}

/// Whose attempt a job is, and which.
pub(super) fn its(job: &Job) -> (&Arc<Session>, AttemptId) {
    (&job.session, job.attempt)
}
