//! WASI programs, compiled by the build script.

use dpfw::{Module, Program};
use std::sync::OnceLock;

/// The bytes of the program that does what its first argument says.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe.wasm"));

/// The program that does what its first argument says; see `programs/probe.rs`.
pub fn probe(args: &[&str]) -> Program {
    static MODULE: OnceLock<Module> = OnceLock::new();
    let module = MODULE.get_or_init(|| Module::new(PROBE));
    Program::of(module.clone()).name("probe").args(args.iter().copied())
}
