//! Lives in any order of events, held against what each caller may rely on.

use super::*;
use dpfw_protocol::ids::PeerId;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A call of a test: its session and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fake(usize, u64);

impl Mail for Fake {
    fn session(&self) -> usize {
        self.0
    }
    fn number(&self) -> u64 {
        self.1
    }
}

fn terms() -> Terms {
    let restart = Some(Restart::every(Duration::from_millis(10)).retries(2));
    Terms { mailbox: 3, restart, on_restart: Mailbox::Keep, held_by: None }
}

fn alive(terms: Terms) -> Life<Fake> {
    let mut life = Life::new(terms);
    assert!(life.take(None));
    assert_eq!(life.next(), Step::Begin);
    life.begun();
    life.put_back();
    life
}

#[test]
fn calls_are_begun_in_the_order_in_which_they_came() {
    let mut life = alive(terms());
    for number in 0..3 {
        life.accept(Fake(number as usize % 2, number)).expect("room");
    }
    assert_eq!(life.lanes(), [Some(0), Some(1)]);
    assert_eq!(life.lanes(), [], "once in each");
    assert!(life.take(Some(0)));
    assert!(!life.take(Some(1)), "one has it in hand");
    assert_eq!(life.next(), Step::Call(Fake(0, 0)));
    life.called();
    assert!(life.is_for(Some(0)), "another of the session waits behind one of others");
    assert_eq!(life.next(), Step::Call(Fake(1, 1)));
    life.called();
    assert_eq!(life.next(), Step::Call(Fake(0, 2)));
    life.called();
    assert_eq!((life.next(), life.served()), (Step::Nothing, 3));
}

#[test]
fn f59_no_session_has_more_in_the_mailbox_than_the_bound() {
    let mut life = alive(terms());
    for number in 0..3 {
        life.accept(Fake(1, number)).expect("room");
    }
    assert_eq!(life.accept(Fake(1, 9)), Err((Fake(1, 9), Refused::Full)));
    assert_eq!(life.accept(Fake(2, 9)), Ok(()), "another session has room of its own");
}

#[test]
fn f29_one_that_failed_is_begun_again_behind_a_pause_and_its_mailbox_stays() {
    let mut life = alive(terms());
    for number in 0..2 {
        life.accept(Fake(1, number)).expect("room");
    }
    assert!(life.take(Some(1)));
    assert_eq!(life.next(), Step::Call(Fake(1, 0)));
    let again = life.failed(Duration::ZERO, true);
    assert_eq!(again, Failed::Again(Duration::from_millis(10), Vec::new()));
    assert_eq!(life.next(), Step::Nothing, "it pauses");
    life.put_back();
    assert_eq!(life.lanes(), []);
    life.pause_over();
    // Its caller lends it a slot, and so does nobody's lane.
    life.take_from_test();
    assert_eq!(life.next(), Step::Begin);
    life.begun();
    assert_eq!(life.next(), Step::Call(Fake(1, 1)));
    assert_eq!(life.restarts(), 1);
}

#[test]
fn those_in_the_mailbox_are_told_of_a_restart_if_they_are_to_be() {
    let mut life = alive(Terms { on_restart: Mailbox::Tell, ..terms() });
    for number in 0..2 {
        life.accept(Fake(1, number)).expect("room");
    }
    life.take_from_test();
    assert_eq!(life.next(), Step::Call(Fake(1, 0)));
    let again = life.failed(Duration::ZERO, true);
    assert_eq!(again, Failed::Again(Duration::from_millis(10), vec![Fake(1, 1)]));
}

#[test]
fn without_a_policy_a_failure_is_the_end() {
    let mut life = alive(Terms { restart: None, ..terms() });
    life.accept(Fake(1, 0)).expect("room");
    life.take_from_test();
    assert_eq!(life.next(), Step::Call(Fake(1, 0)));
    assert_eq!(life.failed(Duration::MAX, true), Failed::Over(End::Failed));
    life.over(End::Failed);
    let refused = Refused::Ended(End::Failed);
    assert_eq!(life.accept(Fake(1, 1)), Err((Fake(1, 1), refused)));
}

#[test]
fn one_that_drains_is_saved_first_if_it_has_changed() {
    let mut life = alive(terms());
    life.accept(Fake(1, 0)).expect("room");
    life.save_due();
    assert_eq!(life.end(End::Drained), [Fake(1, 0)]);
    assert_eq!(life.take_to_end(), None, "its state is to be taken first");
    assert_eq!(life.lanes(), [None]);
    life.take_from_test();
    assert_eq!(life.next(), Step::Save);
    life.saved();
    assert_eq!(life.next(), Step::End(End::Drained));
}

#[test]
fn one_that_is_moved_runs_nothing_until_it_is_known_where_it_is() {
    let mut life = alive(terms());
    assert_eq!(life.hand_over(7), Ok(()));
    assert!(life.hand_over(8).is_err(), "one moves it");
    life.take_from_test();
    assert_eq!(life.next(), Step::HandOver);
    life.handed_over();
    life.accept(Fake(1, 0)).expect("calls go on arriving");
    assert_eq!(life.next(), Step::Nothing);
    life.put_back();
    assert_eq!(life.lanes(), []);
    assert!(!life.take_back(8) && !life.let_go(7) && life.is_held_by(7));
    assert_eq!(life.forget(7).1, Left::Resumed, "who moved it is gone");
    assert_eq!(life.lanes(), [Some(1)]);
}

#[test]
fn one_that_comes_waits_to_be_let_go_and_goes_with_its_session() {
    let held = Terms { held_by: Some(7), ..terms() };
    let mut life = alive(held);
    life.accept(Fake(1, 0)).expect("room");
    assert_eq!(life.lanes(), []);
    assert!(!life.let_go(8) && life.let_go(7));
    assert_eq!(life.lanes(), [Some(1)]);
    let mut life = alive(held);
    assert_eq!(life.forget(7).1, Left::Over);
}

impl Life<Fake> {
    fn take_from_test(&mut self) {
        drop(self.lanes());
        assert!(self.take(None) || self.is_busy());
    }
}

/// Something that happens to a resident.
#[derive(Clone, Debug)]
enum Event {
    Call(usize),
    Withdraw(usize),
    /// The next of the lanes has a turn.
    Turn,
    /// What is under way ends well, or leaves the memory in doubt after so long a life.
    Ends(Option<u64>),
    PauseOver,
    Changed,
    HandOver(usize),
    TakeBack(usize),
    Moved(usize),
    LetGo(usize),
    Leaves(usize),
    Stop,
    Drain,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Ran,
    Told,
    Gone,
}

struct World {
    life: Life<Fake>,
    fates: BTreeMap<u64, (usize, Fate)>,
    /// The calls that were begun, in that order.
    begun: Vec<u64>,
    lanes: VecDeque<Option<usize>>,
    in_hand: Option<(Option<usize>, Step<Fake>)>,
    is_over: bool,
}

impl World {
    fn new(terms: Terms) -> Self {
        let mut world = Self {
            life: Life::new(terms),
            fates: BTreeMap::new(),
            begun: Vec::new(),
            lanes: VecDeque::new(),
            in_hand: None,
            is_over: false,
        };
        assert!(world.life.take(None));
        let step = world.life.next();
        world.in_hand = Some((None, step));
        world
    }

    fn ends(&mut self, calls: Vec<Fake>, fate: Fate) {
        for Fake(session, number) in calls {
            let old = self.fates.insert(number, (session, fate));
            assert_eq!(old, Some((session, Fate::Waits)), "call {number} had its end before");
        }
    }

    fn queue(&mut self) {
        let lanes = self.life.lanes();
        assert!(lanes.iter().all(|lane| !self.lanes.contains(lane)), "once in each lane");
        self.lanes.extend(lanes);
    }

    fn over(&mut self, end: End) {
        assert!(!self.is_over, "it ends once");
        self.is_over = true;
        let told = self.life.over(end);
        self.ends(told, Fate::Told);
    }

    /// Whoever has it in hand asks what is next, or puts it back.
    fn go_on(&mut self, lane: Option<usize>) {
        match self.life.next() {
            Step::Nothing => {
                self.life.put_back();
                match self.life.take_to_end() {
                    Some(end) => self.over(end),
                    None => self.queue(),
                }
            }
            Step::End(end) => {
                self.over(end);
                self.life.put_back();
            }
            Step::Call(call) => {
                self.ends(vec![call], Fate::Ran);
                self.begun.push(call.1);
                self.in_hand = Some((lane, Step::Call(call)));
            }
            step => self.in_hand = Some((lane, step)),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Call(session) => {
                let number = self.fates.len() as u64;
                if self.life.accept(Fake(session, number)).is_ok() {
                    self.fates.insert(number, (session, Fate::Waits));
                    self.queue();
                }
            }
            Event::Withdraw(nth) => {
                let Some((&number, &(session, _))) = self.fates.iter().nth(nth) else { return };
                let withdrawn = self.life.withdraw(session, number);
                self.ends(withdrawn.into_iter().collect(), Fate::Gone);
            }
            Event::Turn => {
                let Some(lane) = self.lanes.pop_front() else { return };
                if self.life.take(lane) {
                    self.go_on(lane);
                }
            }
            Event::Ends(lived) => self.end_of_step(lived),
            Event::PauseOver => {
                self.life.pause_over();
                self.queue();
            }
            Event::Changed => {
                self.life.save_due();
                self.queue();
            }
            Event::HandOver(by) => {
                if self.life.hand_over(by).is_ok() {
                    self.queue();
                }
            }
            Event::TakeBack(by) => {
                self.life.take_back(by);
                self.queue();
            }
            Event::LetGo(by) => {
                self.life.let_go(by);
                self.queue();
            }
            Event::Moved(by) if self.life.is_held_by(by) => {
                self.end(End::Moved(PeerId::new("there").expect("printable")));
            }
            Event::Moved(_) => {}
            Event::Leaves(session) => {
                let (calls, left) = self.life.forget(session);
                self.lanes.retain(|lane| *lane != Some(session));
                self.ends(calls, Fate::Gone);
                match left {
                    Left::Nothing => {}
                    Left::Resumed => self.queue(),
                    Left::Over => self.end(End::Stopped),
                }
            }
            Event::Stop => self.end(End::Stopped),
            Event::Drain => {
                self.end(End::Drained);
                self.queue();
            }
        }
    }

    fn end(&mut self, end: End) {
        let told = self.life.end(end);
        self.ends(told, Fate::Told);
        if let Some(end) = self.life.take_to_end() {
            self.over(end);
            self.life.put_back();
        }
    }

    fn end_of_step(&mut self, lived: Option<u64>) {
        let Some((lane, step)) = self.in_hand.take() else { return };
        match (lived, step) {
            (Some(lived), step) => {
                let was_call = matches!(step, Step::Call(_));
                match self.life.failed(Duration::from_millis(lived), was_call) {
                    Failed::Again(_, told) => self.ends(told, Fate::Told),
                    Failed::Over(end) => self.over(end),
                }
            }
            (None, Step::Begin) => self.life.begun(),
            (None, Step::Call(_)) => self.life.called(),
            (None, Step::Save) => self.life.saved(),
            (None, Step::HandOver) => self.life.handed_over(),
            (None, Step::End(_) | Step::Nothing) => unreachable!("nothing was under way"),
        }
        self.go_on(lane);
    }

    fn check(&self) {
        assert!(self.begun.is_sorted(), "begun out of order: {:?}", self.begun);
        let waiting = self.fates.values().filter(|(_, fate)| *fate == Fate::Waits);
        assert_eq!(waiting.count(), self.life.waiting());
        for session in 0..SESSIONS {
            let its = self.fates.values().filter(|it| **it == (session, Fate::Waits)).count();
            assert!(its <= self.life.terms.mailbox as usize, "{its} calls of {session} wait");
        }
        if self.is_over {
            assert_eq!(self.life.waiting(), 0, "somebody waits for one that has ended");
        }
        assert_eq!(self.in_hand.is_some(), self.life.is_busy() && !self.is_over);
    }

    /// Whoever waits for something that nobody else has to say gets it.
    fn settle(&mut self) {
        for _ in 0..1000 {
            match (self.in_hand.is_some(), self.lanes.is_empty()) {
                (true, _) => self.handle(Event::Ends(None)),
                (false, false) => self.handle(Event::Turn),
                (false, true) => break,
            }
            self.check();
        }
        let waits = matches!(self.life.stage, Stage::Pausing | Stage::Held { .. });
        assert!(waits || self.life.waiting() == 0, "{:?} and nobody comes", self.life);
    }
}

const SESSIONS: usize = 3;

fn event() -> impl Strategy<Value = Event> {
    let session = || 0..SESSIONS;
    prop_oneof![
        8 => session().prop_map(Event::Call),
        8 => Just(Event::Turn),
        8 => prop_oneof![
            6 => Just(None),
            1 => (0u64..50).prop_map(Some),
        ].prop_map(Event::Ends),
        2 => (0usize..30).prop_map(Event::Withdraw),
        2 => Just(Event::PauseOver),
        1 => Just(Event::Changed),
        1 => session().prop_map(Event::HandOver),
        1 => session().prop_map(Event::TakeBack),
        1 => session().prop_map(Event::Moved),
        1 => session().prop_map(Event::LetGo),
        1 => session().prop_map(Event::Leaves),
        1 => Just(Event::Stop),
        1 => Just(Event::Drain),
    ]
}

proptest! {
    #[test]
    fn exactly_the_accepted_calls_happen_once_and_in_order(
        events in prop::collection::vec(event(), 0..120),
        tell: bool,
        held in prop::option::of(0..SESSIONS),
        retries in prop::option::of(0u32..4),
    ) {
        let every = Duration::from_millis(10);
        let restart = retries.map(|retries| Restart::every(every).retries(retries));
        let on_restart = if tell { Mailbox::Tell } else { Mailbox::Keep };
        let mut world = World::new(Terms { mailbox: 4, restart, on_restart, held_by: held });
        for event in events {
            world.handle(event);
            world.check();
        }
        world.settle();
    }
}
