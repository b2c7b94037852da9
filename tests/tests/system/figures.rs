//! Figures that are promised of faults. Not tests of speed, which other work on the machine would
//! fail: run them with `cargo test -p dpfw-tests --test system figures -- --ignored --nocapture
//! --test-threads 1`.

use anyhow::{Context, Result};
use dpfw::{CallExt, Cause, Limits, Module, Task};
use dpfw_test_tasks::{Bytes, add, echo, forever, gate_once};
use dpfw_tests::fleet::{self, Pair, slave};
use dpfw_tests::process::Process;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wasm::module;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often each is measured.
const TIMES: usize = 20;

fn told(what: &str, mut all: Vec<Duration>) {
    all.sort_unstable();
    if let ([min, .., max], Some(median)) = (&all[..], all.get(all.len() / 2)) {
        println!("{what}: min {min:?}, median {median:?}, max {max:?}");
    }
}

/// From a deadline until the one slot has done another task.
async fn beyond_deadline(pair: &Pair, endless: &Task<()>) -> Result<Duration> {
    const DEADLINE: Duration = Duration::from_millis(50);
    let call = endless.call(&[0; 0])?.timeout(DEADLINE);
    let begun = Instant::now();
    let (late, next) = (pair.master.dispatch(call), pair.master.dispatch(add::call(1, 1)));
    assert_eq!(next.await?, 2);
    let beyond = begun.elapsed().saturating_sub(DEADLINE);
    assert_eq!(*late.await.expect_err("it never returns").cause(), Cause::DeadlineExceeded);
    Ok(beyond)
}

#[tokio::test]
#[ignore = "a measurement"]
async fn f23_from_a_deadline_to_a_free_slot() -> Result<()> {
    let mut limits = Limits::default();
    limits.memory = 1 << 30;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    pair.master.dispatch(add::call(0, 0)).await?;
    let endless = Task::<()>::new(forever::task().module().clone(), "forever");
    // The longest instruction there is: it writes all the memory that a sandbox may have.
    let fill = "(module (memory 8192) (func (export \"fill\") (loop
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 536870912)) (br 0))))";
    let fill: Module = module(fill)?;
    let bulk = Task::<()>::new(fill, "fill");
    for (what, task) in [("a loop", endless), ("a loop of memory.fill over 512 MiB", bulk)] {
        let mut all = Vec::new();
        for _ in 0..TIMES {
            all.push(beyond_deadline(&pair, &task).await?);
        }
        told(&format!("deadline to a free slot and another task done, {what}"), all);
    }
    Ok(())
}

#[tokio::test]
#[ignore = "a measurement"]
async fn f13_from_a_kill_to_the_callers_error() -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..TIMES {
        let running = dpfw::Master::builder().listen("127.0.0.1:0").build_listening().await?;
        let address = running.listening.first().context("it listens")?.to_string();
        let program = Path::new(env!("CARGO_BIN_EXE_dpfw-test-slave"));
        let mut process = Process::dialling(program, "killed", 1, &address).await?;
        let linked = fleet::arrival(&running.master, "killed").await?;
        let once = running.master.dispatch(gate_once::call("begun".into(), "never".into(), 1));
        fleet::entry(&linked, "begun").await?;
        let begun = Instant::now();
        process.kill()?;
        let error = once.await.expect_err("its slave is dead");
        all.push(begun.elapsed());
        assert_eq!(*error.cause(), Cause::SlaveLost { may_have_run: true });
    }
    told("SIGKILL of a slave to `SlaveLost` at the caller", all);
    Ok(())
}

#[tokio::test]
#[ignore = "a measurement"]
async fn f12_small_tasks_beside_an_argument_of_1_gib() -> Result<()> {
    let mut limits = Limits::default();
    (limits.memory, limits.result) = (4 << 30, 16);
    let (_slave, address) = fleet::listening(slave("s1", 2)?.limits(limits)).await?;
    let proxy = Proxy::before(&address)?;
    let master = fleet::master(&[proxy.address()]).await?;
    master.dispatch(add::call(0, 0)).await?;
    let large = Bytes::from(vec![7; (1 << 30) - 64]);
    let begun = Instant::now();
    let large = master.dispatch(echo::call(large));
    let mut all = Vec::new();
    while !large.is_finished() {
        let begun = Instant::now();
        assert_eq!(master.dispatch(add::call(1, 1)).await?, 2);
        all.push(begun.elapsed());
    }
    println!("1 GiB of arguments: {:?}, {} small tasks meanwhile", begun.elapsed(), all.len());
    told("a small task meanwhile", all);
    // It was taken in whole, and gives back more than it may.
    let error = large.await.expect_err("too large a result");
    assert!(matches!(error.cause(), Cause::Limit { .. }), "{error}");
    assert_eq!(master.slaves().len(), 1, "nobody was taken for dead");
    Ok(())
}
