use dpfw_guest::task;

dpfw_guest::module!(b"\0asm\x01\0\0\0");

#[task]
const fn two(text: &str, (a, b): (u8, u8), list: &'static [&[u8]]) -> &'static str {
    let _ = (text, a, b, list);
    ""
}

#[task]
async unsafe extern "C" fn three<'a, T, const N: usize>(a: &'a T, b: [&mut u8; N]) -> impl Sized
where
    T: Copy,
{
    let _ = (a, b);
}

#[task]
fn seventeen(
    _: u8, b: impl Sized, ref c: u8, d: u8, e: u8, f: u8, g: u8, h: u8,
    i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8, q: u8,
) -> Result<(), &'static str> {
    let _ = (b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q);
    Ok(())
}

struct Counter;

impl Counter {
    #[task]
    fn bump(&mut self, by: &std::path::Path) {
        let _ = by;
    }
}

#[task]
struct Thing;

fn main() {
    let _ = (two("", (1, 2), &[]), Thing);
}
