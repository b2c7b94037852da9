//! `dpfw exec` of one program.

use crate::kit::{Modules, Process, dpfw, slave};
use rustix::process::Signal;
use std::io::{Read, Write};

#[test]
fn arguments_and_the_name_are_the_programs() {
    let modules = Modules::new();
    let left = dpfw(&["exec", &modules.path("say.wat"), "one", "-v", "--each", "two words"], "");
    assert_eq!(left.out, "say one -v --each two words\n", "{left:?}");
    assert_eq!((left.code, left.err.as_str()), (0, ""));
}

#[test]
fn the_environment_is_what_is_given() {
    let modules = Modules::new();
    let left = dpfw(&["exec", &modules.path("env.wat")], "");
    assert_eq!((left.code, left.out.as_str()), (0, ""), "{left:?}");
    let args = ["exec", "--env", "TZ=UTC", "--env", "EMPTY=", &modules.path("env.wat")];
    assert_eq!(dpfw(&args, "").out, "TZ=UTC\0EMPTY=\0");
    let left = dpfw(&["exec", "--env", "TZ", &modules.path("env.wat")], "");
    assert_eq!(left.code, 2);
    assert!(left.err.contains("write NAME=VALUE"), "{left:?}");
}

#[test]
fn streams_pass_through() {
    let modules = Modules::new();
    let cat = modules.path("cat.wat");
    for input in ["", "x", "two\nlines", &"a long text, \u{1b}[31m größer\n".repeat(100_000)] {
        let mut exec = Process::start(&["exec", &cat]);
        let mut stdin = exec.take_stdin();
        let text = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let left = exec.finish();
        writer.join().expect("no panic").expect("read");
        assert!(left.out == input, "{} bytes became {}", input.len(), left.out.len());
        assert_eq!((left.code, left.err.as_str()), (0, ""));
    }
}

#[test]
fn what_is_read_comes_out_before_the_input_ends() {
    let modules = Modules::new();
    let mut exec = Process::start(&["exec", &modules.path("cat.wat")]);
    for line in ["first\n", "second\n"] {
        exec.write(line);
        assert_eq!(exec.line(), line.trim());
    }
    assert_eq!(exec.finish().code, 0);
}

#[test]
fn a_program_that_does_not_read_ends_although_its_input_does_not() {
    let modules = Modules::new();
    let mut exec = Process::start(&["exec", &modules.path("say.wat"), "!"]);
    let stdin = exec.take_stdin();
    let left = exec.finish();
    assert_eq!((left.code, left.err.as_str()), (3, "say !\n"), "{left:?}");
    drop(stdin);
}

#[test]
fn exit_codes_and_stderr_are_the_programs() {
    let modules = Modules::new();
    let left = dpfw(&["exec", &modules.path("say.wat"), "größer", "!\u{1b}[31mred"], "");
    assert_eq!((left.code, left.out.as_str()), (3, ""), "{left:?}");
    // Nothing of dpfw's own is beside it.
    assert_eq!(left.err.lines().count(), 1, "{left:?}");
    assert!(left.err.starts_with("say größer !"), "{left:?}");
}

#[test]
fn what_dpfw_itself_says_has_codes_of_its_own() {
    let modules = Modules::new();
    let (say, plain) = (modules.path("say.wat"), modules.path("plain.wat"));
    let gone = modules.path("gone.wasm");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["exec", &say, "@"], 134, "unreachable"),
        (&["exec", "--timeout", "200ms", &say, "~"], 124, "deadline"),
        (&["exec", &gone], 125, "gone.wasm: No such file"),
        (&["exec", &plain], 125, "it is no WASI program: it has no `_start`\nhint: `dpfw run`"),
        (&["exec", "--slave", "127.0.0.1:1", "--dial-tries", "1", &say], 125, "127.0.0.1:1"),
    ];
    for (args, code, text) in cases {
        let left = dpfw(args, "");
        assert_eq!((left.code, left.out.as_str()), (code, ""), "{left:?}");
        assert!(left.err.starts_with("error: ") && left.err.contains(text), "{left:?}");
    }
}

#[test]
fn when_nobody_reads_the_output_it_ends_quietly() {
    let modules = Modules::new();
    let mut exec = Process::start(&["exec", &modules.path("cat.wat")]);
    let mut stdin = exec.take_stdin();
    // It ends once the pipe breaks.
    let writer = std::thread::spawn(move || while stdin.write_all(&[b'x'; 65536]).is_ok() {});
    let mut stdout = exec.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 1000]).expect("readable");
    drop(stdout);
    let left = exec.finish();
    assert_eq!((left.code, left.err.as_str()), (141, ""), "{left:?}");
    writer.join().expect("no panic");
}

#[test]
fn signals_cancel_the_program() {
    let modules = Modules::new();
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut exec = Process::start(&["exec", &modules.path("cat.wat")]);
        exec.write("it runs\n");
        assert_eq!(exec.line(), "it runs");
        exec.signal(signal);
        let stdin = exec.take_stdin();
        let left = exec.finish();
        assert_eq!(left.code, code, "{left:?}");
        assert!(left.err.contains("what still ran was cancelled"), "{left:?}");
        drop(stdin);
    }
}

#[test]
fn it_runs_on_a_slave_elsewhere() {
    let modules = Modules::new();
    let slave = slave(&[]);
    let left = dpfw(&["exec", "--slave", &slave.address, &modules.path("cat.wat")], "there\n");
    assert_eq!((left.code, left.out.as_str(), left.err.as_str()), (0, "there\n", ""));
}
