//! The slots of a stand-in.
//!
//! Owns: what holds a slot and until when, what waits for one. Pure: the time is passed in.
//! Does not: run anything; a task holds its slot for as long as its arguments say, and has ended
//! then. Invariants: no slot is free while anything waits; what waited begins at the instant at
//! which the slot became free, however late that is noticed, so that a stand-in is as quick as
//! a slave without any overhead.

use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::Timing;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Attempts that run longer are told of while they do.
const TICK: Duration = Duration::from_millis(1);

/// An attempt, as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) attempt: AttemptId,
    /// The task's number, which is its result.
    pub(super) number: u64,
    /// How long it holds its slot.
    pub(super) length: Duration,
    /// When it arrived.
    pub(super) arrived: Instant,
}

/// What is said of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Started(AttemptId),
    Done { attempt: AttemptId, number: u64, timing: Timing },
    Cancelled(AttemptId),
}

/// An attempt in a slot.
#[derive(Debug)]
struct Running {
    asked: Asked,
    began: Instant,
    is_told: bool,
}

impl Running {
    fn ends(&self) -> Instant {
        self.began + self.asked.length
    }

    /// When something is to be said of it.
    fn due(&self) -> Instant {
        match self.is_told || self.asked.length <= TICK {
            true => self.ends(),
            false => self.began + TICK,
        }
    }

    fn done(&self) -> Word {
        let Asked { attempt, number, length, arrived } = self.asked;
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let queued_us = micros(self.began.saturating_duration_since(arrived));
        let timing = Timing { queued_us, init_us: 0, run_us: micros(length), memory: 0 };
        Word::Done { attempt, number, timing }
    }
}

/// Some slots, and the attempts for them.
#[derive(Debug)]
pub(super) struct Slots {
    slots: usize,
    /// How many times longer than it says each task takes.
    slowness: u32,
    /// By when something is to be said of each.
    running: BTreeMap<(Instant, AttemptId), Running>,
    /// Bounded by what the hello allows the master to have here.
    waiting: VecDeque<Asked>,
}

impl Slots {
    pub(super) fn new(slots: u32, slowness: u32) -> Self {
        let (running, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { slots: slots as usize, slowness, running, waiting }
    }

    /// Takes an attempt in, behind those that wait.
    pub(super) fn take(&mut self, asked: Asked) {
        self.waiting.push_back(Asked { length: asked.length * self.slowness, ..asked });
        self.fill(asked.arrived);
    }

    /// Slots that are free have been so since then.
    fn fill(&mut self, since: Instant) {
        while self.running.len() < self.slots
            && let Some(asked) = self.waiting.pop_front()
        {
            self.put(Running { asked, began: since.max(asked.arrived), is_told: false });
        }
    }

    fn put(&mut self, running: Running) {
        self.running.insert((running.due(), running.asked.attempt), running);
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.running.first_key_value().map(|((due, _), _)| *due)
    }

    /// Says what has become due by now, in its order.
    pub(super) fn advance(&mut self, now: Instant, words: &mut Vec<Word>) {
        while let Some(first) = self.running.first_entry().filter(|first| first.key().0 <= now) {
            let ((due, attempt), running) = first.remove_entry();
            if due < running.ends() {
                words.push(Word::Started(attempt));
                self.put(Running { is_told: true, ..running });
            } else {
                words.push(running.done());
                self.fill(due);
            }
        }
    }

    /// Ends an attempt, if it is here.
    pub(super) fn cancel(&mut self, attempt: AttemptId, now: Instant, words: &mut Vec<Word>) {
        let before = self.running.len() + self.waiting.len();
        self.waiting.retain(|asked| asked.attempt != attempt);
        self.running.retain(|(_, running), _| *running != attempt);
        if self.running.len() + self.waiting.len() < before {
            words.push(Word::Cancelled(attempt));
            self.fill(now);
        }
    }

    /// Gives back those of these that have not begun.
    pub(super) fn recall(&mut self, attempts: &[AttemptId]) -> Vec<AttemptId> {
        let mut back = Vec::new();
        self.waiting.retain(|asked| {
            let is_wanted = attempts.contains(&asked.attempt);
            back.extend(is_wanted.then_some(asked.attempt));
            !is_wanted
        });
        back
    }

    /// The attempts in a slot.
    pub(super) fn running(&self) -> impl ExactSizeIterator<Item = AttemptId> {
        self.running.keys().map(|(_, attempt)| *attempt)
    }

    /// Those that wait for one.
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = AttemptId> {
        self.waiting.iter().map(|asked| asked.attempt)
    }
}

#[cfg(test)]
mod tests;
