//! The quickstart prints what the README says.

use std::process::Command;

#[test]
fn the_quickstart_runs_as_it_stands() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut quickstart = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    let output = quickstart.env("XDG_CACHE_HOME", cache.path()).output().expect("it starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    let lines: Vec<_> = stdout.lines().collect();
    let [five, both, first, second, error, panic, kept, store, resident] = lines[..] else {
        panic!("other lines than expected: {lines:#?}");
    };
    assert_eq!(five, "2 + 3 = 5");
    assert_eq!(both, "2 + 1 = 3, 5 + 5 = 10");
    assert_eq!(first, r#"{"be": 1, "to": 1}"#);
    assert_eq!(second, r#"{"be": 1, "not": 1, "or": 1, "to": 1}"#);
    assert_eq!(error, "the task failed: 7 cannot be divided by zero");
    // The line in the source is not this test's business.
    assert!(panic.starts_with("the task panicked at "), "{panic}");
    assert!(panic.ends_with("no word 7 in a text of 2"), "{panic}");
    assert_eq!(kept, r#"Some("to") is the commonest of 4 words"#);
    assert_eq!(store, r#"Some("blue"), then Some("green")"#);
    assert_eq!(resident, "1, then 2");
}
