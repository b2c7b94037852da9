//! Operations of several threads at once on the same keys: what each was answered has to be
//! what it would have been one after the other, in an order in which none comes before one that
//! had ended when it began.
//!
//! The order is looked for key by key (Wing and Gong's search, which remembers where it has been:
//! a set of operations that are done and the state that they led to). Evictions are not asked for
//! by who suffers them, so those that a watcher heard of are operations of their own, which may
//! have been at any time.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
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

/// An operation on a key, and the state that its answer speaks of.
#[derive(Clone, Debug)]
struct Done {
    what: What,
    hit: bool,
    version: Version,
    /// The value that was written or read: each has a length of its own.
    value: usize,
    began: u64,
    ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Write,
    WriteIf {
        expected: Version,
    },
    Get,
    Remove,
    /// It was refused: nothing has happened.
    Refused,
    Evicted,
}

/// A key's entry: the last version that any change of it had, and what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    last: Version,
    present: Option<(Version, usize)>,
}

impl Done {
    /// The state behind it, if it can have been answered so in this one.
    fn apply(&self, state: State) -> Option<State> {
        let version = state.present.map_or(0, |(version, _)| version);
        let written = (self.version > state.last)
            .then_some(State { last: self.version, present: Some((self.version, self.value)) });
        let gone = State { present: None, ..state };
        match (self.what, self.hit) {
            (What::Write, true) => written,
            (What::WriteIf { expected }, true) => written.filter(|_| version == expected),
            (What::WriteIf { expected }, false) => {
                (version != expected && version == self.version).then_some(state)
            }
            (What::Get, true) => {
                (state.present == Some((self.version, self.value))).then_some(state)
            }
            (What::Get | What::Remove, false) => state.present.is_none().then_some(state),
            (What::Remove, true) => state.present.map(|_| gone),
            (What::Evicted, _) => (self.version > state.last && state.present.is_some())
                .then_some(State { last: self.version, ..gone }),
            (What::Refused, _) => Some(state),
            (What::Write, false) => None,
        }
    }
}

/// Whether there is such an order.
fn is_linear(history: &[Done]) -> bool {
    assert!(history.len() <= 64, "a set is 64 bits");
    let all = u64::MAX.checked_shr(64 - history.len() as u32).unwrap_or(0);
    let (mut seen, mut open) = (HashSet::new(), vec![(0u64, State::default())]);
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        let left = || (0..history.len()).filter(|i| done & (1 << i) == 0);
        // What began after another had ended comes behind it.
        let first_end = left().map(|i| history[i].ended).min().unwrap_or(u64::MAX);
        for i in left().filter(|i| history[*i].began <= first_end) {
            let next = history[i].apply(state).map(|state| (done | 1 << i, state));
            open.extend(next.filter(|next| seen.insert(*next)));
        }
    }
    false
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
                histories[key].push(Done { what, hit, version, value, began, ended });
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
        let done = match answer {
            Ok(answer) => {
                if answer.version != 0 {
                    seen[place] = answer.version;
                }
                let value = if what == What::Get { answer.value.len() } else { value };
                Done { what, hit: answer.hit, version: answer.version, value, began, ended }
            }
            Err(Cause::Limit { .. }) => {
                Done { what: What::Refused, hit: false, version: 0, value, began, ended }
            }
            Err(cause) => panic!("{cause}"),
        };
        history.push((place, done));
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

#[test]
fn the_search_finds_what_has_no_order() {
    let done = |what, hit, version, value, (began, ended)| Done {
        what,
        hit,
        version,
        value,
        began,
        ended,
    };
    let put = |version, at| done(What::Write, true, version, version as usize, at);
    let get = |version, at| done(What::Get, version > 0, version, version as usize, at);
    assert!(is_linear(&[]));
    // Two reads at once with a write, one of which came before it.
    assert!(is_linear(&[put(1, (1, 6)), get(0, (2, 4)), get(1, (3, 5))]));
    // The second began when the first had seen the write.
    assert!(!is_linear(&[put(1, (1, 6)), get(1, (2, 3)), get(0, (4, 5))]));
    // Both created it.
    let create = |version, at| done(What::WriteIf { expected: 0 }, true, version, 1, at);
    assert!(!is_linear(&[create(1, (1, 3)), create(2, (2, 4))]));
    let removed = done(What::Remove, true, 0, 0, (1, 5));
    assert!(is_linear(&[create(1, (1, 3)), create(2, (2, 4)), removed]));
    // The versions go back.
    assert!(!is_linear(&[put(2, (1, 2)), put(1, (3, 4))]));
}
