//! Guests of a few lines that are alone with their store.

use crate::claims::MOST;
use crate::limits::Limits;
use crate::sandbox::imports::Ends;
use crate::sandbox::tests::Guest;
use dpfw_protocol::error::Cause;
use wasmtime::Result;

/// Keys are of one byte, at 0; the word `abc` is at 8.
const STORE: &str = r#"
    (import "dpfw_1" "store_claim" (func $claim (param i32 i32) (result i32)))
    (import "dpfw_1" "store_settle" (func $settle (param i32 i32 i32 i32) (result i32)))
    (import "dpfw_1" "store_forgo" (func $forgo (param i32 i32 i32 i32) (result i32)))
    (import "dpfw_1" "store_wait" (func $wait (param i32 i32 i64) (result i32)))
    (import "dpfw_1" "store_put" (func $put (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 8) "abc")
    (func $key (param $key i32) (i32.store8 (i32.const 0) (local.get $key)))
    (func $claims (param $key i32) (result i32)
      (call $key (local.get $key)) (call $claim (i32.const 0) (i32.const 1)))
    (func $settles (param $key i32) (result i32)
      (call $key (local.get $key))
      (call $settle (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 3)))
    (func $forgoes (param $key i32) (result i32)
      (call $key (local.get $key))
      (call $forgo (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 3)))"#;

fn guest(run: &str) -> Result<Guest> {
    let text = format!("{STORE} (func (export \"run\") (result i32) {run})");
    Guest::new(&text, Limits::default())
}

#[test]
fn what_is_claimed_is_built_and_found_then() -> Result<()> {
    // 0, then 1, then 1 again.
    let mut guest = guest(
        "(i32.add
           (i32.mul (call $claims (i32.const 65)) (i32.const 100))
           (i32.add
             (i32.mul (call $settles (i32.const 65)) (i32.const 10))
             (call $claims (i32.const 65))))",
    )?;
    assert_eq!((guest.run()?, guest.reply().as_str()), (11, "abc"));
    Ok(())
}

#[test]
fn what_is_given_up_may_be_claimed_again() -> Result<()> {
    let claim = "(drop (call $claims (i32.const 65)))";
    let mut guest =
        guest(&format!("{claim} (drop (call $forgoes (i32.const 65))) {claim} (i32.const 7)"))?;
    assert_eq!(guest.run()?, 7);
    assert_eq!(guest.host().claims.len(), 1);
    Ok(())
}

#[test]
fn what_is_not_claimed_is_neither_settled_nor_given_up() -> Result<()> {
    for (call, does) in [("$settles", "settles"), ("$forgoes", "forgoes")] {
        let mut guest = guest(&format!("(call {call} (i32.const 65))"))?;
        assert_eq!(guest.run()?, 2);
        let words = format!("it {does} the entry `A`, which it does not build");
        assert_eq!(guest.reply(), format!("the guest broke the ABI: {words}"));
    }
    Ok(())
}

#[test]
fn a_guest_builds_so_many_entries_at_a_time_and_no_more() -> Result<()> {
    let mut guest = guest(
        "(local $key i32) (local.set $key (i32.const 32))
         (loop $next
           (if (i32.eqz (call $claims (local.get $key)))
             (then (local.set $key (i32.add (local.get $key) (i32.const 1))) (br $next))))
         (i32.sub (local.get $key) (i32.const 32))",
    )?;
    assert_eq!(guest.run()? as usize, MOST);
    let words = "the limit on entries being built was exceeded (allowed: 64 entries)";
    assert_eq!(guest.reply(), words);
    Ok(())
}

#[test]
fn a_guest_that_claims_what_it_builds_ends() -> Result<()> {
    let mut guest = guest("(drop (call $claims (i32.const 65))) (call $claims (i32.const 65))")?;
    let error = guest.run().expect_err("it would wait for itself");
    let ends = error.downcast_ref::<Ends>().map(|Ends(cause)| cause.clone());
    assert_eq!(ends, Some(Cause::Ring { keys: vec!["A".into()] }));
    Ok(())
}

#[test]
fn where_nobody_else_is_a_wait_is_refused() -> Result<()> {
    let wait = |version| format!("(call $wait (i32.const 8) (i32.const 1) (i64.const {version}))");
    let mut alone = guest(&wait(0))?;
    assert_eq!(alone.run()?, 2);
    assert!(alone.reply().contains("it would wait for ever"), "{}", alone.reply());
    // It is another already.
    assert_eq!(guest(&wait(1))?.run()?, 0);
    let put = "(drop (call $put (i32.const 8) (i32.const 1) (i32.const 8) (i32.const 3)))";
    assert_eq!(guest(&format!("{put} {}", wait(0)))?.run()?, 1);
    Ok(())
}
