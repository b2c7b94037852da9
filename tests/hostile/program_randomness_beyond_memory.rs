// trick: asks for more randomness than there is memory
// expect: abi

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(at: u32, len: u32) -> u32;
}

fn main() {
    // SAFETY: there is none; that is the trick.
    std::process::exit(unsafe { random_get(0, u32::MAX) } as i32);
}
