//! The host's side of one sandbox: what it may use, and what it has said.

use super::files::Files;
use super::journal::{Journal, LOG_WATERMARK, Output};
use super::limiter::Limiter;
use super::outside::Outside;
use super::watches::Watches;
use crate::claims::{Claim, Who};
use crate::core::Core;
use crate::fiber::control::Control;
use crate::grants::Grant;
use crate::limits::Granted;
use crate::session::Session;
use crate::store::Drafts;
use crate::watch::Watch;
use dpfw_protocol::error::{Cause, Limit, Location};
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::message::Progress;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// What is lent to the sandboxes that run in a slot, or on a fiber.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) core: Arc<Core>,
    pub(crate) holder: Holder,
}

/// Who runs a sandbox, and knows whether its guest has to stop.
#[derive(Debug)]
pub(crate) enum Holder {
    /// A slot, from its beginning to its end.
    Slot(Arc<Watch>),
    /// A fiber or a resident, which may be in another slot after each wait or call.
    Fiber(Arc<Control>),
}

impl Lent {
    /// Whether the guest that runs has to stop.
    pub(crate) fn must_stop(&self) -> bool {
        match &self.holder {
            Holder::Slot(watch) => watch.stop_of().is_some(),
            Holder::Fiber(control) => control.must_stop(),
        }
    }

    /// The slot that the guest is in.
    pub(crate) fn watch(&self) -> Option<Arc<Watch>> {
        match &self.holder {
            Holder::Slot(watch) => Some(Arc::clone(watch)),
            Holder::Fiber(control) => control.watch(),
        }
    }

    /// The fiber that has them, if it is one.
    pub(crate) fn control(&self) -> Option<&Arc<Control>> {
        match &self.holder {
            Holder::Slot(_) => None,
            Holder::Fiber(control) => Some(control),
        }
    }
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
    /// Whether it is an init's: what it makes may not depend on what is in the store.
    pub(crate) is_init: bool,
    /// The values that the guest is writing in pieces.
    pub(crate) drafts: Drafts,
    /// What the guest watches of the store.
    pub(super) watches: Watches,
    /// Entries that the guest builds. Given up with the sandbox.
    pub(crate) claims: Vec<Claim>,
    /// As whom it builds and waits, once it has.
    pub(crate) who: Option<Arc<Who>>,
    /// What it was granted of the world outside; most were granted nothing.
    pub(super) outside: Option<Box<Outside>>,
    /// Its directories, if it was granted some.
    pub(super) files: Option<Box<Files>>,
    /// What it was made with.
    allowance: Allowance,
    calls: Calls,
    panic: Option<Box<Panic>>,
    exit: Option<u32>,
    pub(super) journal: Journal,
    /// When it may tell again how far it is.
    next_progress: Option<Instant>,
    /// What the guest said last of how far it is, if it was not sent yet.
    progress: Option<Progress>,
}

/// What an attempt may still use. Where it runs in several sandboxes, one after the other, each
/// may have as much memory as the first, and is given what the one before has left of the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    memory: u64,
    table: usize,
    log: u64,
    /// Lines that were not sent.
    dropped: u64,
    calls: Calls,
    /// When it may tell again how far it is.
    progress: Option<Instant>,
}

impl Allowance {
    /// Lines that were not sent to the attempt's master.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What an attempt has in the beginning.
    pub(crate) fn of(granted: &Granted) -> Self {
        let Granted { memory, table, log, host_calls, .. } = *granted;
        let calls = Calls::of(host_calls);
        Self { memory, table, log, dropped: 0, calls, progress: None }
    }
}

/// How often a guest may still call the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    left: u64,
    allowed: u64,
    exceeded: bool,
}

impl Calls {
    pub(crate) fn of(allowed: u64) -> Self {
        Self { left: allowed, allowed, exceeded: false }
    }

    /// Takes one; whether there was one.
    pub(crate) fn charge(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.exceeded = true,
        }
        !self.exceeded
    }

    pub(crate) fn refused(&self) -> Option<Cause> {
        let limit = Limit::HostCalls;
        self.exceeded.then_some(Cause::Limit { limit, allowed: self.allowed })
    }
}

/// The guest has called the host as often as it may; unwinds to the host.
#[derive(Debug, thiserror::Error)]
#[error("too many host calls")]
struct TooManyCalls;

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

impl Host {
    /// For an attempt of a session, which has this left.
    pub(crate) fn new(
        lent: &Arc<Lent>,
        session: &Arc<Session>,
        attempt: AttemptId,
        left: Allowance,
    ) -> Self {
        let mut journal = Journal::new(session, attempt, left.log);
        journal.go_on(left.dropped);
        Self {
            limiter: Limiter::new(left.memory, left.table),
            allowance: left,
            lent: Arc::clone(lent),
            session: Arc::clone(session),
            attempt,
            reply: Reply::default(),
            is_init: false,
            drafts: Drafts::default(),
            watches: Watches::default(),
            claims: Vec::new(),
            who: None,
            outside: None,
            files: None,
            calls: left.calls,
            panic: None,
            exit: None,
            journal,
            next_progress: left.progress,
            progress: None,
        }
    }

    /// The same with what its guest was granted, which runs in this engine.
    pub(crate) fn granted(mut self, grant: Option<&Arc<Grant>>, engine: &Engine) -> Self {
        self.outside = grant.map(|grant| Box::new(Outside::new(grant)));
        let with_files = |grant: &Arc<Grant>| {
            let directories = grant.directories.as_ref()?;
            Some(Box::new(Files::new(directories, engine, grant.files.lend())))
        };
        self.files = grant.and_then(with_files);
        self
    }

    /// A sandbox that stays is called on behalf of another: what the one before was given, or
    /// said, is not there any more. What memory it has stays counted.
    pub(crate) fn begin_call(
        &mut self,
        session: &Arc<Session>,
        call: ConversationId,
        left: &Granted,
    ) {
        self.limiter.forgive();
        self.attempt = call.attempt();
        if !Arc::ptr_eq(&self.session, session) {
            self.session = Arc::clone(session);
        }
        self.journal.begin(session, self.attempt, left.log);
        self.calls = Calls::of(left.host_calls);
        (self.panic, self.exit, self.progress, self.next_progress) = (None, None, None, None);
    }

    /// The call is over, and nothing of it stays: what it said is sent, what it had begun to
    /// write, to build or to watch is given up. Gives how many lines were not sent.
    pub(crate) fn end_call(&mut self) -> u64 {
        self.take_lines();
        self.journal.finish();
        self.send_progress();
        self.reply = Reply::default();
        self.drafts = Drafts::default();
        self.watches.clear();
        self.claims.clear();
        self.who = None;
        self.journal.dropped()
    }

    /// For an init, which runs in the name of the first attempt that needs its image.
    pub(crate) fn of_init(
        lent: &Arc<Lent>,
        session: &Arc<Session>,
        attempt: AttemptId,
        left: Allowance,
    ) -> Self {
        let mut host = Self::new(lent, session, attempt, left);
        host.is_init = true;
        // It runs once: what it grows is the image's, and of no use to others.
        host.limiter.back(false);
        host
    }

    /// Charges the guest for a call of the host: each begins with this, also the cheap ones.
    ///
    /// # Errors
    /// If it has used up what it may.
    pub(crate) fn charge(&mut self) -> wasmtime::Result<()> {
        match self.calls.charge() {
            true => Ok(()),
            false => Err(TooManyCalls.into()),
        }
    }

    /// The limit that the guest ran into, if it ran into one.
    pub(crate) fn refused(&self) -> Option<Cause> {
        self.calls.refused().or_else(|| self.limiter.refused())
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

    /// Whether anything that it logs is still sent.
    pub(crate) fn may_log(&self) -> bool {
        self.journal.may_log()
    }

    /// The guest wrote what is not looked at any more; it counts as a line.
    pub(crate) fn drop_line(&mut self) {
        self.journal.drop_line();
    }

    /// Sends a log line to the master.
    pub(crate) fn log(&mut self, level: u8, target: &str, text: &str) {
        self.take_lines();
        self.journal.log(level, target, text);
    }

    /// Tells the master how far the task is. What comes sooner than [`PAUSE`] after the
    /// last waits, and is forgotten if there is news before it is sent.
    pub(crate) fn progress(&mut self, done: u64, total: u64) {
        self.progress = Some(Progress { done, total });
        let now = Instant::now();
        if self.next_progress.is_none_or(|next| next <= now) {
            self.next_progress = Some(now + PAUSE);
            self.send_progress();
        }
    }

    fn send_progress(&mut self) {
        if let Some(progress) = self.progress.take()
            && self.session.outbox.control_bytes() < LOG_WATERMARK
        {
            // It always fits a frame.
            let _ = self.session.outbox.message(self.attempt.conversation(), &progress);
        }
    }

    /// The guest wrote to stdout or stderr: whole lines become log lines.
    pub(crate) fn write(&mut self, output: Output, bytes: &[u8]) {
        self.journal.write(output, bytes);
    }

    /// Sends what waits: lines that were not ended, and how far the guest came. Gives what
    /// is left to the attempt's next sandbox.
    pub(crate) fn finish(&mut self) -> Allowance {
        self.take_lines();
        self.journal.finish();
        self.send_progress();
        let calls = Calls { exceeded: false, ..self.calls };
        let (log, dropped) = (self.journal.left(), self.journal.dropped());
        Allowance { log, dropped, calls, progress: self.next_progress, ..self.allowance }
    }
}

impl Drop for Host {
    /// A sandbox that is thrown away while it waits has not been asked for its last words.
    fn drop(&mut self) {
        self.take_lines();
        self.journal.finish();
        self.send_progress();
        if let Holder::Fiber(control) = &self.lent.holder {
            control.set_dropped(self.journal.dropped());
        }
    }
}

/// Between two reports of progress: nobody reads faster, and guests may report in a loop.
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::sandbox::tests::host;

    #[test]
    fn progress_that_comes_too_soon_waits_for_the_end() -> wasmtime::Result<()> {
        let mut host = host(Limits::default())?;
        host.progress(1, 9);
        assert!(host.progress.is_none(), "the first is sent at once");
        let never = Instant::now() + Duration::from_secs(3600);
        host.next_progress = Some(never);
        host.progress(2, 9);
        host.progress(3, 9);
        assert_eq!(host.progress.as_ref().map(|p| p.done), Some(3));
        let left = host.finish();
        assert!(host.progress.is_none(), "the last is sent");
        assert_eq!(left.progress, Some(never), "the next sandbox has no pause of its own");
        Ok(())
    }

    #[test]
    fn the_next_sandbox_may_log_what_the_one_before_has_left() -> wasmtime::Result<()> {
        let mut first = host(Limits { log: 100, ..Limits::default() })?;
        first.log(3, "test", &"x".repeat(60));
        let left = first.finish();
        assert_eq!(left.log, 39);
        let mut next = Host::new(&first.lent, &first.session, first.attempt, left);
        assert!(next.may_log());
        next.log(3, "test", &"x".repeat(60));
        assert!(!next.may_log() && next.finish().log == 0);
        Ok(())
    }
}
