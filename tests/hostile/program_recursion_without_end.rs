// trick: calls itself without end
// expect: trap stack overflow

fn descend(n: u64) -> u64 {
    std::hint::black_box(descend(std::hint::black_box(n) + 1)) + 1
}

fn main() {
    std::process::exit(descend(0) as i32);
}
