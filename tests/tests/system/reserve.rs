//! D7: a slave is reserved, and what others get meanwhile.

use super::stage::unharmed;
use anyhow::Result;
use dpfw::{Master, ReserveError};
use dpfw_test_tasks::{add, count, gate};
use dpfw_tests::fleet::{self, Pair, entry, linked, listening, slave};
use dpfw_tests::wait::{is_pending, until, within};
use std::time::Duration;

/// Waits until no refusal of a moment ago stands in the way.
async fn reserved(master: &Master) -> Result<dpfw::Reserved> {
    Ok(within("a reservation", master.reserve()).await??)
}

#[tokio::test]
async fn d7_a_reserved_slave_runs_its_holders_tasks_alone() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 2)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let held = reserved(&one).await?;
    assert_eq!(held.name().as_str(), "s1");
    assert_eq!(within("a count", held.dispatch(count::call())).await??, 1);
    // Neither the other master's tasks nor the holder's own unreserved ones start.
    let theirs = two.dispatch(gate::call("theirs".into(), "theirs".into(), 1));
    let ours = one.dispatch(gate::call("ours".into(), "ours".into(), 2));
    for i in 0..50 {
        assert_eq!(within("a sum", held.dispatch(add::call(i, 1))).await??, i + 1);
    }
    assert!(!theirs.is_finished() && !ours.is_finished(), "a slot was not held");
    assert!(linked(&one, "s1")?.store().list("").await?.is_empty());
    drop(held);
    assert_eq!(within("theirs", theirs).await??, 1);
    assert_eq!(within("ours", ours).await??, 2);
    Ok(())
}

#[tokio::test]
async fn d7_try_reserve_with_two_masters() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let held = within("the reservation", one.try_reserve()).await??;
    let refused = within("the refusal", two.try_reserve()).await?.expect_err("it is held");
    assert_eq!(refused, ReserveError::NoneIdle);
    assert_eq!(refused.to_string(), "no slave is idle");
    let own = within("the refusal", one.try_reserve()).await?.expect_err("it is held");
    assert_eq!(own, ReserveError::NoneIdle);
    let mut waits = std::pin::pin!(two.reserve());
    assert!(is_pending(&mut waits).await);
    assert_eq!(within("a sum", held.dispatch(add::call(1, 1))).await??, 2);
    drop(held);
    let theirs = within("the other's turn", waits).await??;
    assert_eq!(within("a sum", theirs.dispatch(add::call(1, 1))).await??, 2);
    let refused = within("the refusal", one.try_reserve()).await?;
    assert_eq!(refused.expect_err("it is held"), ReserveError::NoneIdle);
    drop(theirs);
    until("the slave to be idle", async || Ok(one.try_reserve().await.is_ok())).await
}

#[tokio::test]
async fn d7_a_reservation_waits_for_what_runs() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 2)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let store = linked(&one, "s1")?.store();
    let runs = two.dispatch(gate::call("runs".into(), "go".into(), 7));
    entry(&linked(&two, "s1")?, "runs").await?;
    assert_eq!(within("no", one.try_reserve()).await?.expect_err("busy"), ReserveError::NoneIdle);
    let mut waits = std::pin::pin!(one.reserve());
    assert!(is_pending(&mut waits).await);
    store.put("go", &1).await?;
    let held = within("the reservation", &mut waits).await??;
    assert_eq!(within("what ran", runs).await??, 7);
    assert_eq!(within("a sum", held.dispatch(add::call(1, 1))).await??, 2);
    Ok(())
}

#[tokio::test]
async fn d7_reservations_take_different_slaves() -> Result<()> {
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[first, second]).await?;
    let (a, b) = (reserved(&master).await?, reserved(&master).await?);
    assert_ne!(a.name(), b.name());
    assert_eq!(master.try_reserve().await.expect_err("both are held"), ReserveError::NoneIdle);
    drop(a);
    unharmed(&master).await?;
    drop(b);
    Ok(())
}

#[tokio::test]
async fn d7_a_wish_that_is_given_up_holds_nobody_up() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let held = reserved(&one).await?;
    {
        let mut wish = std::pin::pin!(two.reserve());
        let brief = tokio::time::timeout(Duration::from_millis(50), &mut wish).await;
        assert!(brief.is_err(), "it was held");
    }
    drop(held);
    unharmed(&one).await?;
    unharmed(&two).await?;
    drop(reserved(&one).await?);
    drop(reserved(&two).await?);
    unharmed(&one).await
}

#[tokio::test]
async fn d7_what_waits_for_a_dropped_reservation_fails_and_what_runs_goes_on() -> Result<()> {
    let pair = Pair::simple().await?;
    let linked = pair.linked()?;
    let held = reserved(&pair.master).await?;
    let runs = held.dispatch(gate::call("runs".into(), "go".into(), 7));
    entry(&linked, "runs").await?;
    drop(held);
    linked.store().put("go", &1).await?;
    assert_eq!(within("what ran", runs).await??, 7);
    let held = reserved(&pair.master).await?;
    let endless = held.dispatch(dpfw_test_tasks::spin::call("spins".into()));
    entry(&linked, "spins").await?;
    let waits: Vec<_> = (0..2000).map(|i| held.dispatch(add::call(i, 1))).collect();
    drop(held);
    let last = waits.into_iter().next_back().expect("there are many");
    let error = within("the last that waits", last).await?.expect_err("the reservation is gone");
    assert!(error.to_string().ends_with("busy: the reservation was released"), "{error}");
    drop(endless);
    unharmed(&pair.master).await
}

#[tokio::test]
async fn d7_a_master_that_goes_gives_its_reservation_back() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 1)?).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let _held = reserved(&one).await?;
    let waits = two.dispatch(add::call(1, 1));
    one.shutdown().await;
    assert_eq!(within("the other's task", waits).await??, 2);
    let held = reserved(&two).await?;
    assert_eq!(within("a sum", held.dispatch(add::call(2, 2))).await??, 4);
    Ok(())
}

#[tokio::test]
async fn d7_without_slaves_there_is_nothing_to_reserve() -> Result<()> {
    let pair = Pair::simple().await?;
    let master = Master::builder().slave(&pair.address).dial_tries(Some(1)).build().await?;
    drop(pair.slave);
    let outcome = within("the end of dialling", async {
        loop {
            match master.try_reserve().await {
                Err(ReserveError::NoneIdle) => tokio::task::yield_now().await,
                other => break other,
            }
        }
    });
    let error = outcome.await?.expect_err("no slave");
    assert!(matches!(error, ReserveError::NoSlaves | ReserveError::SlaveLost), "{error}");
    Ok(())
}
