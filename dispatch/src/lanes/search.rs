//! Looking for the keys of hard lanes.
//!
//! Owns: who is asked, when again, and the end of tasks whose keys nobody has. Does not: believe an
//! answer for longer than the policy believes anything of keys. Invariant: a hard lane for which
//! there is no slave waits for an answer, or for the first slave to come; else its tasks end.

use super::{LaneId, Search, Tie};
use crate::core::{Core, Turn};
use crate::effect::{Effect, Outcome};
use crate::event::{KeyId, SlaveId};
use crate::slave::Standing;
use crate::task::{Home, Ref};
use dpfw_protocol::error::Cause;
use std::collections::BTreeSet;

impl Core {
    /// A slave has come: it may have what others have not.
    pub(crate) fn ask_newcomer(&mut self, turn: &mut Turn<'_>, slave: SlaveId) {
        for lane in self.lanes.by_id.values_mut() {
            if lane.tie == Tie::Hard && lane.at.is_empty() {
                lane.search = Search::Asked;
                lane.asked.insert(slave);
                turn.out.push(Effect::Locate { slave, keys: lane.keys.clone() });
            }
        }
    }

    /// A slave has said which of the keys it has.
    pub(crate) fn handle_located(&mut self, id: SlaveId, keys: &[KeyId], held: &[KeyId]) {
        for key in keys {
            match held.contains(key) {
                true => self.handle_key(id, *key),
                false => self.handle_key_gone(id, *key),
            }
        }
        if let Some(found) = self.lanes.find(Tie::Hard, keys)
            && let Some(lane) = self.lanes.by_id.get_mut(&found)
        {
            lane.asked.remove(&id);
            self.lanes.stirred.insert(found);
        }
    }

    /// Looks after the hard lanes for which there may be no slave.
    pub(crate) fn tend_lanes(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.lanes.stirred.pop_first() {
            let Some(lane) = self.lanes.by_id.get(&id) else { continue };
            if !lane.at.is_empty() || !lane.asked.is_empty() {
                continue;
            }
            // The first slave to come is asked then.
            let is_early = lane.search == Search::New && self.slaves.is_empty();
            let is_over = lane.search == Search::Asked;
            if !is_early && (is_over || !self.ask_all(turn, id)) {
                self.fail_lane_of_keys(turn, id);
            }
        }
        if std::mem::take(&mut self.stranded) {
            self.fail_stranded(turn);
        }
    }

    /// Asks every slave that works for the keys of a lane; whether there is one.
    fn ask_all(&mut self, turn: &mut Turn<'_>, id: LaneId) -> bool {
        let working = self.slaves.iter().filter(|(_, it)| it.standing == Standing::Working);
        let asked: BTreeSet<_> = working.map(|(slave, _)| slave).collect();
        let Some(lane) = self.lanes.by_id.get_mut(&id) else { return false };
        for slave in asked.iter().filter(|_| !mutated!(LocateForgotten)) {
            turn.out.push(Effect::Locate { slave: *slave, keys: lane.keys.clone() });
        }
        lane.search = Search::Asked;
        lane.asked = asked;
        !lane.asked.is_empty()
    }

    fn fail_lane_of_keys(&mut self, turn: &mut Turn<'_>, id: LaneId) {
        while let Some(task) = self.lanes.head(id) {
            self.unlink(task);
            self.fail_without_key(turn, task);
        }
    }

    /// Ends the suspects for whose keys there is no slave.
    fn fail_stranded(&mut self, turn: &mut Turn<'_>) {
        let is_stranded = |task: &Ref| match &self.tasks[*task].home {
            Home::At(keys) => !self.keys.with_all(keys).any(|slave| self.works(slave)),
            _ => false,
        };
        let stranded: Vec<_> = self.suspects.iter(&self.tasks).filter(is_stranded).collect();
        for task in stranded {
            self.unlink(task);
            self.fail_without_key(turn, task);
        }
    }

    /// Ends a task, which is in no queue, because no slave has its keys. Of several the first
    /// is named that no slave has; if each is somewhere, the first.
    fn fail_without_key(&mut self, turn: &mut Turn<'_>, task: Ref) {
        let Home::At(keys) = &self.tasks[task].home else { return };
        let is_nowhere = |key: &&KeyId| !self.keys.holders(**key).any(|slave| self.works(slave));
        let Some(key) = keys.iter().find(is_nowhere).or(keys.first()).copied() else { return };
        self.counted.failed += 1;
        self.resolve(turn, task, Outcome::KeyGone { key, slave: None }, 0);
    }

    /// Ends what waits in hard lanes, when no slave is linked and none will come.
    pub(crate) fn give_up_lanes(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.lanes.by_id.keys().next().copied() {
            while let Some(task) = self.lanes.head(id) {
                self.unlink(task);
                self.fail(turn, task, Cause::NoSlaves, None);
            }
        }
    }
}
