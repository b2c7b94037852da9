// trick: exits with a status that no system has
// expect: exit

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn proc_exit(status: u32) -> !;
}

fn main() {
    // SAFETY: it does not return.
    unsafe { proc_exit(u32::MAX) }
}
