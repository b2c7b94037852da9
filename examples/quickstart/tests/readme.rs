//! The README's code is this example's: what it shows stands here word for word.

use std::path::Path;

/// Between two marks of something left out, a block is contiguous in one of the files.
const LEFT_OUT: &str = "// …";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The blocks of Rust of a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```rust\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect()
}

#[test]
fn the_readmes_code_is_that_of_the_example() {
    let files = ["src/main.rs", "tasks/src/lib.rs", "tasks/build.rs"].map(read);
    let readme = read("../../README.md");
    let blocks = blocks(&readme);
    assert!(blocks.len() >= 4, "the README shows {} blocks of Rust", blocks.len());
    for block in blocks {
        let parts: Vec<&str> = block.split(LEFT_OUT).map(str::trim).collect();
        let has_all = |file: &String| parts.iter().all(|part| file.contains(part));
        assert!(files.iter().any(has_all), "the example has no such code:\n{block}");
    }
}
