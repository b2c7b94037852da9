//! A slave in a process of its own: `dpfw-test-slave NAME SLOTS CACHE`.
//!
//! It says where it listens, drains at `SIGTERM`, ends at once at a second one, and ends with
//! its standard input. It dials the master at `DPFW_TEST_DIAL`, if there is such a variable, keeps
//! its store in `DPFW_TEST_STORE`, compiles in processes of its own if there is `DPFW_TEST_CONFINED`,
//! and writes no file of more than `DPFW_TEST_LONGEST_FILE` bytes.

#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use dpfw::{Confine, PeerId, Slave};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use std::io::Read;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than a test lets a task run on.
const DRAIN: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    dpfw::compile_child();
    serve()
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &'static str| args.next().context(what);
    let (name, slots, cache) = (next("NAME")?, next("SLOTS")?, next("CACHE")?);
    let mut terminated = signal(SignalKind::terminate())?;
    std::thread::spawn(|| {
        // Whatever it says, its end is what matters.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    let mut slave = Slave::builder().name(PeerId::new(name)?).slots(slots.parse()?).cache(cache);
    slave = slave.keep_image_names(false);
    if let Some(directory) = std::env::var_os("DPFW_TEST_STORE") {
        slave = slave.store(directory);
    }
    if std::env::var_os("DPFW_TEST_CONFINED").is_some() {
        slave = slave.confine_compiling(Confine::Always);
    }
    if let Ok(bytes) = std::env::var("DPFW_TEST_LONGEST_FILE") {
        // It is an error to write more then, and not the end of the process.
        let _caught = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let longest = Rlimit { current: Some(bytes.parse()?), maximum: None };
        setrlimit(Resource::Fsize, longest)?;
    }
    let slave = slave.build()?;
    println!("listening on {}", slave.listen("127.0.0.1:0").await?);
    if let Ok(address) = std::env::var("DPFW_TEST_DIAL") {
        slave.dial(dpfw_tests::fleet::dial(address));
    }
    terminated.recv().await;
    tokio::select! {
        _ = slave.drain(DRAIN) => Ok(()),
        // Guests that run are not waited for.
        _ = terminated.recv() => std::process::exit(4),
    }
}
