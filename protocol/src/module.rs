//! Modules as values: bytes with the hash that names them.
//!
//! A master needs no wasm runtime to read what a module says of its tasks: custom
//! sections are found by walking the section headers, nothing else is looked at.

use crate::ids::ModuleHash;
use crate::signature::{SECTION, TableError, TaskTable};
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A WebAssembly module. Cloning shares it.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    hash: ModuleHash,
    bytes: Option<Bytes>,
    table: OnceLock<Result<TaskTable, TableError>>,
}

impl Module {
    /// A module of these bytes. Whether they are a module is found out by the slave that
    /// first runs it; [`looks_like_wasm`] tells the obvious.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::with(ModuleHash::of(&bytes), Some(bytes))
    }

    /// A module of which only the name is known. It runs where it has been before.
    pub fn known(hash: ModuleHash) -> Self {
        Self::with(hash, None)
    }

    fn with(hash: ModuleHash, bytes: Option<Bytes>) -> Self {
        Self(Arc::new(Inner { hash, bytes, table: OnceLock::new() }))
    }

    /// Its name.
    pub fn hash(&self) -> ModuleHash {
        self.0.hash
    }

    /// Its bytes, unless only the name is known.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.0.bytes.as_ref()
    }

    /// What it says of its tasks; nothing if it has no such section.
    ///
    /// # Errors
    /// [`TableError`] if the section is there and malformed.
    pub fn tasks(&self) -> Result<&TaskTable, TableError> {
        let bytes = self.0.bytes.as_deref().unwrap_or_default();
        self.0.table.get_or_init(|| task_table(bytes)).as_ref().map_err(Clone::clone)
    }
}

impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl Eq for Module {}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({self})")
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hash.fmt(f)
    }
}

/// Whether bytes begin like a module of the core specification.
pub fn looks_like_wasm(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

/// What a module says of its tasks.
///
/// # Errors
/// [`TableError`] if the section is there and malformed. Bytes that are no module have
/// no sections.
pub fn task_table(wasm: &[u8]) -> Result<TaskTable, TableError> {
    let mut contents = Vec::new();
    for (name, data) in custom_sections(wasm) {
        if name == SECTION {
            contents.extend_from_slice(data);
            contents.push(b'\n');
        }
    }
    TaskTable::parse(&contents)
}

/// The custom sections of a module, up to the first byte that is not well formed.
pub fn custom_sections(wasm: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut rest = if looks_like_wasm(wasm) { &wasm[8..] } else { &[] };
    std::iter::from_fn(move || {
        loop {
            let (&id, after) = rest.split_first()?;
            let (len, after) = leb(after)?;
            let (body, next) = after.split_at_checked(len)?;
            rest = next;
            if id == 0
                && let Some(section) = named(body)
            {
                return Some(section);
            }
        }
    })
}

fn named(body: &[u8]) -> Option<(&str, &[u8])> {
    let (len, after) = leb(body)?;
    let (name, data) = after.split_at_checked(len)?;
    Some((std::str::from_utf8(name).ok()?, data))
}

/// An unsigned LEB128 number of at most 32 bits, and what follows it.
fn leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn custom(name: &str, data: &[u8]) -> Vec<u8> {
        let len = 1 + name.len() + data.len();
        let mut out = vec![0, 0x80 | (len & 0x7f) as u8, (len >> 7) as u8, name.len() as u8];
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn several_sections_are_one_table() {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend(custom(SECTION, br#"{"task":{"name":"add"}}"#));
        wasm.extend(custom("name", b"whatever"));
        wasm.extend(custom(SECTION, br#"{"task":{"name":"sub"}}"#));
        let module = Module::new(wasm);
        let names: Vec<_> = module.tasks().expect("well formed").tasks().collect();
        assert_eq!(names.len(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut wasm = b"\0asm\x01\0\0\0".to_vec();
            wasm.extend(tail);
            custom_sections(&wasm).for_each(drop);
            let _ = task_table(&wasm);
        }
    }
}
