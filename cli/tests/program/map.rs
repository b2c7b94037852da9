//! `dpfw map`.

use crate::kit::{Modules, Process, dpfw, slave};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::io::{BufRead, Write as _};

#[test]
fn line_n_of_the_results_belongs_to_line_n_of_the_input() {
    let modules = Modules::new();
    let input = "[1, 2]\n\nnonsense\n{}\n[3, 4]\n[1]\n[5, \"x\"]\n[1, 0]";
    let left = dpfw(&["map", &modules.path("tasks.wasm"), "divide"], input);
    assert_eq!(left.code, 6);
    insta::assert_snapshot!(modules.stable(&left.out), @r#"
    0
    {"dpfw_error":{"line":2,"code":2,"message":"it is empty; write an array with an element for each argument, for instance [2, 3], or [] for none"}}
    {"dpfw_error":{"line":3,"code":2,"message":"it is no JSON: expected ident at line 1 column 2; write an array with an element for each argument, for instance [2, 3]"}}
    {"dpfw_error":{"line":4,"code":2,"message":"it is an object, not an array; write an array with an element for each argument, for instance [2, 3]"}}
    0
    {"dpfw_error":{"line":6,"code":4,"message":"`divide(a: i64, b: i64) -> Result<i64, _>` takes 2 arguments, not 1"}}
    {"dpfw_error":{"line":7,"code":4,"message":"`divide` on SLAVE: the arguments do not fit the task: argument `b: i64`: a string does not fit; it is `divide(a: i64, b: i64) -> Result<i64, _>`"}}
    {"dpfw_error":{"line":8,"code":1,"message":"`divide` on SLAVE: the task failed: 1 cannot be divided by zero"}}
    "#);
    insta::assert_snapshot!(modules.stable(&left.err), @r"
    error: line 2: it is empty; write an array with an element for each argument, for instance [2, 3], or [] for none
    error: line 3: it is no JSON: expected ident at line 1 column 2; write an array with an element for each argument, for instance [2, 3]
    error: line 4: it is an object, not an array; write an array with an element for each argument, for instance [2, 3]
    error: line 6: `divide(a: i64, b: i64) -> Result<i64, _>` takes 2 arguments, not 1
    error: line 7: `divide` on SLAVE: the arguments do not fit the task: argument `b: i64`: a string does not fit; it is `divide(a: i64, b: i64) -> Result<i64, _>`
    error: line 8: `divide` on SLAVE: the task failed: 1 cannot be divided by zero
    error: 6 of 8 lines failed
    ");
}

#[test]
fn without_failures_nothing_is_said() {
    let modules = Modules::new();
    for input in ["", "[2, 3]", "[2, 3]\r\n[3, 4]\r\n"] {
        let left = dpfw(&["map", &modules.path("plain.wat"), "add"], input);
        assert_eq!((left.code, left.err.as_str()), (0, ""), "{left:?}");
        assert_eq!(left.out.lines().count(), input.lines().count());
    }
}

#[test]
fn a_line_that_takes_too_long_takes_no_other_with_it() {
    let modules = Modules::new();
    let args = ["map", &modules.path("plain.wat"), "spin_if", "--timeout", "200ms"];
    let left = dpfw(&args, "[0]\n[1]\n[0]\n");
    assert_eq!(left.code, 6, "{left:?}");
    let lines: Vec<_> = left.out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("null", "null"), "{left:?}");
    assert!(lines[1].starts_with(r#"{"dpfw_error":{"line":2,"code":7,"#), "{left:?}");
}

#[test]
fn results_come_as_they_are_there() {
    let modules = Modules::new();
    let mut map = Process::start(&["map", &modules.path("tasks.wasm"), "add"]);
    for n in 0..20 {
        map.write(&format!("[{n}, 1]\n"));
        assert_eq!(map.line(), (n + 1).to_string());
    }
    map.write("nonsense\n");
    assert!(map.line().starts_with("{\"dpfw_error\":{\"line\":21,\"code\":2,"));
    assert_eq!(map.finish().code, 6);
}

/// Lines `[first, 1]` to `[last, 1]`.
fn numbers(range: std::ops::Range<u64>) -> String {
    range.fold(String::new(), |mut out, n| {
        writeln!(out, "[{n}, 1]").expect("a text");
        out
    })
}

#[test]
fn a_hundred_thousand_lines() {
    const LINES: u64 = 100_000;
    let modules = Modules::new();
    let mut map = Process::start(&["map", &modules.path("tasks.wasm"), "add"]);
    let mut stdin = map.take_stdin();
    let writer = std::thread::spawn(move || stdin.write_all(numbers(0..LINES).as_bytes()));
    for n in 0..LINES {
        assert_eq!(map.line(), (n + 1).to_string());
    }
    writer.join().expect("no panic").expect("written");
    let left = map.finish();
    assert_eq!((left.code, left.err.as_str()), (0, ""));
}

/// The most memory that a process ever had, in KiB.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

#[test]
fn memory_does_not_grow_with_the_input() {
    const LINES: u64 = 10_000;
    const ROUNDS: u64 = 6;
    let modules = Modules::new();
    // Long lines and long results: kept, those of the later rounds would be 80 MiB.
    let text = "x".repeat(1000);
    let bad = format!("\"{text}\"\n");
    for line in [format!("[\"{text}\"]\n"), bad] {
        let mut map = Process::start(&["map", &modules.path("tasks.wasm"), "count_words"]);
        let mut stdin = map.take_stdin();
        let mut stdout = map.stdout.take().expect("piped");
        let (sender, gate) = std::sync::mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                gate.recv().expect("asked for");
                for _ in 0..LINES {
                    stdin.write_all(line.as_bytes()).expect("read");
                }
            }
        });
        let mut peaks = Vec::new();
        for _ in 0..ROUNDS {
            sender.send(()).expect("waited for");
            let mut result = Vec::new();
            for _ in 0..LINES {
                result.clear();
                stdout.read_until(b'\n', &mut result).expect("readable");
                assert!(result.starts_with(b"{\"x") || result.starts_with(b"{\"dpfw_error\""));
            }
            peaks.push(peak(map.id()));
        }
        writer.join().expect("no panic");
        // The kernel counts in batches: of two peaks the later may be less by some pages.
        let grown = peaks[ROUNDS as usize - 1].saturating_sub(peaks[1]);
        eprintln!("{peaks:?}");
        assert!(grown < 24 << 10, "it grew by {grown} KiB: {peaks:?}");
    }
}

#[test]
fn a_slave_that_is_killed_is_replaced() {
    const LINES: u64 = 3_000;
    let modules = Modules::new();
    let (first, second) = (slave(&["--slots", "1"]), slave(&["--slots", "1"]));
    let module = modules.path("tasks.wasm");
    let addresses = ["--slave", &first.address, "--slave", &second.address];
    // Each takes a millisecond or so, so that both slaves have some when one dies.
    let args = [&["map", &module, "sum_below", "--chunk", "4"][..], &addresses].concat();
    let mut map = Process::start(&args);
    let mut stdin = map.take_stdin();
    let writer = std::thread::spawn(move || {
        let lines = (0..LINES).fold(String::new(), |out, n| out + &format!("[{}]\n", 100_000 + n));
        stdin.write_all(lines.as_bytes())
    });
    let mut first = Some(first);
    for n in 0..LINES {
        let limit = 100_000 + n;
        assert_eq!(map.line(), (limit * (limit - 1) / 2).to_string());
        if n == 100 {
            let slave = first.take().expect("once");
            slave.process.signal(Signal::KILL);
        }
    }
    writer.join().expect("no panic").expect("written");
    let left = map.finish();
    assert_eq!(left.code, 0, "{left:?}");
}

#[test]
fn no_slave_left_ends_it() {
    let modules = Modules::new();
    let slave = slave(&[]);
    let args = ["--slave", &slave.address, "--dial-tries", "1"];
    let mut map =
        Process::start(&[&["map", &modules.path("tasks.wasm"), "add"], &args[..]].concat());
    map.write("[1, 1]\n");
    assert_eq!(map.line(), "2");
    slave.process.signal(Signal::KILL);
    assert_eq!(slave.process.finish().code, -1);
    map.write("[1, 2]\n[1, 3]\n");
    let left = map.finish();
    assert_eq!((left.code, left.out.as_str()), (5, ""), "{left:?}");
    let last = left.err.lines().rfind(|line| line.starts_with("error: ")).expect("an error");
    insta::assert_snapshot!(last, @"error: line 2: `add`: there is no slave to run the task; the rest was not run");
}

#[test]
fn a_module_that_is_rejected_is_told_once() {
    let modules = Modules::new();
    let left = dpfw(&["map", &modules.path("greedy.wat"), "f"], "[]\n[]\n[]\n");
    assert_eq!((left.code, left.out.as_str()), (3, ""));
    insta::assert_snapshot!(modules.stable(&left.err), @r"
    error: line 1: `f` on SLAVE: the module was rejected: it imports `env.everything`; plain modules import nothing; the rest was not run
    hint: `dpfw inspect MODULE` shows what it asks for
    ");
    let left = dpfw(&["map", &modules.path("plain.wat"), "missing"], "");
    assert_eq!(left.code, 4);
}

#[test]
fn a_signal_cancels_what_runs_and_keeps_what_came() {
    let modules = Modules::new();
    let mut map = Process::start(&["map", &modules.path("plain.wat"), "add"]);
    map.write("[2, 3]\n");
    assert_eq!(map.line(), "5");
    map.signal(Signal::INT);
    // Before its input ends, which would end it as well.
    map.says("ended by SIGINT");
    assert_eq!(map.finish().code, 130);
    let mut map = Process::start(&["map", &modules.path("loud.wat"), "spin"]);
    map.write("[]\n");
    map.says("forged");
    map.signal(Signal::TERM);
    map.says("ended by SIGTERM");
    assert_eq!(map.finish().code, 143);
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let modules = Modules::new();
    let mut map = Process::start(&["map", &modules.path("plain.wat"), "add"]);
    let mut stdin = map.take_stdin();
    stdin.write_all(b"[2, 3]\n").expect("written");
    assert_eq!(map.line(), "5");
    map.stdout = None;
    // Until it notices; then nobody reads the lines either.
    while stdin.write_all(b"[2, 3]\n").is_ok() {}
    let left = map.finish();
    assert_eq!((left.code, left.err.as_str()), (141, ""));
}

#[test]
fn isolated_lines_do_not_see_each_other() {
    let modules = Modules::new();
    let counter = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "count") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#;
    std::fs::write(modules.path("counter.wat"), counter).expect("written");
    let module = modules.path("counter.wat");
    let input = "[]\n".repeat(5_000);
    let left = dpfw(&["map", &module, "count", "--chunk", "100", "--isolated"], &input);
    assert_eq!(left.code, 0);
    assert!(left.out.lines().all(|line| line == "1"));
}
