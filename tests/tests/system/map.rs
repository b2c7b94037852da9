//! D8: one task over many inputs.

use anyhow::Result;
use dpfw::{Cause, Trap};
use dpfw_protocol::hello::{Hello, Role};
use dpfw_test_tasks::{add, big, checked, count_but, gate, traps_at};
use dpfw_tests::fleet::{Pair, entry, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::{PATIENCE, is_pending, within};
use futures_util::{StreamExt, stream};
use std::cell::Cell;

/// Enough to tell bounded from unbounded, and few enough for an unoptimised build.
const MANY: i64 = 1_000_000;

/// How far the inputs may be ahead of the results: chunks of a MiB at most, three for each
/// slot, of calls that take 7 bytes. What was learnt keeps it far below.
const AHEAD: i64 = 200_000;

#[tokio::test]
async fn d8_a_million_inputs_are_taken_lazily_and_come_in_order() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let taken = Cell::new(0i64);
    let inputs = (0..MANY).inspect(|_| taken.set(taken.get() + 1));
    let mut map = pair.master.map(inputs, |i| add::call(i, 1));
    assert_eq!(taken.get(), 0, "nothing is taken before it is polled");
    let (mut done, mut most) = (0, 0);
    let all = async {
        while let Some(sum) = map.next().await {
            assert_eq!(sum?, done + 1);
            done += 1;
            most = most.max(taken.get() - done);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(2 * PATIENCE, all).await??;
    assert_eq!((done, taken.get()), (MANY, MANY));
    assert!((1..AHEAD).contains(&most), "{most} inputs ahead");
    let stats = pair.master.stats().await;
    assert!(stats.sent < MANY as u64 / 10, "chunks: {stats:?}");
    assert_eq!((stats.failed, stats.retried, stats.stale), (0, 0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn d8_results_that_nobody_takes_hold_the_inputs_back() -> Result<()> {
    let pair = Pair::simple().await?;
    let taken = Cell::new(0i64);
    let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut map = pair.master.map(inputs, |i| add::call(i, 1)).chunk(10).window(2);
    assert_eq!(within("the first", map.next()).await?.expect("endless")?, 1);
    // Others' work goes on, time passes, and no further input is taken.
    for _ in 0..50 {
        super::stage::unharmed(&pair.master).await?;
    }
    let ahead = taken.get();
    assert!(ahead <= 30, "{ahead} inputs were taken");
    drop(map);
    assert_eq!(taken.get(), ahead);
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn d8_as_they_come_a_slow_one_holds_nobody_up() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let linked = pair.linked()?;
    let call = |i: u64| match i {
        0 => gate::call("arrived".into(), "go".into(), 0),
        i => gate::call(format!("passed{i}"), format!("passed{i}"), i),
    };
    let mut map = pair.master.map(0..40, call).chunk(1).unordered();
    let mut seen = Vec::new();
    while seen.len() < 39 {
        seen.push(within("the next", map.next()).await?.expect("forty of them")?);
    }
    assert!(!seen.contains(&0), "the slow one came before it could");
    entry(&linked, "arrived").await?;
    linked.store().put("go", &1).await?;
    assert_eq!(within("the slow one", map.next()).await?.expect("forty of them")?, 0);
    assert!(within("the end", map.next()).await?.is_none());
    seen.sort_unstable();
    assert_eq!(seen, (1..40).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn d8_in_order_even_if_the_first_is_the_slowest() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let linked = pair.linked()?;
    // The first ends when the last but one of its window has begun.
    let call = |i: u64| match i {
        0 => gate::call("arrived".into(), "passed3".into(), 0),
        i => gate::call(format!("passed{i}"), format!("passed{i}"), i),
    };
    let map = pair.master.map(0..20, call).chunk(1);
    let results = within("the results", map.all()).await??;
    assert_eq!(results, (0..20).collect::<Vec<_>>());
    entry(&linked, "arrived").await
}

#[tokio::test]
async fn d8_over_a_stream_of_inputs() -> Result<()> {
    let pair = Pair::simple().await?;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let inputs = stream::unfold(receiver, |mut r| async move { Some((r.recv().await?, r)) });
    let mut map = pair.master.map_stream(inputs, |i| add::call(i, 1));
    for i in 0..10 {
        // An input is done before the next one comes: it does not wait for a chunk.
        within("room", sender.send(i)).await??;
        assert_eq!(within("a result", map.next()).await?.expect("it goes on")?, i + 1);
    }
    assert!(is_pending(map.next()).await);
    drop(sender);
    assert!(within("the end", map.next()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn d8_an_input_that_traps_is_reported_and_the_rest_of_its_chunk_is_done() -> Result<()> {
    let pair = Pair::simple().await?;
    let map = pair.master.map(0..30, |n| traps_at::call(n, 13)).chunk(30);
    let results: Vec<_> = within("the results", map.collect()).await?;
    assert_eq!(results.len(), 30);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(error) => {
                assert_eq!(n, 13, "{error}");
                let is_trap = |c: &Cause| matches!(c, Cause::Trap { kind: Trap::Unreachable, .. });
                assert!(is_trap(error.cause()), "{error}");
                let expected = "`traps_at` on s1: the task trapped: unreachable executed";
                assert_eq!(error.to_string(), expected);
            }
        }
    }
    let stats = pair.master.stats().await;
    assert_eq!((stats.sent, stats.accepted, stats.failed), (1, 1, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn d8_results_before_a_trap_are_kept_however_long_they_are() -> Result<()> {
    let pair = Pair::simple().await?;
    // They outgrow what the guest has room for at first, once by far; no memory has so many.
    let lengths = [0, 3, 500, 20_000, 7, 300_000, u64::MAX, 40_000, 1];
    let map = pair.master.map(lengths, big::call).chunk(lengths.len() as u32);
    let results: Vec<_> = within("the results", map.collect()).await?;
    assert_eq!(results.len(), lengths.len());
    for (len, result) in lengths.into_iter().zip(results) {
        match result {
            Ok(bytes) => {
                assert_eq!(bytes.len() as u64, len);
                assert!(
                    (0..).zip(&bytes[..]).all(|(i, byte)| u32::from(*byte) == i % 251),
                    "{len}"
                );
            }
            Err(error) => assert_eq!(len, u64::MAX, "{error}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn d8_after_a_panic_the_rest_of_its_chunk_runs_afresh() -> Result<()> {
    let pair = Pair::simple().await?;
    let map = pair.master.map(0..10, |n| count_but::call(n, 4)).chunk(10);
    let results: Vec<_> = within("the results", map.collect()).await?;
    let counts: Vec<_> = results.iter().map(|r| r.as_ref().ok().map(|(_, count)| *count)).collect();
    let expected = [1, 2, 3, 4, 0, 1, 2, 3, 4, 5].map(|n| (n > 0).then_some(n));
    assert_eq!(counts, expected);
    let error = results[4].as_ref().expect_err("4 is bad");
    assert!(error.to_string().ends_with(": 4 is bad"), "{error}");
    Ok(())
}

#[tokio::test]
async fn d8_all_ends_at_the_first_failure() -> Result<()> {
    let pair = Pair::simple().await?;
    let map = pair.master.map(0.., |n| traps_at::call(n, 100));
    let error = within("the failure", map.all()).await?.expect_err("100 traps");
    assert!(matches!(error.cause(), Cause::Trap { .. }), "{error}");
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn d8_calls_of_several_tasks_in_one_map() -> Result<()> {
    let pair = Pair::simple().await?;
    let map = pair.master.map(0..30i64, |n| match n % 3 {
        0 => add::call(n, 1),
        _ => add::task().via(add::task().module().clone()).call(&(n, 2)).expect("numbers"),
    });
    let results = within("the results", map.all()).await??;
    assert_eq!(results, (0..30).map(|n| n + if n % 3 == 0 { 1 } else { 2 }).collect::<Vec<_>>());
    assert!(within("nothing", pair.master.map(0..0, |n| add::call(n, 1)).all()).await??.is_empty());
    Ok(())
}

#[tokio::test]
async fn d8_a_dropped_map_cancels_what_is_out() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    let mut map = pair.master.map(0..100, |_| dpfw_test_tasks::spin::call("spins".into()));
    assert!(is_pending(map.next()).await);
    entry(&linked, "spins").await?;
    drop(map);
    super::stage::unharmed(&pair.master).await?;
    dpfw_tests::fleet::quiet(&pair.master).await
}

#[tokio::test]
async fn d8_an_input_that_cannot_be_encoded_fails_alone() -> Result<()> {
    let pair = Pair::simple().await?;
    let task = add::task().clone();
    let call = |n: i64| match n {
        5 => dpfw_test_tasks::takes_unencodable::call(dpfw_test_tasks::Never),
        n => dpfw::Task::<()>::new(task.module().clone(), "nothing").call(&[n; 0]).expect("empty"),
    };
    let results: Vec<_> = within("the results", pair.master.map(0..10, call).collect()).await?;
    let failed: Vec<_> =
        results.iter().enumerate().filter_map(|(n, r)| Some((n, r.as_ref().err()?))).collect();
    let [(5, error)] = failed[..] else { panic!("{failed:?}") };
    assert!(matches!(error.cause(), Cause::BadArguments { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn d8_a_map_waits_for_room_in_a_queue_that_is_smaller_than_its_window() -> Result<()> {
    let slave = slave("s1", 8)?;
    let master = dpfw::Master::builder().embed(slave).queue(10).build().await?;
    let map = master.map(0..200, |i| add::call(i, 1)).chunk(1);
    let sums = within("the sums", map.all()).await??;
    assert_eq!(sums, (1..=200).collect::<Vec<_>>());
    // Others fill the queue meanwhile: two maps at once, and a task that takes what is left.
    let linked = dpfw_tests::fleet::linked(&master, "s1")?;
    let holds: Vec<_> =
        (0..10).map(|_| master.dispatch(gate::call("held".into(), "go".into(), 1))).collect();
    let map = |n| master.map(0..100, move |i| add::call(i, n)).chunk(1).window(20).all();
    let (mut one, mut two) = (Box::pin(map(1)), Box::pin(map(2)));
    assert!(is_pending(&mut one).await && is_pending(&mut two).await);
    entry(&linked, "held").await?;
    linked.store().put("go", &1).await?;
    let (one, two) = within("both", async { tokio::join!(one, two) }).await?;
    assert_eq!((one?.len(), two?.len()), (100, 100));
    for hold in holds {
        assert_eq!(within("what was there before", hold).await??, 1);
    }
    Ok(())
}

#[tokio::test]
async fn d8_a_slave_s_word_on_its_slots_does_not_make_a_map_take_everything() -> Result<()> {
    let (stream, mut liar) = Wire::memory();
    let master = dpfw::Master::builder().attach(stream).background().build().await?;
    let hello = Hello { slots: u32::MAX, ..hello(Role::Slave, "liar")? };
    liar.greet(&hello).await?;
    dpfw_tests::fleet::arrival(&master, "liar").await?;
    let taken = Cell::new(0);
    let inputs = (0..100_000).inspect(|_| taken.set(taken.get() + 1));
    let mut map = master.map(inputs, |i| add::call(i, 1));
    assert!(is_pending(map.next()).await);
    assert!((1..=8193).contains(&taken.get()), "{} inputs were taken", taken.get());
    Ok(())
}

#[tokio::test]
async fn d8_large_calls_do_not_go_together() -> Result<()> {
    let pair = Pair::simple().await?;
    let text = |len: usize| checked::call("x".repeat(len));
    // With the first call of a chunk, and with the next one, its arguments stay below a MiB.
    let lengths = [700 << 10, 700 << 10, 10, 10, 1 << 20, 2 << 20, 10, 10];
    let map = pair.master.map(lengths, text).chunk(8);
    assert_eq!(within("the lengths", map.all()).await??, lengths);
    assert_eq!(pair.master.stats().await.sent, 5, "{:?}", pair.master.stats().await);
    Ok(())
}
