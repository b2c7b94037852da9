// trick: takes memory until there is none
// expect: limit memory
// with: memory=67108864

fn main() {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}
