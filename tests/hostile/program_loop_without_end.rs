// trick: loops without end
// expect: limit time
// with: time=300

fn main() {
    loop {
        std::hint::black_box(0);
    }
}
