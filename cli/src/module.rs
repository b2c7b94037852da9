//! MODULE and FUNCTION: from a file and a name to a task that can be called.
//!
//! Owns: reading the file, telling text from binary, and what can be told before a slave
//! is asked. Does not: compile or validate code; the slave that first runs it does.

use crate::exit::{Exit, Failure};
use crate::frames;
use crate::json::Json;
use crate::json::encode::Arguments;
use crate::json::hint::Hints;
use dpfw::{Call, Cause, Depth, Facts, Kind, Limits, Module, Signature, Task, TaskRecord, inspect};
use serde_json::Value;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A module from a file.
#[derive(Debug)]
pub(crate) struct Loaded {
    path: PathBuf,
    module: Module,
    facts: Facts,
}

/// A task or function of a module.
#[derive(Debug)]
pub(crate) struct Function {
    task: Task<Json>,
    /// What the module tells of it, if it does.
    record: Option<TaskRecord>,
    hints: Hints,
}

/// Reads a module: WebAssembly, or its text.
///
/// # Errors
/// A [`Failure`] with the file's name: it cannot be read, or is no module.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    let wasm = wasm(path)?;
    // What a slave takes is the slave's decision; here only what cannot be held is refused.
    let mut limits = Limits::default();
    (limits.memory, limits.table, limits.functions) = (u64::MAX, usize::MAX, u32::MAX);
    limits.data = u64::MAX;
    let facts = Facts::of(&wasm, &limits).map_err(|cause| {
        let failure = match cause {
            Cause::Rejected { reason } => unusable(path, reason),
            cause => unusable(path, cause),
        };
        Failure { hint: remedy(&wasm), ..failure }
    })?;
    Ok(Loaded { path: path.to_owned(), module: Module::new(wasm), facts })
}

/// Reads a WASI program.
///
/// # Errors
/// A [`Failure`] with the file's name: it cannot be read, or is no program.
pub(crate) fn program(path: &Path) -> Result<Module, Failure> {
    let Loaded { path, module, facts } = load(path)?;
    match facts.kind {
        Kind::Program => Ok(module),
        Kind::Task | Kind::Plain => {
            let hint = "`dpfw run` calls what it exports, and `dpfw inspect` lists it";
            Err(unusable(&path, "it is no WASI program: it has no `_start`").hint(hint))
        }
    }
}

/// The bytes of a module: a file's, or what its text stands for. Whether they are a module
/// is not looked at.
///
/// # Errors
/// A [`Failure`] with the file's name: it cannot be read, or its text is none.
pub(crate) fn wasm(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, Limits::default().module).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory => unusable(path, e).hint(WANTED),
        _ => unusable(path, e),
    })?;
    match is_text(path, &bytes) {
        true => assemble(path, &bytes).map_err(|e| unusable(path, e)),
        false => Ok(bytes),
    }
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Module, format!("{}: {why}", path.display()))
}

const WANTED: &str = "give the path of a module (.wasm), or of its text (.wat)";

/// How executables of Linux, macOS and Windows begin.
const NATIVE: [&[u8]; 4] = [b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ"];

/// What to do about bytes that are no module.
fn remedy(bytes: &[u8]) -> Option<String> {
    if NATIVE.iter().any(|magic| bytes.starts_with(magic)) {
        let text = "it is compiled for a machine; compile it for WebAssembly: \
                    cargo build --target wasm32-wasip1";
        return Some(text.into());
    }
    let report = inspect(bytes, &Limits::default(), Depth::Look);
    report.problems.into_iter().next().map(|problem| problem.remedy)
}

/// Reads a file to its end, but for one that has none.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("it is longer than the {most} bytes of a module"))),
        false => Ok(bytes),
    }
}

/// Whether the file is a module's text rather than a module.
fn is_text(path: &Path, bytes: &[u8]) -> bool {
    let is_named = path.extension().is_some_and(|extension| extension == "wat");
    let first = bytes.trim_ascii_start();
    !bytes.starts_with(b"\0asm")
        && (is_named || first.starts_with(b"(") || first.starts_with(b";;"))
}

fn assemble(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        format!("it is not WebAssembly text: not UTF-8 at byte {}", e.valid_up_to())
    })?;
    wat::parse_str(text).map_err(|mut error| {
        error.set_path(path);
        format!("it is not valid WebAssembly text: {error}")
    })
}

/// The names that are listed when one is not there.
const LISTED: usize = 20;

impl Loaded {
    /// The task or function of that name.
    ///
    /// # Errors
    /// A [`Failure`] that lists those that are there.
    pub(crate) fn function(&self, name: &str) -> Result<Function, Failure> {
        if self.facts.kind == Kind::Program {
            let hint = "`dpfw exec` runs it";
            return Err(unusable(&self.path, "it is a WASI program, and has no tasks").hint(hint));
        }
        if !self.facts.functions.iter().any(|known| known == name) {
            let table = self.module.tasks().ok();
            let line = |known: &str| Some(table?.task(known)?.line());
            let word = match self.facts.kind {
                Kind::Task => "task",
                Kind::Plain | Kind::Program => "function",
            };
            let text = self.missing(word, name, &self.facts.functions, line);
            return Err(Failure::new(Exit::Call, text));
        }
        let signature = self.module.tasks().ok().and_then(|table| table.signature(name));
        Ok(self.described(name, signature))
    }

    /// The init of that name, as if it were a task.
    ///
    /// # Errors
    /// A [`Failure`] that lists those that are there.
    pub(crate) fn init(&self, name: &str) -> Result<Function, Failure> {
        if !self.facts.inits.iter().any(|known| known == name) {
            let table = self.module.tasks().ok();
            let line = |known: &str| Some(table?.init(known)?.line());
            let text = self.missing("init", name, &self.facts.inits, line);
            return Err(Failure::new(Exit::Call, text));
        }
        let signature = self.module.tasks().ok().and_then(|table| table.init_signature(name));
        Ok(self.described(name, signature))
    }

    /// The constructor or the method of a resident, by its name with the class.
    ///
    /// # Errors
    /// A [`Failure`] that lists those that are there.
    pub(crate) fn method(&self, name: &str) -> Result<Function, Failure> {
        let table = self.module.tasks().ok();
        let Some(signature) = table.and_then(|table| table.method(name)) else {
            let line = |known: &str| Some(table?.method(known)?.task.line());
            let text = self.missing("resident with", name, &self.facts.residents, line);
            return Err(Failure::new(Exit::Call, text));
        };
        Ok(self.described(name, Some(signature)))
    }

    fn described(&self, name: &str, signature: Option<Signature>) -> Function {
        let hints = signature
            .as_ref()
            .map(|signature| Hints::of(&signature.task, signature.types.iter()))
            .unwrap_or_default();
        let task = Task::new(self.module.clone(), name);
        Function { task, record: signature.map(|signature| signature.task), hints }
    }

    /// What is said of a name that is not there: those that are, as they are described.
    fn missing(
        &self,
        word: &str,
        name: &str,
        names: &[String],
        line: impl Fn(&str) -> Option<String>,
    ) -> String {
        let mut text = format!("{}: the module has no {word} `{name}`", self.path.display());
        for known in names.iter().take(LISTED) {
            text.push_str("\nit has ");
            text.push_str(&line(known).unwrap_or_else(|| known.clone()));
        }
        match names.len() {
            0 => text.push_str("; it exports none"),
            more if more > LISTED => text.push_str(&format!("\nand {} more", more - LISTED)),
            _ => {}
        }
        text
    }
}

impl Function {
    /// A call with these arguments.
    ///
    /// # Errors
    /// What does not fit, as far as the module tells.
    pub(crate) fn call(&self, values: &[Value]) -> Result<Call<Json>, String> {
        if let Some(record) = &self.record
            && record.args.len() != values.len()
        {
            let (takes, given) = (record.args.len(), values.len());
            let plural = if takes == 1 { "" } else { "s" };
            let line = record.line();
            return Err(format!("`{line}` takes {takes} argument{plural}, not {given}"));
        }
        let arguments = Arguments { values, hints: &self.hints };
        self.task.call(&arguments).map_err(|e| e.to_string())
    }

    /// The frames of its backtrace with their files and lines.
    pub(crate) fn located(&self, frames: &[String]) -> Vec<String> {
        match (frames, self.task.module().bytes()) {
            ([], _) | (_, None) => frames.to_vec(),
            (frames, Some(wasm)) => frames::located(frames, wasm),
        }
    }

    /// What there is to say beside an error: the signature, where arguments do not fit.
    pub(crate) fn hint(&self, cause: &Cause) -> String {
        match (cause, &self.record) {
            (Cause::BadArguments { .. }, Some(record)) => format!("; it is `{}`", record.line()),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(suffix: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(suffix).tempfile();
        let mut file = file.expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    fn error(suffix: &str, bytes: &[u8]) -> String {
        let file = file(suffix, bytes);
        let failure = load(file.path()).expect_err("no module");
        assert_eq!(failure.exit, Exit::Module);
        let name = file.path().display().to_string();
        failure.text.replace(&name, "FILE")
    }

    #[test]
    fn text_is_told_from_binary() {
        let text = b" ;; a comment\n(module (func (export \"f\")))";
        for suffix in [".wat", ".wasm", ""] {
            let loaded = load(file(suffix, text).path()).expect("text");
            assert_eq!(loaded.facts.functions, ["f"]);
        }
        let wasm = wat::parse_bytes(text).expect("well formed");
        assert!(load(file(".wat", &wasm).path()).is_ok());
    }

    #[test]
    fn what_is_no_module_is_told_with_its_name() {
        insta::assert_snapshot!(
            error(".wasm", b"\x7fELF\x02\x01"),
            @"FILE: it is not WebAssembly: it begins with 7f 45 4c 46, not with 00 61 73 6d"
        );
        insta::assert_snapshot!(error(".wasm", b""), @"FILE: it is not WebAssembly: it is empty");
        insta::assert_snapshot!(
            error(".wat", b"\xff\xfe"),
            @"FILE: it is not WebAssembly text: not UTF-8 at byte 0"
        );
        let text = error(".wat", b"(module\n  (func (export \"f\") (param i31)))\n");
        assert!(text.starts_with("FILE: it is not valid WebAssembly text: "), "{text}");
        assert!(text.contains("--> FILE:2:29"), "{text}");
        assert!(error(".wasm", b"\0asm\x01\0\0\0\x07").contains("not valid wasm"));
        let failure = load(Path::new("/nowhere/x.wasm")).expect_err("no file");
        assert_eq!(failure.text, "/nowhere/x.wasm: No such file or directory (os error 2)");
        assert!(load(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn what_is_no_module_is_told_what_to_do() {
        let hint = |suffix: &str, bytes: &[u8]| {
            let failure = load(file(suffix, bytes).path()).expect_err("no module");
            failure.hint.expect("a hint")
        };
        assert!(hint("", b"\x7fELF\x02\x01").contains("--target wasm32-wasip1"));
        assert!(hint(".wasm", b"notes").contains("give a module"));
        assert!(hint(".wasm", b"\0asm\x0d\0\x01\0").contains("components"));
        assert!(hint(".wasm", b"\0asm\x01\0\0\0\x07").contains("build it again"));
        for path in ["/nowhere/x.wasm", "/tmp"] {
            let failure = load(Path::new(path)).expect_err("no file");
            assert_eq!(failure.hint.as_deref(), Some(WANTED));
        }
    }

    #[test]
    fn programs_are_for_exec() {
        let start = b"(module (memory (export \"memory\") 1) (func (export \"_start\")))";
        let start = file(".wat", start);
        assert!(program(start.path()).is_ok());
        let failure = load(start.path()).and_then(|it| it.function("_start")).expect_err("no task");
        assert_eq!(failure.exit, Exit::Module);
        assert_eq!(failure.hint.as_deref(), Some("`dpfw exec` runs it"));
    }

    fn tasks() -> Loaded {
        let bytes = quickstart_tasks::add::task().module().bytes().expect("embedded").clone();
        load(file(".wasm", &bytes).path()).expect("the quickstart's tasks")
    }

    #[test]
    fn what_is_not_there_lists_what_is() {
        let described = r#"(module
            (@custom "dpfw.tasks" "{\"task\":{\"name\":\"add\",\"args\":[{\"name\":\"a\",\"type\":\"i64\"}],\"returns\":\"i64\"}}")
            (func (export "dpfw:add"))
            (func (export "dpfw:other")))"#;
        let mut loaded = load(file(".wat", described.as_bytes()).path()).expect("a module");
        loaded.path = "tasks.wasm".into();
        insta::assert_snapshot!(loaded.function("ad").expect_err("not there").text, @r"
        tasks.wasm: the module has no task `ad`
        it has add(a: i64) -> i64
        it has other
        ");
        let empty = load(file(".wat", b"(module)").path()).expect("a module");
        let text = empty.function("f").expect_err("not there").text;
        assert!(text.ends_with("the module has no function `f`; it exports none"), "{text}");
    }

    #[test]
    fn a_wrong_number_of_arguments_is_told_with_the_signature() {
        let add = tasks().function("add").expect("there");
        assert!(add.call(&[2.into(), 3.into()]).is_ok());
        assert_eq!(
            add.call(&[2.into()]).expect_err("one is missing"),
            "`add(a: i64, b: i64) -> i64` takes 2 arguments, not 1"
        );
        let cause = Cause::BadArguments { message: "why".into() };
        assert_eq!(add.hint(&cause), "; it is `add(a: i64, b: i64) -> i64`");
    }
}
