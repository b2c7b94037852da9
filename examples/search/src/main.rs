//! Searches every Rust file of the local cargo registry, with an index that slaves have in
//! memory: `cargo build --release --workspace && cargo run --release -p search`.
//!
//! Without `--slave` it starts three slaves of its own, as processes, and ends them.

#![forbid(unsafe_code)]

mod table;

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::Parser;
use dpfw::Master;
use examples_kit::{Caches, Slaves};
use search::{Corpus, Plan, run};
use std::path::PathBuf;

/// Searches source files with an index that is initialised once on each slave; and, to compare,
/// with one that every query builds, and one that every query reads.
#[derive(Parser)]
struct Cli {
    /// A directory of Rust files instead of the local cargo registry.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A slave to dial, HOST:PORT; may be given several times. Without, three are started here.
    /// What all files take, a slave has to allow: `dpfw slave --memory 3GiB --store-bytes 4GiB`.
    #[arg(long = "slave", value_name = "ADDR")]
    slaves: Vec<String>,
    /// Queries of the index that is there.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    queries: usize,
    /// Queries for which the index is built.
    #[arg(long, value_name = "N", default_value_t = 8)]
    rebuilt: usize,
    /// Queries for which it is read.
    #[arg(long, value_name = "N", default_value_t = 40)]
    read: usize,
    /// Bytes of files that are indexed, if not all of them; more are left out. What is made of
    /// them has to fit an image, which ends at 1 GiB, and each slave needs several times as much
    /// to make one.
    #[arg(long, value_name = "SIZE")]
    most_bytes: Option<ByteSize>,
}

/// Slaves, if none are given: two to build, one to send to.
const SLAVES: usize = 3;

/// What slaves allow that are started here. A query that builds or reads the index has all of it
/// in a sandbox of its own, and the store has it three times: an image, and the documents and the
/// index as values.
const ROOM: [&str; 4] = ["--memory", "3GiB", "--store-bytes", "4GiB"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let most = cli.most_bytes.map_or(u64::MAX, |most| most.as_u64());
    let corpus = Corpus::read(cli.dir.as_deref(), most)?;
    eprintln!("{} files below {}", corpus.documents.len(), corpus.root.display());
    let own = match cli.slaves.is_empty() {
        true => Some(Slaves::start(SLAVES, Caches::Apart, &ROOM)?),
        false => None,
    };
    let addresses: Vec<&str> = match &own {
        Some(own) => own.addresses().collect(),
        None => cli.slaves.iter().map(String::as_str).collect(),
    };
    let builder = addresses.iter().fold(Master::builder(), |builder, at| builder.slave(*at));
    // The driver has a thread of its own: it hears the slaves while answers are looked at here.
    let master = builder.build_blocking().context("the master cannot start")?;
    let plan = Plan { queries: cli.queries, rebuilt: cli.rebuilt, read: cli.read };
    let figures = run(&master, &corpus.documents, plan).await?;
    table::of(&corpus, &figures, addresses.len()).print_and_clear();
    Ok(())
}
