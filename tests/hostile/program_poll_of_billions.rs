// trick: subscribes to more than there is memory for
// expect: ends
// with: time=2000

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn poll_oneoff(subscriptions: u32, events: u32, count: u32, written: u32) -> u32;
}

fn main() {
    // SAFETY: there is none; that is the trick.
    std::process::exit(unsafe { poll_oneoff(0, 0, u32::MAX, 16) } as i32);
}
