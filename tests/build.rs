//! Compiles the WASI programs of the tests, a file each.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    let out = Path::new(&out);
    compile(Path::new("programs/probe.rs"), &rustc, out);
    println!("cargo::rerun-if-changed=hostile");
    let hostile = std::fs::read_dir("hostile").expect("the hostile guests");
    for file in hostile {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            compile(&path, &rustc, out);
        }
    }
}

fn compile(path: &Path, rustc: &OsStr, out: &Path) {
    let source = path.display();
    println!("cargo::rerun-if-changed={source}");
    let wasm = out.join(path.file_name().expect("a file")).with_extension("wasm");
    let status = Command::new(rustc)
        .args(["--edition=2024", "--target=wasm32-wasip1", "-Copt-level=2", "-o"])
        .args([wasm.as_os_str(), path.as_os_str()])
        .status();
    let compiled = status.is_ok_and(|status| status.success());
    assert!(compiled, "{source} does not compile; `rustup target add wasm32-wasip1` may help");
}
