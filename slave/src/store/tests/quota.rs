//! Who goes when there is no room, and who never does.

use super::*;

/// Room for so many entries of 1000 bytes.
fn room_for(entries: u64) -> Fixture {
    Fixture::new(Limits { store_bytes: entries * 1200, ..Limits::default() })
}

fn is_quota(outcome: Result<Answer, Cause>) -> bool {
    matches!(outcome, Err(Cause::Limit { limit: Limit::Quota, .. }))
}

#[test]
fn f58_over_quota_with_nothing_to_evict_the_old_value_stays() {
    let store = room_for(3);
    for name in ["a", "b"] {
        store.put_on(STAYS, "m", name, 1000).expect("fits");
    }
    store.put_on(MAY_GO, "m", "c", 1000).expect("fits");
    store.pin("c", true);
    assert!(is_quota(store.put_on(STAYS, "m", "d", 1000)));
    // Nor is what is written evicted for itself.
    store.pin("c", false);
    assert!(is_quota(store.put_on(STAYS, "m", "c", 2000)));
    assert_eq!(store.keys(), ["a", "b", "c"]);
    assert_eq!(store.listed()[2].bytes, 1000);
    store.put_on(STAYS, "m", "d", 1000).expect("the one that may go went");
    assert_eq!(store.keys(), ["a", "b", "d"]);
    assert_eq!(store.store.evicted(), 1);
}

#[test]
fn nothing_is_evicted_for_what_would_not_fit_all_the_same() {
    let store = room_for(3);
    store.put_on(STAYS, "m", "a", 1000).expect("fits");
    store.put_on(MAY_GO, "m", "b", 1000).expect("fits");
    assert!(is_quota(store.put_on(STAYS, "m", "c", 3000)));
    assert_eq!((store.keys().len(), store.store.evicted()), (2, 0));
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let store = room_for(4);
    for name in ["a", "b", "c", "d"] {
        store.put_on(MAY_GO, "m", name, 1000).expect("fits");
    }
    store.store.clock.pass(1);
    store.get("a");
    store.store.clock.pass(1);
    store.apply(StoreOp::GetRange { key: key("b"), offset: 0, len: 1 }, "").expect("reads");
    store.put_on(MAY_GO, "m", "e", 1000).expect("one goes");
    assert_eq!(store.keys(), ["a", "b", "d", "e"]);
    store.put_on(MAY_GO, "m", "f", 2000).expect("two go");
    assert_eq!(store.keys(), ["b", "e", "f"]);
    assert_eq!(store.store.evicted(), 3);
}

#[test]
fn a_store_that_was_just_read_whole_gives_something_up_all_the_same() {
    let store = Fixture::new(Limits { store_entries: 500, ..Limits::default() });
    let names: Vec<_> = (0..500).map(|i| format!("{i:03}")).collect();
    for name in &names {
        store.put_on(MAY_GO, "m", name, 1).expect("fits");
    }
    store.store.clock.pass(1);
    names.iter().for_each(|name| drop(store.get(name)));
    for i in 0..50 {
        store.put_on(STAYS, "m", &format!("new/{i}"), 1).expect("one goes");
    }
    assert_eq!((store.keys().len(), store.store.evicted()), (500, 50));
}

#[test]
fn a_pinned_entry_stays_pinned_when_it_is_written_and_goes_once_it_is_not() {
    let store = room_for(2);
    store.put_on(MAY_GO, "m", "a", 1000).expect("fits");
    assert!(store.pin("a", true) && !store.pin("b", true));
    store.put_on(MAY_GO, "m", "a", 1000).expect("fits");
    assert!(store.listed()[0].pinned);
    assert!(is_quota(store.put_on(STAYS, "m", "b", 2000)));
    store.pin("a", false);
    store.put_on(STAYS, "m", "b", 2000).expect("the other goes");
    assert_eq!(store.keys(), ["b"]);
}

#[test]
fn who_is_over_its_share_gives_up_first() {
    let store = room_for(6);
    // In the order of their use `small`'s would go first, but `large` holds four of six.
    store.put_on(MAY_GO, "small", "s", 1000).expect("fits");
    for name in ["l1", "l2", "l3", "l4"] {
        store.put_on(MAY_GO, "large", name, 1000).expect("fits");
    }
    store.put_on(STAYS, "small", "s2", 2000).expect("one goes");
    assert_eq!(store.keys(), ["l2", "l3", "l4", "s", "s2"]);
    // A writer that will be over its share makes room itself.
    store.put_on(STAYS, "large", "l5", 1000).expect("one goes");
    assert_eq!(store.keys(), ["l3", "l4", "l5", "s", "s2"]);
    // Who has nothing to give up is passed over.
    let store = room_for(4);
    store.put_on(MAY_GO, "small", "s", 1000).expect("fits");
    for name in ["l1", "l2", "l3"] {
        store.put_on(STAYS, "large", name, 1000).expect("fits");
    }
    store.put_on(STAYS, "large", "l4", 1000).expect("the other's goes");
    assert_eq!(store.keys(), ["l1", "l2", "l3", "l4"]);
}

#[test]
fn a_share_is_of_those_who_have_entries() {
    let store = room_for(4);
    for name in ["a", "b", "c"] {
        store.put_on(MAY_GO, name, name, 1000).expect("fits");
    }
    assert_eq!(store.store.ledger.principals(), 3);
    for name in ["a", "b"] {
        store.apply(StoreOp::Remove { key: key(name) }, "").expect("done");
    }
    assert_eq!(store.store.ledger.principals(), 1);
    // Another's write makes the entry the other's.
    store.put_on(MAY_GO, "d", "c", 1000).expect("fits");
    assert_eq!(store.store.ledger.principals(), 1);
    assert_eq!(store.listed()[0].owner, principal("d"));
}

#[test]
fn entries_have_a_quota_as_well() {
    let store = Fixture::new(Limits { store_entries: 2, ..Limits::default() });
    store.put_on(MAY_GO, "m", "a", 1).expect("fits");
    store.put_on(STAYS, "m", "b", 1).expect("fits");
    store.put_on(STAYS, "m", "c", 1).expect("one goes");
    let refused = store.put_on(STAYS, "m", "d", 1);
    assert!(matches!(refused, Err(Cause::Limit { limit: Limit::Entries, allowed: 2 })));
    assert_eq!(store.keys(), ["b", "c"]);
}

#[test]
fn nobody_has_more_that_never_goes_than_its_share() {
    let limits = Limits { store_bytes: 6 * 1200, store_share: 3 * 1200, ..Limits::default() };
    let store = Fixture::new(limits);
    for name in ["a", "b", "c"] {
        store.put_on(STAYS, "m", name, 1000).expect("its share");
    }
    let refused = store.put_on(STAYS, "m", "d", 1000);
    let share = Cause::Limit { limit: Limit::Quota, allowed: 3600 };
    assert_eq!(refused.err(), Some(share));
    // What it has may be written anew, and no larger.
    store.put_on(STAYS, "m", "c", 900).expect("smaller");
    assert!(is_quota(store.put_on(STAYS, "m", "c", 3000)));
    // What may go is not of its share, until it is pinned.
    store.put_on(MAY_GO, "m", "e", 1000).expect("it may go");
    let pin = StoreOp::Pin { key: key("e"), pinned: true };
    assert!(is_quota(store.apply_on(STAYS, "m", pin, b"")));
    // And there is something left for others.
    for name in ["x", "y"] {
        store.put_on(STAYS, "other", name, 1000).expect("theirs");
    }
}
