//! Embeds the tasks as WebAssembly.

fn main() {
    dpfw_guest_build::build();
}
