//! What an attempt's guest says to people.
//!
//! Owns: what is left of its allowance of log bytes, the lines that it has begun, the last
//! that it wrote to stderr. Invariant: what is sent is printable, and bounded in all.

use crate::session::Session;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::limits::MAX_TEXT;
use dpfw_protocol::message::Log;
use dpfw_protocol::text::printable;
use std::collections::VecDeque;
use std::sync::Arc;

/// The log of one sandbox.
#[derive(Debug)]
pub(crate) struct Journal {
    session: Arc<Session>,
    attempt: AttemptId,
    /// Bytes that may still be sent.
    left: u64,
    /// Lines that were not sent.
    dropped: u64,
    lines: [Vec<u8>; 2],
    last: VecDeque<String>,
}

/// Where a log line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

/// Log lines are dropped while this much waits for the master: they must not displace
/// results.
pub(super) const LOG_WATERMARK: usize = 1 << 20;

/// A line that is not ended is sent when it is this long.
const LONGEST_LINE: usize = 4096;

/// Lines of stderr that are kept for the error of a program that fails.
const LAST: usize = 16;

/// Bytes of such a line that are kept.
const LAST_LINE: usize = 256;

impl Journal {
    /// For an attempt of a session, which may log so many bytes.
    pub(crate) fn new(session: &Arc<Session>, attempt: AttemptId, left: u64) -> Self {
        let (session, lines, last) = (Arc::clone(session), Default::default(), VecDeque::new());
        Self { session, attempt, left, dropped: 0, lines, last }
    }

    /// Begins anew, for another attempt or call.
    pub(crate) fn begin(&mut self, session: &Arc<Session>, attempt: AttemptId, left: u64) {
        if !Arc::ptr_eq(&self.session, session) {
            self.session = Arc::clone(session);
        }
        (self.attempt, self.left, self.dropped) = (attempt, left, 0);
        self.lines.iter_mut().for_each(Vec::clear);
        self.last.clear();
    }

    /// Goes on where one of the same attempt has ended.
    pub(crate) fn go_on(&mut self, dropped: u64) {
        self.dropped = dropped;
    }

    /// A line is not sent.
    pub(crate) fn drop_line(&mut self) {
        self.dropped += 1;
    }

    /// Lines that were not sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether anything is still sent.
    pub(crate) fn may_log(&self) -> bool {
        self.left > 0
    }

    /// Bytes that the attempt's next sandbox may log.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Sends a log line to the master. Beyond the limit nothing is sent any more, and the
    /// last line says so.
    pub(crate) fn log(&mut self, level: u8, target: &str, text: &str) {
        if !self.may_log() {
            self.dropped += 1;
            return;
        }
        let (target, mut text) = (printable(target, 256), printable(text, MAX_TEXT));
        match self.left.checked_sub(text.len() as u64 + 1) {
            Some(left) if left > 0 => self.left = left,
            _ => {
                self.left = 0;
                self.dropped += 1;
                text = "the limit on log bytes is reached; further lines are dropped".into();
            }
        }
        if self.session.outbox.control_bytes() < LOG_WATERMARK {
            let log = Log { level: level.clamp(1, 5), target, text };
            // It was cut to what fits a frame.
            let _ = self.session.outbox.message(self.attempt.conversation(), &log);
        } else {
            self.dropped += 1;
        }
    }

    /// The guest wrote to stdout or stderr: whole lines become log lines.
    pub(crate) fn write(&mut self, output: Output, bytes: &[u8]) {
        let pending = &mut self.lines[output as usize];
        pending.extend_from_slice(bytes);
        let text = match pending.iter().rposition(|b| *b == b'\n') {
            Some(end) => pending.drain(..=end).collect(),
            None if pending.len() > LONGEST_LINE => std::mem::take(pending),
            None => return,
        };
        self.lines_of(output, &text);
    }

    fn lines_of(&mut self, output: Output, text: &[u8]) {
        let (level, target) = match output {
            Output::Stdout => (3, "stdout"),
            Output::Stderr => (2, "stderr"),
        };
        for line in String::from_utf8_lossy(text).lines() {
            self.log(level, target, line);
            if output == Output::Stderr {
                self.remember(line);
            }
        }
    }

    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(printable(line, LAST_LINE));
    }

    /// Sends lines that were not ended.
    pub(crate) fn finish(&mut self) {
        for output in [Output::Stdout, Output::Stderr] {
            let rest = std::mem::take(&mut self.lines[output as usize]);
            if !rest.is_empty() {
                self.lines_of(output, &rest);
            }
        }
    }

    /// The last lines of stderr, the first first.
    pub(crate) fn last_lines(&mut self) -> Vec<String> {
        self.finish();
        std::mem::take(&mut self.last).into()
    }
}

/// Says how many lines of an attempt were not sent, when it has ended.
pub(crate) fn tell_dropped(session: &Session, attempt: AttemptId, dropped: u64) {
    if dropped > 0 && session.outbox.control_bytes() < LOG_WATERMARK {
        let lines = if dropped == 1 { "line was" } else { "lines were" };
        let text = format!("{dropped} {lines} dropped");
        let log = Log { level: 2, target: "dpfw".into(), text };
        // It is short.
        let _ = session.outbox.message(attempt.conversation(), &log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_link::{Outbox, identity};

    fn journal(left: u64) -> Journal {
        let session = Session::detached(identity("test").peer, Outbox::nowhere());
        Journal::new(&Arc::new(session), AttemptId(1), left)
    }

    #[test]
    fn the_last_lines_of_stderr_are_kept_whatever_may_be_logged() {
        let mut journal = journal(0);
        journal.write(Output::Stdout, b"not this\n");
        for n in 0..100 {
            journal.write(Output::Stderr, format!("line {n}\n\n").as_bytes());
        }
        journal.write(Output::Stderr, b"no \x1b[31mend");
        let last = journal.last_lines();
        assert_eq!((last.len(), last[0].as_str()), (LAST, "line 85"));
        assert!(last[LAST - 1].starts_with("no ") && !last[LAST - 1].contains('\x1b'));
        assert!(journal.last_lines().is_empty());
    }
}
