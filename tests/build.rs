//! Compiles the WASI programs of the tests, a file each.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    compile("probe", &rustc, Path::new(&out));
}

fn compile(name: &str, rustc: &OsStr, out: &Path) {
    let source = format!("programs/{name}.rs");
    println!("cargo::rerun-if-changed={source}");
    let status = Command::new(rustc)
        .args(["--edition=2024", "--target=wasm32-wasip1", "-Copt-level=2", "-o"])
        .args([out.join(name).with_extension("wasm").as_os_str(), source.as_ref()])
        .status();
    let compiled = status.is_ok_and(|status| status.success());
    assert!(compiled, "{source} does not compile; `rustup target add wasm32-wasip1` may help");
}
