//! The module that a tasks crate becomes: its exports, imports and sections.
//!
//! That it runs is tested where there is a sandbox, in the slave.

use dpfw_guest_build::{Build, Error, compile};
use dpfw_protocol::module::task_table;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use wasmparser::{ExternalKind, Parser, Payload};

/// A package beside the workspace, with the workspace's lock file, so that it is built
/// from what is already there.
fn package(name: &str, lib: &Path) -> PathBuf {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).expect("a directory");
    fs::copy(sdk.join("../Cargo.lock"), dir.join("Cargo.lock")).expect("the lock file");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [workspace]\n[features]\nextra = []\n\
         [lib]\npath = {lib:?}\n\
         [dependencies]\ndpfw-guest.path = {sdk:?}\nserde = \"1\"\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).expect("a manifest");
    dir
}

fn tasks() -> PathBuf {
    package("sdk-test-tasks", &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tasks/lib.rs"))
}

#[derive(Default)]
struct Seen {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
    sections: BTreeSet<String>,
}

fn look(wasm: &[u8]) -> Seen {
    let mut seen = Seen::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("a module") {
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.expect("an export");
                    if export.kind != ExternalKind::Global {
                        seen.exports.insert(export.name.to_owned());
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.expect("an import");
                    seen.imports.insert(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::CustomSection(section) => {
                seen.sections.insert(section.name().to_owned());
            }
            _ => {}
        }
    }
    seen
}

const EXPORTS: [&str; 23] = [
    "_initialize",
    "dpfw-batch:add",
    "dpfw-batch:any",
    "dpfw-batch:bad",
    "dpfw-batch:boom",
    "dpfw-batch:echo",
    "dpfw-batch:takes",
    "dpfw-resident:tally.add",
    "dpfw-resident:tally.all",
    "dpfw-resident:tally.load",
    "dpfw-resident:tally.new",
    "dpfw-resident:tally.of",
    "dpfw-resident:tally.save",
    "dpfw:add",
    "dpfw:any",
    "dpfw:bad",
    "dpfw:boom",
    "dpfw:echo",
    "dpfw:takes",
    "dpfw_alloc",
    "dpfw_batch",
    "dpfw_warm",
    "memory",
];

#[test]
fn a_module_for_wasip1() {
    let wasm = fs::read(compile(tasks(), &Build::new()).expect("compiles")).expect("a file");
    let seen = look(&wasm);
    assert_eq!(Vec::from_iter(&seen.exports), EXPORTS);
    let ours: Vec<_> = seen.imports.iter().filter(|i| i.starts_with("dpfw_1.")).collect();
    assert_eq!(ours, ["dpfw_1.log", "dpfw_1.panic"], "only what is used");
    assert!(!seen.imports.iter().any(|i| i.contains("random") || i.contains("clock")));
    assert!(seen.sections.contains("name"), "backtraces have names");
    assert!(!seen.sections.iter().any(|name| name.starts_with(".debug")));
    assert!(!String::from_utf8_lossy(&wasm).contains(".command_export"), "a reactor");

    let table = task_table(&wasm).expect("a well-formed section");
    let lines: Vec<_> = table.tasks().map(|task| task.line()).collect();
    assert_eq!(
        lines,
        [
            "add(a: i64, b: i64) -> i64",
            "any()",
            "bad() -> Never",
            "boom(text: String)",
            "echo(bytes: Bytes) -> Bytes",
            "takes() -> usize",
        ]
    );
    let add = table.task("add").expect("there");
    assert_eq!(add.doc, "Adds \"two\" numbers \\ and more.\n\nSecond paragraph.");
    assert!(table.task("boom").expect("there").once);

    let methods: Vec<_> = table.residents().map(|method| method.line()).collect();
    assert_eq!(
        methods,
        [
            "tally.add(number: i64, as: Option<String>) -> usize",
            "tally.all() -> Vec<i64>",
            "tally.load(all: Vec<i64>) -> Self",
            "tally.new() -> Self",
            "tally.of(first: i64) -> Result<Self, _>",
            "tally.save() -> Vec<i64>",
        ]
    );
    let add = &table.method("tally.add").expect("there").task;
    assert_eq!(add.doc, "Adds a number; gives how many there are.");
}

#[test]
fn a_module_for_no_system() {
    let build = Build::new().target("wasm32-unknown-unknown").debug(true).features(["extra"]);
    let wasm = fs::read(compile(tasks(), &build).expect("compiles")).expect("a file");
    let seen = look(&wasm);
    assert_eq!(Vec::from_iter(&seen.exports), EXPORTS);
    assert_eq!(Vec::from_iter(&seen.imports), ["dpfw_1.log", "dpfw_1.panic"]);
    assert!(seen.sections.contains(".debug_line"));
}

#[test]
fn what_is_wrong_is_told() {
    let nowhere = compile("/nowhere", &Build::new()).expect_err("no package");
    assert_eq!(nowhere.to_string(), "there is no Cargo.toml in /nowhere");
    let lib = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken.rs");
    fs::write(&lib, "pub fn broken() -> u8 { \"text\" }").expect("a file");
    let dir = package("sdk-test-broken", &lib);
    let error = compile(&dir, &Build::new()).expect_err("does not compile");
    assert!(matches!(&error, Error::Failed { stderr, .. } if stderr.contains("error[E0308]")));
    fs::write(&lib, "").expect("a file");
    let error = compile(&dir, &Build::new().target("wasm64-unknown-unknown"));
    assert_eq!(
        error.expect_err("not installed").to_string(),
        "the target wasm64-unknown-unknown is not installed, which tasks are compiled for; \
         install it with: rustup target add wasm64-unknown-unknown"
    );
}
