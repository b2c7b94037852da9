//! Exporting what a module keeps in globals, so that a sandbox can be put back to its beginning.
//!
//! Owns: the names, and the bytes of the exports that are added. Does not: decide whether a module
//! can be put back; its facts do. Invariant: a module that has such a name itself, and does not mean
//! by it what is meant here, is not touched, and is never put back.

use wasmparser::{BinaryReader, ExternalKind, Payload};

/// Behind it the number of a mutable global among those that the module defines.
const PREFIX: &str = "dpfw.global.";

/// Globals that are put back. What compilers make has one or two; more would cost more than a sandbox
/// that is made anew.
const MOST: usize = 64;

/// The export of the mutable global of this number.
pub(crate) fn name(number: u32) -> String {
    format!("{PREFIX}{number}")
}

/// The mutable globals of a module, and whether they are exported as [`name`] says.
#[derive(Debug, Default)]
pub(super) struct Globals {
    imported: bool,
    mutable: Vec<u32>,
    /// The exports of our names: the name, and which global it is, if it is one.
    named: Vec<(String, Option<u32>)>,
}

impl Globals {
    /// Looks at a part of a module.
    pub(super) fn look(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.imported |= matches!(import?.ty, wasmparser::TypeRef::Global(_));
                }
            }
            Payload::GlobalSection(globals) => {
                for (index, global) in (0..).zip(globals.clone()) {
                    // Beyond the limit it is known that there are too many.
                    if global?.ty.mutable && self.mutable.len() <= MOST {
                        self.mutable.push(index);
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    if export.name.starts_with(PREFIX) {
                        let index = (export.kind == ExternalKind::Global).then_some(export.index);
                        self.named.push((export.name.to_owned(), index));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// How many there are to be put back; `None` if that cannot be done.
    pub(super) fn count(&self) -> Option<u32> {
        let is_ours = self.named.is_empty() || self.is_exported();
        let can_be = !self.imported && is_ours && self.mutable.len() <= MOST;
        can_be.then_some(self.mutable.len() as u32)
    }

    fn is_exported(&self) -> bool {
        let is_there = |(number, index): (u32, &u32)| {
            self.named.iter().any(|(known, of)| *known == name(number) && *of == Some(*index))
        };
        self.named.len() == self.mutable.len() && (0..).zip(&self.mutable).all(is_there)
    }

    /// What is to be exported beyond what is.
    fn missing(&self) -> &[u32] {
        match self.named.is_empty() && self.count().is_some() {
            true => &self.mutable,
            false => &[],
        }
    }
}

/// The module with its mutable globals exported; `None` if it is to stay as it is.
pub(crate) fn exported(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut globals = Globals::default();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let payload = payload.ok()?;
        globals.look(&payload).ok()?;
        if matches!(payload, Payload::CodeSectionStart { .. }) {
            break;
        }
    }
    let missing = globals.missing();
    if missing.is_empty() {
        return None;
    }
    let (start, content, end) = section(wasm, EXPORTS)?;
    let mut reader = BinaryReader::new(&wasm[content..end], content as u64);
    let count = reader.read_var_u32().ok()?;
    let entries = usize::try_from(reader.original_position()).ok()?;
    let mut body = leb(count.checked_add(missing.len() as u32)?);
    body.extend_from_slice(&wasm[entries..end]);
    for (number, index) in (0..).zip(missing) {
        let name = name(number);
        body.extend(leb(name.len() as u32));
        body.extend_from_slice(name.as_bytes());
        body.push(GLOBAL);
        body.extend(leb(*index));
    }
    let mut out = Vec::with_capacity(wasm.len() + body.len() - (end - content) + 8);
    out.extend_from_slice(&wasm[..start]);
    out.push(EXPORTS);
    out.extend(leb(u32::try_from(body.len()).ok()?));
    out.extend(body);
    out.extend_from_slice(&wasm[end..]);
    Some(out)
}

/// The export section's number, and a global's among the kinds of exports.
const EXPORTS: u8 = 7;
const GLOBAL: u8 = 3;

/// Where a section begins, where its content does, and where it ends.
fn section(wasm: &[u8], number: u8) -> Option<(usize, usize, usize)> {
    let mut reader = BinaryReader::new(wasm, 0);
    reader.read_bytes(8).ok()?;
    loop {
        let start = usize::try_from(reader.original_position()).ok()?;
        let found = reader.read_u8().ok()?;
        let len = reader.read_var_u32().ok()? as usize;
        let content = usize::try_from(reader.original_position()).ok()?;
        reader.read_bytes(len).ok()?;
        if found == number {
            return Some((start, content, content + len));
        }
    }
}

/// An unsigned number, as wasm writes it.
fn leb(mut n: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(5);
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(wasm: &[u8]) -> Option<u32> {
        let mut globals = Globals::default();
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            globals.look(&payload.expect("valid")).expect("valid");
        }
        globals.count()
    }

    fn module(text: &str) -> Vec<u8> {
        wat::parse_str(format!("(module {text})")).expect("well formed")
    }

    const GLOBALS: &str = "(global (mut i32) (i32.const 1)) (global i32 (i32.const 2))
        (global (mut i64) (i64.const 3)) (func (export \"f\"))";

    #[test]
    fn mutable_globals_are_exported_and_nothing_else_changes() {
        let wasm = module(GLOBALS);
        let out = exported(&wasm).expect("there are some");
        wasmparser::validate(&out).expect("valid");
        let named = r#"(export "dpfw.global.0" (global 0)) (export "dpfw.global.1" (global 2))"#;
        assert_eq!(out, module(&format!("{GLOBALS} {named}")));
        assert_eq!((count(&wasm), count(&out)), (Some(2), Some(2)));
        assert!(exported(&out).is_none(), "once");
        assert!(exported(&module("(func (export \"f\"))")).is_none(), "there is nothing to export");
    }

    #[test]
    fn who_has_such_names_and_means_something_else_is_never_put_back() {
        for lie in [
            r#"(export "dpfw.global.0" (global 0))"#,
            r#"(export "dpfw.global.0" (global 0)) (export "dpfw.global.1" (global 0))"#,
            r#"(export "dpfw.global.0" (global 0)) (export "dpfw.global.1" (func 0))"#,
            r#"(export "dpfw.global.x" (func 0))"#,
        ] {
            let wasm = module(&format!("{GLOBALS} {lie}"));
            assert_eq!((count(&wasm), exported(&wasm)), (None, None), "{lie}");
        }
        let imported = module(
            r#"(import "m" "g" (global i32)) (global (mut i32) (i32.const 1))
            (func (export "f"))"#,
        );
        assert_eq!((count(&imported), exported(&imported)), (None, None));
    }
}
