//! Counts words and identifiers of all files below a directory:
//! `cargo run -p wordcount -- DIR`.
//!
//! Without `--slave` it runs them on a slave within the process.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use dpfw::Master;
use std::path::PathBuf;
use wordcount::{Files, count_files};

/// Counts words and identifiers of all files below a directory.
#[derive(Parser)]
struct Cli {
    /// The directory.
    dir: PathBuf,
    /// Only files whose names end so.
    #[arg(long, default_value = "rs")]
    extension: String,
    /// How many of the most frequent identifiers are shown.
    #[arg(long, default_value_t = 20)]
    top: usize,
    /// A slave to dial, HOST:PORT; may be given several times.
    #[arg(long = "slave", value_name = "ADDR")]
    slaves: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let files = Files::below(&cli.dir, &cli.extension)?;
    let master =
        cli.slaves.iter().fold(Master::builder(), |builder, address| builder.slave(address));
    let master = master.build().await?;
    let counts = count_files(&master, files.paths).await?;
    println!(
        "{} files, {} bytes, {} words ({} different), {} identifiers ({} different)",
        counts.texts,
        counts.bytes,
        counts.all_words(),
        counts.words.len(),
        counts.all_identifiers(),
        counts.identifiers.len(),
    );
    for (name, n) in counts.most_frequent(cli.top) {
        println!("{n:>10}  {name}");
    }
    Ok(())
}
