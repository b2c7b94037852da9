//! `dpfw new` and `dpfw build`.

use crate::kit::{Left, Process, command, dpfw};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sources of dpfw.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The program in a directory.
fn within(dir: &Path, args: &[&str]) -> Left {
    let mut command = command(args);
    command.current_dir(dir);
    Process::of(command).finish()
}

/// A workspace `sums` of this dpfw, and the directory that it is in: always the same one for
/// a test, so that what is compiled of it takes the place of what was.
fn sums(test: &str) -> (PathBuf, PathBuf) {
    let dir = PathBuf::from(kept(test));
    // It may be the first time.
    let _ = std::fs::remove_dir_all(dir.join("sums"));
    std::fs::create_dir_all(&dir).expect("a directory");
    let path = sources().display().to_string();
    let left = within(&dir, &["new", "sums", "--path", &path]);
    assert_eq!((left.code, left.err.as_str()), (0, ""), "{left:?}");
    insta::allow_duplicates! {
        insta::assert_snapshot!(left.out, @r"
        sums/tasks/src/lib.rs    the tasks
        sums/master/src/main.rs  the master that dispatches them
        run it with: cd sums && cargo run
        ");
    }
    let root = dir.join("sums");
    // The versions that are there already, so that nothing has to be downloaded.
    std::fs::copy(sources().join("Cargo.lock"), root.join("Cargo.lock")).expect("copied");
    (dir, root)
}

/// Where what is compiled here is kept from run to run.
fn kept(name: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).display().to_string()
}

#[test]
fn new_tasks_are_built_and_run() {
    let (dir, root) = sums("new-tasks");
    let target = dir.join("target").display().to_string();
    // In the workspace as well as in the crate.
    for tasks in ["sums", "sums/tasks"] {
        let left = within(&dir, &["build", tasks, "--target-dir", &target]);
        assert_eq!(left.code, 0, "{left:?}");
        let path = left.out.strip_suffix('\n').expect("a line");
        assert!(path.ends_with("sums_tasks.wasm") && Path::new(path).is_file(), "{left:?}");
        assert!(left.err.contains("Finished"), "cargo's words are on standard error: {left:?}");
        assert_eq!(dpfw(&["run", path, "add", "[2, 3]"], "").out, "5\n");
    }
    let left = within(&root, &["build", "--json", "--target-dir", &target]);
    let told: serde_json::Value = serde_json::from_str(&left.out).expect("an object");
    assert_eq!((left.code, left.err.as_str()), (0, ""));
    assert!(told["bytes"].as_u64() > Some(1000));

    std::fs::write(root.join("tasks/src/lib.rs"), "fn broken( {").expect("written");
    let left = within(&root, &["build", "--target-dir", &target]);
    assert_eq!((left.code, left.out.as_str()), (11, ""), "{left:?}");
    assert!(left.err.contains("src/lib.rs:1:"), "{left:?}");
    assert!(left.err.contains("\nerror: the tasks in "), "{left:?}");
    let left = within(&root, &["build", "--json", "--target-dir", &target]);
    assert!(left.err.starts_with("{\"error\":{\"code\":11,"), "{left:?}");
}

/// The files beneath a directory, with what is in them.
fn files(root: &Path, part: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut parts = vec![PathBuf::from(part)];
    while let Some(part) = parts.pop() {
        for entry in std::fs::read_dir(root.join(&part)).expect("a directory") {
            let path = part.join(entry.expect("an entry").file_name());
            match root.join(&path).is_dir() {
                true => parts.push(path),
                false => drop(found.insert(
                    path.clone(),
                    std::fs::read_to_string(root.join(&path)).expect("a text"),
                )),
            }
        }
    }
    found
}

/// The copy is a member of the workspace: it is built and run with everything else. Built by
/// itself, its dependencies have other features, and all of them are compiled once more.
#[test]
fn what_is_made_is_what_the_workspace_builds_and_runs() {
    let (_, root) = sums("new-master");
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/new");
    for part in ["master", "tasks"] {
        let here = |text: String| text.replace(&sources().display().to_string(), "../../../..");
        let made = files(&root, part).into_iter().map(|(path, text)| (path, here(text)));
        let mut kept = files(&copy, part);
        kept.remove(Path::new("master/tests/run.rs"));
        assert_eq!(made.collect::<BTreeMap<_, _>>(), kept);
    }
    // What other platforms need is not there offline.
    let about = Command::new("rustc").arg("-vV").output().expect("rustc");
    let about = String::from_utf8(about.stdout).expect("a text");
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("a platform");
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--offline", "--format-version", "1", "--filter-platform", host]);
    metadata.current_dir(&root);
    let output = metadata.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_be_made_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let failure = |args: &[&str]| {
        let left = within(dir.path(), args);
        assert_eq!((left.code, left.out.as_str()), (2, ""), "{left:?}");
        left.err
    };
    insta::assert_snapshot!(failure(&["new", "sums"]), @r"
    error: it is not said where dpfw comes from
    hint: --path DIR takes a directory with its sources, --version VERSION the package registry
    ");
    insta::assert_snapshot!(failure(&["new", "sums", "--path", "."]), @r"
    error: . has not the sources of dpfw
    hint: --path takes the directory that has dpfw/Cargo.toml and guest-sdk/Cargo.toml
    ");
    insta::assert_snapshot!(failure(&["new", "a b", "--version", "0.1"]), @r"
    error: `a b` is no name for it: it has ' ' in it
    hint: a name is of letters a to z, digits, - and _, and begins with a letter
    ");
    insta::assert_snapshot!(failure(&["build"]), @r"
    error: there is no Cargo.toml in .
    hint: `dpfw new NAME` makes a crate of tasks, and a master beside it
    ");
    assert_eq!(within(dir.path(), &["new", "sums", "--version", "0.1"]).code, 0);
    let manifest = std::fs::read_to_string(dir.path().join("sums/master/Cargo.toml"));
    assert!(manifest.expect("a file").contains("dpfw = \"0.1\"\n"));
    insta::assert_snapshot!(failure(&["new", "sums", "--version", "0.1"]), @r"
    error: `sums` is there already
    hint: choose another name, or remove it
    ");
}

/// Tasks that fail, for backtraces.
const FAILING: &str = r#"//! Tasks that fail.

use dpfw_guest::task;

dpfw_guest::module!();

#[task]
pub fn boom(text: String) -> u32 {
    number(&text)
}

#[inline(never)]
fn number(text: &str) -> u32 {
    text.parse().expect("a number")
}

#[task]
pub fn trap(depth: u32) -> u32 {
    deeper(depth)
}

#[inline(never)]
fn deeper(depth: u32) -> u32 {
    #[cfg(target_arch = "wasm32")]
    if depth == 0 {
        core::arch::wasm32::unreachable()
    }
    std::hint::black_box(deeper(depth - 1)) + 1
}
"#;

/// What is told of a call that fails, without the log and what differs from build to build.
fn failure(dir: &Path, module: &str, task: &str, args: &str, form: &[&str]) -> String {
    let left = within(dir, &[&["run", module, task, args], form].concat());
    assert_eq!(left.code, 1, "{left:?}");
    let from = left.err.find("error: ").expect("an error");
    let text = left.err[from..].replace(&format!("{}/", dir.display()), "");
    let (before, behind) = text.split_once(" on slave-").expect("a slave");
    let behind = behind.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    // How many frames the runtime has is the compiler's affair.
    let lines = behind.lines().map(|line| match line.ends_with("of the runtime; -vv shows all)") {
        true => "  (N frames of the runtime; -vv shows all)",
        false => line,
    });
    format!("{before}{}", lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_backtrace_has_the_tasks_own_frames_first() {
    let (dir, root) = sums("new-failing");
    std::fs::write(root.join("tasks/src/lib.rs"), FAILING).expect("written");
    let target = dir.join("target").display().to_string();
    let build = |form: &[&str]| {
        let left = within(&dir, &[&["build", "sums", "--target-dir", &target], form].concat());
        assert_eq!(left.code, 0, "{left:?}");
        left.out.trim_end().to_owned()
    };
    let module = build(&[]);
    let shown = |task, args, form: &[&str]| {
        failure(&root.canonicalize().expect("there"), &module, task, args, form)
    };
    insta::assert_snapshot!("release", shown("boom", "[\"x\"]", &[]));
    insta::assert_snapshot!("release_boom", shown("boom", "[\"x\"]", &["-v"]));
    insta::assert_snapshot!("release_trap", shown("trap", "[2]", &["-v"]));
    let module = build(&["--debug"]);
    let shown = |task, args, form: &[&str]| {
        failure(&root.canonicalize().expect("there"), &module, task, args, form)
    };
    insta::assert_snapshot!("debug_boom", shown("boom", "[\"x\"]", &["-v"]));
    insta::assert_snapshot!("debug_trap", shown("trap", "[2]", &["-v"]));
    let all = shown("boom", "[\"x\"]", &["-vv"]);
    assert!(all.contains("core::result::unwrap_failed at library/core/src/result.rs:"), "{all}");
    assert!(all.find("sums_tasks::number") < all.find("core::result"), "{all}");
}
