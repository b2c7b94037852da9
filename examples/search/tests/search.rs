//! The whole of search, on three slaves within the process.

use dpfw::{Master, Origin, Slave};
use search::{Corpus, Plan, run};
use std::fs;

/// The index is built on two slaves and sent to the third, and however it is had the answers are
/// those of a plain function: `run` ends with an error if one is not.
#[tokio::test]
async fn three_ways_find_the_same_and_the_image_is_built_and_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    for n in 0..60 {
        let text = format!("fn name_{n}(x: u8) -> Vec<u8> {{ other_{}(x + 1) }}\n", n % 7);
        fs::write(dir.path().join(format!("{n}.rs")), text.repeat(n + 1)).expect("a file");
    }
    let corpus = Corpus::read(Some(dir.path()), 1 << 20).expect("readable");
    let slave = |name: &str| Slave::builder().slots(1).cache(dir.path().join(name));
    let slaves = ["one", "two", "three"].map(|name| slave(name).build().expect("a slave"));
    let mut builder = Master::builder();
    for slave in &slaves {
        builder = builder.slave(slave.listen("127.0.0.1:0").await.expect("a port").to_string());
    }
    let master = builder.build().await.expect("a master");
    let plan = Plan { queries: 300, rebuilt: 3, read: 5 };
    let figures = run(&master, &corpus.documents, plan).await.expect("the same hits");
    let origins: Vec<_> = figures.places.iter().map(|place| place.origin).collect();
    assert_eq!(origins, [Origin::Built, Origin::Built, Origin::Sent]);
    assert_eq!(figures.ways.map(|way| way.queries), [300, 3, 5]);
    assert!(figures.samples.iter().all(|(_, hit)| hit.is_some()), "{:?}", figures.samples);
    // Fewer words than names: `fn` and `u8` are too short.
    assert_eq!((figures.words, figures.postings), (60 + 7 + 1, 60 * 3));
}
