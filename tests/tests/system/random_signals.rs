//! F13, F14, F17 to F20: a load on slaves to which everything happens at random, and clocks
//! that jump. `DPFW_SEED=N` repeats what was random; `cargo xtask soak` does the same for as
//! long as one likes.

use anyhow::{Context, Result, ensure};
use dpfw::{CallExt, Cause};
use dpfw_test_tasks::{add, hoard_and_wait};
use dpfw_tests::fleet::{self, entry, linked};
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use std::path::Path;
use std::process::Command;

/// Runs `dpfw-soak`; gives what it reports.
fn soak(configure: impl FnOnce(&mut Command)) -> Result<serde_json::Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpfw-soak"));
    command.arg("--json");
    configure(&mut command);
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}:\n{told}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn f13_f17_f18_results_are_exact_while_slaves_die_stop_and_end_at_random() -> Result<()> {
    // A third of what an acceptance run is.
    let report = soak(|command| {
        command.args(["--minutes", "0.33", "--tasks", "6000"]);
        if let Ok(seed) = std::env::var("DPFW_SEED") {
            command.args(["--seed", &seed]);
        }
    })?;
    assert_eq!(report["done"]["tasks"], 6000);
    let of_all = |what: &str| -> u64 {
        let slaves = report["told"].as_array().map_or(&[][..], Vec::as_slice);
        slaves.iter().filter_map(|told| told[what].as_u64()).sum()
    };
    for what in ["killed", "terminated", "stopped"] {
        assert!(of_all(what) > 0, "none was {what}: {report}");
    }
    Ok(())
}

/// Compiles what is preloaded; gives it as `LD_PRELOAD` has it.
fn jumping(directory: &Path) -> Result<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clock/jumping.c");
    let library = directory.join("libjumping.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    let status = cc.status().context("there is no C compiler")?;
    ensure!(status.success(), "{} does not compile", source.display());
    Ok(library)
}

#[test]
fn f20_nothing_expires_when_the_wall_clock_jumps() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let library = jumping(directory.path())?;
    // Longer than silence is borne: heartbeats, deadlines and pauses are all met.
    let report = soak(|command| {
        command.args(["--minutes", "0.12", "--tasks", "1500", "--slaves", "2", "--calm"]);
        command.env("LD_PRELOAD", &library);
    })?;
    assert_eq!(report["done"]["tasks"], 1500);
    let spread = report["wall_clock_spread_s"].as_u64().unwrap_or_default();
    assert!(spread > 365 * 86_400, "the clock did not jump: {report}");
    Ok(())
}

/// Where the wall clock may be asked, and what for.
const WALL_CLOCKS: [(&str, &str); 6] = [
    ("slave/src/store/disk.rs", "how long a value with a time to live was on disk without a slave"),
    ("slave/src/sandbox/wasi.rs", "what a guest is told when it asks"),
    ("slave/src/module/cache.rs", "when a file was last used, to delete the oldest"),
    ("slave/src/module/cache/names.rs", "which images were used last, if not all have room"),
    ("link/src/security/tls/chain.rs", "whether a certificate has expired, which is said in dates"),
    ("link/src/link.rs", "a part of a number that is new for each process"),
];

#[test]
fn f20_nothing_but_what_guests_see_comes_of_the_wall_clock() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut asked = Vec::new();
    let crates = ["protocol", "dispatch", "link", "master", "slave", "dpfw"];
    let mut directories: Vec<_> = crates.iter().map(|name| root.join(name).join("src")).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            if path.ends_with("tests.rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path)?;
            if source.contains("SystemTime") || source.contains("CLOCK_REALTIME") {
                asked.push(path.strip_prefix(&root)?.to_string_lossy().into_owned());
            }
        }
    }
    asked.sort();
    let mut expected: Vec<_> = WALL_CLOCKS.iter().map(|(file, _)| (*file).to_owned()).collect();
    expected.sort();
    assert_eq!(asked, expected, "only monotonic time decides when something ends");
    Ok(())
}

#[tokio::test]
async fn f19_a_slave_that_is_killed_for_its_memory_is_lost_as_any_other() -> Result<()> {
    let program = env!("CARGO_BIN_EXE_dpfw-test-slave");
    let mut large = Process::start(program, "p1", 1).await?;
    let small = Process::start(program, "p2", 1).await?;
    let master = fleet::master(&[&large.address, &small.address]).await?;
    let [there, elsewhere] = [linked(&master, "p1")?, linked(&master, "p2")?];
    const BYTES: u64 = 64 << 20;
    let idle = there.describe().await?.memory_bytes;
    let hoards = (0..2).map(|n| master.dispatch(hoard_and_wait::call(BYTES, n, "go".into())));
    let hoards: Vec<_> = hoards.collect();
    until("both slaves to have tasks that are large", async || {
        Ok(there.describe().await?.memory_bytes > idle + BYTES / 2
            && !elsewhere.store().list("hoards").await?.is_empty())
    })
    .await?;
    entry(&there, "hoards").await?;
    // The kernel's killer takes the largest, and sends this.
    large.kill()?;
    until("the loss to be noticed", async || Ok(!there.is_linked())).await?;
    elsewhere.store().put("go", &1).await?;
    for (n, hoard) in (0..).zip(hoards) {
        assert_eq!(within("a large task", hoard).await??, n);
    }
    let stats = master.stats().await;
    assert_eq!((stats.accepted, stats.failed, stats.retried), (2, 0, 1), "{stats:?}");
    let gone = within("the loss", master.dispatch(add::call(1, 1).on(&there))).await?;
    let gone = gone.expect_err("it is gone");
    assert_eq!(gone.cause(), &Cause::SlaveLost { may_have_run: false });
    Ok(())
}
