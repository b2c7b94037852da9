//! What is written together.

use super::*;

#[test]
fn a_thousand_who_wait_are_a_few_commits() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    let before = platter.syncs();
    let (told, outcomes) = mpsc::channel();
    let held = platter.hold_syncs();
    for n in 0..1000 {
        store.put(&format!("k{n}"), b"v").expect("fits");
        let told = told.clone();
        store.when_kept(Box::new(move |kept| told.send(kept).expect("somebody waits")));
    }
    assert!(outcomes.try_recv().is_err(), "it was told before it was on disk");
    drop(held);
    assert!((0..1000).all(|_| outcomes.recv() == Ok(Ok(()))));
    // One that was under way when the first came, and one for all others.
    let syncs = platter.syncs() - before;
    assert!(syncs <= 6, "{syncs} syncs");
}

#[test]
fn a_value_that_nobody_waits_for_is_on_disk_soon() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    store.put("a", b"a value that is looked for").expect("fits");
    let begun = Instant::now();
    let is_there = || {
        let copy = platter.copy();
        Store::on(&copy, &Limits::default()).is_ok_and(|store| store.read("a").is_some())
    };
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never written");
        std::thread::yield_now();
    }
    drop(store);
}

#[test]
fn what_was_changed_often_is_written_once_and_last() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    let held = platter.hold_syncs();
    for n in 0..10_000u32 {
        store.put("a", &n.to_le_bytes()).expect("fits");
    }
    let pending = store.disk.get().expect("it has one").shared.pending().changes.len();
    assert!(pending <= 1, "{pending} changes wait");
    drop(held);
    store.sync().expect("on disk");
    let copy = Store::on(&platter.copy(), &Limits::default()).expect("it opens");
    assert_eq!(copy.read("a").as_deref(), Some(&9999u32.to_le_bytes()[..]));
}

#[test]
fn who_writes_more_than_the_disk_takes_is_told_so() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    let held = platter.hold_syncs();
    let large = Bytes::from(vec![7; 16 << 20]);
    let put = |n: u32| {
        let (namespace, op) =
            (Namespace::default(), StoreOp::Put { key: full(&format!("k{n}")).key });
        store.apply(&namespace, &owner(), op, large.clone()).err()
    };
    let refused = (0..60).find_map(put);
    assert!(matches!(refused, Some(Cause::Busy { .. })), "{refused:?}");
    assert!(store.is_awaited(&StoreOp::Put { key: full("a").key }, PLAIN), "nobody is slowed down");
    // Removing is always possible.
    (0..60).for_each(|n| store.drop_key(&format!("k{n}")).expect("done"));
    drop(held);
    store.sync().expect("on disk");
    store.put("after", b"1").expect("fits");
}

#[test]
fn threads_at_once_leave_on_disk_what_they_leave_in_memory() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    std::thread::scope(|scope| {
        for writer in 0..4u32 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..2000u32 {
                    let name = format!("k{}", (n * 7 + writer) % 50);
                    match n % 5 {
                        0 => store.drop_key(&name).expect("done"),
                        _ => drop(store.put(&name, &[writer as u8, n as u8]).expect("fits")),
                    }
                    if n % 500 == 0 {
                        store.sync().expect("on disk");
                    }
                }
            });
        }
    });
    let of = |store: &Store| {
        let entry = |it: EntryInfo| (it.version, store.read(it.key.as_str()), it.key);
        store.all().into_iter().map(entry).collect::<Vec<_>>()
    };
    let in_memory = of(&store);
    drop(store);
    assert_eq!(of(&Store::on(&platter, &Limits::default()).expect("it opens")), in_memory);
}
