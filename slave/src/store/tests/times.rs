//! Times to live, by a clock that is set by hand; and parts of values.

use super::*;

fn lives(ttl_ms: u64) -> Terms {
    Terms { ttl_ms: Some(ttl_ms), ..STAYS }
}

#[test]
fn what_is_over_is_gone_for_every_operation() {
    let all: [fn(Key) -> StoreOp; 7] = [
        |key| StoreOp::Get { key },
        |key| StoreOp::GetRange { key, offset: 0, len: 1 },
        |key| StoreOp::Remove { key },
        |key| StoreOp::Pin { key, pinned: true },
        |key| StoreOp::CompareAndSwap { key, expected: 1 },
        |key| StoreOp::Update { key, expected: 1 },
        |_| StoreOp::List { prefix: "a".into(), after: None, limit: 1 },
    ];
    for op in all {
        let store = Fixture::new(Limits::default());
        assert_eq!(store.put_on(lives(100), "m", "a", 1).expect("fits").version, 1);
        store.store.clock.pass(99);
        assert!(store.get("a").is_some());
        store.store.clock.pass(1);
        let answer = store.apply(op(key("a")), "").expect("done");
        assert_eq!((answer.hit, answer.version), (false, 0), "{:?}", op(key("a")));
        assert_eq!(store.store.size(), (0, 0));
    }
    let store = Fixture::new(Limits::default());
    store.put_on(lives(100), "m", "a", 1).expect("fits");
    store.store.clock.pass(100);
    assert!(store.apply(StoreOp::PutIfAbsent { key: key("a") }, "2").expect("fits").hit);
    assert_eq!(store.get("a").as_deref(), Some("2"));
    store.store.clock.pass(1000);
    assert!(!store.store.sweep());
    assert_eq!(store.get("a").as_deref(), Some("2"), "the new one stays");
}

#[test]
fn what_is_over_makes_room_before_anything_is_evicted() {
    let store = Fixture::new(Limits { store_bytes: 2400, ..Limits::default() });
    store.put_on(MAY_GO, "m", "a", 1000).expect("fits");
    store.put_on(lives(10), "m", "b", 1000).expect("fits");
    store.store.clock.pass(10);
    store.put_on(STAYS, "m", "c", 1000).expect("fits");
    assert_eq!((store.keys().join(" ").as_str(), store.store.evicted()), ("a c", 0));
    // Before its time is over it may be evicted.
    store.put_on(lives(10), "m", "a", 1000).expect("fits");
    store.put_on(STAYS, "m", "d", 1000).expect("one goes");
    assert_eq!((store.keys().join(" ").as_str(), store.store.evicted()), ("c d", 1));
}

#[test]
fn a_listing_says_what_is_left() {
    let store = Fixture::new(Limits::default());
    store.put_on(lives(1500), "m", "a", 10).expect("fits");
    store.store.clock.pass(1200);
    let entry = &store.listed()[0];
    assert_eq!((entry.ttl_ms, entry.idle_s, entry.evictable), (Some(300), 1, true));
    // The time is the last write's.
    store.put_on(lives(u64::MAX), "m", "a", 10).expect("fits");
    assert!(store.listed()[0].ttl_ms > Some(1 << 40));
    store.put_on(STAYS, "m", "a", 10).expect("fits");
    assert_eq!(store.listed()[0].ttl_ms, None);
}

#[test]
fn an_update_leaves_terms_and_pins_as_they_are_and_a_swap_sets_them() {
    let store = Fixture::new(Limits::default());
    let swap = |op: fn(Key, Version) -> StoreOp, terms| {
        let version = store.listed().first().map_or(0, |entry| entry.version);
        assert!(store.apply_on(terms, "m", op(key("a"), version), b"new").expect("fits").hit);
        let entry = store.listed().remove(0);
        (entry.evictable, entry.ttl_ms, entry.pinned)
    };
    let update = |key, expected| StoreOp::Update { key, expected };
    let compare = |key, expected| StoreOp::CompareAndSwap { key, expected };
    // Each passes a millisecond.
    store.put_on(lives(100), "m", "a", 1).expect("fits");
    assert!(store.pin("a", true));
    assert_eq!(swap(update, STAYS), (true, Some(98), true));
    assert_eq!(swap(update, lives(5000)), (true, Some(97), true), "its time goes on");
    assert_eq!(swap(compare, MAY_GO), (true, None, true));
    assert_eq!(swap(update, STAYS), (true, None, true));
    assert_eq!(swap(compare, STAYS), (false, None, true));
    assert_eq!(swap(update, MAY_GO), (false, None, true));
    // Where there is nothing, or nothing any more, there is nothing to keep.
    store.apply(StoreOp::Remove { key: key("a") }, "").expect("done");
    assert_eq!(swap(update, lives(10)), (true, Some(10), false));
    store.store.clock.pass(10);
    assert_eq!(swap(update, STAYS), (false, None, false));
}

#[test]
fn a_sweep_is_bounded_and_takes_the_rest_the_next_time() {
    let store = Fixture::new(Limits::default());
    for i in 0..5000 {
        store.put_on(lives(1), "m", &format!("{i}"), 0).expect("fits");
    }
    store.put_on(STAYS, "m", "stays", 0).expect("fits");
    store.store.clock.pass(10_000);
    assert!(store.store.sweep());
    assert_eq!(store.store.ledger.size().0, 5001 - 4096);
    assert!(!store.store.sweep());
    assert_eq!(store.store.ledger.size().0, 1);
}

#[test]
fn a_part_shares_the_values_memory() {
    let store = Fixture::new(Limits::default());
    let whole = store.apply(StoreOp::Put { key: key("a") }, "0123456789").expect("fits");
    let range = |offset, len| {
        let answer = store.apply(StoreOp::GetRange { key: key("a"), offset, len }, "");
        let answer = answer.expect("reads");
        assert_eq!((answer.hit, answer.version), (true, whole.version));
        String::from_utf8_lossy(&answer.value).into_owned()
    };
    assert_eq!(range(0, 4), "0123");
    assert_eq!(range(8, 4), "89");
    assert_eq!(range(3, u64::MAX), "3456789");
    for offset in [10, 11, u64::MAX] {
        assert_eq!(range(offset, u64::MAX), "");
    }
    assert!(
        !store
            .apply(StoreOp::GetRange { key: key("b"), offset: 0, len: 1 }, "")
            .expect("reads")
            .hit
    );
}
