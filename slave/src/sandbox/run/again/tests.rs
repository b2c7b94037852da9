//! Guests that change all that they can, and look whether it is still so in the next task.

use crate::limits::Limits;
use crate::local::Local;
use dpfw_protocol::error::Cause;

/// What a task `t` gives that does this: `$n` is what it found, a number below 128. And how many of
/// its sandboxes wait to be used again.
fn found(parts: &str, body: &str) -> (Vec<u8>, usize) {
    let text = format!(
        r#"(module {parts}
            (memory (export "memory") 3)
            (data (i32.const 70000) "\2a\07")
            (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "dpfw:t") (param i32 i32) (result i64) (local $n i32)
              {body}
              (i32.store16 (i32.const 16) (i32.shl (local.get $n) (i32.const 8)))
              (i64.const 0x1000000002)))"#
    );
    let wasm = wat::parse_str(text).expect("a module");
    let mut local = Local::new(&wasm, Limits::default()).expect("loaded");
    let task = local.task("t").expect("a task");
    let all = (0..4).map(|_| local.call(&task, &[0x90]).expect("it returns"));
    (all.flatten().collect(), local.spares())
}

/// They are put back, and find the same each time.
#[track_caller]
fn again(parts: &str, body: &str, value: u8) {
    assert_eq!(found(parts, body), (vec![value; 4], 1), "{parts} {body}");
}

/// They are made anew, and find the same each time.
#[track_caller]
fn anew(parts: &str, body: &str, value: u8) {
    assert_eq!(found(parts, body), (vec![value; 4], 0), "{parts} {body}");
}

#[test]
fn memory_is_as_it_was_where_it_was_data_and_where_it_was_not() {
    let count = |at: &str| {
        format!(
            "(local.set $n (i32.load8_u (i32.const {at})))
             (i32.store8 (i32.const {at}) (i32.add (local.get $n) (i32.const 1)))"
        )
    };
    again("", &count("70000"), 42);
    again("", &count("70001"), 7);
    again("", &count("70002"), 0);
    again("", &count("196607"), 0);
    again(
        "",
        &format!(
            "{} (memory.fill (i32.const 4096) (i32.const 9) (i32.const 140000))",
            count("70000")
        ),
        42,
    );
}

#[test]
fn globals_are_as_they_were_whatever_their_type() {
    again(
        "(global $g (mut i32) (i32.const 5))",
        "(local.set $n (global.get $g)) (global.set $g (i32.const 6))",
        5,
    );
    again(
        "(global $c i32 (i32.const 1)) (global $g (mut i64) (i64.const 5)) (global $h (mut f64) (f64.const 3))",
        "(local.set $n (i32.wrap_i64 (global.get $g))) (global.set $g (i64.const 6))
         (local.set $n (i32.add (local.get $n) (i32.trunc_f64_s (global.get $h))))
         (global.set $h (f64.const 9))",
        8,
    );
    again(
        "(global $g (mut v128) (v128.const i32x4 1 2 3 4))",
        "(local.set $n (i32x4.extract_lane 2 (global.get $g)))
         (global.set $g (v128.const i32x4 9 9 9 9))",
        3,
    );
    again(
        "(global $g (mut funcref) (ref.null func)) (func $f) (elem declare func $f)",
        "(local.set $n (ref.is_null (global.get $g))) (global.set $g (ref.func $f))",
        1,
    );
}

#[test]
fn what_can_change_tables_or_drop_segments_is_made_anew() {
    let table = "(table $t 4 funcref) (func $f) (elem declare func $f)";
    let is_null = "(local.set $n (ref.is_null (table.get $t (i32.const 0))))";
    anew(table, &format!("{is_null} (table.set $t (i32.const 0) (ref.func $f))"), 1);
    anew(table, &format!("{is_null} (table.fill $t (i32.const 0) (ref.func $f) (i32.const 2))"), 1);
    anew(
        "(table $t 1 9 funcref)",
        "(local.set $n (table.grow $t (ref.null func) (i32.const 1)))",
        1,
    );
    anew(
        "(data $d \"\\05\")",
        "(memory.init $d (i32.const 32) (i32.const 0) (i32.const 1)) (data.drop $d)
         (local.set $n (i32.load8_u (i32.const 32)))",
        5,
    );
    anew(
        "(table $t 1 funcref) (func $f) (elem $e func $f)",
        "(local.set $n (ref.is_null (table.get $t (i32.const 0))))
         (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)",
        1,
    );
}

#[test]
fn what_has_grown_is_made_anew() {
    anew("", "(local.set $n (memory.grow (i32.const 1)))", 3);
}

#[test]
fn what_a_start_leaves_is_left_for_each_task() {
    anew(
        "(import \"dpfw_1\" \"progress\" (func $told (param i64 i64)))
         (global $g (mut i32) (i32.const 1))
         (func $s (call $told (i64.const 0) (i64.const 1)) (global.set $g (i32.const 4))) (start $s)",
        "(local.set $n (global.get $g)) (global.set $g (i32.const 9))",
        4,
    );
}

#[test]
fn names_that_are_not_the_guests_own_do_no_harm() {
    anew(
        "(global $g (mut i32) (i32.const 5)) (global $h (mut i32) (i32.const 1))
         (export \"dpfw.global.0\" (global $h)) (export \"dpfw.global.1\" (global $h))",
        "(local.set $n (global.get $g)) (global.set $g (i32.const 6))",
        5,
    );
}

#[test]
fn what_has_trapped_is_not_used_again() {
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "dpfw:t") (param i32 i32) (result i64)
              (i32.store (i32.const 0) (i32.const 1)) unreachable))"#,
    );
    let mut local = Local::new(&wasm.expect("a module"), Limits::default()).expect("loaded");
    let task = local.task("t").expect("a task");
    for _ in 0..3 {
        assert!(matches!(local.call(&task, &[0x90]), Err(Cause::Trap { .. })));
        assert_eq!(local.spares(), 0);
    }
}
