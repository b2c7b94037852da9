//! What a module is, found out without compiling it.

use crate::engine::fits_pool;
use crate::limits::Limits;
use crate::module::globals::Globals;
use crate::module::warm::First;
use crate::sandbox::imports::{ABI, WAITING_NAMES};
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::image::INIT_PREFIX;
use dpfw_protocol::program::START;
use dpfw_protocol::resident::RESIDENT_PREFIX;
use dpfw_protocol::signature::{EXPORT_PREFIX, SECTION, TaskTable};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use wasmparser::{ExternalKind, Operator, Parser, Payload, TypeRef};

/// How a module's functions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To the guest ABI: arguments and results are bytes.
    Task,
    /// An exported function on numbers, no imports.
    Plain,
    /// A WASI command with `_start`.
    Program,
}

impl Kind {
    /// Told by the names of the functions that a module exports.
    pub(crate) fn of<'a>(functions: impl Iterator<Item = &'a str> + Clone) -> Self {
        let has = |name| functions.clone().any(|function| function == name);
        let prefixes = [EXPORT_PREFIX, INIT_PREFIX, RESIDENT_PREFIX];
        let is_called = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let has_task = functions.clone().any(is_called);
        match () {
            () if has_task || has("dpfw_alloc") => Self::Task,
            () if has(START) => Self::Program,
            () => Self::Plain,
        }
    }
}

/// What was found in a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How it is called.
    pub kind: Kind,
    /// Its tasks (without the prefix), or a plain module's functions; sorted.
    pub functions: Vec<String>,
    /// Its inits, without the prefix; sorted.
    #[serde(default)]
    pub inits: Vec<String>,
    /// The constructors and methods of its residents, without the prefix; sorted. What was kept
    /// before there were any does not say, and is found out again.
    pub residents: Vec<String>,
    /// What it imports.
    pub imports: Vec<(String, String)>,
    /// Bytes that its memories begin with.
    pub memory: u64,
    /// Whether it fits the pools of the slots.
    pub pooled: bool,
    /// Whether it may wait without a slot: programs may, and tasks whose module imports a call
    /// that waits.
    pub waits: bool,
    /// Whether something has to run before its tasks can: `_initialize` or a start function.
    pub initialize: bool,
    /// Whether it has a warm-up of its own.
    pub warm: bool,
    /// How many globals are to be put back for a sandbox to begin anew; `None` if a guest can
    /// change more than those and its memory. What was kept before does not say, and is found out
    /// again.
    pub resets: Option<u32>,
    /// The section that describes its tasks, as it stands there.
    pub section: String,
    #[serde(skip)]
    table: Parsed,
    /// The tasks that run on images, each with the init of its image.
    #[serde(default)]
    pub needs: Vec<(String, String)>,
}

impl Facts {
    /// Looks at a module's sections and holds them against the limits.
    ///
    /// # Errors
    /// [`Cause::Rejected`] if it is no module; [`Cause::Limit`] if it asks for too much.
    pub fn of(wasm: &[u8], limits: &Limits) -> Result<Self, Cause> {
        if wasm.len() as u64 > limits.module {
            return Err(Cause::Limit { limit: Limit::Module, allowed: limits.module });
        }
        if !dpfw_protocol::module::looks_like_wasm(wasm) {
            return Err(rejected(not_wasm(wasm)));
        }
        let mut seen = Seen::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|e| rejected(format!("it is not valid wasm: {e}")))?;
            seen.look(&payload, limits).map_err(|found| match found {
                Found::Invalid(e) => rejected(format!("it is not valid wasm: {e}")),
                Found::Limit(cause) => cause,
            })?;
        }
        seen.into_facts(wasm, limits)
    }

    /// The init of the image that a task runs on, if it needs one.
    pub(crate) fn needs(&self, task: &str) -> Option<&str> {
        // Few tasks need one.
        let (_, init) = self.needs.iter().find(|(name, _)| name == task)?;
        Some(init)
    }

    /// What of it runs before its tasks.
    pub(crate) fn first(&self) -> First {
        First { initialize: self.initialize, warm: self.warm }
    }

    /// The tasks that the module describes.
    pub fn table(&self) -> &TaskTable {
        // Once for all who declare one of them. It was parsed already, when the facts were found.
        self.table
            .0
            .get_or_init(|| Box::new(TaskTable::parse(self.section.as_bytes()).unwrap_or_default()))
    }
}

/// What the section says, when somebody has asked.
#[derive(Clone, Debug, Default)]
struct Parsed(OnceLock<Box<TaskTable>>);

impl PartialEq for Parsed {
    /// It follows from the section.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Parsed {}

fn rejected(reason: String) -> Cause {
    Cause::Rejected { reason }
}

/// Says what bytes are instead of a module.
pub(crate) fn not_wasm(bytes: &[u8]) -> String {
    if bytes.starts_with(b"\0asm") {
        return "it is a WebAssembly component or of another version; core modules are run".into();
    }
    let head = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    match bytes.is_empty() {
        true => "it is not WebAssembly: it is empty".into(),
        false => format!("it is not WebAssembly: it begins with {head}, not with 00 61 73 6d"),
    }
}

#[derive(Default)]
struct Seen {
    imports: Vec<(String, String)>,
    exports: Vec<(String, ExternalKind)>,
    /// Bytes of the names of both.
    names: u64,
    /// Bytes of the sections that describe its tasks.
    section: u64,
    memories: u32,
    memory: u64,
    tables: u32,
    table_elements: u64,
    data: u64,
    start: bool,
    globals: Globals,
    /// Whether it can change a table, or drop a segment.
    shifts: bool,
}

enum Found {
    Invalid(wasmparser::BinaryReaderError),
    Limit(Cause),
}

impl From<wasmparser::BinaryReaderError> for Found {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid(error)
    }
}

impl Seen {
    fn look(&mut self, payload: &Payload<'_>, limits: &Limits) -> Result<(), Found> {
        let over = |limit, allowed| Err(Found::Limit(Cause::Limit { limit, allowed }));
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import?;
                    if self.imports.len() >= limits.imports as usize {
                        return over(Limit::Imports, u64::from(limits.imports));
                    }
                    self.add_names([import.module, import.name], limits)?;
                    if let TypeRef::Memory(memory) = import.ty {
                        self.add_memory(memory.initial);
                    }
                    self.imports.push((import.module.into(), import.name.into()));
                }
            }
            Payload::FunctionSection(functions) if functions.count() > limits.functions => {
                return over(Limit::Functions, u64::from(limits.functions));
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    self.tables += 1;
                    self.table_elements = self.table_elements.saturating_add(table?.ty.initial);
                }
                if self.table_elements > limits.table as u64 {
                    return over(Limit::Table, limits.table as u64);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.memories += 1;
                    self.add_memory(memory?.initial);
                }
            }
            Payload::ExportSection(exports) if exports.count() > limits.exports => {
                return over(Limit::Exports, u64::from(limits.exports));
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    self.add_names([export.name], limits)?;
                    self.exports.push((export.name.into(), export.kind));
                }
            }
            // Passive segments cost the same as those that are copied at the start.
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    self.data = self.data.saturating_add(segment?.data.len() as u64);
                }
                if self.data > limits.data {
                    return over(Limit::Data, limits.data);
                }
            }
            Payload::CodeSectionEntry(body)
                if body.range().end - body.range().start > limits.function_size =>
            {
                return over(Limit::FunctionSize, limits.function_size);
            }
            Payload::CodeSectionEntry(body) => {
                let mut locals = 0u64;
                for group in body.get_locals_reader()? {
                    locals += u64::from(group?.0);
                }
                if locals > u64::from(limits.locals) {
                    return over(Limit::Locals, u64::from(limits.locals));
                }
                self.shifts = self.shifts || shifts(body)?;
            }
            Payload::CustomSection(custom) if custom.name() == SECTION => {
                self.section = self.section.saturating_add(custom.data().len() as u64);
                if self.section > limits.section {
                    return over(Limit::Section, limits.section);
                }
            }
            Payload::StartSection { .. } => self.start = true,
            _ => {}
        }
        // Behind the limits: it notes some of what it sees.
        self.globals.look(payload)?;
        match self.memory > limits.memory {
            true => over(Limit::Memory, limits.memory),
            false => Ok(()),
        }
    }

    /// Counts names before they are kept: what is found out of a module is found out in the slave's
    /// own process, wherever it is compiled.
    fn add_names<const N: usize>(
        &mut self,
        names: [&str; N],
        limits: &Limits,
    ) -> Result<(), Found> {
        self.names += names.iter().map(|name| name.len() as u64).sum::<u64>();
        match self.names > limits.names {
            true => Err(Found::Limit(Cause::Limit { limit: Limit::Names, allowed: limits.names })),
            false => Ok(()),
        }
    }

    /// The limit is on all memories together, wherever they come from.
    fn add_memory(&mut self, pages: u64) {
        self.memory = self.memory.saturating_add(pages.saturating_mul(PAGE));
    }

    /// The functions that are exported behind a prefix, without it; sorted.
    fn behind(&self, prefix: &str) -> Vec<String> {
        let functions = self.exports.iter().filter(|(_, kind)| *kind == ExternalKind::Func);
        let names = functions.filter_map(|(name, _)| name.strip_prefix(prefix));
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    fn into_facts(self, wasm: &[u8], limits: &Limits) -> Result<Facts, Cause> {
        let function = |name: &str| {
            self.exports.iter().any(|(n, kind)| n == name && *kind == ExternalKind::Func)
        };
        let all = self.exports.iter().filter(|(_, kind)| *kind == ExternalKind::Func);
        let names = all.map(|(name, _)| name.as_str());
        let kind = Kind::of(names.clone());
        let mut functions: Vec<_> = match kind {
            Kind::Task => self.behind(EXPORT_PREFIX),
            Kind::Plain => names.map(str::to_owned).collect(),
            Kind::Program => vec![START.to_owned()],
        };
        functions.sort_unstable();
        let (inits, residents) = (self.behind(INIT_PREFIX), self.behind(RESIDENT_PREFIX));
        let table = dpfw_protocol::module::task_table(wasm);
        let table = table.map_err(|e| rejected(e.to_string()))?;
        let needs = table
            .tasks()
            .filter_map(|task| task.needs().map(|init| (task.name.clone(), init.to_owned())));
        let needs = needs.collect();
        let section = dpfw_protocol::module::custom_sections(wasm)
            .filter(|(name, _)| *name == SECTION)
            .map(|(_, data)| String::from_utf8_lossy(data).into_owned() + "\n")
            .collect();
        let waits = |(module, name): &(String, String)| {
            module == ABI && WAITING_NAMES.contains(&name.as_str())
        };
        Ok(Facts {
            kind,
            waits: kind == Kind::Program || self.imports.iter().any(waits),
            functions,
            memory: self.memory,
            pooled: fits_pool(self.memories, self.tables, self.table_elements, limits),
            // Programs never run ahead of their attempts.
            initialize: kind != Kind::Program && (function("_initialize") || self.start),
            warm: kind != Kind::Program && function("dpfw_warm"),
            // What runs at a start is done once in a sandbox.
            resets: self
                .globals
                .count()
                .filter(|_| !self.shifts && !self.start && self.memories <= 1),
            imports: self.imports,
            inits,
            residents,
            section,
            table: Parsed::default(),
            needs,
        })
    }
}

/// Whether a function changes a table, or drops a segment.
fn shifts(body: &wasmparser::FunctionBody<'_>) -> wasmparser::Result<bool> {
    for operator in body.get_operators_reader()? {
        if matches!(
            operator?,
            Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. }
                | Operator::ElemDrop { .. }
                | Operator::DataDrop { .. }
        ) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bytes of a page of memory.
const PAGE: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Result<Facts, Cause> {
        Facts::of(&wat::parse_str(text).expect("well formed"), &Limits::default())
    }

    #[test]
    fn the_kinds_are_told_apart() {
        let kind = |text| facts(text).expect("valid").kind;
        assert_eq!(kind("(module (func (export \"add\")))"), Kind::Plain);
        assert_eq!(kind("(module (func (export \"_start\")))"), Kind::Program);
        assert_eq!(kind("(module (func (export \"dpfw:add\")))"), Kind::Task);
        assert_eq!(kind("(module (func (export \"dpfw-resident:c.new\")))"), Kind::Task);
        assert_eq!(kind("(module (func (export \"dpfw-init:build\")))"), Kind::Task);
    }

    #[test]
    fn what_is_behind_each_prefix_is_told_in_order() {
        let exports =
            ["dpfw-resident:c.new", "dpfw:b", "dpfw-init:i", "dpfw-resident:c.bump", "dpfw:a"];
        let text: String =
            exports.iter().map(|name| format!("(func (export \"{name}\"))")).collect();
        let facts = facts(&format!("(module {text} (memory (export \"dpfw-resident:c.no\") 1))"));
        let facts = facts.expect("valid");
        assert_eq!(facts.functions, ["a", "b"]);
        assert_eq!(facts.inits, ["i"]);
        assert_eq!(facts.residents, ["c.bump", "c.new"]);
    }

    #[test]
    fn what_is_not_wasm_is_told_what_it_is() {
        let error = Facts::of(b"\x7fELF\x02", &Limits::default()).expect_err("an ELF file");
        assert_eq!(
            error.to_string(),
            "the module was rejected: it is not WebAssembly: it begins with 7f 45 4c 46, \
             not with 00 61 73 6d"
        );
        let error = Facts::of(b"\0asm\x0d\0\x01\0", &Limits::default()).expect_err("a component");
        assert!(error.to_string().contains("component"), "{error}");
        assert!(Facts::of(b"\0asm\x01\0\0\0\x07", &Limits::default()).is_err());
    }

    #[test]
    fn what_asks_for_too_much_is_named() {
        let error = facts("(module (memory 65536))").expect_err("4 GiB");
        assert!(matches!(error, Cause::Limit { limit: Limit::Memory, .. }), "{error}");
        let error = facts("(module (table 1000000 funcref))").expect_err("a huge table");
        assert!(matches!(error, Cause::Limit { limit: Limit::Table, .. }), "{error}");
        let error = facts("(module (table 15000 funcref) (table 15000 funcref))").expect_err("two");
        assert!(matches!(error, Cause::Limit { limit: Limit::Table, .. }), "{error}");
        let few = Limits { functions: 1, ..Limits::default() };
        let wasm = wat::parse_str("(module (func) (func))").expect("well formed");
        let error = Facts::of(&wasm, &few).expect_err("two functions");
        assert!(matches!(error, Cause::Limit { limit: Limit::Functions, .. }), "{error}");
    }

    /// A module of one section: its number, how many there are in it, and all of them.
    fn of_many(section: u8, count: u32, each: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
        let leb = |mut n: u32| {
            let mut out = Vec::new();
            while n >= 0x80 {
                out.push(n as u8 | 0x80);
                n >>= 7;
            }
            out.push(n as u8);
            out
        };
        let content: Vec<u8> = leb(count).into_iter().chain((0..count).flat_map(each)).collect();
        let len = leb(content.len() as u32);
        [b"\0asm\x01\0\0\0", &[section][..], &len, &content].concat()
    }

    #[test]
    fn f36_imports_and_exports_are_counted_before_they_are_kept() {
        // Without names, of a table each: no more than four bytes an import.
        let imports = |count| of_many(2, count, |_| vec![0, 0, 1, 0x70, 0, 0]);
        let exports = |count| of_many(7, count, |_| vec![0, 2, 0]);
        let d = Limits::default();
        let over = |limit, allowed| Err(Cause::Limit { limit, allowed });
        assert!(Facts::of(&imports(d.imports), &d).is_ok());
        let found = Facts::of(&imports(d.imports + 1), &d);
        assert_eq!(found, over(Limit::Imports, u64::from(d.imports)));
        assert!(Facts::of(&exports(d.exports), &d).is_ok());
        let found = Facts::of(&exports(d.exports + 1), &d);
        assert_eq!(found, over(Limit::Exports, u64::from(d.exports)));
        // Their names are counted together, those that would be put back among them.
        let named = of_many(7, 100, |n| [&[13][..], b"dpfw.global.", &[n as u8, 3, 0]].concat());
        assert!(Facts::of(&named, &Limits { names: 1300, ..d }).is_ok());
        let found = Facts::of(&named, &Limits { names: 1299, ..d });
        assert_eq!(found, over(Limit::Names, 1299));
    }

    #[test]
    fn what_describes_the_tasks_is_bounded_and_parsed_once() {
        let section = br#"{"task":{"name":"a"}}"#;
        let content = [&[SECTION.len() as u8][..], SECTION.as_bytes(), section].concat();
        let custom = [&[0, content.len() as u8][..], &content].concat();
        let wasm = [b"\0asm\x01\0\0\0", &custom[..], &custom[..2], &content[..11], b" "].concat();
        let wasm = [&wasm[..], &[b' '; 20]].concat();
        let of = |most| Facts::of(&wasm, &Limits { section: most, ..Limits::default() });
        let facts = of(42).expect("two sections of 21 bytes");
        assert!(std::ptr::eq(facts.table(), facts.table()));
        assert!(facts.table().task("a").is_some());
        assert_eq!(of(41), Err(Cause::Limit { limit: Limit::Section, allowed: 41 }));
    }

    #[test]
    fn f36_a_function_with_too_many_locals_is_refused() {
        let of = |locals: usize| {
            let text = format!("(module (func (local {} i64)))", "i32 ".repeat(locals - 1));
            let limits = Limits { locals: 100, ..Limits::default() };
            Facts::of(&wat::parse_str(text).expect("well formed"), &limits)
        };
        assert!(of(100).is_ok());
        assert_eq!(of(101), Err(Cause::Limit { limit: Limit::Locals, allowed: 100 }));
    }

    #[test]
    fn data_segments_are_counted_together_passive_ones_too() {
        let of = |allowed| {
            let text = r#"(module (memory 1) (data (i32.const 0) "12345") (data "67890"))"#;
            let limits = Limits { data: allowed, ..Limits::default() };
            Facts::of(&wat::parse_str(text).expect("well formed"), &limits)
        };
        assert!(of(10).is_ok());
        assert_eq!(of(9), Err(Cause::Limit { limit: Limit::Data, allowed: 9 }));
    }
}
