//! `dpfw inspect`.

use crate::kit::{Left, Modules, dpfw};

fn inspect(modules: &Modules, args: &[&str]) -> Left {
    let (module, options) = args.split_last().expect("a module");
    let module = modules.path(module);
    let mut left = dpfw(&[&["inspect"], options, &[&module]].concat(), "");
    left.out = modules.stable(&left.out);
    left
}

#[test]
fn a_task_module_is_described() {
    let left = inspect(&Modules::new(), &["tasks.wasm"]);
    assert_eq!((left.code, left.err.as_str()), (0, ""));
    // The compiler's version is in hash, sizes and imports.
    let varying =
        ["hash ", "size ", "  module size", "  memory", "  table", "  data", "  functions"];
    let varies = |line: &str| {
        varying.iter().any(|start| line.starts_with(start)) || line.starts_with("  wasi_")
    };
    let mut lines: Vec<_> = left.out.lines().filter(|line| !varies(line)).collect();
    // Their order is the linker's, and changes with whatever the SDK has.
    let imports = lines.iter().position(|line| *line == "imports").expect("imports") + 1;
    let end = imports + lines[imports..].iter().take_while(|line| line.starts_with(' ')).count();
    lines[imports..end].sort_unstable();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_plain_module_is_described() {
    insta::assert_snapshot!(inspect(&Modules::new(), &["plain.wat"]).out);
}

#[test]
fn inits_are_described_and_the_tasks_that_need_their_images() {
    let modules = Modules::new();
    let left = inspect(&modules, &["imaged.wat"]);
    let from = left.out.find("tasks\n").expect("the tasks");
    let to = left.out.find("imports\n").expect("the imports");
    insta::assert_snapshot!(left.out[from..to], @r"
    tasks
      plus(n: u8) -> u8  [on an image of fill]
      read() -> u8  [on an image of fill]
    inits, by which images are made
      fill(n: u8) -> Result<(), _>
    ");
    let left = inspect(&modules, &["--json", "imaged.wat"]);
    let report: serde_json::Value = serde_json::from_str(&left.out).expect("one object");
    assert_eq!(report["inits"][0]["name"], "fill");
    assert_eq!(report["functions"][0]["image"], "fill");
    modules.write(
        "lacking.wat",
        r#"(module
            (@custom "dpfw.tasks" "{\"task\":{\"name\":\"t\",\"image\":\"fill\"}}\n{\"init\":{\"name\":\"full\"}}")
            (memory (export "memory") 2)
            (func (export "dpfw_alloc") (param i32) (result i32) i32.const 65536)
            (func (export "dpfw:t") (param i32 i32) (result i64) unreachable))"#,
    );
    let left = inspect(&modules, &["--check", "lacking.wat"]);
    assert_eq!(left.code, 3);
    insta::assert_snapshot!(left.out, @r"
    lacking.wat: 2 problems
      - the section `dpfw.tasks` describes `full`, which is not exported
        export it as `dpfw-init:full`, or take the line out
      - the task `t` needs an image of `fill`, and there is no such init
        export it as `dpfw-init:fill`, or name another: no image would do
    ");
}

#[test]
fn what_the_limits_would_refuse_is_told() {
    let left =
        inspect(&Modules::new(), &["--memory", "64KiB", "--module-size", "100B", "loud.wat"]);
    assert_eq!(left.code, 0);
    insta::assert_snapshot!(left.out);
}

#[test]
fn a_check_tells_all_problems_at_once() {
    let modules = Modules::new();
    let left = inspect(&modules, &["--check", "greedy.wat"]);
    assert_eq!((left.code, left.err.as_str()), (3, ""));
    insta::assert_snapshot!(left.out, @r"
    greedy.wat: 1 problem
      - it imports `env.everything`; plain modules import nothing
        build it without a system interface, or make it a task module: export `dpfw_alloc` and tasks as `dpfw:NAME`
    ");
    modules.write(
        "wrong.wat",
        r#"(module
            (@custom "dpfw.tasks" "{\"task\":{\"name\":\"tusk\"}}\n")
            (import "env" "\1b[31mputs" (func))
            (import "dpfw_2" "log" (func))
            (func (export "dpfw_alloc") (param i64) (result i64) (local.get 0))
            (func (export "dpfw:task") (param i32) (result i64) (i64.const 0))
            (func (export "_start")))"#,
    );
    let left = inspect(&modules, &["--check", "wrong.wat"]);
    assert_eq!(left.code, 3);
    insta::assert_snapshot!(left.out);
}

#[test]
fn a_check_of_a_good_module_finds_nothing() {
    let modules = Modules::new();
    for (module, expected) in
        [("tasks.wasm", "nothing is wrong"), ("plain.wat", "nothing is wrong")]
    {
        let left = inspect(&modules, &["--check", module]);
        assert_eq!(left.code, 0, "{left:?}");
        assert!(left.out.ends_with(&format!("{module}: {expected}\n")), "{left:?}");
    }
}

#[test]
fn what_is_no_module_is_told_with_code_3() {
    let modules = Modules::new();
    modules.write("elf.wasm", "\x7fELF");
    for args in [&["elf.wasm"][..], &["--check", "elf.wasm"]] {
        let left = inspect(&modules, args);
        assert_eq!(left.code, 3);
        assert!(left.out.contains("it is not WebAssembly: it begins with 7f 45 4c 46"), "{left:?}");
    }
    let left = inspect(&modules, &["nowhere.wasm"]);
    assert_eq!((left.code, left.out.as_str()), (3, ""));
}

#[test]
fn everything_is_there_as_json() {
    let left = inspect(&Modules::new(), &["--json", "--check", "tasks.wasm"]);
    let report: serde_json::Value = serde_json::from_str(&left.out).expect("one object");
    assert_eq!(report["kind"], "task");
    assert_eq!(report["warming"], "warmed");
    assert_eq!(report["problems"], serde_json::json!([]));
    assert_eq!(report["hash"].as_str().map(str::len), Some(64));
    let add =
        report["functions"].as_array().and_then(|all| all.iter().find(|f| f["name"] == "add"));
    assert_eq!(add.expect("there")["signature"], "add(a: i64, b: i64) -> i64");
}

#[test]
fn residents_are_shown_with_constructors_and_methods() {
    let modules = Modules::new();
    modules.write(
        "shop.wat",
        r#"(module
            (@custom "dpfw.tasks" "{\"resident\":{\"name\":\"shop.open\",\"returns\":\"Self\"}}\n")
            (@custom "dpfw.tasks" "{\"resident\":{\"name\":\"shop.buy\",\"returns\":\"u8\"}}\n")
            (memory (export "memory") 17)
            (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
            (func $f (export "dpfw-resident:shop.buy") (param i32 i32) (result i64) (i64.const 1))
            (export "dpfw-resident:shop.save" (func $f))
            (export "dpfw-resident:shop.load" (func $f))
            (export "dpfw-resident:shop.sell" (func $f))
            (export "dpfw-resident:shop.open" (func $f)))"#,
    );
    let left = inspect(&modules, &["shop.wat"]);
    assert_eq!((left.code, left.err.as_str()), (0, ""));
    let told = "residents\n  shop  [saves]\n    open() -> Self\n    buy() -> u8\n    \
                sell  [not described]\nimports\n";
    assert!(left.out.contains(told), "{}", left.out);
}
