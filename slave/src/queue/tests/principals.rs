//! Principals among each other: what one has does not depend on how many sessions another has.

use super::*;
use dpfw_protocol::ids::ConversationId;

/// Another session of the same principal.
fn another(session: &Session) -> Arc<Session> {
    Arc::new(Session::silent(session, session.namespace.clone()))
}

/// So many sessions of one principal.
fn many(sessions: usize) -> Vec<Arc<Session>> {
    let first = session();
    let others: Vec<_> = (1..sessions).map(|_| another(&first)).collect();
    [first].into_iter().chain(others).collect()
}

/// The next job, which keeps its slot.
fn begin(queue: &Queue) -> Option<Job> {
    match queue.next(|_| (), |_| Some(()), &mut Vec::new()) {
        Next::Run(job, ()) => Some(job),
        Next::Resume(_) | Next::Nothing | Next::Stop => None,
    }
}

#[test]
fn ten_sessions_of_one_get_together_what_one_session_of_another_gets() {
    let queue = Queue::new(10_000);
    let (ten, one) = (many(10), session());
    ten.iter().for_each(|session| push(&queue, session, &(1..=100).collect::<Vec<_>>()));
    push(&queue, &one, &(1001..=1100).collect::<Vec<_>>());
    let started: Vec<_> = (0..200).filter_map(|_| next(&queue)).collect();
    for half in started.chunks(100) {
        let ones = half.iter().filter(|attempt| **attempt > 1000).count();
        assert_eq!(ones, 50, "{half:?}");
    }
    // The ten have taken turns: ten starts each.
    assert!(ten.iter().all(|session| queue.unstarted(session).len() == 90));
    assert!(queue.unstarted(&one).is_empty());
    let rest = std::iter::from_fn(|| next(&queue)).count();
    assert_eq!((rest, queue.counts()), (900, (0, 0)), "whoever is alone has all");
}

#[test]
fn a_free_slot_goes_to_who_is_in_the_fewest_however_long_others_stay_in_theirs() {
    let queue = Queue::new(100);
    let (long, short) = (many(3), session());
    long.iter().for_each(|session| push(&queue, session, &[1, 2, 3]));
    let held: Vec<_> = (0..3).filter_map(|_| begin(&queue)).collect();
    assert_eq!(held.len(), 3, "whoever is alone has all slots");
    push(&queue, &short, &(1..=20).collect::<Vec<_>>());
    // One slot of four is left to who came late, and stays so while the others do not end.
    for attempt in 1..=10 {
        let job = begin(&queue).expect("one waits");
        assert!(Arc::ptr_eq(&job.session, &short), "attempt {attempt}");
        queue.done(&job.session);
    }
    // When two of three have ended, both have as many, and then take turns.
    let mut held = held.into_iter();
    held.by_ref().take(2).for_each(|job| drop(queue.done(&job.session)));
    let whose: Vec<_> = (0..3).filter_map(|_| begin(&queue)).collect();
    let shorts = whose.iter().filter(|job| Arc::ptr_eq(&job.session, &short)).count();
    assert_eq!(shorts, 2, "two slots each");
    for job in whose.into_iter().chain(held) {
        queue.done(&job.session);
    }
    assert!(long.iter().all(|session| session.holdings.slots.load(Relaxed) == 0));
}

#[test]
fn one_principal_cannot_fill_the_queue_for_all_from_many_sessions() {
    let queue = Queue::new(SHARE * 2);
    let (greedy, modest) = (many(4), session());
    for session in &greedy {
        let _ = (1..=SHARE as u64 * 2).all(|id| queue.push(job(session, id)).is_ok());
    }
    assert_eq!(queue.counts().0, SHARE * 2);
    push(&queue, &modest, &[1, 2]);
    assert!(queue.push(job(&another(&greedy[0]), 1)).is_err(), "another session is no other");
}

#[test]
fn who_has_many_sessions_holds_all_slots_as_often_as_who_has_one() {
    let queue = Queue::new(100);
    let (ten, one) = (many(10), session());
    let wish = |session: &Arc<Session>| {
        let wish = Reservation { session: Arc::clone(session), conversation: ConversationId::LINK };
        queue.reserve(wish, true)
    };
    assert_eq!(wish(&ten[0]), Wished::Granted);
    assert!(ten[1..].iter().all(|session| wish(session) == Wished::Waiting));
    let mut holder = Arc::clone(&ten[0]);
    let mut ones = 0;
    for _ in 0..10 {
        if !Arc::ptr_eq(&holder, &one) && queue.is_taken_from(&one) {
            wish(&one);
        }
        holder = queue.release(&holder).granted.expect("others wait").session;
        ones += usize::from(Arc::ptr_eq(&holder, &one));
    }
    assert!((4..=6).contains(&ones), "{ones} of 10");
}
