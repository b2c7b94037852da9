//! `dpfw run`.

use crate::kit::{Modules, Process, command, dpfw, slave};
use rustix::process::Signal;
use std::fs::File;

/// Runs and expects a result.
fn result(modules: &Modules, module: &str, args: &[&str], input: &str) -> String {
    let module = modules.path(module);
    let left = dpfw(&[&["run", &module], args].concat(), input);
    assert_eq!((left.code, left.err.as_str()), (0, ""), "{args:?}");
    left.out
}

/// Runs and expects a failure: its code and what a person reads.
fn failure(modules: &Modules, module: &str, args: &[&str]) -> (i32, String) {
    let module = modules.path(module);
    let left = dpfw(&[&["run", &module], args].concat(), "");
    assert_eq!(left.out, "", "{args:?}");
    (left.code, modules.stable(&left.err))
}

#[test]
fn results_are_json_in_one_line() {
    let modules = Modules::new();
    let plain = |args: &[&str]| result(&modules, "plain.wat", args, "");
    assert_eq!(plain(&["add", "[2, 3]"]), "5\n");
    assert_eq!(plain(&["add", "[9007199254740993, 0]"]), "9007199254740993\n");
    assert_eq!(plain(&["swap", "[1, 2]"]), "[2.0,1]\n");
    assert_eq!(plain(&["nothing"]), "null\n");
    assert_eq!(plain(&["nothing", "[]"]), "null\n");
    let task = |args: &[&str]| result(&modules, "tasks.wasm", args, "");
    assert_eq!(task(&["add", "[-9223372036854775807, -1]"]), "-9223372036854775808\n");
    assert_eq!(task(&["count_words", "[\"a b a\"]"]), "{\"a\":2,\"b\":1}\n");
    assert_eq!(
        task(&["frame", "[[{\"x\": 1, \"y\": 2.5}]]"]),
        "{\"low\":{\"x\":1.0,\"y\":2.5},\"high\":{\"x\":1.0,\"y\":2.5}}\n"
    );
}

#[test]
fn a_result_stays_at_its_slave_and_the_next_task_goes_there() {
    let (modules, slave) = (Modules::new(), slave(&[]));
    let module = modules.path("tasks.wasm");
    let run = |args: &[&str]| {
        let left = dpfw(&[&["run", &module], args, &["--slave", &slave.address]].concat(), "");
        format!("{}{}[{}]", modules.stable(&left.out), modules.stable(&left.err), left.code)
    };
    let kept = run(&["count_words", "[\"a b a\"]", "--keep", "counts"]);
    assert!(kept.contains(r#""key":"counts","version":1,"bytes":7}"#), "{kept}");
    assert_eq!(run(&["commonest", "[\"counts\"]", "--near", "counts"]), "\"a\"\n[0]");
    insta::assert_snapshot!(run(&["commonest", "[\"x\"]", "--near", "counts", "--near", "x"]), @r"
    error: `commonest`: the entry `x` is gone, and the task needs it
    hint: `dpfw store list` shows which keys a slave has
    [1]
    ");
}

#[test]
fn arguments_come_from_standard_input_if_asked() {
    let modules = Modules::new();
    assert_eq!(result(&modules, "plain.wat", &["add", "-"], "[40,\n 2]\n"), "42\n");
    let left = dpfw(&["run", &modules.path("plain.wat"), "add", "-"], "nonsense");
    assert_eq!(left.code, 2);
    assert!(left.err.starts_with("error: standard input cannot be used: it is no JSON"));
}

#[test]
fn a_task_that_fails_ends_with_1() {
    let modules = Modules::new();
    let (code, text) = failure(&modules, "plain.wat", &["divide", "[1, 0]"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r"
    error: `divide` on SLAVE: the task trapped: integer division by zero
    hint: -v shows the backtrace
    ");
    let (code, text) = failure(&modules, "tasks.wasm", &["divide", "[7, 0]"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @"error: `divide` on SLAVE: the task failed: 7 cannot be divided by zero");
    let (code, text) = failure(&modules, "plain.wat", &["spin", "--time", "50ms"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r"
    error: `spin` on SLAVE: the limit on time was exceeded (allowed: 50 ms)
    hint: the slave's --time moves this limit
    ");
}

#[test]
fn bad_usage_ends_with_2() {
    let modules = Modules::new();
    let (code, text) = failure(&modules, "plain.wat", &["add", "{\"a\": 2}"]);
    assert_eq!(code, 2);
    insta::assert_snapshot!(text, @"error: ARGS cannot be used: it is an object, not an array; write an array with an element for each argument, for instance [2, 3]");
    for args in [
        &["add", "[1]", "--timeout", "soon"][..],
        &["add", "[1]", "--memory", "much"],
        &["add", "[1]", "--slots", "0"],
        &["add", "[1]", "--stack", "1TiB"],
        &["add", "[1]", "--log", "a=b=c"],
        &["add", "[1]", "--slave", "nonsense"],
        &["add", "[1]", "--slave", "127.0.0.1:1", "--slots", "2"],
        &[],
    ] {
        let (code, text) = failure(&modules, "plain.wat", args);
        assert_eq!(code, 2, "{args:?}: {text}");
        assert!(text.starts_with("error: "), "{text}");
    }
}

#[test]
fn a_module_that_cannot_be_used_ends_with_3() {
    let modules = Modules::new();
    std::fs::write(modules.path("notes.txt"), "nothing of the sort").expect("written");
    let (code, text) = failure(&modules, "notes.txt", &["f"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(text, @r"
    error: notes.txt: it is not WebAssembly: it begins with 6e 6f 74 68, not with 00 61 73 6d
    hint: give a module in the binary format (.wasm), or its text (.wat)
    ");
    let (code, text) = failure(&modules, "missing.wasm", &["f"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(text, @r"
    error: missing.wasm: No such file or directory (os error 2)
    hint: give the path of a module (.wasm), or of its text (.wat)
    ");
    let (code, text) = failure(&modules, "greedy.wat", &["f"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(text, @r"
    error: `f` on SLAVE: the module was rejected: it imports `env.everything`; plain modules import nothing
    hint: `dpfw inspect MODULE` shows what it asks for
    ");
}

#[test]
fn what_does_not_fit_ends_with_4() {
    let modules = Modules::new();
    let (code, text) = failure(&modules, "plain.wat", &["ad", "[2, 3]"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(text, @r"
    error: plain.wat: the module has no function `ad`
      it has add
      it has divide
      it has nothing
      it has spin
      it has spin_if
      it has swap
    ");
    let (code, text) = failure(&modules, "plain.wat", &["add", "[2]"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(text, @"error: `add` on SLAVE: the arguments do not fit the task: it takes 2, not 1: (i64, i64) -> i64");
    let (code, text) = failure(&modules, "tasks.wasm", &["add", "[2]"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(text, @"error: `add(a: i64, b: i64) -> i64` takes 2 arguments, not 1");
    let (code, text) = failure(&modules, "tasks.wasm", &["add", "[2, \"x\"]"]);
    assert_eq!(code, 4);
    insta::assert_snapshot!(text, @"error: `add` on SLAVE: the arguments do not fit the task: argument `b: i64`: a string does not fit; it is `add(a: i64, b: i64) -> i64`");
}

#[test]
fn a_deadline_that_passes_ends_with_7() {
    let modules = Modules::new();
    let (code, text) = failure(&modules, "plain.wat", &["spin", "--timeout", "100ms"]);
    assert_eq!(code, 7);
    assert!(text.contains("the deadline passed\n"), "{text}");
}

#[test]
fn a_receipt_says_where_and_when() {
    let modules = Modules::new();
    let slave = slave(&["--name", "somewhere"]);
    let module = modules.path("tasks.wasm");
    let left = dpfw(&["run", &module, "add", "[2, 3]", "--receipt", "--slave", &slave.address], "");
    assert_eq!((left.code, left.out.as_str()), (0, "5\n"));
    let receipt: serde_json::Value = serde_json::from_str(&left.err).expect("one line of JSON");
    assert_eq!((&receipt["slave"], &receipt["attempts"]), (&"somewhere".into(), &1.into()));
    assert!(receipt["total_us"].as_u64() >= receipt["executed_us"].as_u64());
}

#[test]
fn text_of_guests_is_escaped() {
    let modules = Modules::new();
    let (code, text) = failure(&modules, "loud.wat", &["boom"]);
    assert_eq!(code, 1);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let first = text.lines().take(2).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(first, @r"
    error: `boom` on SLAVE: the task panicked: \u{1b}[31mred
      forged: line
    ");
    for form in [&[][..], &["--log-json"]] {
        let module = modules.path("loud.wat");
        let left = dpfw(&[&["run", &module, "say"], form].concat(), "");
        assert_eq!((left.code, left.out.as_str()), (0, "null\n"), "{left:?}");
        assert!(!left.err.contains('\u{1b}'), "{left:?}");
        // One event, one line.
        assert_eq!(left.err.lines().count(), 1, "{left:?}");
        assert!(left.err.contains(r"[31mred\"), "{left:?}");
        if !form.is_empty() {
            let event: serde_json::Value = serde_json::from_str(&left.err).expect("JSON");
            assert_eq!((&event["level"], &event["task"]), (&"WARN".into(), &"say".into()));
        }
    }
}

#[test]
fn a_signal_cancels_the_task() {
    let modules = Modules::new();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut run = Process::start(&["run", &modules.path("loud.wat"), "spin"]);
        run.says("forged");
        run.signal(signal);
        let left = run.finish();
        assert_eq!(left.code, code, "{left:?}");
        assert!(left.err.contains("what still ran was cancelled"), "{left:?}");
    }
}

#[test]
fn standard_output_that_fails() {
    let modules = Modules::new();
    let module = modules.path("plain.wat");
    let mut run = Process::start(&["run", &module, "add", "-"]);
    // Nobody will read the result.
    run.stdout = None;
    run.write("[2, 3]");
    let left = run.finish();
    assert_eq!((left.code, left.err.as_str()), (141, ""));
    let mut full = command(&["run", &module, "add", "[2, 3]"]);
    full.stdout(File::options().write(true).open("/dev/full").expect("a device"));
    let left = Process::of(full).finish();
    assert_eq!(left.code, 74);
    assert!(left.err.starts_with("error: standard output cannot be written: No space left"));
}

#[test]
fn help_lists_the_exit_codes() {
    for args in [&["--help"][..], &["run", "--help"], &["map", "--help"], &["slave", "--help"]] {
        let left = dpfw(args, "");
        assert_eq!(left.code, 0);
        assert!(left.out.contains("Exit codes:"), "{}", left.out);
    }
    assert!(dpfw(&["--version"], "").out.starts_with("dpfw "));
    assert_eq!(dpfw(&[], "").code, 2);
}
