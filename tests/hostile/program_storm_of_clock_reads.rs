// trick: reads a clock without end
// expect: limit host calls
// with: host-calls=100000

fn main() {
    loop {
        std::hint::black_box(std::time::Instant::now());
    }
}
