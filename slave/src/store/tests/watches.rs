//! Who is told of what.

use super::*;
use crate::store::changes::MOST_UNTAKEN;
use std::sync::atomic::AtomicUsize;

struct Watch {
    watching: Watching,
    woken: Arc<AtomicUsize>,
}

impl Fixture {
    fn watch(&self, prefix: &str, present: bool) -> Watch {
        let woken = Arc::<AtomicUsize>::default();
        let wake = {
            let woken = Arc::clone(&woken);
            Box::new(move || {
                woken.fetch_add(1, Ordering::SeqCst);
            })
        };
        Watch { watching: self.store.watch(&self.namespace, prefix.into(), present, wake), woken }
    }

    fn put(&self, name: &str) -> Version {
        self.apply(StoreOp::Put { key: key(name) }, "v").expect("fits").version
    }

    /// All that waits, as words; and how many were lost.
    fn taken(&self, watch: &Watch) -> (Vec<String>, u64) {
        let (mut all, mut lost) = (Vec::new(), 0);
        loop {
            let (missed, changes) = self.store.watched(&watch.watching, |_| true);
            if missed == 0 && changes.is_empty() {
                return (all, lost);
            }
            lost += missed;
            all.extend(changes.iter().map(|c| format!("{} {} {}", c.what, c.key, c.version)));
        }
    }
}

#[test]
fn each_change_is_told_to_who_watches_it() {
    let store = Fixture::new(Limits { store_bytes: 2400, ..Limits::default() });
    let (a, all) = (store.watch("a", false), store.watch("", false));
    store.put_on(MAY_GO, "m", "a/1", 1000).expect("fits");
    store.put("b");
    store.put_on(STAYS, "m", "c", 2000).expect("one goes");
    store.apply(StoreOp::Remove { key: key("c") }, "").expect("done");
    store.put_on(Terms { ttl_ms: Some(5), ..STAYS }, "m", "a/2", 1).expect("fits");
    store.store.clock.pass(5);
    store.put("a/2");
    store.put_on(Terms { ttl_ms: Some(5), ..STAYS }, "m", "a/3", 1).expect("fits");
    store.store.clock.pass(5);
    store.store.sweep();
    // What reads, misses or fails changes nothing.
    store.get("a/2");
    store.apply(StoreOp::PutIfAbsent { key: key("b") }, "").expect("misses");
    store.put_on(STAYS, "m", "a/2", 5000).expect_err("too large");
    let expected = [
        "put a/1 1",
        "evicted a/1 3",
        "put a/2 6",
        "expired a/2 7",
        "put a/2 8",
        "put a/3 9",
        "expired a/3 10",
    ];
    assert_eq!(store.taken(&a), (expected.map(String::from).to_vec(), 0));
    assert_eq!(store.taken(&all).0.len(), 10);
    assert_eq!(a.woken.load(Ordering::SeqCst), 1, "once, until it has taken all");
    store.put("a");
    assert_eq!(a.woken.load(Ordering::SeqCst), 2);
    drop((a, all));
    store.put("a");
}

#[test]
fn another_namespace_is_nobodys_business() {
    let store = Fixture::new(Limits::default());
    let watch = store.watch("", false);
    let other = Namespace::new("other").expect("printable");
    let put = StoreOp::Put { key: key("a") };
    store.store.apply(&other, &store.owner, put, Bytes::new()).expect("fits");
    assert_eq!(store.taken(&watch), (vec![], 0));
}

#[test]
fn who_does_not_take_loses_changes_and_is_told_so() {
    let store = Fixture::new(Limits::default());
    let watch = store.watch("", false);
    for _ in 0..MOST_UNTAKEN + 10 {
        store.put("a");
    }
    let (changes, lost) = store.taken(&watch);
    assert_eq!((changes.len(), lost), (MOST_UNTAKEN, 10));
    assert_eq!(changes[0], "put a 1");
    let version = store.put("b");
    assert_eq!(store.taken(&watch), (vec![format!("put b {version}")], 0));
}

#[test]
fn what_is_there_is_told_first_without_a_gap() {
    let store = Fixture::new(Limits::default());
    for i in 0..200 {
        store.put(&format!("k/{i:03}"));
    }
    store.put("other");
    let watch = store.watch("k/", true);
    let take = || store.store.watched(&watch.watching, |_| true).1;
    let first = take();
    assert_eq!(first.len(), index::STEP);
    assert!(first.iter().all(|change| change.what == What::Present));
    // One that was told, one that was not yet, one between, one that goes before it was told.
    let told = store.put("k/000");
    let later = store.put("k/199");
    let between = store.put("k/0005");
    store.apply(StoreOp::Remove { key: key("k/150") }, "").expect("done");
    let (rest, lost) = store.taken(&watch);
    assert_eq!((rest.len(), lost), (200 - index::STEP - 1 + 2, 0));
    assert_eq!(rest[..2], [format!("put k/000 {told}"), format!("put k/0005 {between}")]);
    assert_eq!(rest.last(), Some(&format!("present k/199 {later}")));
    assert!(!rest.iter().any(|line| line.contains("k/150")));
    let after = store.put("k/500");
    assert_eq!(store.taken(&watch), (vec![format!("put k/500 {after}")], 0));
}

#[test]
fn a_waiter_is_called_once_behind_the_change() {
    let store = Arc::new(Fixture::new(Limits::default()));
    let seen = Arc::<std::sync::Mutex<Vec<Option<String>>>>::default();
    let wait = || {
        let (inner, seen) = (Arc::clone(&store), Arc::clone(&seen));
        // It may ask the store for the very key: nothing is locked.
        let call = Box::new(move || seen.lock().expect("unharmed").push(inner.get("a")));
        store.store.on_change(store.full("a"), call)
    };
    let (_first, _second, third) = (wait(), wait(), wait());
    drop(third);
    store.put("b");
    assert_eq!(*seen.lock().expect("unharmed"), [None::<String>; 0]);
    store.put("a");
    store.put("a");
    assert_eq!(*seen.lock().expect("unharmed"), [Some("v".into()), Some("v".into())]);
    let _removed = wait();
    store.apply(StoreOp::Remove { key: key("a") }, "").expect("done");
    assert_eq!(seen.lock().expect("unharmed")[2], None);
    assert!(!store.store.changes.has_waiters());
}

#[test]
fn what_changes_while_it_is_gathered_is_told_in_order_and_once() {
    let store = Fixture::new(Limits::default());
    let names: Vec<_> = (0..index::STEP).map(|i| format!("{i:02}")).collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                for name in names.iter().rev() {
                    store.put(name);
                }
            }
        });
        let mut wrong = None;
        for _ in 0..300 {
            let watch = store.watch("", true);
            let mut last = std::collections::HashMap::new();
            // What is there, and what has changed meanwhile.
            for change in (0..2).flat_map(|_| store.store.watched(&watch.watching, |_| true).1) {
                let before = last.insert(change.key.clone(), change.version);
                if before >= Some(change.version) {
                    wrong = Some((change, before));
                }
            }
        }
        stop.store(true, Ordering::SeqCst);
        assert_eq!(wrong, None);
    });
}
