//! Hostile guests: a file for each trick, with the outcome that it has to have.
//!
//! A file of `hostile/` begins with `;; trick:` (for people), `;; expect:` and perhaps
//! `;; with:` (limits of the call); the rest is a module whose function, task or not, is named
//! `task`. Those that end with `.rs` are WASI programs, and begin with `// trick:` and so on. What has to be there many times is written once: `{{1000 text}}`, where `#` in the
//! text is the number. To add a trick is to add a file.

use anyhow::{Context, Result, bail};
use dpfw::{Cause, Limit, Module, TaskLimits, Trap};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A hostile guest.
#[derive(Debug)]
pub struct Hostile {
    /// The file's name, without `.wat`.
    pub name: String,
    /// What it is.
    pub module: Module,
    /// Whether it is a WASI program.
    pub is_program: bool,
    /// What is to become of it.
    pub expected: Expected,
    /// What its caller allows.
    pub limits: TaskLimits,
}

/// How a hostile guest has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// With a result: the trick does nothing.
    Works,
    /// In any way, as long as it ends.
    Ends,
    /// By a limit of this name.
    Limit(Limit),
    /// By a trap of this name.
    Trap(Trap),
    /// The module is refused, with these words.
    Rejected(String),
    /// It broke the ABI, with these words.
    Abi(String),
    /// With the task's own error.
    Failed,
    /// With a panic.
    Panic,
    /// With a result that is none.
    BadResult,
    /// There is no such task.
    Missing,
    /// With a status that is not 0.
    Exit,
}

impl Expected {
    fn parse(text: &str) -> Result<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match word {
            "ok" => Self::Works,
            "ends" => Self::Ends,
            "limit" => Self::Limit(rest.into()),
            "trap" => Self::Trap(rest.into()),
            "rejected" => Self::Rejected(rest.into()),
            "abi" => Self::Abi(rest.into()),
            "failed" => Self::Failed,
            "panic" => Self::Panic,
            "bad" => Self::BadResult,
            "missing" => Self::Missing,
            "exit" => Self::Exit,
            _ => bail!("nothing is known of the outcome {text:?}"),
        })
    }

    /// Whether it ended so.
    pub fn is(&self, outcome: Result<(), &Cause>) -> bool {
        match (self, outcome) {
            (Self::Ends, _) | (Self::Works, Ok(())) => true,
            (Self::Limit(expected), Err(Cause::Limit { limit, .. })) => expected == limit,
            (Self::Trap(expected), Err(Cause::Trap { kind, .. })) => expected == kind,
            (Self::Rejected(words), Err(Cause::Rejected { reason })) => reason.contains(words),
            (Self::Abi(words), Err(Cause::GuestAbi { message })) => message.contains(words),
            (Self::Failed, Err(Cause::Failed { .. }))
            | (Self::Panic, Err(Cause::Panic { .. }))
            | (Self::BadResult, Err(Cause::BadResult { .. }))
            | (Self::Exit, Err(Cause::Exit { .. }))
            | (Self::Missing, Err(Cause::MissingTask { .. })) => true,
            _ => false,
        }
    }
}

/// All hostile guests, in the order of their names.
///
/// # Errors
/// What is wrong with one of the files.
pub fn all() -> Result<Vec<Hostile>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile");
    let files = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
    let mut files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    let read = |path: &PathBuf| read(path).with_context(|| path.display().to_string());
    files.iter().map(read).collect()
}

fn read(path: &Path) -> Result<Hostile> {
    let text = std::fs::read_to_string(path)?;
    let is_program = path.extension().is_some_and(|extension| extension == "rs");
    let comment = if is_program { "// " } else { ";; " };
    let said = |what: &str| {
        let mut lines = text.lines().map_while(|line| line.strip_prefix(comment));
        lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(": "))
    };
    said("trick").context("it does not say what its trick is")?;
    let expected = Expected::parse(said("expect").context("it does not say what to expect")?)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let module = match is_program {
        // The build script has compiled it.
        true => {
            let wasm = Path::new(env!("OUT_DIR")).join(&name).with_extension("wasm");
            Module::new(std::fs::read(wasm)?)
        }
        false => crate::wasm::module(&repeated(&text)?)?,
    };
    let limits = limits(said("with").unwrap_or_default())?;
    Ok(Hostile { name, module, is_program, expected, limits })
}

fn limits(text: &str) -> Result<TaskLimits> {
    let mut limits = TaskLimits::new();
    for one in text.split(", ").filter(|one| !one.is_empty()) {
        let (name, value) = one.split_once('=').context("a limit is NAME=NUMBER")?;
        let value = value.parse()?;
        limits = match name {
            "memory" => limits.memory(value),
            "table" => limits.table(value),
            "time" => limits.time(Duration::from_millis(value)),
            "host-calls" => limits.host_calls(value),
            "result" => limits.result(value),
            "log" => limits.log(value),
            _ => bail!("there is no limit named {name}"),
        };
    }
    Ok(limits)
}

/// The text with what has to be there many times.
fn repeated(text: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (inner, after) = behind.split_once("}}").context("a `{{` is not closed")?;
        let (times, what) = inner.split_once(' ').context("a `{{` has no text")?;
        out += before;
        for number in 0..times.parse::<u32>()? {
            out += &what.replace('#', &number.to_string());
        }
        rest = after;
    }
    Ok(out + rest)
}
