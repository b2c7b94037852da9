//! The memory that making images takes: images take turns where there is not enough for all.
//!
//! Owns: how much is in use, and the line of those that wait. Does not: know what an image is.
//! Invariants: who came first goes first, so none is passed over, however large it is and
//! whosever it is; what waits holds no part of what it waits for, so somebody always goes on.

use crate::module::compile::Clock;
use dpfw_protocol::error::Cause;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// See the module's page.
#[derive(Debug)]
pub(in crate::module) struct Turns {
    most: u64,
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    used: u64,
    last: u64,
    /// Bounded by what is compiled at once.
    waiting: VecDeque<u64>,
}

/// Its bytes are in use until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    bytes: u64,
}

impl Turns {
    pub(in crate::module) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, line: Mutex::default(), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are so many bytes, or all there are if it asks for more. The clock
    /// stands meanwhile: others take that time, not this one.
    ///
    /// # Errors
    /// [`Cause::Busy`] if the clock is stopped: nobody needs the image.
    pub(super) fn take(self: &Arc<Self>, bytes: u64, clock: &Clock) -> Result<Turn, Cause> {
        let bytes = bytes.min(self.most);
        let turns = Arc::clone(self);
        clock.on_stop(move || turns.wake());
        let _paused = clock.pause();
        let mut line = self.lock();
        line.last += 1;
        let own = line.last;
        line.waiting.push_back(own);
        loop {
            if clock.is_stopped() {
                line.waiting.retain(|other| *other != own);
                self.changed.notify_all();
                let what = "nobody waited for the image while it waited for memory".into();
                return Err(Cause::Busy { what });
            }
            if line.waiting.front() == Some(&own) && line.used + bytes <= self.most {
                line.waiting.pop_front();
                line.used += bytes;
                // The next one may have room as well.
                self.changed.notify_all();
                return Ok(Turn { turns: Arc::clone(self), bytes });
            }
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has those that wait look at their clocks.
    fn wake(&self) {
        let _line = self.lock();
        self.changed.notify_all();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().used -= self.bytes;
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    fn clock() -> Arc<Clock> {
        Arc::new(Clock::new(Duration::from_secs(3600)))
    }

    /// Takes a turn on a thread of its own, which is in the line when this returns.
    fn begin(turns: &Arc<Turns>, bytes: u64, clock: &Arc<Clock>) -> Receiver<Result<Turn, Cause>> {
        let (sender, receiver) = channel();
        let before = turns.lock().last;
        let (its, clock) = (Arc::clone(turns), Arc::clone(clock));
        std::thread::spawn(move || sender.send(its.take(bytes, &clock)));
        let mut line = turns.lock();
        while line.last == before {
            drop(line);
            std::thread::yield_now();
            line = turns.lock();
        }
        receiver
    }

    #[test]
    fn a_large_image_is_not_passed_over_by_small_ones() {
        let (turns, clock) = (Turns::new(100), clock());
        let first = turns.take(60, &clock).expect("room");
        let large = begin(&turns, 90, &clock);
        let small = begin(&turns, 10, &clock);
        assert_eq!(turns.lock().waiting.len(), 2, "there is room for the small one, which waits");
        drop(first);
        let large = large.recv().expect("an answer").expect("its turn");
        let small = small.recv().expect("an answer").expect("its turn");
        assert_eq!(turns.lock().used, 100);
        drop((large, small));
        assert_eq!(turns.lock().used, 0);
    }

    #[test]
    fn what_asks_for_more_than_there_is_goes_alone() {
        let (turns, clock) = (Turns::new(100), clock());
        let alone = turns.take(u64::MAX, &clock).expect("room");
        let next = begin(&turns, 1, &clock);
        assert_eq!(turns.lock().waiting.len(), 1);
        drop(alone);
        next.recv().expect("an answer").expect("its turn");
    }

    #[test]
    fn who_is_stopped_leaves_the_line_and_the_clock_stands_in_it() {
        let turns = Turns::new(100);
        let first = turns.take(100, &clock()).expect("room");
        let stopped = clock();
        let gone = begin(&turns, 100, &stopped);
        let left = stopped.left();
        assert_eq!(stopped.left(), left, "time passed");
        stopped.stop();
        assert!(matches!(gone.recv().expect("an answer"), Err(Cause::Busy { .. })));
        let line = turns.lock();
        assert_eq!((line.waiting.len(), line.used), (0, 100));
        drop(line);
        drop(first);
        turns.take(100, &clock()).expect("room");
    }
}
