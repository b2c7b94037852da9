//! How much a receiver lets be under way to it.
//!
//! Owns: how deep a link is taken to be, and when a grant is worth a frame. Does not: count what
//! arrives of a conversation, or hold its sender to what was granted. Invariant: a depth is from
//! [`LEAST`] to [`WINDOW`].
//!
//! What was granted and has not arrived is on its way, or stands in the receiver's socket, ahead
//! of every small frame that is sent after it. A long link has much on its way; a quick one has
//! little, and of a whole window the rest would stand. Which it is shows at the receiver: bytes
//! that never have to be waited for stand before it; where it waits now and then, more could come.
//!
//! A receiver that is kept waiting does not get as much in a second as one that finds a window
//! before it. So a window is open to bytes that come alone, and no more than the link needs while
//! other frames come between them.

use crate::limits::{CHUNK, GRANT, WINDOW};

/// The least that may be under way: what a quick link needs to be kept busy until a grant has
/// reached the sender's thread.
pub const LEAST: u64 = 2 * CHUNK as u64;

/// Of so many bytes that come in a row, some are to have been waited for.
const SLOT: u64 = CHUNK as u64;

/// The part of itself by which a depth falls, and by which it grows.
const FALLS: u64 = 4;
const GROWS: u64 = 8;

/// It falls if the bytes that stood before the receiver are more than this part of those that came.
const STOOD: u64 = 10;

/// After so many bytes without another frame between them, they come alone.
const ALONE: u64 = 4 * WINDOW;

/// Grants that a depth is made of.
const STEPS: u64 = 4;

/// How many bytes of a conversation may be under way on a link, as its receiver finds out. It
/// begins with a window, as its peer does.
///
/// It changes when as many bytes have come, once a round trip on a long link: there a receiver
/// that was kept from reading for a moment gives up a part of it, and not all.
#[derive(Debug)]
pub struct Depth {
    bytes: u64,
    /// What has come since it changed, in slots that are over.
    come: u64,
    /// What of that was in slots of which nothing was waited for.
    stood: u64,
    /// What has come of a slot, and whether any of it was waited for.
    slot: (u64, bool),
    /// What has come since [`beside`](Self::beside).
    alone: u64,
}

impl Default for Depth {
    fn default() -> Self {
        Self { bytes: WINDOW, come: 0, stood: 0, slot: (0, false), alone: ALONE }
    }
}

impl Depth {
    /// A frame has come that is no part of what is large, and would have stood behind it.
    pub fn beside(&mut self) {
        self.alone = 0;
    }

    /// `n` bytes have come, at once or after the receiver had `waited`; gives the depth.
    pub fn arrived(&mut self, n: usize, waited: bool) -> u64 {
        let (come, has_waited) = (self.slot.0 + n as u64, self.slot.1 | waited);
        self.slot = (come, has_waited);
        if come >= SLOT {
            self.slot = (0, false);
            self.come += come;
            self.stood += if has_waited { 0 } else { come };
        }
        if self.come >= self.bytes {
            let changed = match self.stood > self.come / STOOD {
                true => self.bytes - self.bytes / FALLS,
                false => self.bytes + self.bytes / GROWS,
            };
            self.bytes = changed.clamp(LEAST, WINDOW);
            (self.come, self.stood) = (0, 0);
        }
        self.alone = self.alone.saturating_add(n as u64);
        match self.alone > ALONE {
            true => WINDOW,
            false => self.bytes,
        }
    }
}

/// What to grant a sender that is allowed `allowed` bytes, so that it has those that may be under
/// way, and no more than there is `room` for: whole chunks, and none before they are worth a frame.
pub fn grant(allowed: u64, depth: u64, room: u64) -> u64 {
    let step = (depth / STEPS).clamp(CHUNK as u64, GRANT);
    let missing = depth.min(room).saturating_sub(allowed);
    match missing >= step {
        true => missing - missing % CHUNK as u64,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A link with as many steps of time from one end to the other.
    struct Link {
        delay: usize,
        credit: u64,
        allowed: u64,
        sent: VecDeque<u64>,
        granted: VecDeque<u64>,
        socket: u64,
        waits: bool,
        alone: bool,
        depth: Depth,
    }

    impl Link {
        fn of(delay: usize) -> Self {
            let (sent, granted) = (VecDeque::new(), VecDeque::new());
            let depth = Depth::default();
            let (credit, allowed) = (WINDOW, WINDOW);
            Self {
                delay,
                credit,
                allowed,
                sent,
                granted,
                socket: 0,
                waits: true,
                alone: false,
                depth,
            }
        }

        /// In one step of time at most `sends` bytes leave and at most `reads` are read; how
        /// many are.
        fn step(&mut self, sends: u64, reads: u64) -> u64 {
            while self.granted.len() > self.delay {
                self.credit += self.granted.pop_front().unwrap_or(0);
            }
            let n = sends.min(self.credit);
            self.credit -= n;
            self.sent.push_back(n);
            while self.sent.len() > self.delay {
                self.socket += self.sent.pop_front().unwrap_or(0);
            }
            if !self.alone {
                self.depth.beside();
            }
            let (mut left, mut granted) = (reads, 0);
            while left > 0 && self.socket > 0 {
                let n = left.min(self.socket).min(CHUNK as u64);
                (left, self.socket) = (left - n, self.socket - n);
                self.allowed = self.allowed.checked_sub(n).expect("it was granted");
                let depth = self.depth.arrived(n as usize, std::mem::take(&mut self.waits));
                granted += grant(self.allowed + granted, depth, u64::MAX);
            }
            self.allowed += granted;
            self.granted.push_back(granted);
            self.waits |= left > 0;
            reads - left
        }

        /// What is read in so many steps, and the most that stands in the socket after one.
        fn run(&mut self, steps: u64, sends: u64, reads: u64) -> (u64, u64) {
            let (mut total, mut most) = (0, 0);
            for _ in 0..steps {
                total += self.step(sends, reads);
                most = most.max(self.socket);
            }
            (total, most)
        }
    }

    /// Of a quick link, per step of ten microseconds.
    const FASTER: u64 = 32 << 10;
    const SLOWER: u64 = 24 << 10;

    /// Of a long one, per step of a tenth of a millisecond: 125 MB/s, 20 ms there and back.
    const LONG: usize = 100;
    const GIGABIT: u64 = 12_500;

    #[test]
    fn on_a_quick_link_little_stands_before_a_receiver_that_is_the_slower_end() {
        let mut link = Link::of(1);
        assert!(link.run(1000, FASTER, SLOWER).1 > WINDOW / 2, "until it is found out");
        let (total, most) = link.run(10_000, FASTER, SLOWER);
        assert_eq!(link.depth.bytes, LEAST);
        assert!(most <= LEAST, "{most} bytes stand");
        assert_eq!(total, 10_000 * SLOWER, "it is never idle");
    }

    #[test]
    fn on_a_quick_link_a_receiver_that_is_the_faster_end_need_not_hold_back() {
        let mut link = Link::of(1);
        let (_, most) = link.run(10_000, SLOWER, FASTER);
        assert_eq!(link.depth.bytes, WINDOW);
        assert!(most <= SLOWER, "{most} bytes stand");
    }

    #[test]
    fn what_comes_alone_has_a_window_until_something_comes_beside_it() {
        let mut link = Link::of(1);
        link.run(10_000, FASTER, SLOWER);
        link.alone = true;
        assert!(link.run(ALONE / SLOWER, FASTER, SLOWER).1 <= LEAST, "it is seen after a while");
        let (total, most) = link.run(10_000, FASTER, SLOWER);
        assert!(most > WINDOW / 2, "{most} bytes stand");
        assert_eq!(total, 10_000 * SLOWER);
        link.alone = false;
        link.run(WINDOW / SLOWER, FASTER, SLOWER);
        let (total, most) = link.run(10_000, FASTER, SLOWER);
        assert!(most <= LEAST, "{most} bytes stand");
        assert_eq!(total, 10_000 * SLOWER, "what was learned before counts at once");
    }

    #[test]
    fn on_a_long_link_the_whole_window_is_open() {
        let mut link = Link::of(LONG);
        link.run(1000, GIGABIT, 4 * GIGABIT);
        let (total, _) = link.run(10_000, GIGABIT, 4 * GIGABIT);
        assert_eq!(link.depth.bytes, WINDOW);
        assert!(total > 10_000 * GIGABIT * 99 / 100, "{total}");
    }

    #[test]
    fn on_a_long_link_a_moment_without_reading_costs_a_part_of_the_window() {
        let mut link = Link::of(LONG);
        link.run(1000, GIGABIT, 4 * GIGABIT);
        link.run(100, GIGABIT, 0);
        link.run(600, GIGABIT, 4 * GIGABIT);
        assert!(link.depth.bytes >= WINDOW / 2, "{}", link.depth.bytes);
    }

    #[test]
    fn a_link_that_becomes_long_or_quick_is_found_out() {
        let mut link = Link::of(1);
        link.run(10_000, FASTER, SLOWER);
        assert_eq!(link.depth.bytes, LEAST);
        link.delay = LONG;
        // It grows by an eighth in a trip: these are sixty.
        link.run(18_000, GIGABIT, 4 * GIGABIT);
        assert_eq!(link.depth.bytes, WINDOW);
        link.delay = 1;
        link.run(2000, FASTER, SLOWER);
        assert_eq!(link.depth.bytes, LEAST);
    }

    #[test]
    fn grants_are_whole_chunks_and_rare() {
        let chunk = CHUNK as u64;
        assert_eq!(grant(WINDOW - GRANT + 1, WINDOW, u64::MAX), 0);
        assert_eq!(grant(WINDOW - GRANT, WINDOW, u64::MAX), GRANT);
        assert_eq!(grant(0, LEAST, u64::MAX), LEAST);
        assert_eq!(grant(LEAST - chunk + 1, LEAST, u64::MAX), 0);
        assert_eq!(grant(5, LEAST, u64::MAX), LEAST - chunk, "no parts of chunks");
        assert_eq!(grant(WINDOW, LEAST, u64::MAX), 0, "what was granted is not taken back");
        assert_eq!(grant(0, LEAST, chunk), chunk, "no more than there is room for");
        assert_eq!(grant(0, LEAST, chunk - 1), 0);
    }
}
