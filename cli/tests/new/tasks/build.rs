//! Compiles the tasks to wasm.

fn main() {
    dpfw_guest_build::build();
}
