//! The tasks that have not resolved, small: a million of them wait at once.
//!
//! Owns: the driver's entries, by task. Does not: know what is in them. Invariant: an entry
//! is in one place, and the index knows it. The index alone is a hash table, whose buckets
//! may be half empty; entries lie side by side, and a place that is free is used again.

use dpfw_dispatch::TaskId;
use dpfw_dispatch::hash::IdMap;

/// Entries by their tasks.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    index: IdMap<TaskId, u32>,
    places: Vec<Place<T>>,
    free: Option<u32>,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// And the next that is.
    Free(Option<u32>),
}

impl<T> Place<T> {
    fn entry(&self) -> Option<&T> {
        match self {
            Self::Taken(entry) => Some(entry),
            Self::Free(_) => None,
        }
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { index: IdMap::default(), places: Vec::new(), free: None }
    }
}

impl<T> Entries<T> {
    /// Takes an entry in. The policy counts its tasks in as many bits: it refuses one more.
    pub(crate) fn insert(&mut self, task: TaskId, entry: T) {
        let place = match self.free {
            Some(place) => {
                let taken = &mut self.places[place as usize];
                if let Place::Free(next) = std::mem::replace(taken, Place::Taken(entry)) {
                    self.free = next;
                }
                place
            }
            None => {
                self.places.push(Place::Taken(entry));
                (self.places.len() - 1) as u32
            }
        };
        self.index.insert(task, place);
    }

    pub(crate) fn get(&self, task: &TaskId) -> Option<&T> {
        self.places.get(*self.index.get(task)? as usize)?.entry()
    }

    pub(crate) fn remove(&mut self, task: &TaskId) -> Option<T> {
        let place = self.index.remove(task)?;
        let taken = self.places.get_mut(place as usize)?;
        let entry = match std::mem::replace(taken, Place::Free(self.free)) {
            Place::Taken(entry) => Some(entry),
            Place::Free(_) => None,
        };
        self.free = Some(place);
        // What a peak needed is not kept for ever.
        if self.places.len() > KEPT && self.index.is_empty() {
            *self = Self::default();
        }
        entry
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All, in no useful order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TaskId, &T)> {
        let entry = |place: &u32| self.places.get(*place as usize).and_then(Place::entry);
        self.index.iter().filter_map(move |(task, place)| Some((task, entry(place)?)))
    }
}

/// Places that are kept when all are free: as many as are often under way.
const KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_until_it_is_removed_and_its_place_is_used_again() {
        let mut entries = Entries::default();
        (0..4).for_each(|n| entries.insert(TaskId(n), n));
        assert_eq!((entries.remove(&TaskId(1)), entries.remove(&TaskId(1))), (Some(1), None));
        assert_eq!((entries.get(&TaskId(1)), entries.get(&TaskId(2))), (None, Some(&2)));
        assert_eq!(entries.remove(&TaskId(2)), Some(2));
        (4..7).for_each(|n| entries.insert(TaskId(n), n));
        assert_eq!((entries.places.len(), entries.len()), (5, 5));
        let mut all: Vec<_> = entries.iter().map(|(task, entry)| (task.0, *entry)).collect();
        all.sort_unstable();
        assert_eq!(all, [(0, 0), (3, 3), (4, 4), (5, 5), (6, 6)]);
    }

    #[test]
    fn nothing_is_left_of_a_peak() {
        let mut entries = Entries::default();
        let many = KEPT as u64 + 1;
        (0..many).for_each(|n| entries.insert(TaskId(n), n));
        (0..many).for_each(|n| assert_eq!(entries.remove(&TaskId(n)), Some(n)));
        assert!(entries.is_empty());
        assert_eq!(entries.places.capacity(), 0);
    }
}
