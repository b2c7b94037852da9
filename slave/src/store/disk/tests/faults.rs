//! F51, F52, F54, F55: disks that are full, that fail, that lose their power, that are taken.

use super::*;

#[test]
fn f51_a_full_disk_acknowledges_nothing_and_goes_on_when_there_is_room() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    store.put("before", b"1").expect("fits");
    store.sync().expect("on disk");
    platter.fill(true);
    // More than fits what the disk holds already.
    let large = vec![1; 8 << 20];
    store.put("large", &large).expect("memory has room");
    assert_eq!(store.sync(), storage(Storage::Full));
    assert_eq!(store.put("more", b"2").map(drop), storage(Storage::Full));
    assert_eq!((store.read("more"), store.disk()), (None, Told::Full));
    assert_eq!(store.read("before").as_deref(), Some(&b"1"[..]));
    let durable = Terms { durable: true, ..PLAIN };
    assert_eq!(store.put_on(durable, "more", b"2").map(drop), storage(Storage::Full));

    platter.fill(false);
    until(|| store.disk() == Told::Durable);
    store.put("more", b"2").expect("fits");
    store.sync().expect("on disk");
    drop(store);
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    assert_eq!(store.read("more").as_deref(), Some(&b"2"[..]));
    // What could not be written waited for room.
    assert!(store.read("large").as_deref() == Some(&large[..]));
}

#[test]
fn f51_removing_makes_room_on_a_full_disk() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    store.put("small", b"1").expect("fits");
    store.sync().expect("on disk");
    platter.fill(true);
    store.put("large", &vec![1; 8 << 20]).expect("memory has room");
    assert_eq!(store.sync(), storage(Storage::Full));
    store.drop_key("large").expect("it is taken");
    until(|| store.disk() == Told::Durable);
    store.put("more", b"2").expect("fits");
    store.sync().expect("on disk");
}

#[test]
fn f52_after_a_failed_fsync_nothing_is_acknowledged_any_more() {
    let platter = Platter::default();
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    store.put("before", b"1").expect("fits");
    store.sync().expect("on disk");
    platter.fail_syncs(true);
    store.put("during", b"2").expect("memory has room");
    assert_eq!(store.sync(), storage(Storage::Failed));
    // Whatever the disk says from now on.
    platter.fail_syncs(false);
    assert_eq!(store.disk(), Told::Failed);
    assert_eq!(store.put("after", b"3").map(drop), storage(Storage::Failed));
    assert_eq!(store.drop_key("before"), storage(Storage::Failed));
    assert_eq!(store.sync(), storage(Storage::Failed));
    assert_eq!(store.read("before").as_deref(), Some(&b"1"[..]));
    let syncs = platter.syncs();
    drop(store);
    assert_eq!(platter.syncs(), syncs, "it was written to");
    let store = Store::on(&platter, &Limits::default()).expect("it opens");
    assert_eq!(store.read("before").as_deref(), Some(&b"1"[..]));
    assert_eq!(store.disk(), Told::Durable);
}

#[test]
fn f54_wherever_the_power_goes_away_the_last_whole_commit_is_there_and_said() {
    let (mut cut_off, mut lost) = (0, 0);
    for writes in 0..100 {
        let platter = Platter::default();
        let store = Store::on(&platter, &Limits::default()).expect("it opens");
        store.put("a", &0u32.to_le_bytes()).expect("fits");
        store.put("b", &0u32.to_le_bytes()).expect("fits");
        store.sync().expect("on disk");
        platter.lose_power_after(writes);
        for n in 1..=20u32 {
            // Both or neither: they wait for the same commit.
            let held = platter.hold_syncs();
            store.put("a", &n.to_le_bytes()).expect("fits");
            store.put("b", &n.to_le_bytes()).expect("fits");
            drop(held);
            store.sync().expect("it is said to be on disk");
        }
        let copy = platter.copy();
        let (_, loaded) = copy.files().load().expect("a whole commit is there");
        let read = |name| {
            let found = loaded.values.iter().find(|(key, _)| key.key.as_str() == name);
            u32::from_le_bytes(*found.expect("it is there").1.content.first_chunk().expect("4"))
        };
        let (a, b) = (read("a"), read("b"));
        // The two puts may be in two commits, one behind the other.
        assert!(a == b || a == b + 1, "after {writes} writes: {a} and {b}");
        cut_off += u32::from(loaded.was_cut_off);
        lost += u32::from(a < 20);
        drop(store);
    }
    assert!(cut_off == 100 && lost > 50, "{cut_off} were cut off, {lost} lost something");
}

#[test]
fn f55_a_directory_that_another_has_is_refused() {
    let parent = tempfile::tempdir().expect("a place");
    let directory = parent.path().join("store");
    let first = Store::new(&Limits::default());
    first.keep_in(&directory).expect("it opens");
    first.put("a", b"1").expect("fits");
    let second = Store::new(&Limits::default());
    let error = second.keep_in(&directory).expect_err("it is the first's");
    let process = Some(std::process::id());
    assert!(matches!(&error, DirectoryError::Used { process: p, .. } if *p == process), "{error}");
    let told = error.to_string();
    assert!(told.contains("is the store of another slave"), "{told}");
    assert!(told.contains(&*directory.to_string_lossy()), "{told}");
    first.close();
    let third = Store::new(&Limits::default());
    third.keep_in(&directory).expect("nobody has it");
    assert_eq!(third.read("a").as_deref(), Some(&b"1"[..]));
}

/// The writer tries a full disk again now and then; nobody is told when it does.
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never is");
        std::thread::yield_now();
    }
}
