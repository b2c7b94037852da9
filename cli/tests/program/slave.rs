//! `dpfw slave`.

use crate::kit::{Modules, Process, dpfw, slave};
use rustix::process::Signal;

#[test]
fn it_says_where_it_listens() {
    let args = ["slave", "--listen", "127.0.0.1:0", "--listen", "localhost:0", "--slots", "1"];
    let mut slave = Process::start(&args);
    let modules = Modules::new();
    for _ in 0..2 {
        let line = slave.line();
        let address = line.strip_prefix("listening on ").expect("an address");
        let left =
            dpfw(&["run", &modules.path("plain.wat"), "add", "[2,3]", "--slave", address], "");
        assert_eq!((left.code, left.out.as_str()), (0, "5\n"), "{left:?}");
    }
    slave.signal(Signal::TERM);
    let left = slave.finish();
    assert_eq!((left.code, left.out.as_str(), left.err.as_str()), (0, "", ""));
}

#[test]
fn without_a_way_to_a_master_it_says_what_to_do() {
    let left = dpfw(&["slave"], "");
    assert_eq!(left.code, 2);
    insta::assert_snapshot!(left.err, @"error: the slave has no way to a master: let it listen for masters with --listen 127.0.0.1:10000, or dial one that listens with --dial ADDR");
}

#[test]
fn a_port_that_is_taken_ends_with_5() {
    let first = slave(&[]);
    let left = dpfw(&["slave", "--listen", &first.address], "");
    assert_eq!(left.code, 5, "{left:?}");
    assert!(left.err.contains("cannot be listened on: Address already in use"), "{left:?}");
}

/// A run of an endless task at a slave, once it runs.
fn endless(modules: &Modules, address: &str) -> Process {
    let module = modules.path("loud.wat");
    let mut run =
        Process::start(&["run", &module, "spin", "--slave", address, "--dial-tries", "1"]);
    run.says("forged");
    run
}

#[test]
fn a_drain_lets_what_runs_come_to_its_end() {
    let modules = Modules::new();
    let mut slave = slave(&["-v", "--drain", "1h"]);
    let args = ["run", &modules.path("loud.wat"), "linger", "--slave", &slave.address];
    let mut run = Process::start(&args);
    run.says("forged");
    slave.process.signal(Signal::TERM);
    slave.process.says("draining");
    let left = run.finish();
    assert_eq!((left.code, left.out.as_str()), (0, "null\n"), "{left:?}");
    assert_eq!(slave.process.finish().code, 0);
}

/// One task is named, with its master and how long it ran.
pub(crate) fn is_unfinished(told: &str) {
    let (before, one) = told.split_once("\n  ").expect("what was interrupted");
    assert_eq!(
        before,
        "error: 1 task still ran after 50ms and was interrupted; --drain gives more time"
    );
    let (task, ran) = one.split_once(", which ran for ").expect("how long");
    assert!(task.trim_start().starts_with("`spin` of master-") && ran.ends_with(" s\n"), "{one}");
}

#[test]
fn f17_a_drain_that_takes_too_long_says_what_was_not_finished() {
    let modules = Modules::new();
    let slave = slave(&["--drain", "50ms"]);
    let run = endless(&modules, &slave.address);
    slave.process.signal(Signal::INT);
    let left = slave.process.finish();
    assert_eq!(left.code, 8);
    is_unfinished(&left.err);
    let left = run.finish();
    assert_eq!(left.code, 5, "{left:?}");
}

#[test]
fn f17_a_second_signal_ends_it_at_once() {
    let modules = Modules::new();
    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut slave = slave(&["-v", "--drain", "1h"]);
        let run = endless(&modules, &slave.address);
        slave.process.signal(Signal::TERM);
        slave.process.says("draining");
        slave.process.signal(second);
        let left = slave.process.finish();
        assert_eq!(left.code, code);
        assert!(left.err.ends_with("what still ran is not finished\n"), "{left:?}");
        assert_eq!(run.finish().code, 5);
    }
}

#[test]
fn limits_are_options() {
    let modules = Modules::new();
    let slave = slave(&["--memory", "64KiB", "--no-cache"]);
    let left = dpfw(&["run", &modules.path("loud.wat"), "boom", "--slave", &slave.address], "");
    assert_eq!(left.code, 1);
    insta::assert_snapshot!(modules.stable(&left.err), @r"
    error: `boom` on SLAVE: the limit on memory was exceeded (allowed: 65536 bytes)
    hint: the slave's --memory moves this limit
    ");
}

#[test]
fn the_cache_is_where_it_is_said() {
    let modules = Modules::new();
    let cache = modules.path("cache");
    let run = |args: &[&str]| {
        let module = modules.path("plain.wat");
        let left = dpfw(&[&["run", &module, "add", "[2,3]"], args].concat(), "");
        assert_eq!((left.code, left.err.as_str()), (0, ""));
        std::fs::read_dir(&cache).is_ok()
    };
    assert!(!run(&["--no-cache"]));
    assert!(run(&["--cache", &cache]));
}

#[test]
fn compiling_is_confined_if_it_is_to_be() {
    let modules = Modules::new();
    let plain = modules.path("plain.wat");
    for (when, confined) in [("always", "true"), ("never", "false"), ("beyond-loopback", "false")] {
        let args = ["-v", "--no-cache", "--confine-compiling", when];
        let slave = slave(&args);
        let left = dpfw(&["run", &plain, "add", "[2,3]", "--slave", &slave.address], "");
        assert_eq!((left.code, left.out.as_str()), (0, "5\n"), "{when}: {left:?}");
        slave.process.signal(Signal::TERM);
        let left = slave.process.finish();
        assert_eq!(left.code, 0, "{when}: {left:?}");
        assert!(left.err.contains(&format!("confined={confined}")), "{when}: {left:?}");
    }
}

#[test]
fn who_starts_the_compiler_by_hand_is_told_what_it_is() {
    let left = dpfw(&["dpfw-compile-child"], "");
    assert_eq!((left.code, left.out.as_str()), (1, ""), "{left:?}");
    assert!(left.err.contains("slaves start this by themselves"), "{left:?}");
}

#[test]
fn f34_nothing_of_a_guests_or_a_masters_acts_on_the_terminal_of_a_slave() {
    let modules = Modules::new();
    let names = [
        ("import", r#"(import "evil\1b[2J" "\1b]0;x\07" (func))"#),
        ("export", r#"(func (export "f\1b[31m\0d\0a") unreachable)"#),
        ("trap", r#"(func $evil\1b (export "g") unreachable)"#),
    ];
    for form in [&["-vvv"][..], &["-vvv", "--log-json"]] {
        let slave = slave(form);
        for (name, text) in names {
            modules.write(&format!("{name}.wat"), &format!("(module {text})"));
            let module = modules.path(&format!("{name}.wat"));
            for function in ["g", "f\u{1b}[31m\r\n", "\u{1b}[2J"] {
                let left = dpfw(&["run", &module, function, "--slave", &slave.address], "");
                assert_ne!(left.code, 0, "{name}: {left:?}");
                assert!(!left.err.contains(ACTS), "{name}: {left:?}");
            }
        }
        let key = "k\u{1b}[2J\u{9b}31m\u{202e}";
        let left = dpfw(&["store", "put", key, "1", "--slave", &slave.address], "");
        assert_eq!(left.code, 0, "{left:?}");
        slave.process.signal(Signal::TERM);
        let left = slave.process.finish();
        assert!(!left.err.contains(ACTS), "{left:?}");
        assert!(!left.out.contains(ACTS), "{left:?}");
    }
}

/// What a terminal would obey.
const ACTS: [char; 5] = ['\u{1b}', '\u{7}', '\r', '\u{9b}', '\u{202e}'];
