use dpfw_guest::{init, task};

dpfw_guest::module!(b"\0asm\x01\0\0\0");

#[init(name = "other")]
fn with_options() {}

#[init]
fn gives(text: &str) -> String {
    text.to_owned()
}

#[task(image = not_there)]
fn needs() {}

fn no_init() {}

#[task(image = no_init)]
fn needs_another() {}

fn main() {}
