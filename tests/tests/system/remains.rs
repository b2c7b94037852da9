//! Nothing remains: what a task leaves behind in its memory, tables and globals is looked for
//! by the next thousand.
//!
//! With pages that are reset as `PAGEMAP_SCAN` finds them, where the kernel has it, and with
//! pages that are reset without; in memory that is kept, and while the kernel takes it away.

use anyhow::Result;
use dpfw::{CallExt, Module, Task, TaskLimits};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wait::within;
use dpfw_tests::wasm::module;
use std::fs;

/// What a task leaves everywhere; nothing else has it.
const MARKER: i64 = 0x5ec7_e75e_c7e7_5ec7;

/// Pages that a sandbox has in the beginning, and those that it grows by: beyond what stays
/// resident from task to task.
const PAGES: (u32, u32) = (100, 100);

/// A module whose `mark` leaves a marker in every reachable byte, and whose `find` counts what
/// is not as it was made: in memory, also in what it grows by, in its table and its globals.
///
/// `both` does the one after the other; `salt` makes modules that differ.
fn marking(salt: u32) -> Result<Module> {
    let (begin, more) = PAGES;
    let globals: String =
        (0..50).map(|n| format!("(global $g{n} (mut i64) (i64.const {n}))")).collect();
    let set: String = (0..50).map(|n| format!("(global.set $g{n} (i64.const {MARKER}))")).collect();
    let changed: String = (0..50)
        .map(|n| format!("(if (i64.ne (global.get $g{n}) (i64.const {n})) (then (call $found)))"))
        .collect();
    module(&format!(
        r#"(module
            (memory {begin})
            (data (i32.const 0) "{data}")
            (table $t 1000 funcref)
            {globals}
            (global $found (mut i32) (i32.const 0))
            (func $found (global.set $found (i32.add (global.get $found) (i32.const 1))))
            (elem declare func $found)
            (func $mark (export "mark") (result i32) (local $at i32) (local $end i32)
              (drop (memory.grow (i32.const {more})))
              (drop (table.grow $t (ref.func $found) (i32.const 1000)))
              (table.fill $t (i32.const 0) (ref.func $found) (table.size $t))
              {set}
              (local.set $end (i32.mul (memory.size) (i32.const 65536)))
              (loop $more
                (i64.store (local.get $at) (i64.const {MARKER}))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $more (i32.lt_u (local.get $at) (local.get $end))))
              (memory.size))
            (func (export "both") (result i32) (call $find) (drop (call $mark)))
            (func $find (export "find") (result i32) (local $at i32) (local $end i32)
              (if (i32.ne (memory.size) (i32.const {begin})) (then (call $found)))
              (if (i32.ne (table.size $t) (i32.const 1000)) (then (call $found)))
              (if (i64.ne (i64.load (i32.const 0)) (i64.const {salt})) (then (call $found)))
              {changed}
              (drop (memory.grow (i32.const {more})))
              (drop (table.grow $t (ref.null func) (i32.const 1000)))
              (loop $more
                (if (i32.eqz (ref.is_null (table.get $t (local.get $at)))) (then (call $found)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $at) (table.size $t))))
              (local.set $at (i32.const 8))
              (local.set $end (i32.mul (memory.size) (i32.const 65536)))
              (loop $more
                (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (call $found)))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $more (i32.lt_u (local.get $at) (local.get $end))))
              (global.get $found)))"#,
        data = u64::from(salt).to_le_bytes().map(|byte| format!("\\{byte:02x}")).concat(),
    ))
}

fn task<T>(module: &Module, name: &str) -> Result<dpfw::Call<T>> {
    Ok(Task::new(module.clone(), name).call(&[0; 0])?)
}

/// Whether the kernel could be asked to take away what this process's group has in memory.
fn reclaim() -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    fs::write(format!("/sys/fs/cgroup{path}/memory.reclaim"), "64M").is_ok()
}

/// A task marks all that it can reach, a hundred look for it; ten times.
async fn nothing_remains(scan: bool) -> Result<()> {
    // More slots than one, so that sandboxes change places.
    let pair = Pair::start(slave("s1", 2)?.pagemap_scan(scan)).await?;
    let (one, other) = (marking(1)?, marking(2)?);
    let mut pressed = 0;
    for round in 0..10 {
        let marks = (0..4).map(|_| task::<u32>(&one, "mark")).collect::<Result<Vec<_>>>()?;
        let marked = within("the marks", pair.master.parallel(marks)).await??;
        assert_eq!(marked, [PAGES.0 + PAGES.1; 4]);
        pressed += u32::from(round % 2 == 1 && reclaim());
        // The module that left it, and one that was never there.
        let looks = (0..100).map(|n| task::<u32>(if n % 3 == 0 { &other } else { &one }, "find"));
        let looks = looks.collect::<Result<Vec<_>>>()?;
        let found = within("the looks", pair.master.parallel(looks)).await??;
        assert!(found.iter().all(|found| *found == 0), "round {round}: {found:?}");
    }
    eprintln!("the kernel took memory away {pressed} times");
    Ok(())
}

#[tokio::test]
async fn nothing_remains_where_pages_are_scanned() -> Result<()> {
    nothing_remains(true).await
}

#[tokio::test]
async fn nothing_remains_where_pages_are_not_scanned() -> Result<()> {
    nothing_remains(false).await
}

#[tokio::test]
async fn nothing_remains_of_one_that_was_stopped_in_the_middle() -> Result<()> {
    let pair = Pair::simple().await?;
    // Marks again and again, until its time is over.
    let endless = module(&format!(
        r#"(module (memory {0})
            (func (export "mark") (local $at i32)
              (loop $again
                (local.set $at (i32.const 0))
                (loop $more
                  (i64.store (local.get $at) (i64.const {MARKER}))
                  (local.set $at (i32.add (local.get $at) (i32.const 8)))
                  (br_if $more (i32.lt_u (local.get $at) (i32.const {1}))))
                (br $again))))"#,
        PAGES.0,
        PAGES.0 * 65_536
    ))?;
    let find = marking(3)?;
    let soon = TaskLimits::new().time(std::time::Duration::from_millis(20));
    for _ in 0..5 {
        let mark = pair.master.dispatch(task::<()>(&endless, "mark")?.limits(soon));
        within("the end", mark).await?.expect_err("it never ends");
        let found = within("a look", pair.master.dispatch(task::<u32>(&find, "find")?)).await??;
        assert_eq!(found, 0);
    }
    Ok(())
}

#[tokio::test]
async fn nothing_remains_between_the_isolated_calls_of_a_chunk() -> Result<()> {
    let pair = Pair::simple().await?;
    let module = marking(4)?;
    // Every call marks all that it can reach, and gives what it had found before.
    let calls = (0..100).map(|_| task::<u32>(&module, "both")).collect::<Result<Vec<_>>>()?;
    let found = pair.master.map(calls, |call| call).chunk(20).isolated().all();
    let found = within("the looks", found).await??;
    assert!(found.iter().all(|found| *found == 0), "{found:?}");
    // What is not isolated does find it: who looks has eyes.
    let calls = (0..2).map(|_| task::<u32>(&module, "both")).collect::<Result<Vec<_>>>()?;
    let shared = pair.master.map(calls, |call| call).chunk(2).all();
    let found = within("the looks", shared).await??;
    assert!(found[0] == 0 && found[1] > 1_000_000, "{found:?}");
    Ok(())
}
