//! WASI programs, compiled by the build script.

use dpfw::{Module, Program};
use std::sync::OnceLock;

/// The program that does what its first argument says; see `programs/probe.rs`.
pub fn probe(args: &[&str]) -> Program {
    static MODULE: OnceLock<Module> = OnceLock::new();
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe.wasm"));
    let module = MODULE.get_or_init(|| Module::new(bytes));
    Program::of(module.clone()).name("probe").args(args.iter().copied())
}
