//! Guests of a few lines that watch a store in which they are alone.

use crate::limits::Limits;
use crate::sandbox::tests::Guest;
use crate::sandbox::watches::MOST;
use wasmtime::Result;

/// The key `k/1` is at 0, so `k/` is its first two bytes; the key `x` is at 8.
const STORE: &str = r#"
    (import "dpfw_1" "store_watch" (func $watch (param i32 i32 i32) (result i32)))
    (import "dpfw_1" "store_watch_next" (func $next (param i32 i32) (result i32)))
    (import "dpfw_1" "store_watch_end" (func $end (param i32) (result i32)))
    (import "dpfw_1" "store_put" (func $put (param i32 i32 i32 i32) (result i32)))
    (import "dpfw_1" "store_remove" (func $remove (param i32 i32) (result i32)))
    (import "dpfw_1" "reply_version" (func $version (result i64)))
    (memory (export "memory") 1) (data (i32.const 0) "k/1") (data (i32.const 8) "x")
    (func $watches (param $present i32) (result i32)
      (drop (call $watch (i32.const 0) (i32.const 2) (local.get $present)))
      (i32.wrap_i64 (call $version)))
    (func $puts (param $at i32) (param $len i32)
      (drop (call $put (local.get $at) (local.get $len) (i32.const 8) (i32.const 1))))"#;

fn guest(run: &str) -> Result<Guest> {
    let text = format!("{STORE} (func (export \"run\") (result i32) {run})");
    Guest::new(&text, Limits::default())
}

/// The changes in the last reply: key, kind, version, and what happened.
fn told(guest: &Guest) -> Vec<(String, String, u64, String)> {
    rmp_serde::from_slice(&guest.host().reply.bytes).expect("a list of changes")
}

#[test]
fn every_change_below_the_prefix_is_told_in_order() -> Result<()> {
    let mut guest = guest(
        "(local $watch i32) (local.set $watch (call $watches (i32.const 0)))
         (call $puts (i32.const 0) (i32.const 3)) (call $puts (i32.const 8) (i32.const 1))
         (call $puts (i32.const 0) (i32.const 2))
         (drop (call $remove (i32.const 0) (i32.const 3)))
         (call $next (local.get $watch) (i32.const 1))",
    )?;
    assert_eq!(guest.run()?, 1);
    let told = told(&guest);
    let all: Vec<_> = told.iter().map(|(key, kind, _, what)| [key, kind, what]).collect();
    let expected = [["k/1", "value", "put"], ["k/", "value", "put"], ["k/1", "value", "removed"]];
    assert_eq!(all, expected);
    assert!(told.is_sorted_by_key(|(_, _, version, _)| *version), "{told:?}");
    assert_eq!(guest.host().reply.version, 0, "nothing was missed");
    Ok(())
}

#[test]
fn what_is_there_is_told_if_asked_for() -> Result<()> {
    for (present, says) in [(0, 0), (1, 1)] {
        let run = format!(
            "(call $puts (i32.const 0) (i32.const 3))
             (call $next (call $watches (i32.const {present})) (i32.const 0))"
        );
        let mut guest = guest(&run)?;
        assert_eq!(guest.run()?, says);
        if present == 1 {
            assert_eq!(told(&guest)[0].3, "present");
        }
    }
    Ok(())
}

#[test]
fn nothing_is_waited_for_where_nobody_else_is() -> Result<()> {
    let mut guest = guest("(call $next (call $watches (i32.const 0)) (i32.const 1))")?;
    assert_eq!(guest.run()?, 2);
    assert!(guest.reply().contains("it would wait for ever"), "{}", guest.reply());
    Ok(())
}

#[test]
fn a_watch_that_was_ended_is_none_and_its_number_is_not_used_again() -> Result<()> {
    let ended = "(drop (call $end (call $watches (i32.const 0))))";
    for (run, says) in [
        (format!("{ended} (call $next (i32.const 1) (i32.const 0))"), 2),
        (format!("{ended} (call $end (i32.const 1))"), 2),
        (format!("{ended} (call $watches (i32.const 0))"), 2),
        ("(call $next (i32.const 1) (i32.const 1))".to_owned(), 2),
        (format!("{ended} (call $end (call $watches (i32.const 0)))"), 1),
    ] {
        assert_eq!(guest(&run)?.run()?, says, "{run}");
    }
    Ok(())
}

#[test]
fn a_guest_watches_so_many_prefixes_and_no_more() -> Result<()> {
    let mut guest = guest(
        "(local $watches i32)
         (loop $next
           (if (i32.eq (call $watch (i32.const 0) (i32.const 2) (i32.const 0)) (i32.const 1))
             (then (local.set $watches (i32.add (local.get $watches) (i32.const 1)))
                   (br $next))))
         (local.get $watches)",
    )?;
    assert_eq!(guest.run()? as usize, MOST);
    assert!(guest.reply().contains("16 prefixes are watched"), "{}", guest.reply());
    let core = &guest.host().lent.core;
    assert_eq!(core.watched.used(), MOST as u64);
    Ok(())
}
