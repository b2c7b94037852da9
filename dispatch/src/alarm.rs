//! When the policy wants to be woken.
//!
//! Owns: the alarms, each removable. Does not: read clocks. Invariant: an unresolved task
//! with a deadline has exactly one alarm; a resolved one has none.

use crate::event::SlaveId;
use crate::lanes::LaneId;
use crate::task::Ref;
use crate::time::Time;
use std::collections::BTreeSet;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// A task's deadline, or the grace after it.
    Deadline(Ref),
    /// A busy slave's pause is over.
    Unpause(SlaveId),
    /// A slave that refused a reservation may be asked again.
    Askable(SlaveId),
    /// Pinned tasks were held back long enough.
    Patience(SlaveId),
    /// Tasks have waited long enough for slaves that have their keys.
    Lane(LaneId),
    /// Whether something is to be recalled may look different now.
    Recall,
    /// Whether something is to be tried a second time may.
    Hedge,
}

/// All alarms. Bounded by the tasks with a deadline and a few for each slave.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    set: BTreeSet<(Time, Alarm)>,
}

impl Alarms {
    pub(crate) fn set(&mut self, at: Time, alarm: Alarm) {
        self.set.insert((at, alarm));
    }

    pub(crate) fn clear(&mut self, at: Time, alarm: Alarm) -> bool {
        self.set.remove(&(at, alarm))
    }

    pub(crate) fn has(&self, at: Time, alarm: Alarm) -> bool {
        self.set.contains(&(at, alarm))
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes the first that is due.
    pub(crate) fn due(&mut self, now: Time) -> Option<(Time, Alarm)> {
        match self.set.first() {
            Some((at, _)) if *at <= now => self.set.pop_first(),
            _ => None,
        }
    }

    /// How many deadlines there are.
    pub(crate) fn deadlines(&self) -> usize {
        self.set.iter().filter(|(_, alarm)| matches!(alarm, Alarm::Deadline(_))).count()
    }
}
