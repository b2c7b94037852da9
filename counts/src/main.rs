//! Runs one hot path so many times, for who counts its instructions: `cargo xtask counts`.
//!
//! Owns: the paths, and how each is made ready. Does not: count; callgrind does, over the whole
//! process, so that two runs of different lengths have to be compared. Invariant: whatever a path
//! needs once is done before, and is the same however often it is run then.

#![forbid(unsafe_code)]

mod map;
mod policy;
mod sandbox;
mod wire;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

/// Runs one hot path, for who counts its instructions.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Which path. Without one, all are listed.
    path: Option<Path>,
    /// How many tasks, calls or items, after a warm-up.
    #[arg(default_value_t = WARM_UP)]
    times: u64,
}

/// A hot path: what is done for each task, call or item on one side of a link.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Path {
    /// The master makes a typed call: its arguments are encoded.
    EncodeCall,
    /// The master queues an attempt for a slave, and takes it out of the queue to be written.
    EncodeDispatch,
    /// A slave cuts it out of what it has read, and decodes it.
    DecodeDispatch,
    /// A slave queues the answer.
    EncodeDone,
    /// The master cuts it out of what it has read, and decodes it.
    DecodeDone,
    /// The master decodes the result.
    DecodeResult,
    /// The policy takes a task, sends it, hears of its end, with one slave.
    Policy,
    /// The same with a thousand slaves.
    PolicyOfMany,
    /// A map's item is encoded, and put into its chunk.
    MapItemOut,
    /// A map's result is found in its chunk, and decoded.
    MapItemBack,
    /// A slot runs a task in a fresh sandbox.
    Sandbox,
    /// A slot runs a method of a resident.
    Resident,
}

/// A path that is ready to be run.
struct Ready {
    /// How many tasks, calls or items are done each time.
    together: u64,
    run: Box<dyn FnMut() -> Result<()>>,
}

impl Ready {
    fn new(together: u64, run: impl FnMut() -> Result<()> + 'static) -> Self {
        Self { together, run: Box::new(run) }
    }

    fn times(&mut self, times: u64) -> Result<()> {
        ensure!(times.is_multiple_of(self.together), "{times} are no {} at a time", self.together);
        (0..times / self.together).try_for_each(|_| (self.run)())
    }
}

/// As many as fill what grows with use: buffers, tables, the allocator's lists. A multiple of
/// what any path does at a time.
const WARM_UP: u64 = 8_000;

impl Path {
    fn prepare(self) -> Result<Ready> {
        match self {
            Self::EncodeCall => wire::encode_call(),
            Self::EncodeDispatch => wire::encode_dispatch(),
            Self::DecodeDispatch => wire::decode_dispatch(),
            Self::EncodeDone => wire::encode_done(),
            Self::DecodeDone => wire::decode_done(),
            Self::DecodeResult => wire::decode_result(),
            Self::Policy => policy::beside(1),
            Self::PolicyOfMany => policy::beside(1_000),
            Self::MapItemOut => map::item_out(),
            Self::MapItemBack => map::item_back(),
            Self::Sandbox => sandbox::fresh(),
            Self::Resident => sandbox::resident(),
        }
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let Some(path) = cli.path else {
        for path in Path::value_variants().iter().filter_map(Path::to_possible_value) {
            println!("{}", path.get_name());
        }
        return Ok(());
    };
    let mut ready = path.prepare()?;
    ready.times(WARM_UP)?;
    ready.times(cli.times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_does_what_it_is_to_do() {
        for path in Path::value_variants() {
            let done = path.prepare().and_then(|mut ready| ready.times(WARM_UP));
            assert!(done.is_ok(), "{path:?}: {done:?}");
        }
    }
}
