//! What is there again.

use super::*;
use crate::private::make_private;

fn again(platter: &Platter, limits: &Limits) -> Store {
    Store::on(platter, limits).expect("it opens")
}

#[test]
fn values_are_there_again_with_all_that_belongs_to_them() {
    let (platter, limits) = (Platter::default(), Limits::default());
    let store = again(&platter, &limits);
    store.put("plain", b"1").expect("fits");
    store.put_on(Terms { evictable: true, ..PLAIN }, "may go", b"2").expect("fits");
    store.put_on(Terms { ttl_ms: Some(3_600_000), ..PLAIN }, "for an hour", b"3").expect("fits");
    store.put("pinned", b"4").expect("fits");
    let pin = StoreOp::Pin { key: full("pinned").key, pinned: true };
    store.apply_plain(PLAIN, pin, b"").expect("done");
    store.put("gone", b"5").expect("fits");
    store.drop_key("gone").expect("done");
    store.put("plain", b"again").expect("fits");
    let image = (Arc::new(()) as crate::store::Held, crate::store::Shared::new(1000));
    store
        .put_image(&full("image"), &owner(), crate::store::tests::images::info(1000), image)
        .expect("fits");
    let before: Vec<_> = store.all().into_iter().filter(|it| it.key.as_str() != "image").collect();
    let last = before.iter().map(|it| it.version).max().expect("some");
    drop(store);

    let store = again(&platter, &limits);
    let after = store.all();
    assert_eq!(after.len(), 4);
    for (before, after) in before.iter().zip(&after) {
        let hour = 3_600_000;
        assert!(after.ttl_ms.is_none_or(|left| left <= hour && left > hour - 600_000));
        assert_eq!(after.ttl_ms.is_some(), before.ttl_ms.is_some());
        assert_eq!(
            EntryInfo { ttl_ms: before.ttl_ms, idle_s: before.idle_s, ..after.clone() },
            *before
        );
    }
    assert_eq!(store.read("plain").as_deref(), Some(&b"again"[..]));
    assert!(store.put("new", b"6").expect("fits") > last, "a version was used again");
    // The ledger is as if they had been put.
    let sum: u64 =
        store.all().iter().map(|it| 128 + 2 * it.key.as_str().len() as u64 + it.bytes).sum();
    let extra = 2 * "for an hour".len() as u64 + "may go".len() as u64;
    assert_eq!(store.size(), (5, sum + extra));
}

#[test]
fn what_was_evicted_and_what_is_over_is_gone_from_the_disk_as_well() {
    let platter = Platter::default();
    let limits = Limits { store_entries: 2, ..Limits::default() };
    let store = again(&platter, &limits);
    let may_go = Terms { evictable: true, ..PLAIN };
    store.put_on(may_go, "a", b"1").expect("fits");
    store.put_on(may_go, "b", b"2").expect("fits");
    store.put_on(may_go, "c", b"3").expect("fits");
    assert_eq!(store.evicted(), 1);
    store.put_on(Terms { ttl_ms: Some(0), ..PLAIN }, "d", b"4").expect("fits");
    assert!(store.sweep() || store.read("d").is_none());
    drop(store);
    let store = again(&platter, &limits);
    assert_eq!((store.read("a"), store.read("d")), (None, None));
    assert_eq!(store.read("c").as_deref(), Some(&b"3"[..]));
}

#[test]
fn after_a_restart_those_go_first_that_were_written_first() {
    let platter = Platter::default();
    let limits = Limits { store_entries: 3, ..Limits::default() };
    let store = again(&platter, &limits);
    let may_go = Terms { evictable: true, ..PLAIN };
    for name in ["z", "a", "m"] {
        store.put_on(may_go, name, b"1").expect("fits");
    }
    drop(store);
    let store = again(&platter, &limits);
    store.put_on(may_go, "new", b"1").expect("fits");
    let names: Vec<_> = store.all().into_iter().map(|it| it.key.to_string()).collect();
    assert_eq!(names, ["a", "m", "new"]);
}

#[test]
fn a_lower_quota_evicts_what_may_go_and_refuses_what_may_not() {
    let platter = Platter::default();
    let limits = Limits::default();
    let store = again(&platter, &limits);
    let may_go = Terms { evictable: true, ..PLAIN };
    for name in ["old", "new"] {
        store.put_on(may_go, name, &[1; 1000]).expect("fits");
    }
    store.put("stays", &[2; 1000]).expect("fits");
    drop(store);
    let lower = Limits { store_bytes: 2500, ..limits };
    let store = again(&platter, &lower);
    let names: Vec<_> = store.all().into_iter().map(|it| it.key.to_string()).collect();
    assert_eq!((names, store.evicted()), (vec!["new".to_owned(), "stays".to_owned()], 1));
    drop(store);
    // It is gone for good, not only for as long as the quota is low.
    assert_eq!(again(&platter, &limits).all().len(), 2);
    let refused = Store::on(&platter, &Limits { store_bytes: 1000, ..limits });
    let error = refused.expect_err("there is no room").to_string();
    assert!(error.contains("1138 bytes that may not be evicted"), "{error}");
    assert!(error.contains("the limit on quota is 1000 bytes"), "{error}");
    assert_eq!(again(&platter, &limits).all().len(), 2, "a refused start changed something");
}

#[test]
fn f20_a_wall_clock_that_was_put_back_takes_nothing_from_a_time_to_live() {
    let time = Time { left_ms: 1000, at_ms: 50_000 };
    assert_eq!(time.left_at(50_400), 600);
    assert_eq!(time.left_at(51_000), 0);
    assert_eq!(time.left_at(u64::MAX), 0);
    assert_eq!(time.left_at(10), 1000);
}

#[test]
fn saved_states_are_charged_kept_and_there_again() {
    let (platter, limits) = (Platter::default(), Limits { store_bytes: 3000, ..Limits::default() });
    let store = again(&platter, &limits);
    let save = |store: &Store, bytes: &[u8]| {
        store.save(&full("r"), &owner(), Bytes::copy_from_slice(bytes))
    };
    assert_eq!(save(&store, &[1; 1000]), Ok(()));
    assert_eq!(store.size(), (1, 1130));
    assert_eq!(save(&store, &[2; 2000]), Ok(()));
    let too_large = Cause::Limit { limit: Limit::Quota, allowed: 3000 };
    assert_eq!(save(&store, &[3; 3000]), Err(too_large));
    assert_eq!(store.saved(&full("r")).as_deref(), Some(&[2; 2000][..]));
    assert!(store.all().is_empty(), "a saved state is no entry");
    drop(store);

    let store = again(&platter, &limits);
    assert_eq!(store.saved(&full("r")).as_deref(), Some(&[2; 2000][..]));
    assert_eq!(store.size(), (1, 2130));
    assert!(store.forget_saved(&full("r")) && !store.forget_saved(&full("r")));
    assert_eq!(store.size(), (0, 0));
    drop(store);
    assert_eq!(again(&platter, &limits).saved(&full("r")), None);
}

#[test]
fn without_a_directory_nothing_durable_is_taken() {
    let store = Store::new(&Limits::default());
    let durable = Terms { durable: true, ..PLAIN };
    assert_eq!(store.put_on(durable, "a", b"1").map(drop), storage(Storage::Absent));
    assert_eq!((store.read("a"), store.disk()), (None, Told::Memory));
    assert_eq!(store.sync(), storage(Storage::Absent));
}

#[test]
fn what_is_no_store_is_told_and_left_alone() {
    let parent = tempfile::tempdir().expect("a place");
    let directory = parent.path().join("store");
    make_private(&directory).expect("made");
    let path = directory.join("store.redb");
    std::fs::write(&path, "my shopping list, which is no database at all").expect("written");
    let store = Store::new(&Limits::default());
    let error = store.keep_in(&directory).expect_err("it is no store").to_string();
    assert!(error.contains("cannot be read") && error.contains("move it away"), "{error}");
    assert!(error.contains(&*directory.to_string_lossy()), "{error}");
    let bytes = std::fs::read(&path).expect("it is there");
    assert!(bytes.starts_with(b"my shopping list"), "it was changed");
}

#[test]
fn a_directory_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a place");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("its own");
    let error = Store::new(&Limits::default()).keep_in(directory.path()).expect_err("it is open");
    assert!(error.to_string().contains("chmod 700"), "{error}");
}
