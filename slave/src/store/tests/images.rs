//! Images beside values: the same keys, the same quota.

use super::*;
use dpfw_protocol::error::Limit;
use dpfw_protocol::ids::{ImageId, ModuleHash};
use dpfw_protocol::message::Origin;
use dpfw_protocol::store::EntryKind;

/// Of an image of so many bytes.
pub(crate) fn info(memory: u64) -> ImageInfo {
    ImageInfo {
        id: ImageId::from_bytes([1; 32]),
        module: ModuleHash::from_bytes([2; 32]),
        init: "build".into(),
        hash: ModuleHash::from_bytes([3; 32]),
        snapshot: memory,
        memory,
        origin: Origin::Built,
        init_us: 7,
    }
}

fn image(name: &str) -> Held {
    Arc::new(name.to_owned())
}

/// Puts an image of so many bytes that is under no other key.
fn put(store: &Fixture, key: &str, bytes: u64, held: &Held) -> Result<Version, Cause> {
    put_shared(store, key, &(Arc::clone(held), Shared::new(bytes)), bytes)
}

/// The same of one that may be.
fn put_shared(
    store: &Fixture,
    key: &str,
    (held, shared): &(Held, Arc<Shared>),
    bytes: u64,
) -> Result<Version, Cause> {
    let held = (Arc::clone(held), Arc::clone(shared));
    store.store.put_image(&store.full(key), &store.owner, info(bytes), held)
}

#[test]
fn an_image_is_found_listed_and_removed() {
    let store = Fixture::new(Limits::default());
    let version = put(&store, "i", 5000, &image("a")).expect("fits");
    let found = store.store.image(&store.full("i")).expect("there");
    assert_eq!(found.downcast::<String>().expect("what was put").as_str(), "a");
    let listed = store.listed();
    assert_eq!(listed.len(), 1);
    let EntryInfo { kind, bytes, pinned, evictable, ttl_ms, .. } = listed[0];
    assert_eq!((kind, bytes, listed[0].version), (EntryKind::Image, 5000, version));
    assert_eq!((pinned, evictable, ttl_ms), (false, true, None));
    assert_eq!(listed[0].image.as_deref(), Some(&info(5000)));
    assert!(store.store.size().1 >= 5000);
    assert!(store.store.remove(&store.full("i")).hit);
    assert!(store.store.image(&store.full("i")).is_none());
    assert_eq!(store.store.size(), (0, 0));
}

#[test]
fn a_key_that_holds_an_image_is_no_value_and_the_other_way_round() {
    let store = Fixture::new(Limits::default());
    put(&store, "i", 1, &image("a")).expect("fits");
    let key = || key("i");
    for op in [
        StoreOp::Get { key: key() },
        StoreOp::GetRange { key: key(), offset: 0, len: 1 },
        StoreOp::Put { key: key() },
        StoreOp::PutIfAbsent { key: key() },
        StoreOp::CompareAndSwap { key: key(), expected: 0 },
    ] {
        let refused = store.apply(op.clone(), "v").expect_err("no value");
        let expected = Cause::WrongKind { key: "i".into(), kind: EntryKind::Image };
        assert_eq!(refused, expected, "{op:?}");
    }
    assert!(store.store.image(&store.full("i")).is_some(), "it is still there");
    store.apply(StoreOp::Put { key: super::key("v") }, "v").expect("fits");
    let refused = put(&store, "v", 1, &image("a"));
    assert!(matches!(refused, Err(Cause::WrongKind { kind: EntryKind::Value, .. })), "{refused:?}");
    assert!(store.store.image(&store.full("v")).is_none());
    assert_eq!(store.get("v").as_deref(), Some("v"));
}

#[test]
fn an_image_that_was_not_used_for_longest_goes_and_is_dropped() {
    let store = Fixture::new(Limits { store_bytes: 10_000, ..Limits::default() });
    let put = |name: &str, held: &Held| {
        store.store.clock.pass(1);
        put(&store, name, 4000, held)
    };
    let (a, b, c) = (image("a"), image("b"), image("c"));
    put("a", &a).expect("fits");
    put("b", &b).expect("fits");
    store.store.clock.pass(1);
    assert!(store.store.image(&store.full("a")).is_some());
    put("c", &c).expect("another goes");
    assert_eq!(store.keys(), ["a", "c"]);
    assert_eq!((Arc::strong_count(&a), Arc::strong_count(&b)), (2, 1));
    assert_eq!(store.store.evicted(), 1);
    // One that is put again replaces the old.
    put("a", &c).expect("fits");
    assert_eq!((Arc::strong_count(&a), Arc::strong_count(&c)), (1, 3));
}

#[test]
fn what_is_under_a_key_is_told_without_using_it() {
    let store = Fixture::new(Limits::default());
    let look = |name: &str| store.apply(StoreOp::Look { key: key(name) }, "").expect("looks");
    let nothing = look("i");
    assert_eq!((nothing.hit, nothing.version, nothing.entries), (false, 0, vec![]));
    put(&store, "i", 1, &image("a")).expect("fits");
    store.apply(StoreOp::Put { key: key("v") }, "v").expect("fits");
    store.store.clock.pass(3000);
    for (name, kind) in [("i", EntryKind::Image), ("v", EntryKind::Value)] {
        let found = look(name);
        assert!(found.hit && !found.is_listing);
        let [entry] = &found.entries[..] else { panic!("one entry") };
        assert_eq!((entry.kind, entry.version), (kind, found.version));
        assert_eq!(entry.image.is_some(), kind == EntryKind::Image);
        assert!(look(name).entries[0].idle_s >= 2, "looking is no use");
    }
}

#[test]
fn an_image_costs_its_memory_once_under_however_many_keys() {
    let store = Fixture::new(Limits { store_bytes: 10_000, ..Limits::default() });
    let one = (image("a"), Shared::new(8000));
    put_shared(&store, "a", &one, 8000).expect("fits");
    let own = store.store.size().1 - 8000;
    // It would fit once, and it takes its own place in no way.
    for key in ["b", "c", "b"] {
        store.store.clock.pass(1);
        put_shared(&store, key, &one, 8000).expect("fits");
    }
    assert_eq!(store.keys(), ["a", "b", "c"]);
    assert_eq!((store.store.size(), store.store.evicted()), ((3, 8000 + 3 * own), 0));
    // What it costs passes on from one to the other, and goes with the last.
    for (key, left) in [("a", 8000 + 2 * own), ("c", 8000 + own), ("b", 0)] {
        assert!(store.store.remove(&store.full(key)).hit);
        assert_eq!(store.store.size().1, left);
    }
    assert_eq!((store.store.ledger.principals(), Arc::strong_count(&one.0)), (0, 1));
}

#[test]
fn another_key_is_refused_where_only_the_image_itself_would_make_room_for_it() {
    let limits = Limits { store_bytes: 8500, ..Limits::default() };
    let store = Fixture::new(limits);
    let one = (image("a"), Shared::new(8000));
    put_shared(&store, "a", &one, 8000).expect("fits");
    store.put_on(MAY_GO, "m", "small", 20).expect("fits");
    // What may go beside it is less than that takes, and stays.
    let refused = put_shared(&store, &"long".repeat(50), &one, 8000).expect_err("no room");
    assert!(matches!(refused, Cause::Limit { limit: Limit::Quota, .. }), "{refused}");
    assert_eq!((store.keys(), store.store.evicted()), (vec!["a".into(), "small".into()], 0));
    put_shared(&store, &"long".repeat(20), &one, 8000).expect("the value goes");
    assert_eq!((store.keys().len(), store.store.evicted()), (2, 1));
}

#[test]
fn an_image_goes_under_all_of_its_keys_at_once_and_as_what_was_used_under_any() {
    let store = Fixture::new(Limits { store_bytes: 10_000, ..Limits::default() });
    let (one, two) = ((image("a"), Shared::new(4000)), (image("b"), Shared::new(4000)));
    let pass = || store.store.clock.pass(1);
    for (key, image) in [("a", &one), ("b", &two), ("second", &one)] {
        pass();
        put_shared(&store, key, image, 4000).expect("fits");
    }
    pass();
    let three = (image("c"), Shared::new(4000));
    put_shared(&store, "c", &three, 4000).expect("another goes");
    assert_eq!(store.keys(), ["a", "c", "second"], "it was used as another key came");
    pass();
    assert!(store.store.image(&store.full("c")).is_some());
    pass();
    put_shared(&store, "b", &two, 4000).expect("another goes");
    assert_eq!((store.keys(), store.store.evicted()), (vec!["b".into(), "c".into()], 3));
    assert_eq!(Arc::strong_count(&one.0), 1);
}

#[test]
fn whoever_pins_an_image_is_charged_for_it() {
    let limits = Limits { store_bytes: 10_000, store_share: 5000, ..Limits::default() };
    let store = Fixture::new(limits);
    let (large, small) = ((image("a"), Shared::new(6000)), (image("b"), Shared::new(1000)));
    put_shared(&store, "a", &large, 6000).expect("fits");
    put_shared(&store, "b", &small, 1000).expect("fits");
    put_shared(&store, "c", &small, 1000).expect("fits");
    let pin = |key: &str, pinned| store.apply(StoreOp::Pin { key: super::key(key), pinned }, "");
    pin("a", true).expect_err("it is more than its share");
    pin("c", true).expect("it is less");
    let value = |len: usize| store.put_on(STAYS, "m", "v", len);
    value(4000).expect_err("with what is pinned it is more than its share");
    value(3000).expect("it is less");
    // What is pinned keeps the image, and not its other keys.
    assert_eq!(store.keys(), ["b", "c", "v"]);
    let four = (image("d"), Shared::new(5500));
    put_shared(&store, "d", &four, 5500).expect("the other key goes");
    assert_eq!(store.keys(), ["c", "d", "v"]);
    pin("c", false).expect("it is there");
    value(4500).expect("nothing else is in its share");
    assert_eq!(store.keys(), ["v"]);
}
