//! One task, as the second opinion sees it.

use crate::audit::seat::Why;
use crate::{Loss, Outcome, SlaveId, TaskSpec};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;

#[derive(Debug)]
pub(super) struct Life {
    pub(super) spec: TaskSpec,
    pub(super) out: Option<(SlaveId, AttemptId)>,
    pub(super) suspect: bool,
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
    /// Whether a loss counts as a try; deaths nearby are counted with it.
    pub(super) fn counts(&mut self, began: bool, loss: Loss) -> bool {
        if !began && loss == Loss::Died {
            self.near += 1;
            return self.near >= NEAR_DEATHS;
        }
        began
    }

    pub(super) fn check_cause(&mut self, cause: &Cause, why: Option<Why>) {
        let counts = match why {
            Some(Why::Lost { began, loss }) => self.counts(began, loss),
            Some(Why::Forgotten) => true,
            _ => false,
        };
        match cause {
            Cause::SlaveLost { may_have_run: false } => assert!(self.out.is_none()),
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
