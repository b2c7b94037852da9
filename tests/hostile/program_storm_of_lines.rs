// trick: writes lines to stderr without end
// expect: limit host calls
// with: host-calls=20000

fn main() {
    loop {
        eprintln!("\x1b[2Jmore");
    }
}
