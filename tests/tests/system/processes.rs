//! F13, F17, F18: slaves in processes of their own, killed, terminated and stopped.

use super::stage::unharmed;
use anyhow::Result;
use dpfw::{Cause, LinkedSlave, Master};
use dpfw_test_tasks::{add, gate, gate_once};
use dpfw_tests::fleet::{self, arrival, entry, linked};
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use futures_util::StreamExt;
use rustix::process::Signal;

async fn start(name: &str) -> Result<Process> {
    Process::start(env!("CARGO_BIN_EXE_dpfw-test-slave"), name, 1).await
}

/// Two processes and their master.
async fn two() -> Result<(Master, [Process; 2])> {
    let processes = [start("p1").await?, start("p2").await?];
    let master = fleet::master(&[&processes[0].address, &processes[1].address]).await?;
    Ok((master, processes))
}

/// The slaves in the order of their names.
fn slaves(master: &Master) -> Result<[LinkedSlave; 2]> {
    Ok([linked(master, "p1")?, linked(master, "p2")?])
}

#[tokio::test]
async fn f13_tasks_of_a_killed_slave_are_done_elsewhere() -> Result<()> {
    let (master, [mut dies, _lives]) = two().await?;
    let slaves = slaves(&master)?;
    let gates: Vec<_> =
        (0..2).map(|i| master.dispatch(gate::call("arrived".into(), "go".into(), i))).collect();
    for slave in &slaves {
        entry(slave, "arrived").await?;
    }
    let waits: Vec<_> = (0..200).map(|i| master.dispatch(add::call(i, 1))).collect();
    dies.kill()?;
    until("the loss to be noticed", async || Ok(!slaves[0].is_linked())).await?;
    slaves[1].store().put("go", &1).await?;
    for (i, gate) in (0..).zip(gates) {
        assert_eq!(within("a started task", gate).await??, i);
    }
    for (i, sum) in (0..).zip(waits) {
        assert_eq!(within("a task that waited", sum).await??, i + 1);
    }
    let stats = master.stats().await;
    assert!(stats.retried >= 1, "no started attempt was lost: {stats:?}");
    assert_eq!((stats.accepted, stats.failed, stats.stale), (202, 0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn f13_once_on_a_killed_slave_may_have_run() -> Result<()> {
    let (master, [one, two]) = two().await?;
    let slaves = slaves(&master)?;
    let handle = master.dispatch(gate_once::call("arrived".into(), "go".into(), 1));
    let mut on = None;
    until("the task to be entered", async || {
        for slave in &slaves {
            if !slave.store().list("arrived").await?.is_empty() {
                on = Some(slave.name().to_string());
            }
        }
        Ok(on.is_some())
    })
    .await?;
    let (mut dies, lives) = if on.as_deref() == Some("p1") { (one, two) } else { (two, one) };
    dies.kill()?;
    let error = within("the loss", handle).await?.expect_err("its slave was killed");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    assert_eq!(error.slave().map(ToString::to_string), on);
    unharmed(&master).await?;
    drop(lives);
    Ok(())
}

#[tokio::test]
async fn f13_a_map_goes_on_when_a_slave_is_killed() -> Result<()> {
    let (master, [mut dies, _lives]) = two().await?;
    let mut map = master.map(0..20_000, |i| add::call(i, 1)).chunk(50);
    let mut done = 0;
    while let Some(sum) = within("a sum", map.next()).await? {
        assert_eq!(sum?, done + 1);
        done += 1;
        if done == 5_000 {
            dies.kill()?;
        }
    }
    assert_eq!(done, 20_000);
    Ok(())
}

#[tokio::test]
async fn f13_a_slave_that_is_started_again_is_dialled_again() -> Result<()> {
    let mut process = start("p1").await?;
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let master = running.master;
    let direct = fleet::master(&[&process.address]).await?;
    unharmed(&direct).await?;
    process.kill()?;
    until("the loss to be noticed", async || Ok(direct.slaves().is_empty())).await?;
    // Tasks wait for a slave while one is dialled.
    let waits = direct.dispatch(add::call(1, 1));
    assert!(!waits.is_finished() && master.slaves().is_empty());
    drop(waits);
    let address = process.address.clone();
    let (slave, _) = fleet::listening(fleet::slave("s1", 1)?).await?;
    slave.listen(&address).await?;
    arrival(&direct, "s1").await?;
    unharmed(&direct).await
}

#[tokio::test]
async fn f17_sigterm_lets_what_runs_end() -> Result<()> {
    let (master, [ends, _stays]) = two().await?;
    let slaves = slaves(&master)?;
    let gates: Vec<_> =
        (0..2).map(|i| master.dispatch(gate::call("arrived".into(), "go".into(), i))).collect();
    for slave in &slaves {
        entry(slave, "arrived").await?;
    }
    let waits: Vec<_> = (0..100).map(|i| master.dispatch(add::call(i, 1))).collect();
    ends.signal(Signal::TERM)?;
    // The other one does all that waits while the first still runs its task.
    slaves[1].store().put("go", &1).await?;
    for (i, sum) in (0..).zip(waits) {
        assert_eq!(within("a task that waited", sum).await??, i + 1);
    }
    assert!(slaves[0].is_linked(), "it did not wait for what runs");
    slaves[0].store().put("go", &1).await?;
    for (i, gate) in (0..).zip(gates) {
        assert_eq!(within("a task that ran", gate).await??, i);
    }
    assert!(within("the end", ends.ended()).await??.success());
    let stats = master.stats().await;
    assert_eq!((stats.accepted, stats.failed, stats.stale), (102, 0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn f18_a_stopped_slave_is_lost_and_what_it_does_later_has_no_effect() -> Result<()> {
    let (master, [stops, _goes_on]) = two().await?;
    let slaves = slaves(&master)?;
    let gates: Vec<_> =
        (0..2).map(|i| master.dispatch(gate::call("arrived".into(), "go".into(), i))).collect();
    for slave in &slaves {
        entry(slave, "arrived").await?;
    }
    stops.signal(Signal::STOP)?;
    until("the silence to be noticed", async || Ok(!slaves[0].is_linked())).await?;
    slaves[1].store().put("go", &1).await?;
    for (i, gate) in (0..).zip(gates) {
        assert_eq!(within("a task", gate).await??, i);
    }
    stops.signal(Signal::CONT)?;
    let back = arrival(&master, "p1").await?;
    assert_ne!(back, slaves[0]);
    unharmed(&master).await?;
    let stats = master.stats().await;
    assert_eq!((stats.failed, stats.stale, stats.unresolved), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.retried, 1, "{stats:?}");
    Ok(())
}
