use dpfw_guest::{Shape, task};

dpfw_guest::module!(b"\0asm\x01\0\0\0");

#[task(one, once, once, name = 7, image(x), "text", effect_free)]
fn many(text: &str) {
    let _ = text;
}

#[task(once = true, name = "")]
fn valued() {}

#[derive(Shape)]
union Either {
    a: u8,
    b: i8,
}

fn main() {
    many("");
    valued();
    let _ = Either { a: 1 };
}
