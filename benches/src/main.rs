//! Measures dpfw beside the limits of the platform, in one run.
//!
//! Each metric is one line of JSON: `{"metric", "unit", "min", "median", "max", "limit",
//! "ratio"}`. The limit is the median of what the platform allows, measured in turn with
//! the metric itself; the ratio is the metric's median by that.

mod balance;
mod beside;
mod big_images;
mod durable;
mod encrypted;
mod images;
mod many;
mod mapped;
mod measure;
mod pipeline;
mod placed;
mod plain;
mod process;
mod programs;
mod queued;
mod report;
mod residents;
mod scaling;
mod source;
mod standins;
mod starts;
mod tcp;
mod trips;
mod within;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures dpfw beside the limits of the platform.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only metrics whose names contain this.
    #[arg(long)]
    only: Option<String>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// The other ends; started by the benchmark itself.
#[derive(Subcommand)]
enum Role {
    /// Echoes frames, takes and gives bulk over bare TCP.
    #[command(hide = true)]
    Tcp,
    /// Queues tasks and tells what one costs.
    #[command(hide = true)]
    Queued,
    /// Stands in for slaves of a master that listens there.
    #[command(hide = true)]
    Standins {
        /// Where.
        master: String,
        #[command(flatten)]
        kind: standins::Kind,
    },
    /// Stands in for slaves that come to a master that listens there, and go.
    #[command(hide = true)]
    Churn {
        /// Where.
        master: String,
        #[command(flatten)]
        pace: standins::Pace,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        Some(Role::Tcp) => tcp::serve(),
        Some(Role::Queued) => queued::run(),
        Some(Role::Standins { master, kind }) => standins::serve(&master, &kind),
        Some(Role::Churn { master, pace }) => standins::churn(&master, pace),
        None => measure::all(cli.rounds, cli.only.as_deref()),
    }
}
