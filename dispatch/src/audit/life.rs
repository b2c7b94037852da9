//! One task, as the second opinion sees it.

use crate::audit::seat::{Closed, Why};
use crate::{Config, Loss, Outcome, Placement, SlaveId, TaskSpec, Time};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;

/// An attempt of a task that waits for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) slave: SlaveId,
    pub(super) attempt: AttemptId,
    pub(super) sent: Time,
}

#[derive(Debug)]
pub(super) struct Life {
    pub(super) spec: TaskSpec,
    /// Two at most.
    pub(super) out: Vec<Out>,
    pub(super) suspect: bool,
    /// Of two attempts one had begun where a slave died, and the other is out.
    pub(super) bereft: bool,
    /// Lost attempts that had begun, as far as was known.
    pub(super) tries: u32,
    /// Of these, deaths of the slave.
    pub(super) deaths: u32,
    /// Deaths at which it was there, not begun as far as was known.
    pub(super) near: u32,
    /// Times that a slave had no room.
    pub(super) busy: u32,
    pub(super) end: Option<Outcome>,
}

/// Taken for begun after so many deaths nearby.
const NEAR_DEATHS: u32 = 8;

impl Life {
    pub(super) fn new(spec: TaskSpec) -> Self {
        let (out, end, suspect, bereft) = (Vec::new(), None, false, false);
        let (tries, deaths, near, busy) = (0, 0, 0, 0);
        Self { spec, out, suspect, bereft, tries, deaths, near, busy, end }
    }

    /// Whether the task waits for that attempt.
    pub(super) fn waits_for(&self, slave: SlaveId, attempt: AttemptId) -> bool {
        self.out.iter().any(|out| (out.slave, out.attempt) == (slave, attempt))
    }

    /// Whether an attempt that is sent is one beside another, as it may be.
    pub(super) fn is_second(&self, now: Time, slave: SlaveId) -> bool {
        let Some(first) = self.out.first() else { return false };
        assert_eq!(self.out.len(), 1, "out in more than two attempts");
        assert_ne!(first.slave, slave, "out twice at one slave");
        let flags = self.spec.flags;
        assert!(flags.has(TaskFlags::EFFECT_FREE), "a task with effects is tried twice at once");
        assert!(!flags.has(TaskFlags::ONCE), "a once task is tried twice");
        let is_bound = matches!(self.spec.placement, Placement::On(_) | Placement::Reserved(_));
        assert!(!is_bound, "a bound task is tried elsewhere");
        assert!(!self.suspect && !self.bereft, "a suspect is tried twice at once");
        let worth = Config::default().recall_worth;
        assert!(now >= first.sent + worth, "tried a second time as soon as it was sent");
        true
    }

    /// An attempt is over that the task waits for. Whether another one goes on, and whether this
    /// has been counted as a try with one before it.
    pub(super) fn close(&mut self, slave: SlaveId, attempt: AttemptId, why: Why) -> (bool, bool) {
        self.out.retain(|out| (out.slave, out.attempt) != (slave, attempt));
        if self.out.is_empty() {
            let counted = std::mem::take(&mut self.bereft);
            self.suspect |= counted;
            self.tries += u32::from(counted);
            self.deaths += u32::from(counted);
            return (false, counted);
        }
        match why {
            Why::Said => {}
            Why::Forgotten => self.tries += 1,
            Why::Lost { began, loss } if self.counts(began, loss) => match loss {
                Loss::Died => self.bereft = true,
                Loss::Unreachable | Loss::Left => self.tries += 1,
            },
            Why::Lost { .. } => {}
        }
        (true, false)
    }

    /// Whether a loss counts as a try; deaths nearby are counted with it.
    pub(super) fn counts(&mut self, began: bool, loss: Loss) -> bool {
        if !began && loss == Loss::Died {
            self.near += 1;
            return self.near >= NEAR_DEATHS;
        }
        began
    }

    pub(super) fn check_cause(&mut self, cause: &Cause, closed: Option<Closed>) {
        let why = closed.map(|closed| closed.why);
        if closed.is_some_and(|closed| closed.beside) && why != Some(Why::Said) {
            assert_eq!(*cause, Cause::DeadlineExceeded, "the other attempt goes on");
        }
        let counts = match why {
            _ if closed.is_some_and(|closed| closed.counted) => false,
            Some(Why::Lost { began, loss }) => self.counts(began, loss),
            Some(Why::Forgotten) => true,
            _ => false,
        };
        match cause {
            Cause::SlaveLost { may_have_run: false } => assert!(self.out.is_empty()),
            Cause::AttemptsExhausted { attempts } if why != Some(Why::Said) => {
                assert!(counts, "given up though it had not begun");
                assert_eq!(*attempts, self.tries + 1, "tries");
            }
            Cause::Poison { deaths } if why != Some(Why::Said) => {
                assert!(matches!(why, Some(Why::Lost { loss: Loss::Died, .. })) && counts);
                assert_eq!(*deaths, self.deaths + 1, "deaths");
            }
            _ => {}
        }
    }
}
