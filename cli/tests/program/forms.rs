//! Help, completions, man pages, and what programs read.

use crate::kit::{Modules, Process, command, dpfw};

const COMMANDS: [&str; 10] =
    ["slave", "run", "map", "new", "build", "store", "slaves", "drain", "completions", "man"];

#[test]
fn every_command_has_examples_in_its_help() {
    for name in COMMANDS {
        let left = dpfw(&[name, "--help"], "");
        assert_eq!(left.code, 0);
        assert!(left.out.contains(&format!("Examples:\n  dpfw {name}")), "{}", left.out);
    }
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let left = dpfw(&["completions", shell], "");
        assert_eq!((left.code, left.err.as_str()), (0, ""));
        for name in COMMANDS {
            assert!(left.out.contains(name), "{shell} does not know {name}");
        }
    }
}

#[test]
fn man_pages_are_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("man1").display().to_string();
    let left = dpfw(&["man", &path], "");
    assert_eq!((left.code, left.out.as_str()), (0, ""));
    for name in COMMANDS {
        let page = std::fs::read_to_string(format!("{path}/dpfw-{name}.1")).expect(name);
        assert!(page.contains("Exit codes"), "{page}");
    }
    assert!(dpfw(&["man"], "").out.contains(".TH dpfw 1"));
}

#[test]
fn errors_for_programs_are_an_object_a_line() {
    let modules = Modules::new();
    let (module, plain) = (modules.path("tasks.wasm"), modules.path("plain.wat"));
    let error = |args: &[&str], input: &str| {
        let left = dpfw(&[args, &["--json"]].concat(), input);
        let lines = left.err.lines().map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect(line);
            value["error"].clone()
        });
        (left.code, lines.collect::<Vec<_>>())
    };
    let (code, errors) = error(&["run", &module, "divide", "[7, 0]"], "");
    assert_eq!((code, &errors[0]["code"], errors.len()), (1, &1.into(), 1));
    assert!(errors[0]["message"].as_str().expect("a text").ends_with("cannot be divided by zero"));
    let (code, errors) = error(&["run", &plain, "divide", "[7, 0]"], "");
    assert_eq!((code, &errors[0]["backtrace"][0]), (1, &"function 3".into()));
    let (code, errors) = error(&["run", &module], "");
    assert_eq!((code, &errors[0]["code"], errors.len()), (2, &2.into(), 1));
    let (code, errors) = error(&["map", &module, "divide"], "[7, 0]\n[7, 1]\n");
    assert_eq!((code, errors.len()), (6, 2));
    assert_eq!((&errors[0]["line"], &errors[1]["code"]), (&1.into(), &6.into()));
}

#[test]
fn a_listening_slave_tells_programs_where() {
    let mut slave = Process::start(&["slave", "--listen", "127.0.0.1:0", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&slave.line()).expect("an object");
    assert!(told["listening"].as_str().expect("a text").starts_with("127.0.0.1:"));
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    for variable in ["CLICOLOR_FORCE", "NO_COLOR"] {
        let mut process = command(&["run", "/nowhere.wasm", "f"]);
        process.env(variable, "1");
        let left = Process::of(process).finish();
        assert!(left.err.starts_with("error: /nowhere.wasm: "), "{left:?}");
        assert!(!left.err.contains('\u{1b}'));
    }
}
