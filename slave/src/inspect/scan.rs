//! All that a module's sections say, without a judgement.
//!
//! Invariant: what is read is bounded by the module's bytes; nothing is allocated for a
//! number that only stands in it.

use dpfw_protocol::signature::SECTION;
use wasmparser::{
    BinaryReaderError, ExternalKind, FuncType, MemoryType, Parser, Payload, TypeRef, ValType,
};

/// Something that is imported or exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A function, its type as text: `(i32, i32) -> i64`.
    Function(String),
    /// A memory.
    Memory,
    /// A table, a global, a tag.
    Other(&'static str),
}

impl std::fmt::Display for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Function(ty) => write!(f, "a function {ty}"),
            Self::Memory => f.write_str("a memory"),
            Self::Other(what) => write!(f, "a {what}"),
        }
    }
}

/// A module's sections, read.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Module, name, what.
    pub(super) imports: Vec<(String, String, Item)>,
    pub(super) exports: Vec<(String, Item)>,
    /// All of them, the imported ones first.
    pub(super) memories: Vec<MemoryType>,
    pub(super) tables: u64,
    pub(super) table_elements: u64,
    /// Functions that it defines.
    pub(super) functions: u64,
    /// Bytes of its data segments.
    pub(super) data: u64,
    /// Whether a function runs when it is instantiated.
    pub(super) start: bool,
    /// Whether functions have names, and lines.
    pub(super) has_names: bool,
    pub(super) has_lines: bool,
    /// The lines that describe tasks; `None` if there is no such section.
    pub(super) description: Option<Vec<u8>>,
    types: Vec<String>,
    function_types: Vec<u32>,
}

impl Scan {
    /// Reads all sections.
    ///
    /// # Errors
    /// What is not well formed, and where.
    pub(super) fn of(wasm: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut scan = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            scan.read(&payload?)?;
        }
        Ok(scan)
    }

    fn read(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(types) => {
                for ty in types.clone().into_iter_err_on_gc_types() {
                    self.types.push(line(&ty?));
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import?;
                    let item = self.imported(&import.ty);
                    self.imports.push((import.module.into(), import.name.into(), item));
                }
            }
            Payload::FunctionSection(functions) => {
                self.functions = functions.count().into();
                for ty in functions.clone() {
                    self.function_types.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    self.add_table(table?.ty.initial);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    self.memories.push(memory?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    let item = self.exported(export.kind, export.index);
                    self.exports.push((export.name.into(), item));
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    self.data = self.data.saturating_add(segment?.data.len() as u64);
                }
            }
            Payload::StartSection { .. } => self.start = true,
            Payload::CustomSection(section) => match section.name() {
                SECTION => {
                    let description = self.description.get_or_insert_default();
                    description.extend_from_slice(section.data());
                    description.push(b'\n');
                }
                "name" => self.has_names = true,
                ".debug_line" => self.has_lines = true,
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn imported(&mut self, ty: &TypeRef) -> Item {
        match ty {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.function_types.push(*index);
                self.function(self.function_types.len() - 1)
            }
            TypeRef::Memory(memory) => {
                self.memories.push(*memory);
                Item::Memory
            }
            TypeRef::Table(table) => {
                self.add_table(table.initial);
                Item::Other("table")
            }
            TypeRef::Global(_) => Item::Other("global"),
            TypeRef::Tag(_) => Item::Other("tag"),
        }
    }

    fn exported(&self, kind: ExternalKind, index: u32) -> Item {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => self.function(index as usize),
            ExternalKind::Memory => Item::Memory,
            ExternalKind::Table => Item::Other("table"),
            ExternalKind::Global => Item::Other("global"),
            ExternalKind::Tag => Item::Other("tag"),
        }
    }

    /// The type of a function; an index that is none is found by whoever validates.
    fn function(&self, index: usize) -> Item {
        let ty = self.function_types.get(index).and_then(|ty| self.types.get(*ty as usize));
        Item::Function(ty.cloned().unwrap_or_default())
    }

    fn add_table(&mut self, elements: u64) {
        self.tables += 1;
        self.table_elements = self.table_elements.saturating_add(elements);
    }

    /// What is exported under a name.
    pub(super) fn export(&self, name: &str) -> Option<&Item> {
        self.exports.iter().find(|(known, _)| known == name).map(|(_, item)| item)
    }

    /// The functions that are exported.
    pub(super) fn exported_functions(&self) -> impl Iterator<Item = &str> + Clone {
        let is_function = |item: &Item| matches!(item, Item::Function(_));
        self.exports.iter().filter(move |(_, item)| is_function(item)).map(|(n, _)| n.as_str())
    }

    /// Bytes that the memories begin with.
    pub(super) fn memory(&self) -> u64 {
        let bytes = |memory: &MemoryType| memory.initial.saturating_mul(PAGE);
        self.memories.iter().map(bytes).fold(0, u64::saturating_add)
    }
}

/// Bytes of a page of memory.
pub(super) const PAGE: u64 = 65_536;

/// A type for people, as [`crate::sandbox::plain::line`] writes it.
fn line(ty: &FuncType) -> String {
    let list =
        |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (takes, gives) = (list(ty.params()), list(ty.results()));
    match ty.results().len() {
        0 => format!("({takes})"),
        1 => format!("({takes}) -> {gives}"),
        _ => format!("({takes}) -> ({gives})"),
    }
}
