//! Pages that the kernel moves while a sandbox is cleared up.
//!
//! It moves them when it makes room for large pages, and has them nowhere in between: whoever then
//! asks which of them are present and written is not told of these. Run with the right to have
//! memory compacted (root), this moves them all the time; without, there is nothing to see.

use dpfw_slave::{Limits, Local};
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Adds up what is in a word of each of 1,000 pages, and writes there; gives the sum's last byte.
const TASK: &str = r#"(module
    (memory (export "memory") 64)
    (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 4100096))
    (func (export "dpfw:run") (param i32 i32) (result i64) (local $at i32) (local $sum i32)
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (i32.store (local.get $at) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 4096)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 4096000))))
      (i32.store16 (i32.const 4100000) (i32.shl (local.get $sum) (i32.const 8)))
      (i64.const 0x3e8fa000000002)))"#;

/// One in some thousands found something where pages that are not present were left as they are.
const TASKS: usize = 20_000;

#[test]
fn a_page_that_is_being_moved_is_cleared_like_all_others() {
    let Ok(compact) = OpenOptions::new().write(true).open("/proc/sys/vm/compact_memory") else {
        eprintln!("not tried: memory cannot be compacted from here");
        return;
    };
    let wasm = wat::parse_str(TASK).expect("a module");
    let mut local = Local::new(&wasm, Limits::default()).expect("loaded");
    let run = local.task("run").expect("a task");
    let ended = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                (&compact).write_all(b"1").expect("memory is compacted");
            }
        });
        let found: Vec<_> = (0..TASKS).map(|_| local.call(&run, &[0x90])).collect();
        ended.store(true, Ordering::Relaxed);
        found
    });
    let used: Vec<_> = found.iter().filter(|found| **found != Ok(vec![0])).collect();
    assert!(used.is_empty(), "{} of {TASKS} tasks found another's: {:?}", used.len(), used[0]);
}
