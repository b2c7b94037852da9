//! What is wrong with a module's exports.

use super::Problem;
use super::scan::{Item, PAGE, Scan};
use crate::module::facts::Kind;
use crate::module::warm::RUN_ONCE;
use crate::sandbox::imports::ABI;
use dpfw_protocol::image::INIT_PREFIX;
use dpfw_protocol::limits::MAX_NAME;
use dpfw_protocol::resident::RESIDENT_PREFIX;
use dpfw_protocol::signature::{BATCH_PREFIX, EXPORT_PREFIX};

/// The types of the ABI's exports.
const ALLOC: &str = "(i32) -> i32";
const TASK: &str = "(i32, i32) -> i64";
const NOTHING: &str = "()";
const BATCH: &str = "(i32, i32)";
const REPLIES: &str = "() -> i32";

/// What is exported to be called as tasks are: its prefix, what it is, the form of its name.
pub(super) const CALLED: [(&str, &str, &str); 3] = [
    (EXPORT_PREFIX, "task", "NAME"),
    (INIT_PREFIX, "init", "NAME"),
    (RESIDENT_PREFIX, "method of a resident", "CLASS.NAME"),
];

/// What has to be another way.
pub(super) fn problems(kind: Kind, scan: &Scan) -> Vec<Problem> {
    let mut found = Vec::new();
    match kind {
        Kind::Task => {
            found.extend(memory(scan));
            found.extend(alloc(scan));
            found.extend(tasks(scan));
            found.extend(batches(scan));
            found.extend(start(scan));
        }
        Kind::Program => found.extend(memory(scan)),
        Kind::Plain => found.extend(no_tasks(scan)),
    }
    found.extend(RUN_ONCE.iter().filter_map(|name| once(scan, name)));
    if kind == Kind::Program {
        found.extend(once(scan, "_start"));
    }
    found
}

fn memory(scan: &Scan) -> Option<Problem> {
    let remedy = "export the memory under this name: `(memory (export \"memory\") 1)`; linkers \
                  do so unless they are told to import one";
    let imported = scan.imports.iter().any(|(_, _, item)| *item == Item::Memory);
    match scan.export("memory") {
        Some(Item::Memory) if imported => None,
        Some(Item::Memory) => maximum(scan),
        Some(other) => Some(Problem::new(format!("its export `memory` is {other}"), remedy)),
        None => Some(Problem::new("it exports no memory named `memory`", remedy)),
    }
}

/// A memory that may not grow beyond what it begins with, and begins with next to nothing.
fn maximum(scan: &Scan) -> Option<Problem> {
    let memory = scan.memories.first()?;
    let maximum = memory.maximum.filter(|most| most.saturating_mul(PAGE) < LEAST)?;
    Some(Problem::new(
        format!(
            "its memory may have {maximum} pages of 64 KiB at most, which leaves no room for \
             arguments of 1 MiB"
        ),
        "leave the maximum out: the slave's limit on memory is there all the same",
    ))
}

/// What a memory has to be able to grow to.
const LEAST: u64 = 1 << 20;

fn alloc(scan: &Scan) -> Option<Problem> {
    let remedy = "export `dpfw_alloc(len: i32) -> i32`, which gives the address of `len` bytes \
                  that the slave may write arguments to";
    match scan.export("dpfw_alloc") {
        Some(Item::Function(ty)) if ty == ALLOC => None,
        Some(other) => {
            let what = format!("its export `dpfw_alloc` is {other}, not a function {ALLOC}");
            Some(Problem::new(what, remedy))
        }
        None => Some(Problem::new("it exports no function `dpfw_alloc`", remedy)),
    }
}

fn tasks(scan: &Scan) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut any = false;
    for (export, item) in &scan.exports {
        let of_prefix = |&(prefix, what, form): &(&'static str, _, _)| {
            export.strip_prefix(prefix).map(|name| (prefix, what, form, name))
        };
        let Some((prefix, what, form, name)) = CALLED.iter().find_map(of_prefix) else {
            continue;
        };
        any = true;
        match item {
            Item::Function(ty) if ty == TASK => {}
            other => found.push(Problem::new(
                format!("its export `{export}` is {other}, not a function {TASK}"),
                "a task takes address and length of its arguments, and gives `address << 32 | \
                 length` of its reply",
            )),
        }
        let remedy = || format!("export it as `{prefix}{form}`");
        if name.is_empty() || name.len() > MAX_NAME {
            found.push(Problem::new(
                format!("a {what}'s name has {} bytes; 1 to {MAX_NAME} are allowed", name.len()),
                remedy(),
            ));
        } else if prefix == RESIDENT_PREFIX && !has_class(name) {
            let what = format!("its export `{export}` does not say what it is a method of");
            found.push(Problem::new(what, remedy()));
        }
    }
    if !any {
        found.push(Problem::new(
            "it exports `dpfw_alloc` and no task",
            format!("export each task as `{EXPORT_PREFIX}NAME`, a function {TASK}"),
        ));
    }
    found
}

/// What makes many calls at one go.
fn batches(scan: &Scan) -> Vec<Problem> {
    let mut found = Vec::new();
    let has = |name: &str| scan.export(name).is_some();
    for (export, item) in &scan.exports {
        let (ty, remedy) = match export.strip_prefix(BATCH_PREFIX) {
            Some(_) => (BATCH, "it takes address and length of a batch, and gives nothing"),
            None if export == "dpfw_batch" => {
                (REPLIES, "it gives the address of two words, which say where the replies are")
            }
            None => continue,
        };
        if !matches!(item, Item::Function(is) if is == ty) {
            let what = format!("its export `{export}` is {item}, not a function {ty}");
            found.push(Problem::new(what, remedy));
        }
        let Some(name) = export.strip_prefix(BATCH_PREFIX) else { continue };
        for needed in [format!("{EXPORT_PREFIX}{name}"), "dpfw_batch".to_owned()] {
            if !has(&needed) {
                found.push(Problem::new(
                    format!("it exports `{export}` and no `{needed}`"),
                    "export both, or neither: calls are made one by one then",
                ));
            }
        }
    }
    found
}

/// Whether a method's name has a class before it.
fn has_class(name: &str) -> bool {
    name.split_once('.').is_some_and(|(class, name)| !class.is_empty() && !name.is_empty())
}

fn start(scan: &Scan) -> Option<Problem> {
    matches!(scan.export("_start"), Some(Item::Function(_))).then(|| {
        Problem::new(
            "it exports `_start` beside its tasks; it is never called",
            "build a library instead of a program (clang: -mexec-model=reactor or --no-entry; \
             Rust: crate-type cdylib), or leave the tasks out",
        )
    })
}

/// Something that is called once without arguments, and has another type.
fn once(scan: &Scan, name: &str) -> Option<Problem> {
    match scan.export(name)? {
        Item::Function(ty) if ty == NOTHING => None,
        other => Some(Problem::new(
            format!("its export `{name}` is {other}, not a function {NOTHING}"),
            "it is called without arguments and gives nothing; change its type or its name",
        )),
    }
}

/// A module that was to have tasks, by its imports or the names of its exports.
fn no_tasks(scan: &Scan) -> Option<Problem> {
    let imports = scan.imports.iter().any(|(module, ..)| module == ABI);
    let remedy = format!("export each task as `{EXPORT_PREFIX}NAME`, a function {TASK}");
    match (imports, scan.description.is_some(), scan.exports.is_empty()) {
        (true, ..) => {
            Some(Problem::new(format!("it imports from `{ABI}` and exports no task"), remedy))
        }
        (_, true, _) => Some(Problem::new("it describes tasks and exports none", remedy)),
        (.., true) => Some(Problem::new(
            "it exports nothing that could be called",
            "export tasks, functions on numbers, or `_start`; linkers drop what is not exported",
        )),
        _ => None,
    }
}
