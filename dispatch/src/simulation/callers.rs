//! What the callers of simulated masters do: they submit, cancel, reserve and release.

use crate::simulation::future::Happening;
use crate::simulation::plan::MS;
use crate::simulation::world::World;
use crate::{Event, KeyId, Placement, ReservationId, SlaveId, TaskId, Wait};

impl World {
    /// Something that was planned happens.
    pub(crate) fn go_by_plan(&mut self, what: Happening) {
        let (w, masters) = (&mut self.shared, &mut self.masters);
        w.plans -= 1;
        match what {
            Happening::Fault(fault) => self.strike(fault),
            Happening::Submits(task) => {
                w.submitted.insert(task);
                let job = &w.plan.tasks[&task];
                // A pinned task may name a slave that is gone, or another master's.
                let (pinned, number) = (job.pinned, job.master);
                let placement = match (pinned, job.needs) {
                    (true, _) => Placement::On(SlaveId(w.random.within(1..w.last_slave + 2))),
                    (false, Some(key)) => Placement::At([KeyId(key)].into()),
                    (false, None) => Placement::Anywhere,
                };
                if masters[number].up {
                    masters[number].submit(w, task, placement);
                }
            }
            // Both waited for a master that stood still.
            Happening::Cancels(task) if !w.submitted.contains(&task) => w.expect(w.now + 1, what),
            Happening::Cancels(task) => {
                let number = w.plan.tasks[&task].master;
                if masters[number].up {
                    masters[number].tell(w, Event::Cancel { task });
                }
            }
            Happening::Reserves => self.reserve(),
            Happening::Uses(n, reservation) => self.use_reservation(n, reservation),
            Happening::Releases(n, reservation) if masters[n].up => {
                masters[n].tell(w, Event::Release { reservation });
            }
            _ => {}
        }
    }

    fn reserve(&mut self) {
        let w = &mut self.shared;
        let number = w.random.within(0..self.masters.len() as u64) as usize;
        w.last_reservation += 1;
        let reservation = ReservationId(w.last_reservation);
        let wait = if w.random.one_in(3) { Wait::No } else { Wait::Yes };
        let any = w.random.within(1..w.last_slave + 2);
        let slave = w.random.one_in(4).then_some(SlaveId(any));
        // Each is given up in the end, or it would keep its slave for ever.
        let patience = if w.random.one_in(4) { 30 * MS } else { 2000 * MS };
        let at = w.now + w.random.within(0..patience);
        w.expect(at, Happening::Releases(number, reservation));
        if self.masters[number].up {
            self.masters[number].tell(w, Event::Reserve { reservation, slave, wait });
        }
    }

    fn use_reservation(&mut self, number: usize, reservation: ReservationId) {
        let w = &mut self.shared;
        for _ in 0..w.random.within(0..12) {
            w.last_task += 1;
            let task = TaskId(w.last_task);
            let like = TaskId(w.random.within(1..40));
            let mut job = w.plan.tasks[&like].clone();
            job.cost = job.cost.min(40 * MS);
            (job.poison, job.deadline, job.once) = (false, None, false);
            job.master = number;
            w.plan.tasks.insert(task, job);
            if self.masters[number].up {
                self.masters[number].submit(w, task, Placement::Reserved(reservation));
            }
        }
        let at = w.now + w.random.within(0..60 * MS);
        w.expect(at, Happening::Releases(number, reservation));
    }
}
