//! Residents that go from slave to slave, under load.

use super::resident_caller::{Caller, peer, under};
use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{Cause, Master, Resident, Stage};
use dpfw_protocol::message::{ResidentOp, SpawnAs};
use dpfw_protocol::resident::Saving;
use dpfw_test_tasks::{Counter, Fragile, add, counter, fragile, unruly};
use dpfw_tests::fleet::{linked, listening, master, slave};
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

struct Two {
    masters: [Master; 2],
    _slaves: [dpfw::Slave; 2],
}

/// Two masters, each linked to both of two slaves.
async fn two() -> Result<Two> {
    let (one, first) = listening(slave("s1", 1)?).await?;
    let (other, second) = listening(slave("s2", 1)?).await?;
    let masters = [master(&[&first, &second]).await?, master(&[&first, &second]).await?];
    Ok(Two { masters, _slaves: [one, other] })
}

#[tokio::test]
async fn a_resident_moves_under_load_and_no_call_is_lost_or_done_twice() -> Result<()> {
    let scene = two().await?;
    let [here, _] = &scene.masters;
    let (s1, s2) = (linked(here, "s1")?, linked(here, "s2")?);
    let c = s1.spawn("k", counter::new(0)).mailbox(32).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let callers = scene.masters.iter().map(|master| {
        let (master, is_over) = (master.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let c: Resident<Counter> = master.resident("k").await?;
            let (mut numbers, mut under_way) = (Vec::new(), std::collections::VecDeque::new());
            loop {
                let ends = is_over.load(Ordering::Relaxed);
                while under_way.len() < 100 && !ends {
                    under_way.push_back(c.call(counter::bump()));
                }
                match under_way.pop_front() {
                    Some(call) => numbers.push(within("a number", call).await??),
                    None => return anyhow::Ok(numbers),
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for n in 0..6 {
        let before = within("how it is", c.info()).await??.served;
        within("the move", c.move_to([&s2, &s1][n % 2])).await??;
        assert_eq!(c.slave(), *[&s2, &s1][n % 2]);
        let more = async || Ok(within("how it is", c.info()).await??.served > 50);
        until(&format!("calls behind move {n}, of {before} before"), more).await?;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for caller in callers {
        let numbers = within("the caller", caller).await???;
        assert!(numbers.is_sorted(), "the calls of a master are in their order");
        all.extend(numbers);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(scene.masters[1].residents("").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_moved_stays_where_it_is() -> Result<()> {
    let scene = two().await?;
    let [here, _] = &scene.masters;
    let (s1, s2) = (linked(here, "s1")?, linked(here, "s2")?);
    // It saves nothing.
    let u = s1.spawn("u", unruly::new()).await?;
    within("the move", u.move_to(&s2)).await?.expect_err("it does not save");
    assert_eq!(u.call(unruly::calls()).await?, 1);
    // Its key is taken there.
    let c = s1.spawn("k", counter::new(5)).await?;
    s2.store().put("k", &1).await?;
    let error = within("the move", c.move_to(&s2)).await?.expect_err("the key is taken");
    assert!(matches!(error.cause(), Cause::KeyTaken { .. }), "{error}");
    assert_eq!(c.call(counter::bump()).await?, 6);
    // It cannot be loaded there.
    let f = s1.spawn("f", fragile::new("broken".into(), true)).await?;
    let error = within("the move", f.move_to(&s2)).await?.expect_err("it does not load");
    assert!(error.to_string().contains("what was saved is broken"), "{error}");
    assert_eq!(f.call(fragile::text()).await?, "broken");
    f.call(fragile::write("whole".into())).await?;
    within("the move", f.move_to(&s2)).await??;
    assert_eq!(f.call(fragile::text()).await?, "whole");
    // To where it is already.
    within("no move", f.move_to(&s2)).await??;
    let found = here.resident::<Fragile>("f").await?;
    assert_eq!((found.slave(), found == f), (s2, true));
    Ok(())
}

/// The messages of a move, in their order.
const MESSAGES: u32 = 4;

/// Has a resident moved by hand, by a master that is lost when so many messages of the move were
/// answered; from the first to the second of these addresses.
async fn begin_to_move(addresses: [&str; 2], key: &str, messages: u32) -> Result<()> {
    let module = add::task().module().clone();
    let mut from = Caller::dial(addresses[0], "mover", &module).await?;
    let mut to = Caller::dial(addresses[1], "mover", &module).await?;
    let resident = from.found(key).await?.context("there")?.resident;
    let leave = from.ask(ResidentOp::HandOver { resident }).await?;
    let (reply, payload) = from.answer(leave).await?;
    if messages > 1 {
        let terms = *reply.spawn.context("its terms")?;
        let attempt = to.begin_spawn_with("counter.new", &payload, terms).await?;
        let new = to.spawned(attempt).await??.resident.resident;
        if messages > 2 {
            from.asked(ResidentOp::Moved { resident, to: peer("s2")? }).await?;
        }
        if messages > 3 {
            to.asked(ResidentOp::LetGo { resident: new }).await?;
        }
    }
    Ok(())
}

async fn is_somewhere_whoever_moves_it(keeps: bool) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let builder = |name: &str| -> Result<dpfw::SlaveBuilder> {
        let builder = slave(name, 1)?;
        Ok(if keeps { builder.store(directory.path().join(name)) } else { builder })
    };
    let (_one, first) = listening(builder("s1")?).await?;
    let (_other, second) = listening(builder("s2")?).await?;
    let master = master(&[&first, &second]).await?;
    for address in [&first, &second] {
        unharmed(&dpfw_tests::fleet::master(&[address]).await?).await?;
    }
    let (s1, s2) = (linked(&master, "s1")?, linked(&master, "s2")?);
    for messages in 1..=MESSAGES {
        let key = format!("k{messages}");
        let terms = SpawnAs { saving: Saving::EachCall, ..under(&key)? };
        let mut caller = Caller::dial(&first, "caller", add::task().module()).await?;
        let c = caller.spawn("counter.new", (6u64,), terms).await?;
        assert_eq!(caller.value::<u64>(c, "counter.bump", ()).await?, 7);
        begin_to_move([&first, &second], &key, messages).await?;
        // Where it is held by nobody any more it is alive or asleep.
        let stages = async || {
            let mut stages = Vec::new();
            for slave in [&s1, &s2] {
                let listed = slave.residents(&key).await?;
                stages.push(listed.first().map(|info| info.stage));
            }
            anyhow::Ok(stages)
        };
        let (alive, asleep) = (Some(Stage::Alive), Some(Stage::Asleep));
        let expected = match messages {
            1 => [alive, None],
            2 => [alive, asleep],
            3 => [None, asleep],
            _ => [None, alive],
        };
        let what = format!("{expected:?} after {messages} messages");
        until(&what, async || Ok(stages().await? == expected)).await?;
        // What is asleep gives way to one that went on where it was, and is forgotten.
        let found = master.get_or_spawn(&key, counter::new(0)).into_future();
        let found = within("it", found).await??;
        assert_eq!(within("a call", found.call(counter::bump())).await??, 8, "after {messages}");
        assert_eq!(master.resident::<Counter>(&key).await?, found);
        let only = if found.slave() == s1 { [alive, None] } else { [None, alive] };
        assert_eq!(stages().await?, only, "after {messages}");
        stopped_for_good(&master, &found).await?;
    }
    Ok(())
}

/// Stops one, and finds that it does not come back.
async fn stopped_for_good(master: &Master, c: &Resident<Counter>) -> Result<()> {
    within("the stop", c.stop()).await??;
    let again = master.get_or_spawn(c.key(), counter::new(0)).into_future();
    let again = within("another", again).await??;
    assert_eq!(within("its count", again.call(counter::peek())).await??, 0, "`{}`", c.key());
    Ok(())
}

#[tokio::test]
async fn f13_the_state_of_one_is_somewhere_whenever_who_moves_it_is_lost() -> Result<()> {
    is_somewhere_whoever_moves_it(false).await?;
    is_somewhere_whoever_moves_it(true).await
}

#[tokio::test]
async fn f13_a_move_that_a_lost_link_breaks_off_leaves_nothing_behind() -> Result<()> {
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_other, second) = listening(slave("s2", 1)?).await?;
    let proxy = Proxy::before(&second)?;
    let beside = master(&[&second]).await?;
    let master = master(&[first.as_str(), proxy.address()]).await?;
    let (s1, s2) = (linked(&master, "s1")?, linked(&master, "s2")?);
    let c = s1.spawn("k", counter::new(6)).await?;
    // It comes, and whoever moves it does not hear of it.
    proxy.back().swallow();
    let moving = tokio::spawn({
        let c = c.clone();
        async move { c.move_to(&s2).await }
    });
    until("it to come", async || Ok(!beside.residents("k").await?.is_empty())).await?;
    proxy.reset();
    proxy.back().pass();
    let error = within("the move", moving).await??.expect_err("it broke off");
    assert!(matches!(error.cause(), Cause::SlaveLost { .. }), "{error}");
    assert_eq!(beside.residents("k").await?, []);
    assert_eq!(within("a call", c.call(counter::bump())).await??, 7);
    stopped_for_good(&master, &c).await
}
