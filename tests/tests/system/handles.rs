//! D4, F22, F59: what a handle can do.

use anyhow::Result;
use dpfw::{Cause, LinkedSlave, Master, Progress, ReserveError};
use dpfw_test_tasks::{add, forever, gate, put, report, spin};
use dpfw_tests::fleet::{self, Pair, entry, slave};
use dpfw_tests::wait::{is_pending, until, within};
use std::time::Duration;

/// Waits until the slave runs nothing of anybody's, then does a task on its one slot.
async fn free(pair: &Pair) -> Result<()> {
    super::stage::unharmed(&pair.master).await
}

async fn running(master: &Master, linked: &LinkedSlave) -> Result<dpfw::TaskHandle<()>> {
    let handle = master.dispatch(spin::call("running".into()));
    entry(linked, "running").await?;
    Ok(handle)
}

#[tokio::test]
async fn f22_a_dropped_handle_interrupts_its_guest() -> Result<()> {
    let pair = Pair::simple().await?;
    drop(running(&pair.master, &pair.linked()?).await?);
    free(&pair).await?;
    let stats = pair.master.stats().await;
    assert_eq!((stats.unresolved, stats.accepted, stats.retried), (0, 1, 0), "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f22_a_cancel_is_not_lost_whenever_it_comes() -> Result<()> {
    let pair = Pair::simple().await?;
    // From before the slot has it to when it runs: each round a little later.
    for round in 0..400 {
        let handle = pair.master.dispatch(forever::call());
        for _ in 0..round * 10 {
            std::hint::spin_loop();
        }
        handle.cancel();
        let error = within("the cancel", handle).await?.expect_err("it has no end");
        assert_eq!(error.cause(), &Cause::Cancelled);
        if round % 16 == 0 {
            // The one slot is free again.
            assert_eq!(within("the sum", pair.master.dispatch(add::call(2, 3))).await??, 5);
        }
    }
    Ok(())
}

#[tokio::test]
async fn f22_dropped_handles_of_tasks_that_wait_start_nothing() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    let first = running(&pair.master, &linked).await?;
    let waiting: Vec<_> =
        (0..50).map(|i| pair.master.dispatch(put::call(format!("w{i}"), "x".into()))).collect();
    drop(waiting);
    drop(first);
    free(&pair).await?;
    assert!(linked.store().list("w").await?.is_empty(), "a cancelled task has run");
    Ok(())
}

#[tokio::test]
async fn a_cancelled_task_resolves_as_such() -> Result<()> {
    let pair = Pair::simple().await?;
    let handle = running(&pair.master, &pair.linked()?).await?;
    let waits = pair.master.dispatch(forever::call());
    handle.cancel();
    handle.cancel();
    waits.cancel();
    for (handle, name) in [(handle, "spin"), (waits, "forever")] {
        assert_eq!(handle.name(), name);
        let error = within("the cancel", handle).await?.expect_err("it has no end");
        assert_eq!(error.cause(), &Cause::Cancelled);
        assert!(error.to_string().ends_with(": the task was cancelled"), "{error}");
    }
    free(&pair).await
}

#[tokio::test]
async fn a_task_that_was_quicker_than_its_cancel_keeps_its_result() -> Result<()> {
    let pair = Pair::simple().await?;
    let handle = pair.master.dispatch(add::call(1, 2));
    until("the result", async || Ok(handle.is_finished())).await?;
    handle.cancel();
    assert_eq!(handle.await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_detached_task_runs_to_its_end() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    let handle = pair.master.dispatch(gate::call("arrived".into(), "go".into(), 1));
    let after = pair.master.dispatch(put::call("after".into(), "x".into()));
    entry(&linked, "arrived").await?;
    handle.detach();
    after.detach();
    linked.store().put("go", &1).await?;
    entry(&linked, "after").await?;
    fleet::quiet(&pair.master).await?;
    let stats = pair.master.stats().await;
    assert_eq!((stats.accepted, stats.failed), (2, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn progress_is_seen_while_the_task_runs() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    let call = report::call(3, 10, "arrived".into(), "go".into());
    let handle = pair.master.dispatch(call);
    assert_eq!(handle.progress(), Progress::default());
    entry(&linked, "arrived").await?;
    let expected = Progress { done: 3, total: 10 };
    until("the progress", async || Ok(handle.progress() == expected)).await?;
    assert!(!handle.is_finished());
    linked.store().put("go", &1).await?;
    within("the end", handle).await??;
    Ok(())
}

#[tokio::test]
async fn a_receipt_says_where_when_and_at_what_cost() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    super::stage::unharmed(&pair.master).await?;
    let before = std::time::Instant::now();
    let mut first = pair.master.dispatch(gate::call("arrived".into(), "go".into(), 1));
    let mut second = pair.master.dispatch(add::call(1, 1));
    assert!(first.receipt().is_none() && second.receipt().is_none());
    entry(&linked, "arrived").await?;
    let entered = before.elapsed();
    // Long enough to be told from nothing; the event itself is the entry above.
    let held = Duration::from_millis(20);
    until("some time in the guest", async || Ok(before.elapsed() >= entered + held)).await?;
    linked.store().put("go", &1).await?;
    within("the gate", &mut first).await??;
    within("the sum", &mut second).await??;
    let total = before.elapsed();
    let (first, second) = (first.receipt().expect("a result"), second.receipt().expect("a result"));
    assert_eq!((first.slave.as_str(), first.attempts), ("s1", 1));
    assert!(first.dispatched >= before && second.dispatched >= first.dispatched);
    assert!(first.executed >= held && first.total() <= total, "{first:?} in {total:?}");
    assert!((1 << 20..1 << 30).contains(&first.memory_bytes), "{first:?}");
    // The second waited for the first's slot, here or there, and not in the guest.
    assert!(second.queued_here + second.queued_there >= held, "{second:?}");
    assert!(second.executed < first.executed, "{second:?}");
    Ok(())
}

#[tokio::test]
async fn a_failed_task_has_an_error_that_names_all_and_a_receipt() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut handle = pair.master.dispatch(dpfw_test_tasks::boom::call("x".into()));
    let error = within("the panic", &mut handle).await?.expect_err("it panics");
    let receipt = handle.receipt().expect("it ended at a slave");
    assert_eq!((receipt.slave.as_str(), receipt.attempts), ("s1", 1));
    assert!(receipt.total() >= receipt.executed, "{receipt:?}");
    assert_eq!(error.slave().map(|slave| slave.as_str()), Some("s1"));
    assert_eq!((error.task(), error.attempts()), ("boom", 1));
    Ok(())
}

#[tokio::test]
async fn f59_a_full_queue_is_busy_and_ready_waits_for_room() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 1)?).await?;
    let master = within("the link", Master::builder().slave(address).queue(3).build()).await??;
    let linked = fleet::linked(&master, "s1")?;
    let mut held: Vec<_> = (0..3)
        .map(|i| master.dispatch(gate::call(format!("arrived{i}"), "go".into(), i)))
        .collect();
    let refused = master.dispatch(add::call(1, 1));
    assert!(refused.is_finished());
    let error = refused.await.expect_err("the queue is full");
    assert_eq!(error.to_string(), "`add`: busy: 3 tasks are queued in the master");
    assert!(matches!(error.cause(), Cause::Busy { .. }), "{error}");
    let stats = master.stats().await;
    assert_eq!((stats.submitted, stats.unresolved), (3, 3), "{stats:?}");
    {
        let mut ready = std::pin::pin!(master.ready());
        assert!(is_pending(&mut ready).await, "there is no room");
        entry(&linked, "arrived0").await?;
        linked.store().put("go", &1).await?;
        within("room", ready).await?;
    }
    for handle in held.drain(..) {
        within("a gate", handle).await??;
    }
    within("room", master.ready()).await?;
    super::stage::unharmed(&master).await
}

#[tokio::test]
async fn f59_many_who_wait_for_room_all_get_it() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 1)?).await?;
    let master = within("the link", Master::builder().slave(address).queue(4).build()).await??;
    let one = async |i: i64| -> Result<i64> {
        loop {
            master.ready().await;
            match master.dispatch(add::call(i, 1)).await {
                Err(error) if matches!(error.cause(), Cause::Busy { .. }) => {}
                outcome => return Ok(outcome?),
            }
        }
    };
    let all = futures_util::future::join_all((0..200).map(one));
    for (i, sum) in (0..200).zip(within("all sums", all).await?) {
        assert_eq!(sum?, i + 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_shut_down_master_resolves_everything() -> Result<()> {
    let pair = Pair::simple().await?;
    let handle = running(&pair.master, &pair.linked()?).await?;
    let waits = pair.master.dispatch(add::call(1, 1));
    within("the shutdown", pair.master.shutdown()).await?;
    for error in [within("spin", handle).await?.err(), within("add", waits).await?.err()] {
        assert_eq!(error.expect("it was shut down").cause(), &Cause::Shutdown);
    }
    let late = within("a late task", pair.master.dispatch(add::call(1, 1))).await?;
    assert_eq!(late.expect_err("it was shut down").cause(), &Cause::Shutdown);
    // The slave cancels what the master had started, and serves the next one.
    let next = fleet::master(&[&pair.address]).await?;
    super::stage::unharmed(&next).await
}

#[tokio::test]
async fn what_is_dispatched_right_behind_a_shutdown_resolves() -> Result<()> {
    let pair = Pair::simple().await?;
    let master = &pair.master;
    // On one thread the driver finds all of it in one batch.
    let (wish, late) = (master.reserve(), async { master.dispatch(add::call(1, 2)).await });
    let ends = async { tokio::join!(master.shutdown(), late, wish, master.ready()) };
    let ((), sum, reserved, ()) = within("the end of everything", ends).await?;
    assert_eq!(sum.expect_err("the master has ended").cause(), &Cause::Shutdown);
    assert_eq!(reserved.expect_err("the master has ended"), ReserveError::Shutdown);
    Ok(())
}
