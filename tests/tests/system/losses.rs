//! F13 to F15, F17: slaves that vanish, drain and come back, in the test's own process.

use super::stage::unharmed;
use anyhow::Result;
use dpfw::{CallExt, Cause, Drained, Master, TaskHandle};
use dpfw_protocol::hello::Role;
use dpfw_test_tasks::{add, count, gate, gate_once, spin};
use dpfw_tests::fleet::{self, Pair, arrival, dial, entry, linked, listening, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::{is_pending, until, within};
use std::time::Duration;

/// Longer than what runs here.
const DRAIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn slaves_join_while_tasks_run() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let (master, address) = (running.master, running.listening[0].to_string());
    let handles: Vec<_> = (0..500).map(|i| master.dispatch(add::call(i, 1))).collect();
    let mut slaves = Vec::new();
    for i in 0..4 {
        let slave = slave(&format!("s{i}"), 1)?.build()?;
        slave.dial(dial(&address));
        slaves.push(slave);
        arrival(&master, &format!("s{i}")).await?;
    }
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(within("a sum", handle).await??, i + 1);
    }
    Ok(())
}

#[tokio::test]
async fn slaves_join_and_leave_while_tasks_run() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let (master, address) = (running.master, running.listening[0].to_string());
    let stays = slave("stays", 1)?.build()?;
    stays.dial(dial(&address));
    let handles: Vec<_> = (0..3000).map(|i| master.dispatch(add::call(i, 1))).collect();
    for turn in 0..5 {
        let name = format!("guest{turn}");
        let guest = slave(&name, 2)?.build()?;
        guest.dial(dial(&address));
        arrival(&master, &name).await?;
        drop(guest);
    }
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(within("a sum", handle).await??, i + 1);
    }
    let stats = master.stats().await;
    assert_eq!((stats.accepted, stats.failed), (3000, 0), "{stats:?}");
    Ok(())
}

/// Two slaves; what runs on the first does so by its own choice.
async fn two() -> Result<(Master, dpfw::Slave, dpfw::Slave)> {
    let (one, first) = listening(slave("s1", 1)?).await?;
    let (two, second) = listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[first, second]).await?;
    Ok((master, one, two))
}

/// Which of the slaves has this entry first.
async fn holder(master: &Master, key: &str) -> Result<String> {
    let mut found = None;
    until(&format!("the entry `{key}` anywhere"), async || {
        for slave in master.slaves() {
            if !slave.store().list(key).await?.is_empty() {
                found = Some(slave.name().to_string());
            }
        }
        Ok(found.is_some())
    })
    .await?;
    Ok(found.unwrap_or_default())
}

#[tokio::test]
async fn f13_a_started_task_is_done_elsewhere_when_its_slave_is_gone() -> Result<()> {
    let (master, one, two) = two().await?;
    let mut handle = master.dispatch(gate::call("arrived".into(), "go".into(), 7));
    let first = holder(&master, "arrived").await?;
    let (dies, lives) = if first == "s1" { (one, two) } else { (two, one) };
    drop(dies);
    let other = linked(&master, lives.name().as_str())?;
    entry(&other, "arrived").await?;
    other.store().put("go", &1).await?;
    assert_eq!(within("the result", &mut handle).await??, 7);
    let receipt = handle.receipt().expect("a result");
    assert_eq!(receipt.slave.as_str(), lives.name().as_str());
    let stats = master.stats().await;
    assert_eq!((stats.retried, stats.accepted, stats.failed), (1, 1, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn once_is_never_tried_again_when_its_slave_is_gone() -> Result<()> {
    for by_task in [true, false] {
        let (master, one, two) = two().await?;
        let (arrived, go) = ("arrived".to_owned(), "go".to_owned());
        let handle = match by_task {
            true => master.dispatch(gate_once::call(arrived, go, 7)),
            false => master.dispatch(gate::call(arrived, go, 7).once()),
        };
        let first = holder(&master, "arrived").await?;
        let (dies, lives) = if first == "s1" { (one, two) } else { (two, one) };
        drop(dies);
        let error = within("the loss", handle).await?.expect_err("its slave is gone");
        assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
        let text = error.to_string();
        assert!(
            text.ends_with(&format!("on {first}: the slave was lost and the task may have run")),
            "{text}"
        );
        unharmed(&master).await?;
        let other = linked(&master, lives.name().as_str())?;
        assert!(other.store().list("arrived").await?.is_empty(), "it was tried again");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_placed_on_a_slave_goes_with_it() -> Result<()> {
    let (master, one, _two) = two().await?;
    let chosen = linked(&master, "s1")?;
    let runs = master.dispatch(gate::call("arrived".into(), "go".into(), 7).on(&chosen));
    let waits = master.dispatch(add::call(1, 1).on(&chosen));
    entry(&chosen, "arrived").await?;
    drop(one);
    let error = within("the loss", runs).await?.expect_err("its slave is gone");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: true });
    let error = within("the loss", waits).await?.expect_err("its slave is gone");
    assert!(matches!(error.cause(), Cause::SlaveLost { .. }), "{error}");
    assert!(!chosen.is_linked());
    let late = within("the loss", master.dispatch(add::call(1, 1).on(&chosen))).await?;
    assert_eq!(late.expect_err("it is gone").cause(), &Cause::SlaveLost { may_have_run: false });
    let error = chosen.store().get::<u64>("x").await.expect_err("it is gone");
    assert!(matches!(error.cause(), Cause::SlaveLost { .. }), "{error}");
    assert!(error.to_string().starts_with("the store of s1: the slave was lost"), "{error}");
    unharmed(&master).await
}

#[tokio::test]
async fn f17_a_drain_lets_what_runs_end_and_gives_back_what_waits() -> Result<()> {
    let (master, one, two) = two().await?;
    let (first, second) = (linked(&master, "s1")?, linked(&master, "s2")?);
    let on = |slave: &dpfw::LinkedSlave| gate::call("arrived".into(), "go".into(), 7).on(slave);
    let (here, there) = (master.dispatch(on(&first)), master.dispatch(on(&second)));
    entry(&first, "arrived").await?;
    entry(&second, "arrived").await?;
    // These wait, some of them at the slave that is about to drain.
    let waits: Vec<_> = (0..100).map(|i| master.dispatch(add::call(i, 1))).collect();
    let mut drains = std::pin::pin!(one.drain(DRAIN));
    assert!(is_pending(&mut drains).await);
    second.store().put("go", &1).await?;
    assert_eq!(within("what ran there", there).await??, 7);
    for (i, handle) in (0..).zip(waits) {
        let mut handle = handle;
        assert_eq!(within("what waited", &mut handle).await??, i + 1);
        let receipt = handle.receipt().expect("a result");
        assert_eq!((receipt.slave.as_str(), receipt.attempts), ("s2", 1));
    }
    assert!(!here.is_finished() && is_pending(&mut drains).await, "what runs was not waited for");
    first.store().put("go", &1).await?;
    assert_eq!(within("what ran", here).await??, 7);
    assert_eq!(within("the drain", drains).await?, Drained::Clean);
    until("the slave to leave", async || Ok(master.slaves().len() == 1)).await?;
    drop(two);
    Ok(())
}

#[tokio::test]
async fn f17_a_drain_interrupts_what_does_not_end_in_time() -> Result<()> {
    let pair = Pair::simple().await?;
    let handle = pair.master.dispatch(spin::call("spins".into()).once());
    entry(&pair.linked()?, "spins").await?;
    let drained = pair.slave.drain(Duration::from_millis(50));
    let Drained::Interrupted(left) = within("the drain", drained).await? else {
        panic!("it never ends");
    };
    let told = left.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(told[0].starts_with("`spin` of "), "{told:?}");
    assert!(left.len() == 1 && left[0].stopped, "{left:?}");
    let error = within("the end", handle).await?.expect_err("it never ends");
    let expected = matches!(error.cause(), Cause::SlaveLost { may_have_run: true });
    assert!(expected, "{error}");
    Ok(())
}

#[tokio::test]
async fn a_slave_that_comes_back_is_another_one() -> Result<()> {
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let (master, address) = (running.master, running.listening[0].to_string());
    let one = slave("s1", 1)?.build()?;
    one.dial(dial(&address));
    let before = arrival(&master, "s1").await?;
    before.store().put("k", &1).await?;
    drop(one);
    until("the slave to leave", async || Ok(master.slaves().is_empty())).await?;
    let _two = {
        let two = slave("s1", 1)?.build()?;
        two.dial(dial(&address));
        two
    };
    let after = arrival(&master, "s1").await?;
    assert_ne!(before, after);
    assert!(!before.is_linked() && after.is_linked());
    assert_eq!(after.store().get::<u64>("k").await?, None);
    let mut counted: TaskHandle<u32> = master.dispatch(count::call().on(&after));
    assert_eq!(within("the count", &mut counted).await??, 1);
    Ok(())
}

#[tokio::test]
async fn a_dropped_slave_closes_its_port_and_its_links() -> Result<()> {
    let pair = Pair::simple().await?;
    let spins = pair.master.dispatch(spin::call("spins".into()).once());
    entry(&pair.linked()?, "spins").await?;
    let Pair { master, slave, address } = pair;
    drop(slave);
    let refused = tokio::net::TcpStream::connect(&address).await;
    assert!(refused.is_err(), "the port is still listened on");
    let error = within("the loss", spins).await?.expect_err("its slave is gone");
    assert!(matches!(error.cause(), Cause::SlaveLost { .. }), "{error}");
    drop(master);
    Ok(())
}

#[tokio::test]
async fn a_port_that_no_slave_answers_at_any_more_is_given_up() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let answers = async {
        let mut wire = Wire::accept(&listener).await?;
        wire.greet(&hello(Role::Slave, "s1")?).await?;
        anyhow::Ok(wire)
    };
    let builder = Master::builder().slave(&address).dial_tries(Some(3));
    let builder = builder.dial_pause(Duration::from_millis(1));
    let (wire, master) = tokio::join!(answers, within("the link", builder.build()));
    let (wire, master) = (wire?, master??);
    let waits = master.dispatch(add::call(1, 1));
    drop(wire);
    // Something else has its port now, and accepts whoever comes.
    let others = async {
        for _ in 0..3 {
            Wire::accept(&listener).await?.raw(b"220 mail.example ESMTP\r\n").await?;
        }
        anyhow::Ok(())
    };
    let (others, outcome) =
        within("the end of dialling", async { tokio::join!(others, waits) }).await?;
    others?;
    assert_eq!(outcome.expect_err("no slave").cause(), &Cause::NoSlaves);
    let stats = master.stats().await;
    assert_eq!((stats.slaves, stats.unresolved), (0, 0), "{stats:?}");
    Ok(())
}
