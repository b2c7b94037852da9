//! What goes wrong in a simulated world.

use crate::simulation::future::{Fault, Happening};
use crate::simulation::net::{End, Pair};
use crate::simulation::plan::MS;
use crate::simulation::world::World;

impl World {
    pub(crate) fn spread_faults(&mut self) {
        let faults = self.shared.plan.faults;
        for (mean, fault) in [
            (faults.deaths, Fault::Death),
            (faults.cuts, Fault::Cut),
            (faults.drains, Fault::Drain),
            (faults.partitions, Fault::Partition),
            (faults.slow, Fault::Slow),
            (faults.stalls, Fault::Stall),
            (faults.master_deaths, Fault::MasterDeath),
            (faults.reconnects, Fault::Reconnect),
        ] {
            self.spread(mean, Happening::Fault(fault));
        }
        self.spread(faults.reservations, Happening::Reserves);
    }

    /// Once in so many milliseconds, until faults end.
    fn spread(&mut self, mean: u64, what: Happening) {
        let w = &mut self.shared;
        let end = if mean > 0 { w.end_of_faults() } else { 0 };
        let mut at = w.random.within(0..mean.max(1) * 2) * MS;
        while at < end {
            w.expect(at, what.clone());
            at += w.random.within(1..mean * 2) * MS;
        }
    }

    fn any_pair(&mut self) -> Pair {
        let random = &mut self.shared.random;
        let master = random.within(0..self.masters.len() as u64) as usize;
        (master, random.within(0..self.slaves.len() as u64) as usize)
    }

    /// For as long as silence lasts before it is a loss, or less, or more.
    fn a_while(&mut self) -> u64 {
        self.shared.now + self.shared.random.within(MS..250 * MS)
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        let (master, slave) = self.any_pair();
        let until = self.a_while();
        let w = &mut self.shared;
        match fault {
            Fault::Death if self.slaves[slave].up => self.slaves[slave].die(w),
            Fault::Drain if self.slaves[slave].up && !self.slaves[slave].draining => {
                self.slaves[slave].drain(w);
            }
            Fault::MasterDeath if self.masters[master].up => self.masters[master].die(w),
            Fault::Partition => {
                let which = w.random.within(0..3);
                if which != 1 {
                    w.net.block((master, slave), End::Master, until);
                }
                if which != 2 {
                    w.net.block((master, slave), End::Slave, until);
                }
            }
            Fault::Slow => {
                let end = if w.random.one_in(2) { End::Master } else { End::Slave };
                w.net.slow((master, slave), end, until);
            }
            Fault::Cut => {
                w.net.cut((master, slave), w.now, &mut w.random, &mut w.future);
            }
            Fault::Stall => self.stall(master, slave, until),
            Fault::Reconnect if self.masters[master].up && self.slaves[slave].up => {
                self.connect((master, slave));
            }
            Fault::Death | Fault::Drain | Fault::MasterDeath | Fault::Reconnect => {}
        }
    }

    /// A process does nothing for a while, mostly a slave's.
    fn stall(&mut self, master: usize, slave: usize, until: u64) {
        let w = &mut self.shared;
        let is_master = w.random.one_in(4);
        let process = match is_master {
            true => self.masters[master].process(),
            false => self.slaves[slave].process(),
        };
        let stalled = match is_master {
            true => &mut self.masters[master].stalled_until,
            false => &mut self.slaves[slave].stalled_until,
        };
        *stalled = (*stalled).max(until);
        w.future.add(*stalled, Happening::Continues(process));
    }
}
