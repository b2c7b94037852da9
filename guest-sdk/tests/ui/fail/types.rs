use dpfw_guest::task;

dpfw_guest::module!(b"\0asm\x01\0\0\0");

struct Opaque;

struct NoDisplay;

#[task]
fn takes(good: String, bad: Vec<Opaque>) {
    let _ = (good, bad);
}

#[task]
fn gives(n: u64) -> Option<Opaque> {
    let _ = n;
    None
}

#[task]
fn fails() -> Result<u8, NoDisplay> {
    Err(NoDisplay)
}

#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn main() {
    takes(String::new(), Vec::new());
    let _ = (gives(1).is_none(), fails().is_err(), Opaque);
    let _ = add::call(2, "three");
}
