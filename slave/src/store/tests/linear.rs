//! Operations of several threads at once on the same keys: there is an order in which they could
//! have been one after the other. It is looked for key by key (`dpfw_test_linear`).

use super::*;
use dpfw_test_linear::{Done, What, is_linear};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Barrier;

const KEYS: [&str; 2] = ["a", "b"];
const THREADS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    PutIfAbsent,
    /// With the version that the thread saw last, or with 0.
    Swap,
    /// The same, on the terms that are there.
    Update,
    Create,
    Get,
    Remove,
}

fn programs() -> impl Strategy<Value = Vec<Vec<(Kind, usize)>>> {
    let kinds = vec![
        Kind::Put,
        Kind::PutIfAbsent,
        Kind::Swap,
        Kind::Update,
        Kind::Create,
        Kind::Get,
        Kind::Get,
        Kind::Remove,
    ];
    let op = (prop::sample::select(kinds), 0..KEYS.len());
    prop::collection::vec(prop::collection::vec(op, 10), THREADS)
}

/// Runs the programs at once; gives the history of each key.
fn run(programs: &[Vec<(Kind, usize)>], limits: Limits, terms: Terms) -> [Vec<Done>; 2] {
    let store = Fixture::new(limits);
    let watching = store.store.watch(&store.namespace, String::new(), false, Box::new(|| {}));
    let (clock, barrier) = (AtomicU64::new(1), Barrier::new(THREADS));
    let threads = std::thread::scope(|scope| {
        let threads: Vec<_> = programs
            .iter()
            .enumerate()
            .map(|(thread, program)| {
                let (store, clock, barrier) = (&store, &clock, &barrier);
                scope.spawn(move || one(thread, program, store, terms, clock, barrier))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect::<Vec<_>>()
    });
    let mut histories: [Vec<Done>; 2] = Default::default();
    threads.into_iter().flatten().for_each(|(key, done)| histories[key].push(done));
    let mut versions = BTreeMap::<String, Version>::new();
    loop {
        let (missed, changes) = store.store.watched(&watching, |_| true);
        assert_eq!(missed, 0);
        if changes.is_empty() {
            return histories;
        }
        for change in changes {
            let key = change.key.as_str();
            assert!(versions.insert(key.into(), change.version) < Some(change.version), "{key}");
            if change.what == dpfw_protocol::changes::What::Evicted {
                let (what, version) = (What::Evicted, change.version);
                let key = KEYS.iter().position(|k| *k == key).expect("one of them");
                let (hit, value, began, ended) = (true, 0, 0, u64::MAX);
                let (version, behind) = (Some(version), None);
                histories[key].push(Done { what, hit, version, value, began, ended, behind });
            }
        }
    }
}

/// One thread's operations, each begun together with the others' of the same number.
fn one(
    thread: usize,
    program: &[(Kind, usize)],
    store: &Fixture,
    terms: Terms,
    clock: &AtomicU64,
    barrier: &Barrier,
) -> Vec<(usize, Done)> {
    let owner = principal(["one", "two", "three"][thread]);
    let mut seen = [0; KEYS.len()];
    let mut history = Vec::new();
    for (number, &(kind, place)) in program.iter().enumerate() {
        let key = key(KEYS[place]);
        let expected = seen[place];
        let (op, what) = match kind {
            Kind::Put => (StoreOp::Put { key }, What::Write),
            Kind::PutIfAbsent => (StoreOp::PutIfAbsent { key }, What::WriteIf { expected: 0 }),
            Kind::Create => {
                let expected = 0;
                (StoreOp::CompareAndSwap { key, expected }, What::WriteIf { expected })
            }
            Kind::Swap => (StoreOp::CompareAndSwap { key, expected }, What::WriteIf { expected }),
            Kind::Update => (StoreOp::Update { key, expected }, What::WriteIf { expected }),
            Kind::Get => (StoreOp::Get { key }, What::Get),
            Kind::Remove => (StoreOp::Remove { key }, What::Remove),
        };
        let value = 1 + number * THREADS + thread;
        let bytes = Bytes::from(vec![0; value]);
        barrier.wait();
        let began = clock.fetch_add(1, Ordering::SeqCst);
        let answer = store.store.apply_on(terms, &store.namespace, &owner, op, bytes, &|| true);
        let ended = clock.fetch_add(1, Ordering::SeqCst);
        let (what, hit, version, value) = match answer {
            Ok(answer) => {
                if answer.version != 0 {
                    seen[place] = answer.version;
                }
                let value = if what == What::Get { answer.value.len() } else { value };
                (what, answer.hit, Some(answer.version), value as u64)
            }
            Err(Cause::Limit { .. }) => (What::Refused, false, None, 0),
            Err(cause) => panic!("{cause}"),
        };
        let behind = None;
        history.push((place, Done { what, hit, version, value, began, ended, behind }));
    }
    history
}

fn check(histories: &[Vec<Done>; 2]) {
    for (key, history) in KEYS.iter().zip(histories) {
        assert!(is_linear(history), "{key} has no such order: {history:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn operations_on_a_key_are_linearisable(programs in programs()) {
        check(&run(&programs, Limits::default(), STAYS));
    }

    #[test]
    fn so_they_are_where_one_makes_room_for_the_other(programs in programs()) {
        // One of the two keys, or both while their values are short.
        let limits = Limits { store_bytes: 290, ..Limits::default() };
        check(&run(&programs, limits, MAY_GO));
        let limits = Limits { store_entries: 1, ..Limits::default() };
        check(&run(&programs, limits, MAY_GO));
    }
}
