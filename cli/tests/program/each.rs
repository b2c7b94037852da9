//! `dpfw exec --each`.

use crate::kit::{Modules, Process, dpfw, slave};
use std::fmt::Write as _;

fn numbers(lines: u32) -> String {
    (0..lines).fold(String::new(), |mut out, n| {
        writeln!(out, "{n}").expect("a text");
        out
    })
}

#[test]
fn results_are_in_the_order_of_the_lines() {
    let modules = Modules::new();
    let say = modules.path("say.wat");
    let slaves = [slave(&["--slots", "2"]), slave(&["--slots", "1"])];
    let args = ["exec", "--slave", &slaves[0].address, "--slave", &slaves[1].address];
    for (template, expected) in [(&["{}", "x{}"][..], "say 7 x7"), (&["-n"][..], "say -n 7")] {
        let all = [&args[..], &["--each", &say], template].concat();
        let left = dpfw(&all, &numbers(200));
        assert_eq!((left.code, left.err.as_str()), (0, ""), "{left:?}");
        let wanted = (0..200).map(|n| expected.replace('7', &n.to_string()));
        assert!(left.out.lines().eq(wanted), "{left:?}");
    }
}

#[test]
fn failures_are_listed_at_the_end() {
    let modules = Modules::new();
    let left = dpfw(&["exec", "--each", &modules.path("say.wat")], "one\n!two\nthree\n@four\nfive");
    assert_eq!((left.code, left.out.as_str()), (6, "say one\nsay three\nsay five\n"), "{left:?}");
    insta::assert_snapshot!(modules.stable(&left.err), @r"
    say !two
    error: line 2: !two: the program exited with status 3: say !two
    error: line 4: @four: `say` on SLAVE: the task trapped: unreachable executed
    error: 2 of 5 lines failed
    ");
}

#[test]
fn a_line_that_takes_too_long_is_interrupted() {
    let modules = Modules::new();
    let args = ["exec", "--each", "--timeout", "200ms", &modules.path("say.wat")];
    let left = dpfw(&args, "~one\n");
    assert_eq!((left.code, left.out.as_str()), (6, ""), "{left:?}");
    assert!(left.err.contains("line 1: ~one: "), "{left:?}");
    assert!(left.err.contains("the deadline passed"), "{left:?}");
}

#[test]
fn with_halt_the_first_failure_is_the_last() {
    let modules = Modules::new();
    let mut exec = Process::start(&["exec", "--each", "--halt", &modules.path("say.wat")]);
    exec.write("one\n!two\n");
    exec.says("line 2 failed; the rest was not run");
    // Although the input is open.
    let stdin = exec.take_stdin();
    let left = exec.finish();
    assert_eq!((left.code, left.out.as_str()), (6, "say one\n"), "{left:?}");
    drop(stdin);
}

#[test]
fn lines_can_end_with_nul() {
    let modules = Modules::new();
    let left = dpfw(&["exec", "--each", "-0", &modules.path("say.wat"), "<{}>"], "a\nb\0 c \0d");
    assert_eq!(left.out, "say <a\nb>\nsay < c >\nsay <d>\n", "{left:?}");
    assert_eq!((left.code, left.err.as_str()), (0, ""));
}

#[test]
fn json_has_all_of_a_line() {
    let modules = Modules::new();
    let args = ["exec", "--each", "--json", &modules.path("say.wat")];
    let left = dpfw(&args, "größer\n!two\n@three\n");
    assert_eq!(left.code, 6, "{left:?}");
    insta::assert_snapshot!(modules.stable(&left.out), @r#"
    {"line":1,"input":"größer","status":0,"stdout":"say größer\n","stderr":[]}
    {"line":2,"input":"!two","status":3,"stdout":"","stderr":["say !two"]}
    {"line":3,"input":"@three","status":null,"stderr":[],"error":"`say` on SLAVE: the task trapped: unreachable executed"}
    "#);
    let left = dpfw(&["exec", "--each", "--json", &modules.path("bytes.wat")], "x\n");
    insta::assert_snapshot!(left.out, @r#"{"line":1,"input":"x","status":0,"stdout_base64":"AP/+Cg==","stderr":[]}"#);
}

#[test]
fn results_come_as_they_are_there() {
    let modules = Modules::new();
    let mut exec = Process::start(&["exec", "--each", &modules.path("say.wat")]);
    for n in 0..10 {
        exec.write(&format!("{n}\n"));
        assert_eq!(exec.line(), format!("say {n}"));
    }
    assert_eq!(exec.finish().code, 0);
}

#[test]
fn what_concerns_every_line_ends_it() {
    let modules = Modules::new();
    let slave = slave(&["--module-size", "100"]);
    let say = modules.path("say.wat");
    let args = ["exec", "--slave", &slave.address, "--each", "--jobs", "1", &say];
    let left = dpfw(&args, &numbers(10));
    assert_eq!((left.code, left.out.as_str()), (3, ""), "{left:?}");
    assert!(left.err.contains("line 1: "), "{left:?}");
    assert!(left.err.contains("the rest was not run"), "{left:?}");
}

#[test]
fn options_of_each_want_each() {
    for option in ["-0", "--halt", "--jobs=2"] {
        let left = dpfw(&["exec", option, "x.wasm"], "");
        assert_eq!(left.code, 2, "{left:?}");
    }
}
