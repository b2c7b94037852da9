//! Waiting where keys are, for tasks that would only rather run there.
//!
//! Owns: whether that is worth it, and its end. Does not: choose a slave. Invariant: a task waits so
//! once, and no longer than making what is under its keys is expected to take.

use super::{LaneId, Tie};
use crate::core::{Core, End};
use crate::event::{KeyId, SlaveId};
use crate::slave::Hold;
use crate::task::{Aside, Home, Ref};

impl Core {
    /// Has the head of the queue wait for a slave that has its keys, if that is expected to be
    /// over sooner than making what is under them elsewhere. Whether it does.
    pub(crate) fn bide(&mut self, task: Ref) -> bool {
        let it = &self.tasks[task];
        let Home::Near(keys) = &it.home else { return false };
        if it.aside != Aside::No || !self.is_worth_biding(task, keys) {
            return false;
        }
        self.queue.unlink(&mut self.tasks, task);
        self.tasks[task].aside = Aside::Keys;
        self.enqueue(task, End::Back);
        true
    }

    fn is_worth_biding(&self, task: Ref, keys: &[KeyId]) -> bool {
        let Some(cost) = self.keys.cost(keys) else { return false };
        let lane = self.lanes.find(Tie::Soft, keys).and_then(|id| self.lanes.by_id.get(&id));
        let ahead = lane.map_or(0, |lane| lane.list.len() as u64);
        let mut holders =
            self.keys.with_all(keys).filter_map(|id| Some((id, self.slaves.find(id)?)));
        let has_room = |(id, slave): (SlaveId, &crate::slave::Slave)| {
            slave.is_open() && self.fits_room(slave.room(&self.config).0, id, task)
        };
        let is_short = holders.any(|(id, slave)| {
            let work = slave.all_nanos.saturating_add(ahead.saturating_mul(self.cost_at(id, task)));
            let is_usable = slave.is_able() && matches!(slave.hold, Hold::Open);
            is_usable && work / u64::from(slave.slots.max(1)) < cost
        });
        let mut holders =
            self.keys.with_all(keys).filter_map(|id| Some((id, self.slaves.find(id)?)));
        // Where there is room it goes at once.
        is_short && !holders.any(has_room)
    }

    /// A soft lane has waited long enough, or has nobody to wait for: any slave will do.
    pub(crate) fn release_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.by_id.get(&id) else { return };
        let tasks: Vec<_> = lane.list.iter(&self.tasks).collect();
        for task in tasks.into_iter().rev() {
            self.unlink(task);
            self.tasks[task].aside = Aside::Spent;
            self.queue.push_front(&mut self.tasks, task);
        }
    }
}
