//! The small things first: one task, two tasks, the keyed store.
//!
//! Owns: what is checked of them. Invariant: any other result than the expected one ends
//! the demo.

use anyhow::{Context, Result, ensure};
use dpfw::Master;
use examples_kit::Report;
use quickstart_tasks::{add, remember};

pub(crate) async fn run(master: &Master, report: &mut Report) -> Result<()> {
    let call = add::call(2, 3);
    let told = call.to_string();
    let five = master.dispatch(call).await?;
    report.row(told, five);
    ensure!(five == 5, "2 + 3 is {five} here");

    let calls = [add::call(2, 1), add::call(5, 5)];
    let told = calls.each_ref().map(ToString::to_string).join(", ");
    let both = master.parallel(calls).await?;
    report.row(told, format!("{}, {}", both[0], both[1]));
    ensure!(both == [3, 10], "2 + 1 and 5 + 5 are {both:?} here");

    store(master, report).await
}

/// Each operation on the store, from the master and from a task on the same slave.
async fn store(master: &Master, report: &mut Report) -> Result<()> {
    const KEY: &str = "remembered/colour";
    let slave = master.reserve().await?;
    let store = slave.store();
    let get = async || store.get::<String>(KEY).await;

    ensure!(store.put_if_absent(KEY, "red").await?, "the key was there before");
    ensure!(!store.put_if_absent(KEY, "grey").await?, "the key was not there any more");
    let before = slave.dispatch(remember::call("colour".into(), "green".into())).await?;
    ensure!(before.as_deref() == Some("red"), "the task found {before:?}");
    report.row("store, from a task", "it got what the master put if absent, and put its own");

    let stored = store.get_versioned::<String>(KEY).await?.context("nothing was stored")?;
    ensure!(stored.value == "green", "the master found {:?}", stored.value);
    ensure!(store.compare_and_swap(KEY, stored.version, "blue").await?, "nothing was swapped");
    ensure!(!store.compare_and_swap(KEY, stored.version, "pink").await?, "swapped twice");
    ensure!(get().await?.as_deref() == Some("blue"), "the swap was lost");
    store.put(KEY, "white").await?;
    ensure!(store.remove(KEY).await? && get().await?.is_none(), "the key was not removed");
    report.row("store, from the master", "put, get, put if absent, compare and swap, remove");
    Ok(())
}
