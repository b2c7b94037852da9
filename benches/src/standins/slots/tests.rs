use super::*;

const MS: Duration = Duration::from_millis(1);

fn asked(attempt: u64, length: Duration, arrived: Instant) -> Asked {
    Asked { attempt: AttemptId(attempt), number: attempt + 100, length, arrived }
}

fn done(attempt: u64, queued: Duration, run: Duration) -> Word {
    let (queued_us, run_us) = (queued.as_micros() as u64, run.as_micros() as u64);
    let timing = Timing { queued_us, init_us: 0, run_us, memory: 0 };
    Word::Done { attempt: AttemptId(attempt), number: attempt + 100, timing }
}

fn advanced(slots: &mut Slots, now: Instant) -> Vec<Word> {
    let mut words = Vec::new();
    slots.advance(now, &mut words);
    words
}

#[test]
fn what_takes_no_time_ends_at_once_in_its_order() {
    let (mut slots, now) = (Slots::new(1, 1), Instant::now());
    (1..=3).for_each(|attempt| slots.take(asked(attempt, Duration::ZERO, now)));
    let zero = Duration::ZERO;
    assert_eq!(advanced(&mut slots, now), [1, 2, 3].map(|attempt| done(attempt, zero, zero)));
    assert_eq!(slots.next(), None);
}

#[test]
fn one_begins_when_the_one_before_ended_however_late_that_is_noticed() {
    let (mut slots, now) = (Slots::new(1, 1), Instant::now());
    slots.take(asked(1, MS / 2, now));
    slots.take(asked(2, MS, now));
    assert_eq!(slots.next(), Some(now + MS / 2));
    assert_eq!(
        advanced(&mut slots, now + 5 * MS),
        [done(1, Duration::ZERO, MS / 2), done(2, MS / 2, MS)]
    );
    // One that comes later does not begin before.
    slots.take(asked(3, MS, now + 6 * MS));
    assert_eq!(slots.next(), Some(now + 7 * MS));
}

#[test]
fn what_runs_longer_than_a_tick_is_told_of_and_slow_ones_take_longer() {
    let (mut slots, now) = (Slots::new(1, 10), Instant::now());
    slots.take(asked(1, MS, now));
    assert_eq!(advanced(&mut slots, now + MS), [Word::Started(AttemptId(1))]);
    assert_eq!(slots.next(), Some(now + 10 * MS));
    assert_eq!(advanced(&mut slots, now + 10 * MS), [done(1, Duration::ZERO, 10 * MS)]);
}

#[test]
fn only_what_waits_is_given_back_and_what_runs_can_be_cancelled() {
    let (mut slots, now) = (Slots::new(1, 1), Instant::now());
    (1..=3).for_each(|attempt| slots.take(asked(attempt, MS, now)));
    let ids = [1, 3, 9].map(AttemptId);
    assert_eq!(slots.recall(&ids), [AttemptId(3)]);
    let mut words = Vec::new();
    slots.cancel(AttemptId(1), now + MS / 4, &mut words);
    slots.cancel(AttemptId(3), now + MS / 4, &mut words);
    assert_eq!(words, [Word::Cancelled(AttemptId(1))]);
    assert_eq!(slots.running().collect::<Vec<_>>(), [AttemptId(2)]);
    assert_eq!(slots.next(), Some(now + MS / 4 + MS));
    assert_eq!(slots.waiting().len(), 0);
}
