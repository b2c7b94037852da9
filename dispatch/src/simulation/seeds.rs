//! Many seeds, on all processors, and which one failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Worlds of each test, unless the environment says otherwise.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Whether one seed is run again.
pub(crate) fn is_replay() -> bool {
    number("DPFW_SEED").is_some()
}

/// Runs every seed, or the one asked for: `DPFW_SEEDS` divided by `share`, `DPFW_SEED`.
///
/// # Panics
/// As the seed that failed, which is printed.
pub(crate) fn each_seed(name: &str, share: u64, run: impl Fn(u64) + Sync) {
    let seeds = match number("DPFW_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(number("DPFW_SEEDS").unwrap_or(SEEDS) / share).max(1),
    };
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
                next.store(seeds.end, Ordering::Relaxed);
                eprintln!("{name}: seed {seed}; again: cargo xtask simulate --seed {seed} {name}");
                resume_unwind(panic);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work();
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
}
