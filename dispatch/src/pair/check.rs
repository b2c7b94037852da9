//! What must hold of pairs of attempts after every event.

use crate::alarm::Alarm;
use crate::core::Core;
use crate::slave::{Company, Moves, Room, Sent, Stage};
use crate::task::{At, Ref};
use dpfw_protocol::message::TaskFlags;

impl Core {
    /// Checks the pairs, and that no straggler is left to itself.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub(crate) fn check_pairs(&self) {
        let mut hedgeable = 0;
        for (_, slave) in self.slaves.iter() {
            for sent in slave.outs.values() {
                match sent.task {
                    Some(task) => self.check_company(task, sent),
                    None => assert_eq!(sent.company, Company::Never, "beside what is over"),
                }
                hedgeable += usize::from(sent.company == Company::May);
            }
        }
        assert_eq!(hedgeable, self.hedgeable, "attempts that may have company");
        for (task, (slave, _)) in &self.pairs {
            let At::Out { slave: first, .. } = self.tasks[*task].at else {
                panic!("a pair of a task that is not out");
            };
            assert_ne!(first, *slave, "a task is out twice at one slave");
        }
        let armed = self.hedge_at.is_some_and(|at| self.alarms.has(at, Alarm::Hedge));
        assert_eq!(armed, self.hedge_at.is_some(), "the alarm for stragglers");
        let free = self.slaves.first().is_some_and(|rank| rank.room == Room::Free);
        let watched = hedgeable == 0 || !self.queue.is_empty() || !free;
        assert!(armed || watched, "nobody looks after stragglers");
    }

    fn check_company(&self, task: Ref, sent: &Sent) {
        let it = &self.tasks[task];
        assert_eq!(sent.company == Company::Has, self.pairs.contains_key(&task), "company");
        if sent.company != Company::Never {
            let is_free = it.flags.has(TaskFlags::EFFECT_FREE) && !it.flags.has(TaskFlags::ONCE);
            assert!(is_free && !it.home.is_bound(), "task {} is not to be tried twice", it.id);
            assert!(!it.record.is_suspect(), "a suspect has company");
        }
        if sent.company == Company::Has {
            let stays = sent.moves == Moves::No && sent.stage != Stage::Recalled;
            assert!(stays, "one of two is recalled");
        }
    }
}
