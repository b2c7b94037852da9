//! More attempts that may wait than there are sandboxes for them: who is held back, for how long,
//! and who is not.

use super::get_or_init::{go, is_idle, waiting};
use anyhow::Result;
use dpfw::{Cause, Limits, SlaveBuilder};
use dpfw_test_tasks::add;
use dpfw_test_waiting::{End, change, doze, need, need_both, need_nap};
use dpfw_tests::fleet::{self, Pair, arrival, entry, linked, listening, slave};
use dpfw_tests::wait::{is_pending, until, within};
use std::time::Duration;

/// A slave with so few sandboxes that may wait.
fn few(name: &str, slots: usize, sandboxes: usize) -> Result<SlaveBuilder> {
    let mut limits = Limits::default();
    limits.sandboxes = sandboxes;
    Ok(slave(name, slots)?.limits(limits))
}

#[tokio::test]
async fn a_thousand_tasks_need_what_one_builds_and_all_get_it_in_four_sandboxes() -> Result<()> {
    let (_slave, address) = listening(few("s1", 2, 4)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let at = linked(&one, "s1")?;
    let call = || need_nap::call("k".into(), "n".into());
    let all: Vec<_> = (0..500).flat_map(|_| [one.dispatch(call()), two.dispatch(call())]).collect();
    // The last is for a master that has none.
    until("all to be in use", async || {
        let it = at.describe().await?;
        Ok(it.waiting >= 3 && it.queued > 0)
    })
    .await?;
    // Those that need no such sandbox pass, of both masters.
    for master in [&one, &two] {
        let sums = master.parallel((0..100).map(|n| add::call(n, 1)).collect::<Vec<_>>());
        assert_eq!(within("the sums", sums).await??, (1..=100).collect::<Vec<_>>());
    }
    go(&at, "n").await?;
    for handle in all {
        assert_eq!(within("the value", handle).await??, "n");
    }
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(1), "it was built again");
    for master in [&one, &two] {
        assert_eq!(master.stats().await.retried, 0, "nobody was refused");
    }
    is_idle(&at).await
}

#[tokio::test]
async fn one_sandbox_is_enough_for_many() -> Result<()> {
    let pair = Pair::start(few("s1", 2, 1)?).await?;
    let call = |n| doze::call(1, n);
    let dozes = pair.master.parallel((0..200).map(call).collect::<Vec<_>>());
    assert_eq!(within("all of them", dozes).await??, (0..200).collect::<Vec<_>>());
    assert_eq!(pair.master.stats().await.retried, 0, "nobody was refused");
    is_idle(&pair.linked()?).await
}

#[tokio::test]
async fn a_builder_that_needs_another_entry_goes_on_where_no_sandbox_is_left() -> Result<()> {
    let pair = Pair::start(few("s1", 1, 2)?).await?;
    let at = pair.linked()?;
    let both = pair.master.dispatch(need_both::call("x".into(), "y".into(), "a".into()));
    entry(&at, "a").await?;
    let other = pair.master.dispatch(need_nap::call("y".into(), "b".into()));
    entry(&at, "b").await?;
    let call = || need_nap::call("x".into(), "c".into());
    let held: Vec<_> = (0..20).map(|_| pair.master.dispatch(call())).collect();
    // The first needs now what the second builds.
    go(&at, "a").await?;
    go(&at, "b").await?;
    assert_eq!(within("the first", both).await??, "b");
    assert_eq!(within("the second", other).await??, "b");
    for handle in held {
        assert_eq!(within("one that was held back", handle).await??, "b");
    }
    assert_eq!(at.store().get::<u64>("+builds").await?, Some(2));
    is_idle(&at).await
}

#[tokio::test]
async fn f60_where_nobody_goes_on_who_waits_for_a_sandbox_is_refused_and_tried_again() -> Result<()>
{
    let pair = Pair::start(few("s1", 1, 2)?).await?;
    let at = pair.linked()?;
    let call = |me: &str| pair.master.dispatch(need::call("k".into(), me.into(), End::Value));
    // It waits for a change, which one that is held back might make.
    let builds = call("a");
    entry(&at, "a").await?;
    let waits = call("b");
    waiting(&at, 2).await?;
    let refused = call("c");
    until("a refusal", async || Ok(pair.master.stats().await.retried > 0)).await?;
    go(&at, "a").await?;
    for handle in [builds, waits, refused] {
        assert_eq!(within("the value", handle).await??, "a");
    }
    is_idle(&at).await
}

#[tokio::test]
async fn f60_who_is_refused_at_one_slave_runs_at_another() -> Result<()> {
    let running = dpfw::Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let (master, address) = (running.master, running.listening[0].to_string());
    let (first, second) = (few("s1", 1, 1)?.build()?, few("s2", 1, 1)?.build()?);
    first.dial(fleet::dial(&address));
    let one = arrival(&master, "s1").await?;
    let waits = master.dispatch(change::call("go".into(), 0, "a".into()));
    entry(&one, "a").await?;
    let mut held = master.dispatch(doze::call(0, 7));
    until("it to be held back", async || Ok(one.describe().await?.queued == 1)).await?;
    assert!(is_pending(&mut held).await);
    second.dial(fleet::dial(&address));
    arrival(&master, "s2").await?;
    assert_eq!(within("the one that was held back", &mut held).await??, 7);
    assert_eq!(held.receipt().expect("it ran").slave.as_str(), "s2");
    one.store().put("go", &1u64).await?;
    within("the one that waits", waits).await??;
    Ok(())
}

#[tokio::test]
async fn who_is_held_back_is_cancelled_and_given_back_as_who_waits_in_the_queue() -> Result<()> {
    let pair = Pair::start(few("s1", 1, 1)?).await?;
    let at = pair.linked()?;
    let builds = pair.master.dispatch(need_nap::call("k".into(), "a".into()));
    entry(&at, "a").await?;
    let held = pair.master.dispatch(need_nap::call("k".into(), "b".into()));
    let queued = async |n| {
        let what = format!("{n} to be held back");
        until(&what, async || Ok(at.describe().await?.queued == n)).await
    };
    queued(1).await?;
    held.cancel();
    assert_eq!(within("its end", held).await?.expect_err("cancelled").cause(), &Cause::Cancelled);
    queued(0).await?;
    let mut held = pair.master.dispatch(need_nap::call("k".into(), "c".into()));
    queued(1).await?;
    // A drain gives it back, and it was no try.
    let drain = pair.slave.drain(Duration::from_secs(30));
    let ends = async {
        until("it to come back", async || Ok(pair.master.stats().await.retried == 1)).await?;
        go(&at, "a").await?;
        anyhow::Ok(within("the builder", builds).await??)
    };
    let (drained, value) = within("both", async { tokio::join!(drain, ends) }).await?;
    assert_eq!((drained, value?.as_str()), (dpfw::Drained::Clean, "a"));
    assert!(is_pending(&mut held).await, "another slave may come");
    Ok(())
}
