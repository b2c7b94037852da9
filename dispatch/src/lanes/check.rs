//! What must hold of lanes after every event.

use super::{LaneId, Tie};
use crate::alarm::Alarm;
use crate::core::Core;
use crate::slave::{Hold, Room};
use crate::task::{Home, List};
use std::collections::BTreeSet;

impl Core {
    /// Checks the lanes.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub(crate) fn check_lanes(&self) {
        assert!(self.lanes.stirred.is_empty() && !self.stranded, "lanes are left to look after");
        for task in self.suspects.iter(&self.tasks) {
            let Home::At(keys) = &self.tasks[task].home else { continue };
            let mut at = self.keys.with_all(keys);
            assert!(at.any(|slave| self.works(slave)), "a suspect without a slave");
        }
        for (id, lane) in &self.lanes.by_id {
            assert!(!lane.list.is_empty(), "an empty lane");
            assert_eq!(self.lanes.find(lane.tie, &lane.keys), Some(*id));
            let at: BTreeSet<_> =
                self.keys.with_all(&lane.keys).filter(|slave| self.works(*slave)).collect();
            assert_eq!(lane.at, at, "the slaves of a lane");
            assert!(lane.asked.iter().all(|slave| self.works(*slave)), "asked a lost slave");
            let waits = !at.is_empty() || !lane.asked.is_empty();
            match lane.tie {
                Tie::Hard => assert!(waits || self.slaves.is_empty(), "a lane without hope"),
                Tie::Soft => {
                    assert!(!at.is_empty() && self.alarms.has(lane.until, Alarm::Lane(*id)))
                }
            }
            for slave in &lane.at {
                let Some(there) = self.slaves.find(*slave) else { continue };
                assert!(there.lanes.contains(id), "slave {slave} does not know its lane");
                let idle = there.is_able() && there.hold == Hold::Open && there.outs.is_empty();
                assert!(!idle || there.room(&self.config).0 == Room::Full, "slave {slave} is idle");
            }
        }
        let known: usize = self.lanes.by_id.values().map(|lane| lane.at.len()).sum();
        let knowing: usize = self.slaves.iter().map(|(_, slave)| slave.lanes.len()).sum();
        assert_eq!(known, knowing, "slaves know lanes that are not");
    }

    /// The lanes with the tasks that wait in them, for checking.
    pub(crate) fn lanes_to_check(&self) -> impl Iterator<Item = (LaneId, &List)> {
        self.lanes.by_id.iter().map(|(id, lane)| (*id, &lane.list))
    }

    /// How many lanes there are.
    pub(crate) fn lanes_len(&self) -> usize {
        self.lanes.by_id.len()
    }
}
