//! Tasks that have not resolved, and the queues they wait in.
//!
//! Owns: the table of tasks, the links of the queues. Does not: decide which queue a task
//! belongs to. Invariant: a task is free, in one list, or out in one attempt (in a second one
//! too if it is in a pair, which is noted beside: `pair`). Lists run through the table itself,
//! so that a task leaves from the middle of one at no cost and leaves nothing behind.

use crate::event::{KeyId, KindId, Placement, ReservationId, SlaveId, TaskId, TaskSpec};
use crate::hash::IdMap;
use crate::suspect::Record;
use crate::time::Time;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// A place in the table, counted from 1; valid until the task resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ref(NonZeroU32);

/// The end of a list.
const NONE: Ref = Ref(NonZeroU32::MAX);

impl Ref {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A [`Placement`] in two words: millions of tasks wait at once.
#[derive(Debug)]
pub(crate) enum Home {
    Anywhere,
    On(SlaveId),
    Reserved(ReservationId),
    /// Where all of the keys are; in their order, each once, and at least one.
    At(Box<Box<[KeyId]>>),
    /// The same, but rather.
    Near(Box<Box<[KeyId]>>),
}

impl From<Placement> for Home {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Anywhere => Self::Anywhere,
            Placement::On(slave) => Self::On(slave),
            Placement::Reserved(reservation) => Self::Reserved(reservation),
            Placement::At(keys) | Placement::Near(keys) if keys.is_empty() => Self::Anywhere,
            Placement::At(keys) => Self::At(Box::new(in_order(keys))),
            Placement::Near(keys) => Self::Near(Box::new(in_order(keys))),
        }
    }
}

fn in_order(keys: Box<[KeyId]>) -> Box<[KeyId]> {
    if keys.is_sorted_by(|a, b| a < b) {
        return keys;
    }
    let mut keys = keys.into_vec();
    keys.sort_unstable();
    keys.dedup();
    keys.into()
}

impl Home {
    /// Whether only one slave will do, of which the task is lost with it.
    pub(crate) fn is_bound(&self) -> bool {
        matches!(self, Self::On(_) | Self::Reserved(_))
    }

    /// Whether any slave will do.
    pub(crate) fn is_anywhere(&self) -> bool {
        matches!(self, Self::Anywhere | Self::Near(_))
    }
}

/// Whether a task has stepped aside, so that others are not held back by what it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Aside {
    #[default]
    No,
    /// For want of its module.
    Module,
    /// For a slave that has its keys.
    Keys,
    /// It did so for its keys, and does not once more.
    Spent,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Free { next: Ref },
    Queued { previous: Ref, next: Ref },
    Out { slave: SlaveId, attempt: AttemptId },
}

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// [`Time::NEVER`] if it has none.
    pub(crate) deadline: Time,
    pub(crate) at: At,
    pub(crate) home: Home,
    pub(crate) kind: KindId,
    pub(crate) calls: u32,
    pub(crate) flags: TaskFlags,
    pub(crate) record: Record,
    /// Whether it has stepped aside, and for want of what.
    pub(crate) aside: Aside,
}

/// The table of tasks.
#[derive(Debug)]
pub(crate) struct Tasks {
    places: Vec<Task>,
    free: Ref,
    by_id: IdMap<TaskId, Ref>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { places: Vec::new(), free: NONE, by_id: IdMap::default() }
    }
}

impl Index<Ref> for Tasks {
    type Output = Task;
    fn index(&self, task: Ref) -> &Task {
        &self.places[task.index()]
    }
}

impl IndexMut<Ref> for Tasks {
    fn index_mut(&mut self, task: Ref) -> &mut Task {
        &mut self.places[task.index()]
    }
}

impl Tasks {
    /// Takes a task in, in no list yet. `None` if the table has no number left for it.
    pub(crate) fn insert(&mut self, id: TaskId, spec: TaskSpec) -> Option<Ref> {
        let task = Task {
            id,
            deadline: spec.deadline.unwrap_or(Time::NEVER),
            at: At::Queued { previous: NONE, next: NONE },
            home: spec.placement.into(),
            kind: spec.kind,
            calls: spec.calls,
            flags: spec.flags,
            record: Record::default(),
            aside: Aside::No,
        };
        let place = match self.free {
            NONE => {
                let place = u32::try_from(self.places.len() + 1).ok().and_then(NonZeroU32::new)?;
                let place = Some(Ref(place)).filter(|place| *place < NONE)?;
                self.places.push(task);
                place
            }
            free => {
                if let At::Free { next } = self[free].at {
                    self.free = next;
                }
                self[free] = task;
                free
            }
        };
        self.by_id.insert(id, place);
        Some(place)
    }

    /// A task is in no attempt any more, and in no list yet.
    pub(crate) fn rest(&mut self, task: Ref) {
        self.link(task, NONE, NONE);
    }

    /// Forgets a task, which is in no list.
    pub(crate) fn remove(&mut self, task: Ref) {
        let id = self[task].id;
        self.by_id.remove(&id);
        self[task].at = At::Free { next: self.free };
        self[task].home = Home::Anywhere;
        self.free = task;
    }

    pub(crate) fn find(&self, id: TaskId) -> Option<Ref> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All tasks, in no useful order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ref, &Task)> {
        let places = self.places.iter().zip(1..);
        let places = places.filter_map(|(task, n)| Some((Ref(NonZeroU32::new(n)?), task)));
        places.filter(|(_, task)| !matches!(task.at, At::Free { .. }))
    }

    fn link(&mut self, task: Ref, previous: Ref, next: Ref) {
        self[task].at = At::Queued { previous, next };
    }

    fn set_next(&mut self, task: Ref, to: Ref) {
        if let At::Queued { next, .. } = &mut self[task].at {
            *next = to;
        }
    }

    fn set_previous(&mut self, task: Ref, to: Ref) {
        if let At::Queued { previous, .. } = &mut self[task].at {
            *previous = to;
        }
    }
}

/// A queue of tasks through the table.
#[derive(Debug)]
pub(crate) struct List {
    head: Ref,
    tail: Ref,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first.
    pub(crate) fn head(&self) -> Option<Ref> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn push_back(&mut self, tasks: &mut Tasks, task: Ref) {
        tasks.link(task, self.tail, NONE);
        match self.tail {
            NONE => self.head = task,
            tail => tasks.set_next(tail, task),
        }
        self.tail = task;
        self.len += 1;
    }

    pub(crate) fn push_front(&mut self, tasks: &mut Tasks, task: Ref) {
        tasks.link(task, NONE, self.head);
        match self.head {
            NONE => self.tail = task,
            head => tasks.set_previous(head, task),
        }
        self.head = task;
        self.len += 1;
    }

    /// Takes a task of this list out of it.
    pub(crate) fn unlink(&mut self, tasks: &mut Tasks, task: Ref) {
        let At::Queued { previous, next } = tasks[task].at else { return };
        match previous {
            NONE => self.head = next,
            previous => tasks.set_next(previous, next),
        }
        match next {
            NONE => self.tail = previous,
            next => tasks.set_previous(next, previous),
        }
        tasks.link(task, NONE, NONE);
        self.len -= 1;
    }

    pub(crate) fn pop(&mut self, tasks: &mut Tasks) -> Option<Ref> {
        let head = self.head()?;
        self.unlink(tasks, head);
        Some(head)
    }

    /// The tasks from first to last.
    pub(crate) fn iter<'a>(&self, tasks: &'a Tasks) -> impl Iterator<Item = Ref> + 'a {
        std::iter::successors(self.head(), |task| match tasks[*task].at {
            At::Queued { next, .. } if next != NONE => Some(next),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
