//! Frames of a guest's backtrace, for people.
//!
//! A frame is `name`, or `name at file:line:column`. Owns: which of
//! them are the task's own and which the runtime's. Invariant: where none is the task's
//! own, as in modules without names, all of them are shown.

mod lines;

/// The frames of a backtrace with their files and lines, as far as the module has them.
pub(crate) fn located(frames: &[String], wasm: &[u8]) -> Vec<String> {
    lines::of(frames, wasm)
}

/// A frame that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) text: &'a str,
    /// It is the task's own, or of what the task uses, and not the runtime's.
    pub(crate) is_own: bool,
}

/// Where names of the runtime begin: Rust's libraries, its allocator, its way to panic, and
/// what stands between a task and its export.
const RUNTIME: [&str; 18] = [
    "core::",
    "std::",
    "alloc::",
    "dlmalloc",
    "dpfw_guest::",
    "dpfw:",
    "dpfw_",
    "__dpfw_",
    "_rust_",
    "rust_",
    "__rust",
    "_R",
    "__wasm_call_",
    "__wasi_",
    "abort",
    "panic_",
    "exit",
    "_start",
];

/// Where files of the runtime are: names of inlined functions have nothing before them that
/// says whose they are.
const FILES: [&str; 3] = [" at library/", "/guest-sdk/src/", " at dpfw-guest-"];

fn is_own(frame: &str) -> bool {
    if FILES.iter().any(|file| frame.contains(file)) {
        return false;
    }
    // `<T as core::fmt::Display>::fmt` is the runtime's if T is; `<tasks::T as ..>` is not.
    let name = frame.trim_start_matches(['<', '&', '[', '(', '*']);
    !RUNTIME.iter().any(|start| name.starts_with(start))
}

/// The frames that are shown, the task's own first, and how many are not.
pub(crate) fn shown(frames: &[String], all: bool) -> (Vec<Frame<'_>>, usize) {
    let frames = frames.iter().map(|text| Frame { text, is_own: is_own(text) });
    let (own, runtime): (Vec<_>, Vec<_>) = frames.partition(|frame| frame.is_own);
    match (all || own.is_empty(), runtime.len()) {
        (true, _) => (own.into_iter().chain(runtime).collect(), 0),
        (false, hidden) => (own, hidden),
    }
}

/// Whether any of them says its file and line.
pub(crate) fn have_lines(frames: &[String]) -> bool {
    frames.iter().any(|frame| frame.contains(" at "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(frames: &[&str]) -> Vec<String> {
        frames.iter().copied().map(String::from).collect()
    }

    #[test]
    fn the_tasks_own_frames_come_first() {
        let frames = list(&[
            "__rustc::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "<alloc::string::String as core::fmt::Write>::write_str",
            "<tasks::Text as core::fmt::Display>::fmt",
            "tasks::boom at src/lib.rs:1:2",
            "expect<u32> at library/core/src/result.rs:1185:23",
            "dpfw_guest::export::call",
            "dpfw:boom",
        ]);
        let (own, hidden) = shown(&frames, false);
        let texts: Vec<_> = own.iter().map(|frame| frame.text).collect();
        assert_eq!(texts, [&frames[3], &frames[4]]);
        assert_eq!(hidden, 6);
        let (all, hidden) = shown(&frames, true);
        assert_eq!((all.len(), hidden, all[0].text), (8, 0, frames[3].as_str()));
    }

    #[test]
    fn without_a_frame_of_its_own_all_are_shown() {
        let frames = list(&["core::option::unwrap_failed", "dpfw:f"]);
        assert_eq!(shown(&frames, false).0.len(), 2);
        assert_eq!(shown(&list(&["function 3", "div"]), false).0.len(), 2);
        assert!(!have_lines(&frames) && have_lines(&list(&["f at x.c:1:1"])));
    }
}
