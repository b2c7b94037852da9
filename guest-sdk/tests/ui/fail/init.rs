use dpfw_guest::init;

dpfw_guest::module!(b"\0asm\x01\0\0\0");

#[init(name = "other")]
fn with_options() {}

#[init]
fn gives(text: &str) -> String {
    text.to_owned()
}

fn main() {}
