//! The host's side of one sandbox: what it may use, and what it has said.

use super::limiter::Limiter;
use crate::core::Core;
use crate::session::Session;
use crate::watch::Watch;
use dpfw_protocol::error::{Cause, Location};
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::{Log, Progress};
use dpfw_protocol::text::printable;
use std::sync::Arc;

/// What a slot lends to the sandboxes that run in it.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) core: Arc<Core>,
    pub(crate) watch: Arc<Watch>,
}

/// The state of one sandbox.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) limiter: Limiter,
    pub(crate) lent: Arc<Lent>,
    pub(crate) session: Arc<Session>,
    pub(crate) attempt: AttemptId,
    /// The answer to the guest's last request to the keyed store.
    pub(crate) reply: Reply,
    panic: Option<Box<Panic>>,
    exit: Option<u32>,
    log_left: u64,
    lines: [Vec<u8>; 2],
}

/// What the guest takes after it has asked the keyed store.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) bytes: dpfw_protocol::Bytes,
    pub(crate) version: u64,
}

/// What the guest's panic hook said.
#[derive(Debug)]
struct Panic {
    message: String,
    location: Option<Location>,
}

/// Where a log line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Host {
    /// For an attempt of a session.
    pub(crate) fn new(lent: &Arc<Lent>, session: &Arc<Session>, attempt: AttemptId) -> Self {
        let limits = &lent.core.limits;
        Self {
            limiter: Limiter::new(limits.memory, limits.table),
            lent: Arc::clone(lent),
            session: Arc::clone(session),
            attempt,
            reply: Reply::default(),
            panic: None,
            exit: None,
            log_left: limits.log,
            lines: Default::default(),
        }
    }

    /// The guest's panic hook ran.
    pub(crate) fn panicked(&mut self, message: String, location: Option<Location>) {
        self.panic = Some(Box::new(Panic { message, location }));
    }

    /// The guest ended itself.
    pub(crate) fn exited(&mut self, code: u32) {
        self.exit = Some(code);
    }

    /// What the guest said of its end before it trapped.
    pub(crate) fn last_words(&mut self, backtrace: &mut Vec<String>) -> Option<Cause> {
        if let Some(panic) = self.panic.take() {
            let Panic { message, location } = *panic;
            return Some(Cause::Panic { message, location, backtrace: std::mem::take(backtrace) });
        }
        let code = self.exit.take()?;
        Some(Cause::GuestAbi { message: format!("it called exit({code}) instead of returning") })
    }

    /// Sends a log line to the master. Beyond the limit nothing is sent any more, and the
    /// last line says so.
    pub(crate) fn log(&mut self, level: u8, target: &str, text: &str) {
        if self.log_left == 0 {
            return;
        }
        let most = dpfw_protocol::limits::MAX_TEXT;
        let (target, mut text) = (printable(target, 256), printable(text, most));
        match self.log_left.checked_sub(text.len() as u64 + 1) {
            Some(left) if left > 0 => self.log_left = left,
            _ => {
                self.log_left = 0;
                text = "the limit on log bytes is reached; further lines are dropped".into();
            }
        }
        if self.session.outbox.control_bytes() < LOG_WATERMARK {
            let log = Log { level: level.clamp(1, 5), target, text };
            // It was cut to what fits a frame.
            let _ = self.session.outbox.message(self.attempt.conversation(), &log);
        }
    }

    /// Tells the master how far the task is.
    pub(crate) fn progress(&self, done: u64, total: u64) {
        if self.session.outbox.control_bytes() < LOG_WATERMARK {
            // It always fits a frame.
            let progress = Progress { done, total };
            let _ = self.session.outbox.message(self.attempt.conversation(), &progress);
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
        }
    }

    /// Sends what the guest wrote without ending the line.
    pub(crate) fn finish_lines(&mut self) {
        for output in [Output::Stdout, Output::Stderr] {
            let rest = std::mem::take(&mut self.lines[output as usize]);
            if !rest.is_empty() {
                self.lines_of(output, &rest);
            }
        }
    }
}

/// Log lines are dropped while this much waits for the master: they must not displace
/// results.
const LOG_WATERMARK: usize = 1 << 20;

/// A line that is not ended is sent when it is this long.
const LONGEST_LINE: usize = 4096;
