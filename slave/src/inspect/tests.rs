//! Modules of a few lines, each wrong in its own way.

use super::*;

fn report(text: &str) -> Report {
    let wasm = wat::parse_str(format!("(module {text})")).expect("well formed");
    inspect(&wasm, &Limits::default(), Depth::Check)
}

/// What is wrong, a line each.
fn wrong(text: &str) -> Vec<String> {
    report(text).problems.into_iter().map(|problem| problem.what).collect()
}

const MEMORY: &str = r#"(memory (export "memory") 17)"#;
const ALLOC: &str = r#"(func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))"#;
const TASK: &str =
    r#"(func (export "dpfw:task") (param i32 i32) (result i64) (i64.const 0x0000000000000001))"#;
const DESCRIBED: &str = r#"(@custom "dpfw.tasks" "{\"task\":{\"name\":\"task\"}}\n")"#;

/// A module that is right but for what is added.
fn with(rest: &str) -> String {
    format!("{rest} {MEMORY} {ALLOC} {TASK} {DESCRIBED}")
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    let report = report(&with(""));
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
    assert_eq!((report.kind, report.warming), (Some(Kind::Task), Warming::Nothing));
    assert_eq!(report.functions[0].signature, "task()");
    assert!(wrong("(func (export \"f\") (param i32) (result i32) (local.get 0))").is_empty());
}

#[test]
fn what_makes_many_calls_has_its_task_and_says_where_the_replies_are() {
    let replies = r#"(func (export "dpfw_batch") (result i32) (i32.const 16))"#;
    let batch = r#"(func (export "dpfw-batch:task") (param i32 i32))"#;
    assert!(wrong(&with(&format!("{replies} {batch}"))).is_empty());
    assert_eq!(wrong(&with(batch)), ["it exports `dpfw-batch:task` and no `dpfw_batch`"]);
    let other = r#"(func (export "dpfw-batch:other") (param i32) (result i32) (local.get 0))"#;
    assert_eq!(
        wrong(&with(&format!("{replies} {other}"))),
        [
            "its export `dpfw-batch:other` is a function (i32) -> i32, not a function (i32, i32)",
            "it exports `dpfw-batch:other` and no `dpfw:other`",
        ]
    );
}

#[test]
fn what_is_no_module_is_told_what_it_is() {
    let look = |bytes: &[u8]| {
        let report = inspect(bytes, &Limits::default(), Depth::Check);
        assert_eq!((report.kind, report.problems.len()), (None, 1));
        report.problems[0].clone()
    };
    assert!(look(b"").what.contains("it is empty"));
    assert!(look(b"\0asm\x0d\0\x01\0").remedy.contains("wasm32-wasip1"));
    assert!(look(b"\0asm\x01\0\0\0\x01\x05\x01").what.starts_with("it is not valid wasm"));
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let expected = ["it exports no memory named `memory`", "it exports no function `dpfw_alloc`"];
    assert_eq!(wrong(TASK), expected);
    assert_eq!(wrong(&format!("{MEMORY} {ALLOC}")), ["it exports `dpfw_alloc` and no task"]);
}

#[test]
fn exports_of_another_type_are_told_with_theirs() {
    let text = r#"(table (export "memory") 1 funcref)
           (func (export "dpfw_alloc") (param i64) (result i64) (local.get 0))
           (func (export "dpfw:task") (param i32) (result i64) (i64.const 0))
           (global (export "dpfw:other") i32 (i32.const 0))
           (func (export "dpfw:") (param i32 i32) (result i64) (i64.const 0))
           (func (export "_initialize") (param i32))
           (func (export "_start"))"#;
    assert_eq!(
        wrong(text),
        [
            "its export `memory` is a table",
            "its export `dpfw_alloc` is a function (i64) -> i64, not a function (i32) -> i32",
            "its export `dpfw:task` is a function (i32) -> i64, not a function (i32, i32) -> i64",
            "its export `dpfw:other` is a global, not a function (i32, i32) -> i64",
            "a task's name has 0 bytes; 1 to 1024 are allowed",
            "it exports `_start` beside its tasks; it is never called",
            "its export `_initialize` is a function (i32), not a function ()",
        ]
    );
}

const SHOP: &str = r#"(func $f (export "dpfw-resident:shop.open") (param i32 i32) (result i64)
        (i64.const 1))
    (export "dpfw-resident:shop.buy" (func $f)) (export "dpfw-resident:shop.sell" (func $f))
    (export "dpfw-resident:shop.save" (func $f)) (export "dpfw-resident:shop.load" (func $f))
    (export "dpfw-resident:n.new" (func $f)) (export "dpfw-resident:n.load" (func $f))"#;

#[test]
fn residents_are_told_with_their_constructors_and_methods() {
    let lines = [
        r#"{"resident":{"name":"shop.open","args":[{"name":"at","type":"u32"}],"returns":"Self"}}"#,
        r#"{"resident":{"name":"shop.buy","args":[],"returns":"u8","fallible":true}}"#,
        r#"{"resident":{"name":"shop.gone"}}"#,
    ];
    let section = lines.map(|line| line.replace('"', "\\\"") + "\\n").concat();
    let text = format!("{SHOP} {MEMORY} {ALLOC} (@custom \"dpfw.tasks\" \"{section}\")");
    let report = report(&text);
    let [n, shop] = &report.residents[..] else { panic!("{:?}", report.residents) };
    let signatures = |methods: &[Method]| -> Vec<String> {
        methods.iter().map(|method| method.signature.clone()).collect()
    };
    assert_eq!((shop.class.as_str(), shop.saves), ("shop", true));
    assert_eq!(signatures(&shop.constructors), ["open(at: u32) -> Self"]);
    assert_eq!(signatures(&shop.methods), ["buy() -> Result<u8, _>", "sell"]);
    assert!(shop.methods[0].described && !shop.methods[1].described);
    assert_eq!((n.class.as_str(), n.saves, n.methods.len()), ("n", false, 1));
    let wrong: Vec<_> = report.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(wrong[0], "the section `dpfw.tasks` describes `shop.gone`, which is not exported");
    let silent = "the method of a resident `n.load` is not described in the section `dpfw.tasks`";
    assert_eq!(wrong[1], silent);
    assert_eq!(report.kind, Some(Kind::Task), "residents alone make a task module");
}

#[test]
fn a_method_names_its_class_and_has_the_type_of_a_task() {
    let text = r#"(func (export "dpfw-resident:.new") (param i32 i32) (result i64) (i64.const 1))
        (func (export "dpfw-resident:bump") (param i32))"#;
    assert_eq!(
        wrong(&format!("{text} {MEMORY} {ALLOC}")),
        [
            "its export `dpfw-resident:.new` does not say what it is a method of",
            "its export `dpfw-resident:bump` is a function (i32), not a function (i32, i32) -> i64",
            "its export `dpfw-resident:bump` does not say what it is a method of",
        ]
    );
}

#[test]
fn imports_that_nobody_grants_are_told_with_what_is_behind_them() {
    let report = report(&with(
        r#"(import "env" "puts" (func))
           (import "env" "abort" (func))
           (import "dpfw_1" "format_disk" (func))
           (import "dpfw_2" "log" (func))
           (import "dpfw_1" "log" (func (param i64)))
           (import "wasi:io/streams" "read" (func))
           (import "env" "stack" (global i32))"#,
    ));
    let wrong: Vec<_> = report.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(
        wrong,
        [
            "it imports `env.puts`, which is not granted",
            "it imports `env.abort`, which is not granted",
            "it imports `dpfw_1.format_disk`, which `dpfw_1` does not have",
            "it imports `dpfw_2.log`: another version of the guest ABI than `dpfw_1`",
            "it imports `dpfw_1.log` as a function (i64); it is (i32, i32, i32, i32, i32)",
            "it imports `wasi:io/streams.read`, which is not granted",
            "it imports a global, `env.stack`; only functions are granted",
        ]
    );
    assert!(report.problems[0].remedy.contains("no `puts`"));
    assert!(report.problems[1].remedy.contains("--use abort="));
    assert!(!report.imports[0].granted && report.imports[4].granted);
    let imported = r#"(import "env" "memory" (memory $m 1)) (export "memory" (memory $m))"#;
    let wrong = self::wrong(&format!("{imported} {ALLOC} {TASK}"));
    assert_eq!(wrong, ["it imports a memory, `env.memory`; only functions are granted"]);
}

#[test]
fn every_import_of_the_abi_is_granted_with_its_type() {
    let types = imports::types(&Alone::new(Limits::default()).expect("an engine"));
    let types = types.expect("linked");
    let page = include_str!("../../../docs/abi.md");
    for name in sandbox::imports::ABI_NAMES {
        assert!(types.contains_key(&("dpfw_1".into(), name.into())), "{name}");
        assert!(page.contains(&format!("`{name}`")), "docs/abi.md has no {name}");
    }
}

#[test]
fn a_plain_module_that_was_to_have_tasks_is_told() {
    let log = r#"(import "dpfw_1" "progress" (func (param i64 i64)))"#;
    let found = wrong(&format!("{log} {MEMORY}"));
    assert_eq!(found[0], "it imports from `dpfw_1` and exports no task");
    assert_eq!(wrong(DESCRIBED), ["it describes tasks and exports none"]);
    assert_eq!(wrong(""), ["it exports nothing that could be called"]);
}

#[test]
fn a_program_is_looked_at_and_not_run() {
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))"#;
    let good = report(&format!(r#"{exit} {MEMORY} (func (export "_start") unreachable)"#));
    assert_eq!((good.kind, good.warming), (Some(Kind::Program), Warming::NotTried));
    assert!(good.problems.is_empty() && good.imports[0].granted, "{:?}", good.problems);
    assert_eq!(good.functions.len(), 1);
    let log = r#"(import "dpfw_1" "progress" (func (param i64 i64)))"#;
    assert_eq!(
        wrong(&format!(r#"{log} (func (export "_start") (param i32))"#)),
        [
            "it exports no memory named `memory`",
            "its export `_start` is a function (i32), not a function ()",
            "it imports `dpfw_1.progress`; WASI programs have `wasi_snapshot_preview1` alone",
        ]
    );
}

#[test]
fn every_line_of_the_description_is_looked_at() {
    let section = r#"(@custom "dpfw.tasks"
        "{\"task\":{\"name\":\"task\"}}\n nonsense\n{\"task\":{\"name\":\"task\"}}\n{\"job\":1}")"#;
    let found = wrong(&format!("{section} {MEMORY} {ALLOC} {TASK}"));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("line 2 of the section `dpfw.tasks` is no record"), "{found:?}");
    assert_eq!(found[1], "the section `dpfw.tasks` describes `task` twice");
    assert!(found[2].starts_with("line 4 of the section"), "{found:?}");
    let section = r#"(@custom "dpfw.tasks" "{\"task\":{\"name\":\"tusk\"}}\n")"#;
    assert_eq!(
        wrong(&format!("{section} {MEMORY} {ALLOC} {TASK}")),
        [
            "the section `dpfw.tasks` describes `tusk`, which is not exported",
            "the task `task` is not described in the section `dpfw.tasks`",
        ]
    );
    let report = report(&format!("{MEMORY} {ALLOC} {TASK}"));
    assert!(report.problems.is_empty());
    assert!(report.notes[0].what.starts_with("it does not describe its tasks"));
}

#[test]
fn what_a_slave_limits_is_told_with_the_limit() {
    let found = wrong(&with("(table 30000 funcref)"));
    assert_eq!(found, ["it needs 30000 elements where the limit on table allows 20000"]);
    let small = r#"(memory (export "memory") 1 15)"#;
    let found = wrong(&format!("{small} {ALLOC} {TASK}"));
    assert!(found[0].starts_with("its memory may have 15 pages of 64 KiB at most"), "{found:?}");
}

#[test]
fn what_does_not_validate_is_told() {
    let wrong = wrong(&with("(func (result i32) (i64.const 1))"));
    assert!(wrong[0].starts_with("it does not validate: "), "{wrong:?}");
    let wrong = self::wrong("(memory i64 1)");
    assert!(wrong[0].contains("memory64"), "{wrong:?}");
}

#[test]
fn what_warming_finds_is_told() {
    let traps = report(&with("(func (export \"_initialize\") unreachable)"));
    assert!(matches!(&traps.warming, Warming::Failed(why) if why.contains("unreachable")));
    assert_eq!(traps.problems.len(), 1);
    let clock = r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
                   (func (export "dpfw_warm") (drop (call $yield)))"#;
    let cold = report(&with(clock));
    assert!(matches!(&cold.warming, Warming::Cold(why) if why.contains("sched_yield")));
    assert!(cold.problems.is_empty() && cold.notes.len() == 1, "{cold:?}");
    assert_eq!(report(&with("(func (export \"dpfw_warm\"))")).warming, Warming::Warmed);
}

#[test]
fn a_start_that_does_not_end_is_told() {
    let text = wat::parse_str(format!(
        "(module {})",
        with("(func (export \"dpfw_warm\") (loop $l (br $l)))")
    ));
    let limits = Limits { warm: std::time::Duration::from_millis(50), ..Limits::default() };
    let report = inspect(&text.expect("well formed"), &limits, Depth::Look);
    assert_eq!(
        report.problems[0].what,
        "its start: the limit on time was exceeded (allowed: 50 ms)"
    );
}

#[test]
fn room_that_is_none_is_told() {
    let alloc = |body: &str| {
        let alloc = format!(r#"(func (export "dpfw_alloc") (param i32) (result i32) {body})"#);
        wrong(&format!("{MEMORY} {alloc} {TASK}")).join("\n")
    };
    let outside = alloc("(i32.const -1)");
    assert!(outside.contains("no room for arguments of 1 bytes"), "{outside}");
    assert!(outside.contains("`dpfw_alloc(1)` gave 4294967295"), "{outside}");
    // A page is kept for arguments; the last of the memory is 17 pages away.
    let fixed = alloc("(i32.const 1048576)");
    assert!(fixed.contains("no room for arguments of 65537 bytes"), "{fixed}");
    assert!(alloc("unreachable").contains("trap"));
    let endless = alloc("(loop $l (br $l)) (i32.const 0)");
    assert!(endless.contains("it did not return within 1s"), "{endless}");
}

#[test]
fn tasks_that_believe_their_arguments_are_told() {
    let task = |body: &str| {
        let task = format!(r#"(func (export "dpfw:task") (param i32 i32) (result i64) {body})"#);
        wrong(&format!("{MEMORY} {ALLOC} {task} (data (i32.const 0) \"\\02no\\09\")")).join("\n")
    };
    assert_eq!(task("(i64.const 3)"), "", "tag 2, a text of two bytes");
    assert!(task("unreachable").contains("the task `task`, called with what is no arguments"));
    assert!(task("(i64.const 0)").contains("not even a tag"));
    assert!(task("(i64.const 0x300000001)").contains("the unknown tag 9"));
    assert!(task("(i64.const -1)").contains("outside its memory"));
    assert!(task("(loop $l (br $l)) (i64.const 0)").contains("did not return within 1s"));
}
