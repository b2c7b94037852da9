use super::*;
use crate::job::Bound;
use crate::shares::Supply;
use dpfw_link::{Outbox, identity};
use dpfw_protocol::ids::{BindId, ModuleHash};
use dpfw_protocol::message::{Bind, TaskFlags};
use dpfw_protocol::recycle::Arrived;
use std::time::Instant;

mod principals;

fn session() -> Arc<Session> {
    Arc::new(Session::detached(identity("master").peer, Outbox::nowhere()))
}

fn job(session: &Arc<Session>, attempt: u64) -> Job {
    let module = ModuleHash::of(b"");
    let bind = Bind { bind: BindId(0), module, task: "task".into(), expects: None };
    Job {
        session: Arc::clone(session),
        _held: session.hold(&Supply::new(u64::MAX)).expect("one of few"),
        attempt: AttemptId(attempt),
        bound: Arc::new(Bound::new(bind)),
        args: Arrived::default(),
        flags: TaskFlags::default(),
        limits: None,
        spawn: None,
        keys: None,
        refused: None,
        arrived: Instant::now(),
        deadline: None,
    }
}

fn push(queue: &Queue, session: &Arc<Session>, attempts: &[u64]) {
    attempts.iter().for_each(|id| assert!(queue.push(job(session, *id)).is_ok(), "{id}"));
}

fn next(queue: &Queue) -> Option<u64> {
    let mut entered = None;
    let enter = |entering: Entering<'_>| {
        let Entering::Job(job) = entering else { panic!("none waited") };
        entered = Some(job.attempt);
    };
    match queue.next(enter, |_| Some(()), &mut Vec::new()) {
        Next::Run(job, ()) => {
            assert_eq!(entered, Some(job.attempt), "it was not announced");
            queue.done(&job.session);
            Some(job.attempt.0)
        }
        Next::Resume(_) | Next::Nothing | Next::Stop => None,
    }
}

#[test]
fn a_sessions_attempts_start_in_their_order_and_sessions_take_turns() {
    let queue = Queue::new(100);
    let (one, two) = (session(), session());
    push(&queue, &one, &[1, 2, 5, 4, 3]);
    push(&queue, &two, &[11, 12]);
    let order: Vec<_> = std::iter::from_fn(|| next(&queue)).collect();
    assert_eq!(order, [1, 11, 2, 12, 3, 4, 5]);
}

#[test]
fn what_is_taken_back_does_not_start_and_others_are_not_touched() {
    let queue = Queue::new(1000);
    let (one, two) = (session(), session());
    push(&queue, &one, &(1..=40).collect::<Vec<_>>());
    push(&queue, &two, &[1, 2]);
    let ids = |jobs: Vec<Job>| jobs.iter().map(|job| job.attempt.0).collect::<Vec<_>>();
    assert_eq!(ids(queue.take(&one, &[AttemptId(7), AttemptId(99)])), [7]);
    let many: Vec<_> = (10..=50).map(AttemptId).collect();
    assert_eq!(ids(queue.take(&one, &many)), (10..=40).collect::<Vec<_>>());
    assert!(queue.take(&session(), &many).is_empty());
    assert_eq!(queue.take_session(&two).len(), 2);
    let left: Vec<_> = std::iter::from_fn(|| next(&queue)).collect();
    assert_eq!(left, [1, 2, 3, 4, 5, 6, 8, 9]);
    assert_eq!(queue.counts(), (0, 0));
}

#[test]
fn one_session_cannot_fill_the_queue_for_all() {
    let queue = Queue::new(SHARE * 2);
    let (greedy, modest) = (session(), session());
    let filled = (1..).take_while(|id| queue.push(job(&greedy, *id)).is_ok()).count();
    assert_eq!(filled, SHARE * 2);
    push(&queue, &modest, &[1, 2]);
    assert!(queue.push(job(&modest, 3)).is_err(), "it has its share");
    assert!(queue.push(job(&greedy, 1000)).is_err());
}

#[test]
fn when_it_is_stopped_nothing_starts_any_more() {
    let queue = Queue::new(10);
    let one = session();
    push(&queue, &one, &[1, 2]);
    assert_eq!(queue.stop().len(), 2);
    let next = queue.next(|_| (), |_| Some(()), &mut Vec::new());
    assert!(matches!(next, Next::Stop));
    assert!(queue.push(job(&one, 3)).is_err());
}

/// The next attempt, if only those with even ids find a sandbox; and what is held back.
fn next_even(queue: &Queue) -> (Option<u64>, Vec<u64>) {
    let mut held = Vec::new();
    let next = queue.next(|_| (), |job| (job.attempt.0 % 2 == 0).then_some(()), &mut held);
    let held = held.into_iter().map(|(_, attempt)| attempt.0).collect();
    match next {
        Next::Run(job, ()) => {
            queue.done(&job.session);
            (Some(job.attempt.0), held)
        }
        _ => (None, held),
    }
}

#[test]
fn who_finds_no_sandbox_is_held_back_and_others_pass() {
    let queue = Queue::new(100);
    let (one, two) = (session(), session());
    push(&queue, &one, &[1, 3, 4, 5]);
    push(&queue, &two, &[7]);
    assert_eq!(next_even(&queue), (Some(4), vec![1, 3]));
    // Each is said to be held back once.
    assert_eq!(next_even(&queue), (None, vec![7, 5]));
    assert_eq!(next_even(&queue), (None, vec![]));
    assert!(queue.holds_back() && queue.counts() == (4, 0), "they wait");
    assert_eq!(queue.unstarted(&one), [1, 3, 5].map(AttemptId));
    // Before one is given back nothing of them is asked for again.
    assert_eq!(next(&queue), None);
    queue.vacated();
    assert_eq!(next_even(&queue), (None, vec![]));
    queue.vacated();
    push(&queue, &one, &[9, 10]);
    let order: Vec<_> = std::iter::from_fn(|| next(&queue)).collect();
    assert_eq!(order, [7, 1, 3, 5, 9, 10]);
    assert!(!queue.holds_back() && queue.counts() == (0, 0));
}

#[test]
fn what_is_held_back_is_taken_as_what_waits() {
    let queue = Queue::new(100);
    let one = session();
    push(&queue, &one, &[1, 3, 5, 7, 9, 11]);
    assert_eq!(next_even(&queue), (None, vec![1, 3, 5, 7, 9, 11]));
    push(&queue, &one, &[13]);
    let ids = |jobs: Vec<Job>| jobs.iter().map(|job| job.attempt.0).collect::<Vec<_>>();
    assert_eq!(ids(queue.take(&one, &[AttemptId(3), AttemptId(13), AttemptId(2)])), [3, 13]);
    assert_eq!(ids(queue.take_held()), [1, 5, 7, 9, 11]);
    assert!(queue.take_session(&one).is_empty());
    push(&queue, &one, &[15, 17]);
    assert_eq!(next_even(&queue), (None, vec![15, 17]));
    assert_eq!(queue.take_session(&one).len(), 2);
    push(&queue, &one, &[19]);
    assert_eq!(next_even(&queue), (None, vec![19]));
    assert_eq!((ids(queue.stop()), queue.counts()), (vec![19], (0, 0)));
}
