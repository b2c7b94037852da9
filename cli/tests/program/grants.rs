//! `dpfw slave --grants`.

use crate::kit::{Modules, Process, dpfw};
use rustix::process::Signal;

const LISTEN: [&str; 4] = ["slave", "--listen", "127.0.0.1:0", "--grants"];

#[test]
fn a_file_of_grants_is_read() {
    let modules = Modules::new();
    modules.write("grants.toml", "[[rule]]\neveryone = true\nenv = [\"A=1\"]\n");
    let mut slave = Process::start(&[&LISTEN[..], &[&modules.path("grants.toml")]].concat());
    assert!(slave.line().starts_with("listening on 127.0.0.1:"));
    slave.signal(Signal::TERM);
    assert_eq!(slave.finish().code, 0);
}

#[test]
fn what_is_wrong_in_it_is_named_with_its_line_and_key() {
    let modules = Modules::new();
    modules.write("grants.toml", "[[rule]]\neveryone = true\nenvironment = [\"A=1\"]\n");
    let left = dpfw(&[&LISTEN[..], &[&modules.path("grants.toml")]].concat(), "");
    assert_eq!(left.code, 2, "{left:?}");
    assert!(left.err.contains("grants.toml, line 3, `environment = [\"A=1\"]`"), "{left:?}");
    assert!(left.err.contains("unknown field `environment`"), "{left:?}");
    let left = dpfw(&[&LISTEN[..], &["/nobody/has/this.toml"]].concat(), "");
    assert_eq!(left.code, 2, "{left:?}");
    assert!(left.err.contains("/nobody/has/this.toml cannot be read"), "{left:?}");
    let directory = "[[rule]]\neveryone = true\n\
                     directories = [{ host = \"/nobody/has/this\", guest = \"/d\" }]\n";
    modules.write("directory.toml", directory);
    let left = dpfw(&[&LISTEN[..], &[&modules.path("directory.toml")]].concat(), "");
    assert_eq!(left.code, 2, "{left:?}");
    assert!(left.err.contains("the directory /nobody/has/this cannot be granted"), "{left:?}");
}

#[test]
fn grants_and_an_insecure_network_exclude_each_other() {
    let modules = Modules::new();
    modules.write("grants.toml", "[[rule]]\nmaster = \"m\"\nconnect = [\"db.example:5432\"]\n");
    let path = modules.path("grants.toml");
    let left = dpfw(&[&LISTEN[..], &[&path, "--insecure-network"]].concat(), "");
    assert_eq!(left.code, 2, "{left:?}");
    assert!(left.err.contains("on an insecure network"), "{left:?}");
}

#[test]
fn a_module_says_what_it_would_use() {
    let modules = Modules::new();
    let wasi =
        |name: &str, ty: &str| format!(r#"(import "wasi_snapshot_preview1" "{name}" (func {ty}))"#);
    let text = format!(
        r#"(module {} {}
            (import "dpfw_1" "connect" (func (param i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "dpfw_alloc") (param i32) (result i32) i32.const 65536)
            (func (export "dpfw:t") (param i32 i32) (result i64) unreachable))"#,
        wasi("environ_get", "(param i32 i32) (result i32)"),
        wasi("path_unlink_file", "(param i32 i32 i32) (result i32)"),
    );
    modules.write("wants.wat", &text);
    let left = dpfw(&["inspect", &modules.path("wants.wat")], "");
    let from = left.out.find("exports besides\n").expect("the exports");
    let to = left.out.find("needs, of").expect("the needs");
    insta::assert_snapshot!(left.out[from..to], @r"
    exports besides
      memory: a memory
      dpfw_alloc: a function (i32) -> i32
    would use, where it is granted
      variables    by environ_get
      directories  by path_unlink_file
      connections  by connect  [refused without]
    ");
    let left = dpfw(&["inspect", "--json", &modules.path("wants.wat")], "");
    let report: serde_json::Value = serde_json::from_str(&left.out).expect("one object");
    assert_eq!(report["wants"][2]["required"], true);
    assert_eq!(report["exports"][2]["name"], "dpfw:t");
}
