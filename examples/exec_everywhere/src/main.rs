//! Every file of a directory through a WASI program, on all slaves:
//! `cargo run -p exec_everywhere -- DIR hexyl.wasm`.
//!
//! Without `--slave` it runs on a slave within the process.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dpfw::{Master, Program};
use exec_everywhere::outputs;
use futures_util::StreamExt;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Runs a WASI program for every file of a directory: the file is its standard input.
#[derive(Parser)]
struct Cli {
    /// A slave to dial, HOST:PORT; may be given several times.
    #[arg(long = "slave", value_name = "ADDR")]
    slaves: Vec<String>,
    /// The directory.
    dir: PathBuf,
    /// The program, compiled for wasm32-wasip1.
    program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let wasm = fs::read(&cli.program).with_context(|| cli.program.display().to_string())?;
    let program = Program::new(wasm).args(cli.args);
    let entries = fs::read_dir(&cli.dir).with_context(|| cli.dir.display().to_string())?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut files: Vec<_> = paths.into_iter().filter(|path| path.is_file()).collect();
    files.sort_unstable();

    let master = cli.slaves.iter().fold(Master::builder(), |builder, slave| builder.slave(slave));
    let master = master.build().await?;
    let mut outputs = std::pin::pin!(outputs(&master, &program, &files));
    let (mut stdout, mut failed) = (std::io::stdout().lock(), 0);
    for file in &files {
        let output = outputs.next().await.context("an output is missing")?;
        match output {
            Ok(output) => {
                writeln!(stdout, "== {}", file.display())?;
                stdout.write_all(&output.stdout)?;
            }
            Err(error) => {
                failed += 1;
                eprintln!("error: {error:#}");
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} files failed", files.len());
    Ok(())
}
