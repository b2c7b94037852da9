//! Images beside values: the same keys, the same quota.

use super::*;
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

#[test]
fn an_image_is_found_listed_and_removed() {
    let store = Fixture::new(Limits::default());
    let version = store.store.put_image(&store.full("i"), &store.owner, info(5000), image("a"));
    let version = version.expect("fits");
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
    store.store.put_image(&store.full("i"), &store.owner, info(1), image("a")).expect("fits");
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
    let refused = store.store.put_image(&store.full("v"), &store.owner, info(1), image("a"));
    assert!(matches!(refused, Err(Cause::WrongKind { kind: EntryKind::Value, .. })), "{refused:?}");
    assert!(store.store.image(&store.full("v")).is_none());
    assert_eq!(store.get("v").as_deref(), Some("v"));
}

#[test]
fn an_image_that_was_not_used_for_longest_goes_and_is_dropped() {
    let store = Fixture::new(Limits { store_bytes: 10_000, ..Limits::default() });
    let put = |name: &str, held: &Held| {
        store.store.clock.pass(1);
        store.store.put_image(&store.full(name), &store.owner, info(4000), Arc::clone(held))
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
    store.store.put_image(&store.full("i"), &store.owner, info(1), image("a")).expect("fits");
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
