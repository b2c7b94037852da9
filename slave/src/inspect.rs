//! What a module is, and what is wrong with it, for its author.
//!
//! Owns: looking at a module as a slave would, and trying it, without a link. Does not: decide
//! what is refused; it asks the parts that do, and puts what they say into words. Invariant:
//! whatever the bytes are, there is a [`Report`], in bounded time.

mod exports;
mod imports;
mod residents;
mod scan;
mod section;
mod trial;
mod wants;

#[cfg(test)]
mod tests;

use crate::limits::Limits;
use crate::local::Alone;
use crate::module::facts::{Facts, Kind};
use crate::module::warm::{Warmed, warm};
use crate::sandbox;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ModuleHash;
use dpfw_protocol::image::INIT_PREFIX;
use dpfw_protocol::program::START;
use dpfw_protocol::signature::{EXPORT_PREFIX, TaskTable};
pub use residents::{Method, Resident};
use scan::{Item, PAGE, Scan};
use serde::Serialize;
pub use wants::{Export, Want};
use wasmtime::Module;

/// All that can be told of a module.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name by which masters and slaves know it, in full.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
    /// What it is; nothing if it is no module.
    pub kind: Option<Kind>,
    /// What can be called, in the order of the names.
    pub functions: Vec<Function>,
    /// What images are made by, in the order of the names.
    pub inits: Vec<Function>,
    /// The classes of its residents, in the order of the names.
    pub residents: Vec<Resident>,
    /// What it imports, in its own order.
    pub imports: Vec<Import>,
    /// All that it exports, in its own order.
    pub exports: Vec<Export>,
    /// What it would use of what an operator may grant.
    pub wants: Vec<Want>,
    /// What it needs of what is limited.
    pub needs: Vec<Need>,
    /// What its first memory may grow to by itself, in bytes; nothing if it names no maximum.
    pub memory_maximum: Option<u64>,
    /// Whether its functions have names, for backtraces.
    pub has_names: bool,
    /// Whether its functions have files and lines, for backtraces.
    pub has_lines: bool,
    /// What became of warming it.
    pub warming: Warming,
    /// What is wrong with it. Without [`Depth::Check`] it was not tried.
    pub problems: Vec<Problem>,
    /// What could be better.
    pub notes: Vec<Problem>,
}

/// A task, or an exported function of a plain module.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Function {
    /// Without the prefix of a task's export.
    pub name: String,
    /// As its module describes it, or the function's type.
    pub signature: String,
    /// Whether its module describes it.
    pub described: bool,
    /// Never tried again once it may have run.
    pub once: bool,
    /// May be tried twice at once.
    pub effect_free: bool,
    /// The init of the image that it runs on, if it needs one.
    pub image: Option<String>,
}

/// Something that a module imports.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Import {
    /// From where.
    pub module: String,
    /// What.
    pub name: String,
    /// As what: a function with its type, a memory, a table.
    pub what: String,
    /// Whether a slave grants it.
    pub granted: bool,
}

/// What a module needs of something that a slave limits.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Need {
    /// The limit's name.
    pub limit: &'static str,
    /// What the module needs when it is loaded.
    pub needed: u64,
    /// What is allowed.
    pub allowed: u64,
    /// Of what.
    pub unit: &'static str,
}

impl Need {
    /// Whether the slave would refuse it.
    pub fn is_exceeded(&self) -> bool {
        self.needed > self.allowed
    }
}

/// What became of warming a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warming {
    /// It was not tried: the module is refused before, or is a program.
    NotTried,
    /// There is nothing to run ahead.
    Nothing,
    /// It was warmed.
    Warmed,
    /// It cannot be warmed, and why: its start runs before each call.
    Cold(String),
    /// Its start fails, and how: it is refused.
    Failed(String),
}

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong, with the names concerned.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// How far an inspection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Reads the module, and warms it if it is a task module or a plain one.
    Look,
    /// Loads it as well, asks it for room, and calls its tasks with what is no arguments.
    Check,
}

/// Inspects a module. All problems are told at once, as far as one does not hide another.
///
/// ```
/// use dpfw_slave::{Depth, Limits, inspect};
///
/// let report = inspect(b"\x7fELF", &Limits::default(), Depth::Look);
/// assert!(report.problems[0].what.starts_with("it is not WebAssembly"));
/// ```
pub fn inspect(wasm: &[u8], limits: &Limits, depth: Depth) -> Report {
    let mut report = Report {
        hash: ModuleHash::of(wasm).to_hex(),
        bytes: wasm.len() as u64,
        kind: None,
        functions: Vec::new(),
        inits: Vec::new(),
        residents: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        wants: Vec::new(),
        needs: Vec::new(),
        memory_maximum: None,
        has_names: false,
        has_lines: false,
        warming: Warming::NotTried,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    match (scanned(wasm), Alone::new(*limits)) {
        (Ok(scan), Ok(alone)) => report.fill(wasm, &scan, &alone, limits, depth),
        (Err(problem), _) => report.problems.push(problem),
        (Ok(_), Err(cause)) => report.problems.push(Problem::new(
            format!("it cannot be tried: {cause}"),
            "this says nothing of the module; try it on another machine",
        )),
    }
    report
}

/// The module's sections, if it is one.
fn scanned(wasm: &[u8]) -> Result<Scan, Problem> {
    if !dpfw_protocol::module::looks_like_wasm(wasm) {
        let component = wasm.starts_with(b"\0asm\x0d\0\x01\0");
        let remedy = match component {
            true => {
                "compile for wasm32-wasip1 or wasm32-unknown-unknown: targets for preview 2 make \
                 components"
            }
            false => "give a module in the binary format (.wasm), or its text (.wat)",
        };
        return Err(Problem::new(crate::module::facts::not_wasm(wasm), remedy));
    }
    let damaged = "build it again: it is damaged, cut off, or of a later version of WebAssembly";
    Scan::of(wasm).map_err(|e| Problem::new(format!("it is not valid wasm: {e}"), damaged))
}

impl Report {
    fn fill(&mut self, wasm: &[u8], scan: &Scan, alone: &Alone, limits: &Limits, depth: Depth) {
        let kind = Kind::of(scan.exported_functions());
        let table = TaskTable::parse(scan.description.as_deref().unwrap_or_default());
        let table = table.unwrap_or_default();
        self.kind = Some(kind);
        self.functions = functions(kind, scan, &table);
        self.inits = inits(scan, &table);
        self.residents = residents::of(scan, &table);
        self.imports = scan
            .imports
            .iter()
            .map(|(module, name, what)| Import {
                module: module.clone(),
                name: name.clone(),
                what: what.to_string(),
                granted: *what != Item::Memory && sandbox::imports::is_granted(kind, module, name),
            })
            .collect();
        (self.exports, self.wants) = (wants::exports(scan), wants::of(scan));
        self.needs = needs(wasm, scan, limits);
        self.memory_maximum =
            scan.memories.first().and_then(|m| m.maximum).map(|p| p.saturating_mul(PAGE));
        (self.has_names, self.has_lines) = (scan.has_names, scan.has_lines);
        self.judge(wasm, scan, kind, alone);
        if self.problems.is_empty() && kind != Kind::Program {
            self.warm(wasm, alone, limits);
        }
        if self.problems.is_empty() && depth == Depth::Check {
            self.problems.extend(trial::of(wasm, *limits, kind));
        }
        self.advise(kind, scan);
    }

    /// What can be said without running anything.
    fn judge(&mut self, wasm: &[u8], scan: &Scan, kind: Kind, alone: &Alone) {
        match alone.engines.pooled().map(|engine| Module::validate(&engine, wasm)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.problems.push(Problem::new(
                format!("it does not validate: {error:#}"),
                "build it without the feature that is named, or mend the code at that offset",
            )),
            Err(cause) => self.problems.push(Problem::new(cause.to_string(), "see above")),
        }
        let exceeded = self.needs.iter().filter(|need| need.is_exceeded()).map(over);
        self.problems.extend(exceeded);
        self.problems.extend(exports::problems(kind, scan));
        self.problems.extend(imports::problems(kind, scan, alone));
        self.problems.extend(section::problems(kind, scan));
    }

    fn warm(&mut self, wasm: &[u8], alone: &Alone, limits: &Limits) {
        let warmed = Facts::of(wasm, limits)
            .and_then(|facts| warm(&alone.engines, wasm, facts.first(), limits));
        self.warming = match warmed {
            Ok(Warmed::Snapshot(_)) => Warming::Warmed,
            Ok(Warmed::Nothing) => Warming::Nothing,
            Ok(Warmed::Not(why)) => Warming::Cold(why),
            Err(cause) => {
                let why = match cause {
                    Cause::Rejected { reason } => reason,
                    cause => format!("its start: {cause}"),
                };
                self.problems.push(Problem::new(
                    why.clone(),
                    "see to it that start function, `_initialize` and `dpfw_warm` return, in \
                     time and within the limits: they run when the module is loaded",
                ));
                Warming::Failed(why)
            }
        };
    }

    fn advise(&mut self, kind: Kind, scan: &Scan) {
        if let Warming::Cold(why) = &self.warming {
            self.notes.push(Problem::new(
                format!("it cannot be warmed: {why}"),
                "its start runs before each call; keep clocks, randomness and output out of it",
            ));
        }
        if kind == Kind::Task && scan.description.is_none() {
            self.notes.push(Problem::new(
                "it does not describe its tasks: there is no section `dpfw.tasks`",
                "arguments are checked by the tasks alone; docs/abi.md says what is lost",
            ));
        }
    }
}

fn functions(kind: Kind, scan: &Scan, table: &TaskTable) -> Vec<Function> {
    let prefix = if kind == Kind::Task { EXPORT_PREFIX } else { "" };
    let one = |(name, item): &(String, Item)| {
        let (Item::Function(ty), Some(name)) = (item, name.strip_prefix(prefix)) else {
            return None;
        };
        if kind == Kind::Program && name != START {
            return None;
        }
        let record = table.task(name).filter(|_| kind == Kind::Task);
        let signature = match kind {
            Kind::Task => record.map_or_else(|| name.to_owned(), |record| record.line()),
            Kind::Plain | Kind::Program => format!("{name}{ty}"),
        };
        Some(Function {
            name: name.to_owned(),
            signature,
            described: record.is_some(),
            once: record.is_some_and(|record| record.once),
            effect_free: record.is_some_and(|record| record.effect_free),
            image: record.and_then(|record| record.needs()).map(str::to_owned),
        })
    };
    let mut all: Vec<_> = scan.exports.iter().filter_map(one).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn inits(scan: &Scan, table: &TaskTable) -> Vec<Function> {
    let names = scan.exported_functions().filter_map(|name| name.strip_prefix(INIT_PREFIX));
    let one = |name: &str| {
        let record = table.init(name);
        Function {
            name: name.to_owned(),
            signature: record.map_or_else(|| name.to_owned(), |record| record.line()),
            described: record.is_some(),
            once: false,
            effect_free: false,
            image: None,
        }
    };
    let mut all: Vec<_> = names.map(one).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn needs(wasm: &[u8], scan: &Scan, limits: &Limits) -> Vec<Need> {
    let need = |limit, needed, allowed, unit| Need { limit, needed, allowed, unit };
    vec![
        need("module size", wasm.len() as u64, limits.module, "bytes"),
        need("memory", scan.memory(), limits.memory, "bytes"),
        need("table", scan.table_elements, limits.table as u64, "elements"),
        need("functions", scan.functions, limits.functions.into(), "functions"),
        need("data segments", scan.data, limits.data, "bytes"),
    ]
}

fn over(need: &Need) -> Problem {
    let Need { limit, needed, allowed, unit } = need;
    Problem::new(
        format!("it needs {needed} {unit} where the limit on {limit} allows {allowed}"),
        "make it smaller, or raise the limit on the slaves (`dpfw slave --help` lists them)",
    )
}
