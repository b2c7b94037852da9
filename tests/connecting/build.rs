//! Compiles the tasks to wasm, for `dpfw_guest::module!()`.

fn main() {
    dpfw_guest_build::build();
}
