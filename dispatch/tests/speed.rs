//! How many events the policy handles in a second. Not a test of anything: run it with
//! `cargo test --release -p dpfw-dispatch --test speed -- --ignored --nocapture`.

use dpfw_dispatch::{
    Config, Core, Effect, End, Event, KindId, Placement, SlaveId, TaskId, TaskSpec, Time,
};
use dpfw_protocol::message::TaskFlags;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

fn spec() -> TaskSpec {
    let (kind, flags) = (KindId(0), TaskFlags::default());
    TaskSpec { kind, flags, deadline: None, placement: Placement::Anywhere, calls: 1 }
}

/// Submits all tasks, then ends each in the order of sending.
fn measure(slaves: u64, tasks: u64, run: Duration) {
    let (mut core, mut out) = (Core::new(Config::default()), Vec::new());
    for id in 1..=slaves {
        let event = Event::SlaveJoined { slave: SlaveId(id), slots: 2, attempts: 8192 };
        core.handle(Time::ZERO, event, &mut out);
    }
    let mut sent = VecDeque::new();
    let note = |out: &mut Vec<Effect>, sent: &mut VecDeque<_>| {
        for effect in out.drain(..) {
            if let Effect::Send { slave, attempt, .. } = effect {
                sent.push_back((slave, attempt));
            }
        }
    };
    let begin = Instant::now();
    for id in 1..=tasks {
        core.handle(Time::ZERO, Event::Submit { task: TaskId(id), spec: spec() }, &mut out);
        note(&mut out, &mut sent);
    }
    let submitted = begin.elapsed();
    let queued = core.stats().queued;
    let (begin, mut events) = (Instant::now(), 0);
    while let Some((slave, attempt)) = sent.pop_front() {
        events += 1;
        let end = End::Done { run };
        core.handle(Time::from_nanos(events), Event::Finished { slave, attempt, end }, &mut out);
        note(&mut out, &mut sent);
    }
    let ended = begin.elapsed();
    assert_eq!(core.stats().accepted, tasks);
    let rate = |time: Duration| tasks as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{slaves:5} slaves, {queued:8} queued, {run:?} each: {:.2} M submits/s, {:.2} M ends/s",
        rate(submitted),
        rate(ended),
    );
}

#[test]
#[ignore = "a measurement"]
fn events_per_second() {
    for run in [Duration::from_micros(10), Duration::from_millis(10)] {
        measure(1, 1_000_000, run);
        measure(1000, 1_000_000, run);
    }
}

/// What a submit, a cancel and an end cost while so many others wait, in nanoseconds.
fn beside(queued: u64) -> [f64; 3] {
    const EACH: u64 = 10_000;
    let (mut core, mut out) = (Core::new(Config::default()), Vec::new());
    let mut timed = |events: &mut dyn Iterator<Item = Event>, sent: &mut Vec<_>| {
        let events: Vec<_> = events.collect();
        let (begin, count) = (Instant::now(), events.len());
        for event in events {
            core.handle(Time::ZERO, event, &mut out);
        }
        let taken = begin.elapsed();
        sent.extend(out.drain(..).filter_map(|effect| match effect {
            Effect::Send { slave, attempt, .. } => Some((slave, attempt)),
            _ => None,
        }));
        taken.as_nanos() as f64 / count as f64
    };
    let submit = |task| Event::Submit { task: TaskId(task), spec: spec() };
    let mut sent = Vec::new();
    timed(&mut (1..=queued).map(submit), &mut sent);
    let submits = timed(&mut (queued + 1..=queued + EACH).map(submit), &mut sent);
    let step = (queued / EACH).max(1) as usize;
    let cancels = (1..=queued).step_by(step).map(|task| Event::Cancel { task: TaskId(task) });
    let cancels = timed(&mut cancels.take(EACH as usize), &mut sent);
    let (slave, slots, attempts) = (SlaveId(1), 8, 8192);
    timed(&mut [Event::SlaveJoined { slave, slots, attempts }].into_iter(), &mut sent);
    let (mut nanos, mut ends) = (0.0, 0);
    while ends < EACH as usize / 2 {
        let end = End::Done { run: Duration::from_micros(4) };
        let now: Vec<_> = std::mem::take(&mut sent);
        let count = now.len();
        let mut events = now.into_iter().map(|(slave, attempt)| {
            let end = end.clone();
            Event::Finished { slave, attempt, end }
        });
        nanos += timed(&mut events, &mut sent) * count as f64;
        ends += count;
    }
    [submits, cancels, nanos / ends as f64]
}

#[test]
#[ignore = "a measurement"]
fn events_beside_many_that_wait() {
    for queued in [1_000, 30_000, 1_000_000] {
        let [submit, cancel, end] = beside(queued);
        println!(
            "{queued:8} queued: {submit:4.0} ns a submit, {cancel:4.0} a cancel, {end:4.0} an end"
        );
    }
}
