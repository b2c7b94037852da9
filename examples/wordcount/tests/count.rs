//! The whole of wordcount, on a slave within the process.

use dpfw::{Master, Slave};
use std::fs;
use wordcount::{Files, count_files};
use wordcount_tasks::count;

/// Several batches of files are counted to the same as in one go without dpfw.
#[tokio::test]
async fn slaves_count_what_a_plain_function_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    for n in 0..40 {
        let text = format!("fn name_{n}(x: u8) -> u8 {{ x + {n} }} // größer\n").repeat(2_000);
        fs::write(dir.path().join(format!("{n}.rs")), text).expect("a file");
    }
    let files = Files::below(dir.path(), "rs").expect("readable");
    let texts = files.paths.iter().map(|path| fs::read(path).expect("readable").into()).collect();
    let expected = count(texts);

    let slave = Slave::builder().slots(2).cache(dir.path().join("cache"));
    let master = Master::builder().embed(slave).build().await.expect("a master");
    let counts = count_files(&master, files.paths).await.expect("counted");
    assert!(counts == expected, "{:?} instead of {:?}", counts.most_frequent(5), expected);
    assert_eq!(counts.most_frequent(2), [("u8", 160_000), ("x", 160_000)]);
}

/// A file that vanishes between the walk and the reading ends the count, by name.
#[tokio::test]
async fn a_file_that_is_gone_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let slave = Slave::builder().slots(1).cache(dir.path().join("cache"));
    let master = Master::builder().embed(slave).build().await.expect("a master");
    let gone = dir.path().join("gone.rs");
    let error = count_files(&master, vec![gone]).await.expect_err("not there");
    assert!(error.to_string().contains("gone.rs"), "{error}");
}
