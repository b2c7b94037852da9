use super::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn values_come_back_with_their_type() {
    let ages = BTreeMap::from([("ada".to_owned(), 36u8)]);
    assert_eq!(get::<u8>("ages"), Ok(None));
    let version = put("ages", &ages).expect("put");
    assert_eq!(get_versioned("ages"), Ok(Some(Versioned { value: ages, version })));
    let error = get::<String>("ages").expect_err("another type");
    assert!(error.to_string().starts_with("the value of `ages` has another type: "), "{error}");
    assert_eq!(put_bytes("raw", b"\xff\xff"), Ok(version + 1));
    assert_eq!(get_bytes("raw"), Ok(Some(b"\xff\xff".into())));
}

#[test]
fn a_swap_needs_the_version() {
    assert_eq!(compare_and_swap("n", &1, 7), Ok(None));
    let first = compare_and_swap("n", &1, 0).expect("not refused").expect("was absent");
    assert_eq!(put_if_absent("n", &2), Ok(None));
    let second = compare_and_swap("n", &2, first).expect("not refused").expect("as expected");
    assert_eq!(compare_and_swap("n", &3, first), Ok(None));
    assert_eq!(get("n"), Ok(Some(2)));
    assert_eq!((remove("n"), remove("n")), (Ok(true), Ok(false)));
    let third = put_if_absent("n", &4).expect("not refused").expect("was removed");
    assert!(third > second, "no version is used again");
}

#[test]
fn keys_are_checked_as_a_slave_does() {
    let refused = put("", &1).expect_err("an empty key");
    assert_eq!(
        refused.to_string(),
        "the store refused: the limit on key was exceeded (allowed: 1 to 1024 bytes)"
    );
}

#[test]
fn listings_go_over_pages() {
    for n in 0..600 {
        put(&format!("n/{n:03}"), &n).expect("put");
    }
    put("other", &0).expect("put");
    let keys: Vec<_> = list("n/").map(|entry| entry.expect("lists").key).collect();
    assert_eq!(keys.len(), 600);
    assert!(keys.is_sorted());
    let first = list("other").next().expect("one").expect("lists");
    assert_eq!((first.kind, first.bytes, first.owner.as_str()), (EntryKind::Value, 1, "host"));
}

#[test]
fn what_is_needed_often_is_built_once() {
    let (mut built, mut failed) = (0, 0);
    for _ in 0..3 {
        let value = get_or_init("n", || {
            built += 1;
            7u64
        });
        assert_eq!(value, Ok(7));
    }
    assert_eq!(built, 1);
    for _ in 0..2 {
        let outcome = get_or_try_init("m", || {
            failed += 1;
            Err::<u64, _>(refused("no".into()))
        });
        assert_eq!(outcome, Err(refused("no".into())));
    }
    assert_eq!((failed, get::<u64>("m")), (2, Ok(None)), "a failure is not kept");
    let other = get_or_init("k", || {
        put("k", &1u64).expect("put");
        2
    });
    assert_eq!((other, get("k")), (Ok(1u64), Ok(Some(1u64))), "what was put meanwhile stays");
    let error = get_or_init("n", String::new).expect_err("a number");
    assert!(matches!(error, StoreError::Decode { .. }), "{error}");
}

#[test]
#[should_panic(expected = "the task waits for itself: it builds the entry `k` that it asks for")]
fn what_needs_itself_is_told() {
    let _ = get_or_try_init("k", || get_or_init("k", || 1u64));
}

#[test]
fn a_builder_that_panics_is_not_waited_for() {
    let panics = || get_or_init::<u64>("k", || panic!("as it was told"));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(get_or_init("k", || 2u64), Ok(2));
}

#[test]
fn what_would_wait_for_ever_is_refused() {
    let first = put("k", &1).expect("put");
    assert_eq!((wait("k", 0), wait("k", first + 1)), (Ok(first), Ok(first)));
    let error = wait("k", first).expect_err("nobody changes it");
    assert!(error.to_string().contains("would wait for ever"), "{error}");
    assert_eq!(remove("k"), Ok(true));
    assert_eq!(wait("k", first), Ok(0));
}

#[test]
fn what_changes_below_a_prefix_is_told_in_order() {
    put("k/0", &0).expect("put");
    let mut watch = watch_with_present("k/").expect("not too many");
    let (first, other) = (put("k/1", &1).expect("put"), put("other", &1).expect("put"));
    ttl(Duration::ZERO).put("k/2", &2).expect("put");
    assert_eq!(remove("k/1"), Ok(true));
    let mut told = Vec::new();
    while let Some(event) = watch.try_next().expect("it goes on") {
        let Event::Changed(change) = event else { panic!("missed") };
        told.push((change.key, change.what, change.version));
    }
    let words: Vec<_> = told.iter().map(|(key, what, _)| format!("{key} {what}")).collect();
    let expected = ["k/0 present", "k/1 put", "k/2 put", "k/2 expired", "k/1 removed"];
    assert_eq!(words, expected);
    assert!(told.is_sorted_by_key(|(_, _, version)| *version) && told[1].2 == first);
    assert!(told[2].2 > other);
    let error = watch.next().expect("it is told").expect_err("nobody changes it");
    assert!(error.to_string().contains("would wait for ever"), "{error}");
    assert_eq!(watch.next(), None);
}

#[test]
fn what_is_not_taken_is_missed_and_so_many_are_watched_at_once() {
    let mut watch = super::watch("n").expect("not too many");
    for n in 0..5000 {
        put("n", &n).expect("put");
    }
    let mut told = 0;
    let missed = loop {
        match watch.try_next().expect("it goes on").expect("there is more") {
            Event::Changed(_) => told += 1,
            Event::Missed(missed) => break missed,
        }
    };
    assert_eq!((told, missed, watch.try_next()), (4096, 904, Ok(None)));
    let more: Vec<_> = (0..15).map(|_| super::watch("").expect("not too many")).collect();
    assert!(super::watch("").is_err());
    drop(more);
    assert!(super::watch("").is_ok() && super::watch(&"p".repeat(1025)).is_err());
}

#[test]
fn what_is_built_is_kept_on_the_terms_that_were_said() {
    let of = |key: &str| {
        let entry = list(key).next().expect("one").expect("lists");
        (entry.evictable, entry.ttl.is_some())
    };
    let hour = ttl(Duration::from_secs(3600));
    assert_eq!((get_or_init("a", || 1), of("a")), (Ok(1), (true, false)));
    assert_eq!((Terms::default().get_or_init("b", || 2), of("b")), (Ok(2), (false, false)));
    assert_eq!((hour.get_or_init("c", || 3), of("c")), (Ok(3), (true, true)));
    assert_eq!((hour.get_or_init("a", || 4), of("a")), (Ok(1), (true, false)), "it was there");
    let failed = hour.get_or_try_init("d", || Err::<u64, _>(refused("no".into())));
    assert_eq!(failed, Err(refused("no".into())));
}

#[test]
fn terms_are_kept_to() {
    ttl(Duration::ZERO).put("gone", &1).expect("put");
    assert_eq!(get::<u8>("gone"), Ok(None));
    ttl(Duration::from_secs(3600)).evictable().put("stays", &1).expect("put");
    let entry = list("stays").next().expect("one").expect("lists");
    assert!(entry.evictable && !entry.pinned);
    assert!(entry.ttl.is_some_and(|left| left <= Duration::from_secs(3600)), "{entry:?}");
    assert_eq!(evictable().put_if_absent("stays", &2), Ok(None));
    assert_eq!((pin("stays"), pin("none")), (Ok(true), Ok(false)));
    put("stays", &2).expect("put");
    let entry = list("stays").next().expect("one").expect("lists");
    assert!(entry.pinned && !entry.evictable && entry.ttl.is_none());
}

#[test]
fn an_update_keeps_the_terms_that_are_there_or_takes_others() {
    let of = |key: &str| {
        let entry = list(key).next().expect("one").expect("lists");
        (entry.evictable, entry.ttl.is_some(), entry.pinned)
    };
    let up = |before: Option<u32>| before.unwrap_or(0) + 1;
    let hour = Duration::from_secs(3600);
    ttl(hour).put("n", &1u32).expect("put");
    assert_eq!((pin("n"), update("n", up), of("n")), (Ok(true), Ok(2), (true, true, true)));
    assert_eq!((evictable().update("n", up), of("n")), (Ok(3), (true, false, true)));
    assert_eq!((update("n", up), of("n")), (Ok(4), (true, false, true)));
    let version = get_versioned::<u32>("n").expect("reads").expect("there").version;
    assert!(compare_and_swap("n", &5u32, version).expect("not refused").is_some());
    assert_eq!(of("n"), (false, false, true), "a swap sets them");
    assert_eq!((update("new", up), of("new")), (Ok(1), (false, false, false)));
    ttl(Duration::ZERO).put("gone", &9u32).expect("put");
    assert_eq!((update("gone", up), of("gone")), (Ok(1), (false, false, false)));
}

#[test]
fn an_update_is_tried_again_until_nobody_was_faster() {
    put("n", &1).expect("put");
    let mut tries = 0;
    let interfere = |before: Option<u32>| {
        tries += 1;
        if tries < 4 {
            put("n", &(10 * tries)).expect("put");
        }
        before.unwrap_or(0) + 1
    };
    assert_eq!(update("n", interfere), Ok(31));
    assert_eq!(get("n"), Ok(Some(31)));
    let always = |before: Option<u64>| {
        put("n", &0).expect("put");
        before.unwrap_or(0)
    };
    let contended = StoreError::Contended { key: "n".into(), tries: 1000 };
    assert_eq!(update("n", always), Err(contended));
}

#[test]
fn a_value_in_pieces_is_there_when_it_is_finished() {
    put("k", &1).expect("put");
    let mut given_up = write("k").expect("begun");
    given_up.append(b"lost").expect("room");
    drop(given_up);
    assert_eq!(get("k"), Ok(Some(1)));
    let mut written = write("k").expect("begun");
    std::io::Write::write_all(&mut written, b"ab").expect("room");
    written.append(b"cd").expect("room");
    let version = written.finish().expect("room");
    let whole = Versioned { value: b"abcd"[..].into(), version };
    assert_eq!(get_bytes_versioned("k"), Ok(Some(whole)));
    let many: Vec<_> = (0..16).map(|_| write("k").expect("begun")).collect();
    let refused = write("k").expect_err("one too many");
    assert!(refused.to_string().contains("16 values are being written"), "{refused}");
    drop(many);
    write("k").expect("begun").finish().expect("room");
}
