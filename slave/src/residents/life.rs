//! One resident's life: what it does next, and who is told when it ends.
//!
//! Owns: its mailbox, where it is in its life, when it is begun again. Does not: know a clock, a
//! thread or a guest; whoever has them says what happened and asks what is next. Invariants: one
//! thing at a time; calls are begun in the order in which they were accepted, each once; each
//! call that was accepted is given back once: to be run, or to be told why it is not; of one
//! session no more than the bound wait.

use dpfw_protocol::resident::{End, Mailbox};
use dpfw_protocol::restart::{Restart, Restarts};
use std::collections::VecDeque;
use std::time::Duration;

/// What waits in a mailbox.
pub(super) trait Mail {
    /// What its session is known by.
    fn session(&self) -> usize;
    /// Its number within the session.
    fn number(&self) -> u64;
}

/// As what a resident lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Calls of one session that may wait.
    pub(super) mailbox: u32,
    pub(super) restart: Option<Restart>,
    pub(super) on_restart: Mailbox,
    /// Who has it until it is let go, if it comes from another slave.
    pub(super) held_by: Option<usize>,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Life<C> {
    stage: Stage,
    /// Bounded for each session by the terms, and by what a session may hold.
    mailbox: VecDeque<C>,
    /// Bounded by the links there are.
    senders: Vec<Sender>,
    /// Somebody has it in hand, and asks what is next.
    is_busy: bool,
    /// What is waited for before it ends.
    ending: Option<End>,
    /// Its state is to be taken.
    is_save_due: bool,
    /// Whether it wants a slot that nobody's call pays for, and was put into that lane.
    is_housed: bool,
    terms: Terms,
    restarts: Option<Restarts>,
    begun: u32,
    served: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It is to be made.
    Unmade,
    Alive,
    /// It has failed, and is made again behind a pause.
    Pausing,
    /// Its state is to be taken, to be moved by this session.
    Leaving(usize),
    /// It waits, until this session says what becomes of it.
    Held {
        by: usize,
        comes: bool,
    },
    Over(End),
}

#[derive(Debug)]
struct Sender {
    session: usize,
    waiting: u32,
    /// Whether the resident is in the session's lane.
    is_queued: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<C> {
    /// To be made, by its constructor or of what was saved.
    Begin,
    Call(C),
    /// Its state is to be taken and kept.
    Save,
    /// Its state is to be taken, and given to whoever moves it.
    HandOver,
    /// It ends now.
    End(End),
    Nothing,
}

/// Why a call is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many of the session wait as may.
    Full,
    /// It has ended, or is about to.
    Ended(End),
}

/// Why a resident is not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmoved {
    /// It has ended, or is about to.
    Ended,
    /// It can be soon.
    Now(&'static str),
}

/// Why one is not handed over that has failed.
pub(super) const BEGUN_AGAIN: &str = "it has failed, and is begun again";

/// What becomes of a resident that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed<C> {
    /// It is made again behind a pause; these are told so.
    Again(Duration, Vec<C>),
    /// It has ended.
    Over(End),
}

/// What becomes of a resident when a session ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// It goes on: who moved it is gone.
    Resumed,
    /// It is to end: it came with the session, and was not let go.
    Over,
}

impl<C: Mail> Life<C> {
    /// One that is to be made.
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            stage: Stage::Unmade,
            mailbox: VecDeque::new(),
            senders: Vec::new(),
            is_busy: false,
            ending: None,
            is_save_due: false,
            is_housed: false,
            terms,
            restarts: terms.restart.map(Restarts::new),
            begun: 0,
            served: 0,
        }
    }

    fn sender(&mut self, session: usize) -> &mut Sender {
        let at = self.senders.iter().position(|sender| sender.session == session);
        let at = at.unwrap_or_else(|| {
            self.senders.push(Sender { session, waiting: 0, is_queued: false });
            self.senders.len() - 1
        });
        &mut self.senders[at]
    }

    /// Takes a call in.
    ///
    /// # Errors
    /// The call, and why not.
    pub(super) fn accept(&mut self, call: C) -> Result<(), (C, Refused)> {
        let ended = match (&self.stage, &self.ending) {
            (Stage::Over(end), _) | (_, Some(end)) => Some(end.clone()),
            _ => None,
        };
        if let Some(end) = ended {
            return Err((call, Refused::Ended(end)));
        }
        let most = self.terms.mailbox;
        let sender = self.sender(call.session());
        if sender.waiting >= most {
            return Err((call, Refused::Full));
        }
        sender.waiting += 1;
        self.mailbox.push_back(call);
        Ok(())
    }

    /// Somebody takes it in hand, from this session's lane or from that of nobody. Whether it
    /// was free.
    pub(super) fn take(&mut self, lane: Option<usize>) -> bool {
        self.took_from(lane);
        !std::mem::replace(&mut self.is_busy, true)
    }

    /// It goes on with what it waited within, from this session's lane.
    pub(super) fn took_from(&mut self, lane: Option<usize>) {
        match lane {
            Some(session) => {
                let its = self.senders.iter_mut().filter(|sender| sender.session == session);
                its.for_each(|sender| sender.is_queued = false);
            }
            None => self.is_housed = false,
        }
    }

    /// Whoever has it in hand puts it back.
    pub(super) fn put_back(&mut self) {
        self.is_busy = false;
    }

    /// What is next. Asked by whoever has it in hand.
    pub(super) fn next(&mut self) -> Step<C> {
        if let Some(end) = self.end_now() {
            return Step::End(end);
        }
        match self.stage {
            Stage::Unmade => Step::Begin,
            Stage::Leaving(_) => Step::HandOver,
            Stage::Alive if self.is_save_due => Step::Save,
            Stage::Alive => self.pop().map_or(Step::Nothing, Step::Call),
            Stage::Pausing | Stage::Held { .. } | Stage::Over(_) => Step::Nothing,
        }
    }

    /// How it is to end, if there is nothing to do before.
    fn end_now(&self) -> Option<End> {
        let saves_first = self.is_save_due && self.stage == Stage::Alive;
        self.ending.clone().filter(|_| !saves_first)
    }

    /// The same, if nobody has it in hand; whoever asks has it then.
    pub(super) fn take_to_end(&mut self) -> Option<End> {
        let end = self.end_now().filter(|_| !self.is_busy)?;
        self.is_busy = true;
        Some(end)
    }

    fn pop(&mut self) -> Option<C> {
        let call = self.mailbox.pop_front()?;
        let sender = self.sender(call.session());
        sender.waiting = sender.waiting.saturating_sub(1);
        Some(call)
    }

    /// Whether the next call is this session's, or others' before one of this session's.
    pub(super) fn is_for(&self, lane: Option<usize>) -> bool {
        let waits = |session| self.senders.iter().any(|s| s.session == session && s.waiting > 0);
        match lane {
            Some(session) => waits(session),
            None => self.has_own(),
        }
    }

    /// Whether there is something to do that nobody called for.
    fn has_own(&self) -> bool {
        match self.stage {
            Stage::Unmade | Stage::Leaving(_) => true,
            Stage::Alive => self.is_save_due,
            Stage::Pausing | Stage::Held { .. } | Stage::Over(_) => false,
        }
    }

    /// Into which lanes it is to be put: those of sessions whose calls wait, and nobody's. None
    /// while somebody has it in hand.
    pub(super) fn lanes(&mut self) -> Vec<Option<usize>> {
        let mut lanes = Vec::new();
        if self.is_busy {
            return lanes;
        }
        let own = self.has_own();
        if own && !std::mem::replace(&mut self.is_housed, true) {
            lanes.push(None);
        }
        if own || (self.stage == Stage::Alive && self.ending.is_none()) {
            // Whoever waits for it lends it a slot, whatever it has to do first.
            for sender in &mut self.senders {
                if sender.waiting > 0 && !std::mem::replace(&mut sender.is_queued, true) {
                    lanes.push(Some(sender.session));
                }
            }
        }
        lanes
    }

    /// It was made.
    pub(super) fn begun(&mut self) {
        self.stage = match self.terms.held_by.take() {
            Some(by) => Stage::Held { by, comes: true },
            None => Stage::Alive,
        };
    }

    /// A call came to its end, and its memory is in no doubt.
    pub(super) fn called(&mut self) {
        self.served += 1;
    }

    /// Its state was taken, or cannot be taken now.
    pub(super) fn saved(&mut self) {
        self.is_save_due = false;
    }

    /// Its state was taken to be moved.
    pub(super) fn handed_over(&mut self) {
        self.is_save_due = false;
        if let Stage::Leaving(by) = self.stage {
            self.stage = Stage::Held { by, comes: false };
        }
    }

    /// Its memory is in doubt, after it lived so long.
    pub(super) fn failed(&mut self, lived: Duration, was_call: bool) -> Failed<C> {
        self.served += u64::from(was_call);
        self.is_save_due = false;
        if let Stage::Over(end) = &self.stage {
            return Failed::Over(end.clone());
        }
        if let Some(end) = self.ending.clone() {
            return Failed::Over(end);
        }
        let pause = self.restarts.as_mut().and_then(|restarts| restarts.ended(lived));
        let Some(pause) = pause else {
            return Failed::Over(End::Failed);
        };
        self.begun = self.begun.saturating_add(1);
        self.stage = Stage::Pausing;
        let told = match self.terms.on_restart {
            Mailbox::Keep => Vec::new(),
            Mailbox::Tell => self.empty(),
        };
        Failed::Again(pause, told)
    }

    /// The pause is over.
    pub(super) fn pause_over(&mut self) {
        if self.stage == Stage::Pausing {
            self.stage = Stage::Unmade;
        }
    }

    /// Its state has changed, and it is time to take it.
    pub(super) fn save_due(&mut self) {
        if !matches!(self.stage, Stage::Over(_)) {
            self.is_save_due = true;
        }
    }

    /// It is to end as soon as nobody has it in hand; those who wait are given back.
    pub(super) fn end(&mut self, end: End) -> Vec<C> {
        if matches!(self.stage, Stage::Over(_)) || self.ending.is_some() {
            return Vec::new();
        }
        self.ending = Some(end);
        self.empty()
    }

    /// It has ended.
    pub(super) fn over(&mut self, end: End) -> Vec<C> {
        self.ending = None;
        self.stage = Stage::Over(end);
        self.empty()
    }

    fn empty(&mut self) -> Vec<C> {
        self.senders.iter_mut().for_each(|sender| sender.waiting = 0);
        self.mailbox.drain(..).collect()
    }

    /// It is to be held, to be moved by this session.
    ///
    /// # Errors
    /// [`Unmoved`]: why that cannot be now.
    pub(super) fn hand_over(&mut self, by: usize) -> Result<(), Unmoved> {
        match (&self.stage, &self.ending) {
            (Stage::Over(_), _) | (_, Some(_)) => Err(Unmoved::Ended),
            (Stage::Leaving(_) | Stage::Held { .. }, _) => {
                Err(Unmoved::Now("it is being moved already"))
            }
            (Stage::Unmade | Stage::Pausing, _) => Err(Unmoved::Now(BEGUN_AGAIN)),
            (Stage::Alive, _) => {
                self.stage = Stage::Leaving(by);
                Ok(())
            }
        }
    }

    /// The session that holds it does not move it after all. Whether it was that one.
    pub(super) fn take_back(&mut self, by: usize) -> bool {
        let is_its = match self.stage {
            Stage::Leaving(holder) => holder == by,
            Stage::Held { by: holder, comes } => holder == by && !comes,
            _ => false,
        };
        if is_its {
            self.stage = Stage::Alive;
        }
        is_its
    }

    /// The session with which it came lets it go. Whether it was that one.
    pub(super) fn let_go(&mut self, by: usize) -> bool {
        let is_its = self.stage == Stage::Held { by, comes: true };
        if is_its {
            self.stage = Stage::Alive;
        }
        is_its
    }

    /// Whether it came with this session, and was not let go.
    pub(super) fn comes_with(&self, session: usize) -> bool {
        self.stage == Stage::Held { by: session, comes: true }
    }

    /// Whether it came, and was not let go.
    pub(super) fn comes(&self) -> bool {
        matches!(self.stage, Stage::Held { comes: true, .. })
    }

    /// Whether this session holds it, and may say that it was moved.
    pub(super) fn is_held_by(&self, by: usize) -> bool {
        self.stage == Stage::Held { by, comes: false }
    }

    /// Takes a call out that has not begun.
    pub(super) fn withdraw(&mut self, session: usize, number: u64) -> Option<C> {
        let is_it = |call: &C| call.session() == session && call.number() == number;
        let at = self.mailbox.iter().position(is_it)?;
        let call = self.mailbox.remove(at)?;
        let sender = self.sender(session);
        sender.waiting = sender.waiting.saturating_sub(1);
        Some(call)
    }

    /// A session is gone, and its calls with it.
    pub(super) fn forget(&mut self, session: usize) -> (Vec<C>, Left) {
        let mut dropped = Vec::new();
        if self.senders.iter().any(|s| s.session == session && s.waiting > 0) {
            let mail = std::mem::take(&mut self.mailbox);
            let (gone, stay): (VecDeque<C>, _) =
                mail.into_iter().partition(|call| call.session() == session);
            (self.mailbox, dropped) = (stay, gone.into());
        }
        self.senders.retain(|sender| sender.session != session);
        let came_with = self.comes_with(session) || self.terms.held_by == Some(session);
        let left = match () {
            () if came_with => Left::Over,
            () if self.take_back(session) => Left::Resumed,
            () => Left::Nothing,
        };
        (dropped, left)
    }

    /// Where it is, as others are told.
    pub(super) fn stage(&self) -> dpfw_protocol::resident::Stage {
        use dpfw_protocol::resident::Stage as Told;
        match self.stage {
            Stage::Alive | Stage::Over(_) => Told::Alive,
            Stage::Unmade | Stage::Pausing => Told::Restarting,
            Stage::Leaving(_) | Stage::Held { .. } => Told::Moving,
        }
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<&End> {
        match &self.stage {
            Stage::Over(end) => Some(end),
            _ => None,
        }
    }

    /// Whether somebody has it in hand.
    #[cfg(test)]
    fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// The first call of a session that waits.
    pub(super) fn find_mail(&self, session: usize) -> Option<&C> {
        self.mailbox.iter().find(|call| call.session() == session)
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.mailbox.len()
    }

    /// Calls that have come to their end.
    pub(super) fn served(&self) -> u64 {
        self.served
    }

    /// How often it was begun again.
    pub(super) fn restarts(&self) -> u32 {
        self.begun
    }
}

#[cfg(test)]
mod tests;
