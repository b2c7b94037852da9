//! Values that are written in pieces.

use super::*;
use crate::store::draft::MOST_DRAFTS;

fn begin(store: &Fixture, drafts: &mut Drafts, name: &str) -> Result<u32, Cause> {
    drafts.begin(&store.store, store.full(name), STAYS)
}

fn append(store: &Fixture, drafts: &mut Drafts, number: u32, piece: &[u8]) -> Result<(), Cause> {
    let (store, owner) = (&store.store, &store.owner);
    drafts.reserve(store, owner, number, piece.len() as u64, &|| true)?;
    drafts.append(number, piece);
    Ok(())
}

#[test]
fn a_value_is_there_whole_when_it_is_finished() {
    let store = Fixture::new(Limits::default());
    let mut drafts = Drafts::default();
    store.apply(StoreOp::Put { key: key("a") }, "old").expect("fits");
    let number = begin(&store, &mut drafts, "a").expect("begun");
    append(&store, &mut drafts, number, b"ne").expect("fits");
    append(&store, &mut drafts, number, b"w").expect("fits");
    assert_eq!(store.get("a").as_deref(), Some("old"));
    let done = drafts.finish(&store.store, &store.owner, number, &|| true).expect("fits");
    assert!(done.hit && done.version > 1);
    assert_eq!(store.get("a").as_deref(), Some("new"));
    for over in [number, 0, 77] {
        assert!(append(&store, &mut drafts, over, b"x").is_err());
        assert!(drafts.finish(&store.store, &store.owner, over, &|| true).is_err());
        assert!(drafts.give_up(over).is_err());
    }
}

#[test]
fn what_is_not_finished_is_charged_until_it_is_given_up() {
    let store = Fixture::new(Limits { store_bytes: 10_000, ..Limits::default() });
    let mut drafts = Drafts::default();
    store.put_on(MAY_GO, "m", "goes", 3000).expect("fits");
    let number = begin(&store, &mut drafts, "a").expect("begun");
    append(&store, &mut drafts, number, &[1; 6000]).expect("fits");
    assert_eq!(store.keys(), ["goes"]);
    append(&store, &mut drafts, number, &[1; 3000]).expect("the other goes");
    assert_eq!(store.keys(), [""; 0]);
    let refused = append(&store, &mut drafts, number, &[1; 3000]).expect_err("too large");
    assert!(matches!(refused, Cause::Limit { limit: Limit::Quota, allowed: 10_000 }));
    assert_eq!(store.store.size(), (0, 9000));
    let other = begin(&store, &mut drafts, "b").expect("begun");
    append(&store, &mut drafts, other, &[1; 1000]).expect("fits");
    drafts.give_up(number).expect("it is there");
    assert_eq!(store.store.size(), (0, 1000));
    drop(drafts);
    assert_eq!(store.store.size(), (0, 0));
}

#[test]
fn there_are_so_many_at_once() {
    let store = Fixture::new(Limits::default());
    let mut drafts = Drafts::default();
    for _ in 0..MOST_DRAFTS {
        begin(&store, &mut drafts, "a").expect("begun");
    }
    assert!(matches!(begin(&store, &mut drafts, "a"), Err(Cause::Busy { .. })));
    drafts.give_up(3).expect("it is there");
    assert_eq!(begin(&store, &mut drafts, "a"), Ok(MOST_DRAFTS as u32 + 1));
}
