//! A resident's turn in a slot: what it does next, one thing after the other.
//!
//! Owns: the order of a call's end: what it left is known before it is answered, and it is
//! answered before the next one begins. Invariant: whoever took the resident in hand puts it
//! back, or leaves it waiting with what it is at.

use super::call::{Call, key};
use super::life::{BEGUN_AGAIN, Failed, Step};
use super::requests::{cannot_move, hand_over};
use super::resident::{Inner, Paused, Place, Resident};
use super::saved;
use super::work::{Body, Doing, Ran, Running, What, Work, perform};
use crate::core::Core;
use crate::queue::Woken;
use crate::sandbox::journal::tell_dropped;
use crate::session::Session;
use crate::slot::{Answers, SHORT, TURN, internal, micros};
use crate::watch::{Left, Stop, Watch};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::{CallFlags, Timing};
use dpfw_protocol::resident::{End, Saving};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What a slot lends to a resident for a turn.
pub(crate) struct Hands<'a> {
    pub(crate) core: &'a Arc<Core>,
    pub(crate) watch: &'a Arc<Watch>,
    pub(crate) answers: &'a mut Answers,
}

/// What came of a piece of work.
#[expect(clippy::large_enum_variant, reason = "most are the large one, on the way to its end")]
enum Polled {
    Ended(Doing, Ran, Left),
    /// It waits, and whoever wakes it puts it into the queue.
    Waits,
}

impl Resident {
    /// A turn, from this session's lane.
    pub(crate) fn take_turn(
        self: &Arc<Self>,
        hands: &mut Hands<'_>,
        lane: &Arc<Session>,
        started: Instant,
    ) {
        let core = hands.core;
        let lane = (!Arc::ptr_eq(lane, &self.house)).then(|| key(lane));
        let Some(paused) = self.take_up(lane) else {
            return;
        };
        self.enter(hands);
        let mut now = started;
        let mut body = None;
        let mut polled = match paused {
            Some(paused) => Some(self.go_on(hands, *paused, now)),
            None => self.begin_next(hands, &mut body, now),
        };
        loop {
            let (doing, ran, left) = match polled {
                None => break,
                Some(Polled::Ended(doing, ran, left)) => (doing, ran, left),
                Some(Polled::Waits) => return,
            };
            now = Instant::now();
            body = self.ended(hands, doing, ran, &left, now);
            if now.duration_since(started) > TURN || !self.lock().life.is_for(lane) {
                break;
            }
            polled = self.begin_next(hands, &mut body, now);
        }
        self.leave();
        self.put_back(core, body);
    }

    /// Whoever stops a guest that cannot wait finds it in this slot for the whole turn.
    fn enter(&self, hands: &Hands<'_>) {
        if !self.waits {
            self.control.set_watch(Some(hands.watch));
        }
    }

    fn leave(&self) {
        if !self.waits {
            self.control.set_watch(None);
        }
    }

    /// The first turn of one that has just been made, in a slot whose watch the attempt to spawn
    /// it has entered.
    pub(super) fn first_turn(self: &Arc<Self>, hands: &mut Hands<'_>, doing: Doing, now: Instant) {
        self.enter(hands);
        hands.watch.move_to(&self.prepared.engine);
        let (work, current) = self.work(&doing);
        self.lock().current = Some(current);
        let polled = self.start(hands, doing, work, None, now);
        self.leave();
        if let Polled::Ended(doing, ran, left) = polled {
            let body = self.ended(hands, doing, ran, &left, Instant::now());
            self.put_back(hands.core, body);
        }
    }

    /// Takes it in hand, with what it waited within. `None` if somebody else has it, or will.
    fn take_up(&self, lane: Option<usize>) -> Option<Option<Box<Paused>>> {
        let mut inner = self.lock();
        if matches!(inner.place, Place::Woken(_)) {
            inner.life.took_from(lane);
            return match std::mem::replace(&mut inner.place, Place::InSlot { woken: false }) {
                Place::Woken(paused) => Some(Some(paused)),
                other => {
                    inner.place = other;
                    None
                }
            };
        }
        inner.life.take(lane).then_some(None)
    }

    /// Puts it back, into the lanes in which it belongs; ends it if it is to end.
    fn put_back(self: &Arc<Self>, core: &Arc<Core>, body: Option<Box<Body>>) {
        let mut inner = self.lock();
        inner.life.put_back();
        let spent = match (inner.life.ended(), body, &inner.place) {
            (Some(_), body, _) => body,
            (None, Some(body), _) => {
                inner.place = Place::Here(body);
                None
            }
            // It was not called, or what it was called with has left nothing of it.
            (None, None, Place::InSlot { .. }) => {
                inner.place = Place::Nowhere;
                None
            }
            (None, None, _) => None,
        };
        match inner.life.take_to_end() {
            Some(end) => {
                drop(inner);
                self.over(core, end);
            }
            None => self.queue(core, inner),
        }
        drop(spent);
    }

    /// Begins what is next; `None` if nothing is.
    fn begin_next(
        self: &Arc<Self>,
        hands: &mut Hands<'_>,
        body: &mut Option<Box<Body>>,
        now: Instant,
    ) -> Option<Polled> {
        let core = hands.core;
        loop {
            let mut inner = self.lock();
            let doing = match inner.life.next() {
                Step::Nothing => return None,
                Step::End(end) => {
                    drop(inner);
                    drop(body.take());
                    self.over(core, end);
                    return None;
                }
                Step::Call(call) if is_late(&call, now) => {
                    drop(inner);
                    call.refuse(Cause::DeadlineExceeded);
                    continue;
                }
                Step::Call(call) => Doing::Call(call),
                Step::Begin => Doing::Begin(None),
                Step::Save => Doing::Save,
                Step::HandOver => Doing::HandOver,
            };
            let (work, current) = self.work_for(&inner, &doing);
            inner.current = Some(current);
            let is_long = inner.cost > SHORT;
            let place = std::mem::replace(&mut inner.place, Place::InSlot { woken: false });
            if let Place::Here(here) = place {
                *body = Some(here);
            }
            drop(inner);
            if is_long && !hands.answers.is_empty() {
                hands.answers.flush();
            }
            let (engine, time) = (&self.prepared.engine, self.granted.time);
            hands.watch.enter_call(
                &work.session,
                work.conversation,
                engine,
                now,
                work.deadline,
                time,
            );
            core.pacer.arm();
            return Some(self.start(hands, doing, work, body.take(), now));
        }
    }

    fn work(&self, doing: &Doing) -> (Work, (usize, u64)) {
        self.work_for(&self.lock(), doing)
    }

    /// What the guest is to do, and what that is known by.
    fn work_for(&self, inner: &Inner, doing: &Doing) -> (Work, (usize, u64)) {
        let make = || What::Make(self.args.clone(), inner.state.clone());
        let (what, session, conversation, deadline) = match doing {
            Doing::Call(call) => {
                let most = self.granted.result.min(call.session().most);
                let is_cast = call.flags.has(CallFlags::CAST);
                let (function, args) = (call.function, call.args.clone());
                let what = What::Method { function, args, most, is_cast };
                (what, Arc::clone(call.session()), call.conversation, call.deadline)
            }
            Doing::Begin(Some(job)) => {
                (make(), Arc::clone(&job.session), job.attempt.conversation(), job.deadline)
            }
            // Nobody hears what it says.
            Doing::Begin(None) => (make(), self.stand_in(), ConversationId::LINK, None),
            Doing::Save | Doing::HandOver => {
                (What::Save, self.stand_in(), ConversationId::LINK, None)
            }
        };
        let current = (key(&session), conversation.0);
        (Work { what, session, conversation, deadline }, current)
    }

    /// Has the guest do it: at once, or on a stack of its own if it may wait.
    fn start(
        self: &Arc<Self>,
        hands: &mut Hands<'_>,
        doing: Doing,
        work: Work,
        body: Option<Box<Body>>,
        now: Instant,
    ) -> Polled {
        if self.waits {
            let session = Arc::clone(&work.session);
            let (this, core) = (Arc::clone(self), Arc::clone(hands.core));
            let running: Running =
                Box::pin(async move { perform(&core, &this, body, &work).await });
            let paused = Paused { running, doing, session, ran: Duration::ZERO };
            return self.poll(hands, paused, now);
        }
        let turn = AssertUnwindSafe(|| {
            let mut performed = pin!(perform(hands.core, self, body, &work));
            match performed.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(ran) => ran,
                Poll::Pending => {
                    Ran::broken(Cause::Internal { message: "a call waited that cannot".into() })
                }
            }
        });
        let mut ran = catch_unwind(turn).unwrap_or_else(|panic| Ran::broken(internal(&*panic)));
        let left = hands.watch.leave();
        ran.timing.run_us = micros(now.elapsed());
        Polled::Ended(doing, ran, left)
    }

    /// Goes on with what waited.
    fn go_on(self: &Arc<Self>, hands: &mut Hands<'_>, paused: Paused, now: Instant) -> Polled {
        let (conversation, deadline) = match &paused.doing {
            Doing::Call(call) => (call.conversation, call.deadline),
            Doing::Begin(Some(job)) => (job.attempt.conversation(), job.deadline),
            _ => (ConversationId::LINK, None),
        };
        let time = self.granted.time.saturating_sub(paused.ran);
        let engine = &self.prepared.engine;
        match &paused.doing {
            Doing::Begin(Some(job)) => {
                hands.watch.enter(&job.session, job.attempt, engine, now, deadline, time);
            }
            _ => {
                hands.watch.enter_call(&paused.session, conversation, engine, now, deadline, time);
            }
        }
        hands.core.pacer.arm();
        self.poll(hands, paused, now)
    }

    fn poll(self: &Arc<Self>, hands: &mut Hands<'_>, mut paused: Paused, now: Instant) -> Polled {
        let waker = Waker::from(Arc::clone(self));
        // For this poll alone: once it waits, another slot may have it.
        self.control.set_watch(Some(hands.watch));
        let polled = {
            let _within = hands.core.helm.handle().enter();
            let turn = AssertUnwindSafe(|| {
                Pin::new(&mut paused.running).poll(&mut Context::from_waker(&waker))
            });
            catch_unwind(turn)
        };
        let left = hands.watch.leave();
        self.control.set_watch(None);
        paused.ran += now.elapsed();
        let mut ran = match polled {
            Ok(Poll::Pending) => match self.wait(hands.core, paused, &left) {
                None => return Polled::Waits,
                Some((doing, cause)) => return Polled::Ended(doing, Ran::broken(cause), left),
            },
            Ok(Poll::Ready(ran)) => ran,
            Err(panic) => Ran::broken(internal(&*panic)),
        };
        ran.timing.run_us = micros(paused.ran);
        Polled::Ended(paused.doing, ran, left)
    }

    /// It gives its slot back; or it is to stop, and why.
    fn wait(self: &Arc<Self>, core: &Core, paused: Paused, left: &Left) -> Option<(Doing, Cause)> {
        let mut inner = self.lock();
        let stop = inner.stop.clone().or_else(|| self.cause_of(left));
        if let Some(cause) = stop {
            drop(inner);
            let Paused { running, doing, .. } = paused;
            drop(running);
            return Some((doing, cause));
        }
        let session = Arc::clone(&paused.session);
        let is_woken = matches!(inner.place, Place::InSlot { woken: true });
        let paused = Box::new(paused);
        inner.place = match is_woken {
            true => Place::Woken(paused),
            false => Place::Waiting(paused),
        };
        drop(inner);
        if is_woken {
            core.queue.resume(Woken::Resident(Arc::clone(self), session));
        }
        None
    }

    /// Why it was stopped in its slot. The time that it had there is what was left of what is
    /// allowed.
    fn cause_of(&self, left: &Left) -> Option<Cause> {
        Some(match left.stop? {
            Stop::Time(_) => Stop::Time(self.granted.time).into(),
            stop => stop.into(),
        })
    }

    /// It was stopped while it waited, and its sandbox is to be given back.
    pub(super) fn stopped(self: &Arc<Self>, core: &Arc<Core>, paused: Paused, cause: Cause) {
        let Paused { running, doing, ran, session, .. } = paused;
        drop(running);
        let mut broken = Ran::broken(cause);
        broken.timing.run_us = micros(ran);
        self.came_to_end(core, doing, broken, Instant::now());
        session.outbox.flush();
        self.put_back(core, None);
        core.freed();
    }

    /// What was done has come to its end.
    fn ended(
        self: &Arc<Self>,
        hands: &mut Hands<'_>,
        doing: Doing,
        mut ran: Ran,
        left: &Left,
        now: Instant,
    ) -> Option<Box<Body>> {
        if ran.is_in_doubt() && ran.outcome == Err(Cause::Cancelled) {
            // What was interrupted says so; what was quicker has its own end.
            let stop = self.lock().stop.clone().or_else(|| self.cause_of(left));
            ran.outcome = Err(stop.unwrap_or(Cause::Cancelled));
        }
        let (session, body) = self.came_to_end(hands.core, doing, ran, now);
        if let Some(session) = session {
            hands.answers.add(&session, now, true);
        }
        body
    }

    /// Takes note of it, and tells whoever waits. Gives whose outbox has an answer, and the guest
    /// if its memory is in order.
    fn came_to_end(
        self: &Arc<Self>,
        core: &Arc<Core>,
        doing: Doing,
        mut ran: Ran,
        now: Instant,
    ) -> (Option<Arc<Session>>, Option<Box<Body>>) {
        let state = ran.state.take();
        let kept = state.clone().map(|state| self.keep(core, state)).transpose();
        if let (Err(cause), true) = (&kept, ran.outcome.is_ok()) {
            // The guest is in order; its state is not kept.
            ran.outcome = Err(cause.clone());
        }
        let (out, dropped) = (std::mem::take(&mut ran.out), ran.dropped);
        let mut body = ran.body.take();
        let failed = match &body {
            Some(_) => {
                self.is_well(core, &doing, &ran, now);
                None
            }
            // One that was never there is nobody's to begin again.
            None if matches!(doing, Doing::Begin(Some(_))) => None,
            None => Some(self.is_in_doubt(&doing, &ran, now)),
        };
        let session = match doing {
            Doing::Call(call) => {
                let queued = now.saturating_duration_since(call.arrived);
                let queued_us = micros(queued).saturating_sub(ran.timing.run_us);
                let timing = Timing { queued_us, ..ran.timing };
                tell_dropped(call.session(), call.conversation.attempt(), dropped);
                let session = Arc::clone(call.session());
                let is_kept = matches!(kept, Ok(Some(())));
                match ran.outcome {
                    outcome if self.is_durable() && is_kept => {
                        let outcome = outcome.map(|()| out.clone());
                        saved::answer_when_kept(core, call, timing, outcome);
                    }
                    Ok(()) => call.done(timing, &out),
                    Err(cause) => {
                        if cause == Cause::Draining {
                            let method = self.loaded.facts().residents.get(call.function);
                            let method = method.map_or("", String::as_str);
                            core.drain.interrupted_call(method, call.session(), ran_for(&timing));
                        }
                        call.failed(timing, cause);
                    }
                }
                Some(session)
            }
            Doing::Begin(Some(job)) => {
                tell_dropped(&job.session, job.attempt, dropped);
                let session = Arc::clone(&job.session);
                self.spawned(core, *job, ran.timing, ran.outcome);
                Some(session)
            }
            Doing::HandOver => hand_over(self, ran.outcome, state),
            Doing::Begin(None) | Doing::Save => {
                if let Err(cause) = ran.outcome {
                    tracing::warn!(resident = %self.key.key, %cause, "a resident failed by itself");
                }
                None
            }
        };
        if let Some(body) = &mut body {
            body.keep_out(out);
        }
        if let Some(failed) = failed {
            self.after_failure(core, failed, now);
        }
        (session, body)
    }

    /// The guest's memory is in order.
    fn is_well(self: &Arc<Self>, core: &Core, doing: &Doing, ran: &Ran, now: Instant) {
        let mut inner = self.lock();
        inner.memory = ran.timing.memory;
        inner.rest(self);
        match doing {
            Doing::Begin(_) => {
                inner.life.begun();
                inner.made = now;
            }
            Doing::Call(_) => {
                inner.life.called();
                inner.learn(ran.timing.run_us);
                if let Some(after) = self.is_to_be_saved(&mut inner) {
                    core.residents.timer().set(self, now + after);
                }
            }
            Doing::Save => {
                inner.life.saved();
                // What could not be kept is tried again.
                inner.is_changed = ran.outcome.is_err();
                if inner.is_changed && !core.is_draining() {
                    core.residents.timer().set(self, now + SAVED_AGAIN);
                }
            }
            // Whether it goes is said by whoever answers.
            Doing::HandOver => inner.is_changed &= ran.outcome.is_err(),
        }
    }

    /// When its state is to be taken, if that was not settled.
    fn is_to_be_saved(&self, inner: &mut Inner) -> Option<Duration> {
        match self.terms.saving {
            Saving::After(ms) if self.saves() && !inner.is_changed => {
                inner.is_changed = true;
                Some(Duration::from_millis(ms.min(MOST_AFTER)))
            }
            _ => None,
        }
    }

    /// The guest's memory is in doubt: it is gone.
    fn is_in_doubt(&self, doing: &Doing, ran: &Ran, now: Instant) -> Failed<Call> {
        let mut inner = self.lock();
        inner.is_changed = false;
        inner.rest(self);
        let lived = match doing {
            Doing::Begin(_) => Duration::ZERO,
            _ => now.saturating_duration_since(inner.made),
        };
        // What its slave interrupted to end is no failure: its state stays.
        let told = match &ran.outcome {
            Err(Cause::Draining) => inner.life.end(End::Drained),
            _ => Vec::new(),
        };
        let failed = inner.life.failed(lived, matches!(doing, Doing::Call(_)));
        if let (Failed::Over(End::Failed), Err(cause)) = (&failed, &ran.outcome) {
            inner.failure = Some(cause.clone());
        }
        drop(inner);
        self.tell(told, &End::Drained);
        failed
    }

    /// Begins it again behind a pause, or ends it; those who are told are told.
    fn after_failure(self: &Arc<Self>, core: &Arc<Core>, failed: Failed<Call>, now: Instant) {
        match failed {
            Failed::Again(pause, told) => {
                tracing::info!(resident = %self.key.key, ?pause, "a resident is begun again");
                for call in told {
                    call.refuse(Cause::ResidentRestarted { key: self.key.key.to_string() });
                }
                // It was to go behind the call that failed.
                let mover = self.lock().mover.take();
                if let Some(mover) = mover {
                    mover.answer(Err(cannot_move(self, BEGUN_AGAIN)));
                }
                core.residents.timer().set(self, now + pause.min(MOST_PAUSE));
            }
            Failed::Over(end) => self.over(core, end),
        }
    }
}

impl Inner {
    /// Nothing is under way.
    fn rest(&mut self, resident: &Resident) {
        self.current = None;
        self.stop = None;
        resident.control.reset();
    }

    /// Learns what a call takes: an eighth of the difference.
    fn learn(&mut self, run_us: u64) {
        let run = Duration::from_micros(run_us);
        self.cost = (self.cost * 7 + run) / 8;
    }
}

fn ran_for(timing: &Timing) -> Duration {
    Duration::from_micros(timing.run_us)
}

fn is_late(call: &Call, now: Instant) -> bool {
    call.deadline.is_some_and(|deadline| deadline <= now)
}

/// A state that could not be kept is taken again after this long: the disk may have room by then.
const SAVED_AGAIN: Duration = Duration::from_secs(1);

/// A pause that is longer is one without end.
const MOST_PAUSE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A state is taken within a day, whatever was asked for.
const MOST_AFTER: u64 = 24 * 60 * 60 * 1000;
