//! Modules made of text.

use anyhow::{Context, Result};
use dpfw::Module;
use dpfw_protocol::signature::SECTION;

/// A module of the text format.
///
/// # Errors
/// What is wrong with the text.
pub fn module(text: &str) -> Result<Module> {
    Ok(Module::new(wat::parse_str(text)?))
}

/// A task module by hand: a page of memory, `dpfw_alloc` that gives 1024, and what else it
/// is to have.
///
/// # Errors
/// What is wrong with the text.
pub fn task_module(rest: &str) -> Result<Module> {
    module(&format!(
        r#"(module
            {rest}
            (memory (export "memory") 1)
            (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024)))"#
    ))
}

/// The body of a task that returns `len` bytes at `ptr`.
pub fn returns(ptr: u32, len: u32) -> String {
    let packed = u64::from(ptr) << 32 | u64::from(len);
    format!(r#"(func (export "dpfw:task") (param i32 i32) (result i64) (i64.const {packed}))"#)
}

/// The module with another description of its tasks, a JSON object a line.
///
/// # Errors
/// If the module's bytes are not known.
pub fn described(module: &Module, records: &str) -> Result<Module> {
    let bytes = module.bytes().context("a module with bytes")?;
    let mut section = leb(SECTION.len());
    section.extend_from_slice(SECTION.as_bytes());
    section.extend_from_slice(records.as_bytes());
    let mut wasm = bytes.to_vec();
    wasm.push(0);
    wasm.extend(leb(section.len()));
    wasm.extend(section);
    Ok(Module::new(wasm))
}

fn leb(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}
