//! R3, R5, F13, F29: how residents fail, what becomes of those that wait, and when they are begun
//! again.

use anyhow::Result;
use dpfw::{Cause, End, Limit, MethodExt, Resident, Restart};
use dpfw_test_tasks::{Counter, Unruly, counter, unruly};
use dpfw_test_waiting::sleeper;
use dpfw_tests::fleet::{Pair, entry, linked, master};
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use std::time::Duration;
use tokio::sync::oneshot;

const SLAVE: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// At once, and so often in a row as long as a test takes.
fn at_once(retries: u32) -> Restart {
    Restart::every(Duration::from_secs(600)).retries(retries)
}

/// Without a pause worth the name.
fn soon(retries: u32) -> Restart {
    Restart::every(Duration::from_millis(1)).retries(retries)
}

async fn calls(u: &Resident<Unruly>) -> Result<u32> {
    Ok(within("its count", u.call(unruly::calls())).await??)
}

#[tokio::test]
async fn f29_a_resident_that_panicked_ends_and_its_next_caller_is_told() -> Result<()> {
    let pair = Pair::simple().await?;
    let u = pair.master.spawn("u", unruly::new()).await?;
    assert_eq!(calls(&u).await?, 1);
    let error = within("the panic", u.call(unruly::boom("ouch".into()))).await?;
    let error = error.expect_err("it panics");
    let Cause::Panic { message, location, .. } = error.cause() else { panic!("{error}") };
    assert_eq!(message, "ouch!");
    assert!(location.as_ref().is_some_and(|at| at.file.ends_with("residents.rs")), "{error}");
    let error = u.call(unruly::calls()).await.expect_err("it has ended");
    let told = matches!(error.cause(), Cause::ResidentEnded { why, .. } if why.contains("ouch!"));
    assert!(told, "{error}");
    assert!(matches!(u.wait().await?, End::Failed(Cause::Panic { .. })));
    let fresh = pair.master.spawn("u", unruly::new()).await?;
    assert_ne!(fresh, u);
    assert_eq!(calls(&fresh).await?, 1);
    Ok(())
}

#[tokio::test]
async fn f29_a_resident_with_a_policy_is_begun_again_with_nothing_of_the_old_one() -> Result<()> {
    let pair = Pair::simple().await?;
    let u = pair.master.spawn("u", unruly::new()).restart(soon(100)).await?;
    for n in 0..3 {
        assert_eq!((calls(&u).await?, calls(&u).await?), (1, 2), "round {n}");
        let failure = match n {
            0 => within("the panic", u.call(unruly::boom("ouch".into()))).await?,
            1 => within("the trap", u.call(unruly::traps())).await?,
            _ => {
                let endless = u.call(unruly::spin().timeout(Duration::from_millis(30)));
                within("the deadline", endless).await?
            }
        };
        let error = failure.expect_err("it fails");
        let is_it = match n {
            0 => matches!(error.cause(), Cause::Panic { .. }),
            1 => matches!(error.cause(), Cause::Trap { .. }),
            _ => error.cause() == &Cause::DeadlineExceeded,
        };
        assert!(is_it, "{error}");
    }
    until("it to be begun again", async || Ok(u.info().await?.restarts == 3)).await
}

#[tokio::test]
async fn f26_a_resident_over_its_memory_is_told_the_limit() -> Result<()> {
    let pair = Pair::simple().await?;
    let limits = dpfw::TaskLimits::new().memory(32 << 20);
    let u = pair.master.spawn("u", unruly::new()).limits(limits).restart(soon(9)).await?;
    assert_eq!(u.call(unruly::grow(4)).await?, 4);
    let error = within("the bomb", u.call(unruly::grow(1000))).await?.expect_err("too much");
    assert!(matches!(error.cause(), Cause::Limit { limit: Limit::Memory, .. }), "{error}");
    assert_eq!(calls(&u).await?, 1, "it was begun again");
    Ok(())
}

#[tokio::test]
async fn what_was_saved_is_carried_over_a_restart() -> Result<()> {
    let pair = Pair::simple().await?;
    let each = dpfw::Saving::EachCall;
    let c = pair.master.spawn("k", counter::new(10)).restart(soon(9)).saving(each).await?;
    assert_eq!(c.call(counter::bump()).await?, 11);
    c.call(counter::bump_and_panic()).await.expect_err("it panics");
    assert_eq!(within("the next", c.call(counter::bump())).await??, 12, "12 was counted in vain");
    Ok(())
}

#[tokio::test]
async fn r5_calls_in_the_mailbox_are_kept_or_told_as_the_policy_says() -> Result<()> {
    let pair = Pair::simple().await?;
    let here = pair.linked()?;
    let kept = here.spawn("kept", unruly::new()).restart(soon(9)).await?;
    let told = here.spawn("told", unruly::new()).restart(soon(9)).tell_on_restart().await?;
    let ended = here.spawn("ended", unruly::new()).await?;
    for (u, key) in [(&kept, "kept"), (&told, "told"), (&ended, "ended")] {
        let spins = u.call(unruly::spin());
        let waits = [u.call(unruly::calls()), u.call(unruly::calls())];
        until("it to run", async || Ok(u.info().await?.waiting == 2)).await?;
        spins.cancel();
        let error = within("the cancelled one", spins).await?.expect_err("it was cancelled");
        assert_eq!(error.cause(), &Cause::Cancelled);
        for (n, call) in waits.into_iter().enumerate() {
            match (key, within("one that waited", call).await?) {
                ("kept", outcome) => assert_eq!(outcome?, n as u32 + 1),
                ("told", outcome) => {
                    let error = outcome.expect_err("it was told");
                    assert_eq!(error.cause(), &Cause::ResidentRestarted { key: "told".into() });
                }
                (_, outcome) => {
                    let error = outcome.expect_err("it has ended");
                    assert!(matches!(error.cause(), Cause::ResidentEnded { .. }), "{error}");
                }
            }
        }
    }
    assert_eq!(calls(&told).await?, 1);
    Ok(())
}

#[tokio::test]
async fn r5_r3_after_so_many_retries_it_has_failed_and_who_spawned_it_is_told() -> Result<()> {
    let pair = Pair::simple().await?;
    let (tell, told) = oneshot::channel();
    let u = pair
        .master
        .spawn("u", unruly::new())
        .restart(at_once(0))
        .on_final_failure(move |failure| drop(tell.send(failure)))
        .await?;
    u.call(unruly::boom("first".into())).await.expect_err("it panics");
    let failure = within("the final failure", told).await??;
    assert!(matches!(failure.cause(), Cause::Panic { message, .. } if message == "first!"));
    let (tell, told) = oneshot::channel();
    let twice = pair
        .master
        .spawn("u", unruly::new())
        .restart(soon(2))
        .on_final_failure(move |failure| drop(tell.send(failure)))
        .await?;
    let mut last = String::new();
    for n in 0.. {
        // What lived for twice the interval has its count forgotten, so three in a row it is.
        match within("the panic", twice.call(unruly::boom(n.to_string()))).await? {
            Err(error) if matches!(error.cause(), Cause::Panic { .. }) => last = format!("{n}!"),
            Err(error) => {
                assert!(matches!(error.cause(), Cause::ResidentEnded { .. }), "{error}");
                break;
            }
            Ok(()) => panic!("it panics"),
        }
    }
    let failure = within("the final failure", told).await??;
    let is_last = matches!(failure.cause(), Cause::Panic { message, .. } if *message == last);
    assert!(is_last, "{failure} and not {last}");
    Ok(())
}

#[tokio::test]
async fn r3_what_is_begun_again_is_made_by_its_constructor_with_the_same_arguments() -> Result<()> {
    let pair = Pair::simple().await?;
    let spawn = pair.linked()?.spawn("u", unruly::named("what it was given".into()));
    let u = spawn.restart(soon(9)).await?;
    for round in 0..3 {
        assert_eq!(within("its name", u.call(unruly::name())).await??, "what it was given");
        assert_eq!(calls(&u).await?, 1, "round {round}");
        within("the trap", u.call(unruly::traps())).await?.expect_err("it traps");
    }
    Ok(())
}

#[tokio::test]
async fn r5_so_many_failures_as_there_are_retries_are_survived_and_the_next_one_is_not()
-> Result<()> {
    const RETRIES: u32 = 3;
    let pair = Pair::simple().await?;
    let (tell, mut told) = oneshot::channel();
    // Each call waits for the one that is begun again, and so comes well before twice the interval.
    let policy = Restart::every(Duration::from_millis(300)).retries(RETRIES);
    let spawn = pair.master.spawn("u", unruly::new()).restart(policy);
    let u = spawn.on_final_failure(move |failure| drop(tell.send(failure))).await?;
    for n in 0..=RETRIES {
        assert!(told.try_recv().is_err(), "{n} are survived");
        let error = within("the panic", u.call(unruly::boom(n.to_string()))).await?;
        let error = error.expect_err("it panics");
        let message = format!("{n}!");
        let is_it = matches!(error.cause(), Cause::Panic { message: m, .. } if *m == message);
        assert!(is_it, "{error}");
    }
    let failure = within("the final failure", told).await??;
    assert!(failure.to_string().contains(&format!("{RETRIES}!")), "{failure}");
    let error = u.call(unruly::calls()).await.expect_err("it has ended");
    assert!(matches!(error.cause(), Cause::ResidentEnded { .. }), "{error}");
    Ok(())
}

/// A master that dials one slave again for longer than anything here takes.
async fn patient(address: &str) -> Result<dpfw::Master> {
    let builder = dpfw::Master::builder().slave(address).dial_tries(Some(10_000));
    Ok(builder.dial_pause(Duration::from_millis(20)).build().await?)
}

/// Calls it until it has ended.
async fn fails_for_good(u: &Resident<Unruly>) -> Result<()> {
    until("it to have ended", async || {
        let outcome = within("the panic", u.call(unruly::boom("last".into()))).await?;
        let error = outcome.expect_err("it fails");
        Ok(matches!(error.cause(), Cause::ResidentEnded { .. }))
    })
    .await
}

#[tokio::test]
async fn r3_r5_over_lost_links_who_spawned_it_is_told_once_of_the_failure_itself() -> Result<()> {
    let pair = Pair::simple().await?;
    let proxy = dpfw_tests::proxy::Proxy::before(&pair.address)?;
    let master = patient(proxy.address()).await?;
    let is_last = |failure: &dpfw::TaskError| matches!(failure.cause(), Cause::Panic { message, .. } if message == "last!");
    // It lives on over the loss, and fails when it is reached again.
    let (tell, mut told) = oneshot::channel();
    let spawning = master.spawn("u", unruly::new()).restart(soon(2));
    let u = spawning.on_final_failure(move |failure| drop(tell.send(failure))).await?;
    for round in 0..3 {
        proxy.reset();
        let reached = async || Ok(within("a call", u.call(unruly::calls())).await?.is_ok());
        until(&format!("it to be reached again, {round}"), reached).await?;
        assert!(told.try_recv().is_err(), "it lives");
    }
    fails_for_good(&u).await?;
    let failure = within("the final failure", told).await??;
    assert!(is_last(&failure), "{failure}");
    // And it fails while nobody can hear of it.
    let (tell, mut told) = oneshot::channel();
    let spawning = master.spawn("v", unruly::new());
    let v = spawning.on_final_failure(move |failure| drop(tell.send(failure))).await?;
    calls(&v).await?;
    proxy.there().hold();
    proxy.reset();
    until("the link to be lost", async || Ok(!v.slave().is_linked())).await?;
    fails_for_good(&pair.master.resident::<Unruly>("v").await?).await?;
    assert!(told.try_recv().is_err(), "nobody can know");
    proxy.heal();
    let failure = within("the final failure", told).await??;
    assert!(is_last(&failure), "{failure}");
    assert!(matches!(within("its end", v.wait()).await??, End::Failed(Cause::Panic { .. })));
    Ok(())
}

#[tokio::test]
async fn r3_who_gets_one_that_is_there_is_told_of_its_final_failure_too() -> Result<()> {
    let pair = Pair::simple().await?;
    let u = pair.master.spawn("u", unruly::new()).await?;
    let (tell, told) = oneshot::channel();
    let spawning = pair.master.get_or_spawn("u", unruly::new());
    let same = spawning.on_final_failure(move |failure| drop(tell.send(failure))).await?;
    assert_eq!(same, u);
    u.call(unruly::boom("ouch".into())).await.expect_err("it panics");
    let failure = within("the final failure", told).await??;
    assert!(matches!(failure.cause(), Cause::Panic { .. }), "{failure}");
    Ok(())
}

#[tokio::test]
async fn a_call_that_waits_holds_no_slot_and_a_cancelled_one_ends() -> Result<()> {
    let pair = Pair::simple().await?;
    let here = pair.linked()?;
    let s = here.spawn("s", sleeper::new()).restart(soon(9)).await?;
    let waits = s.call(sleeper::wait("go".into(), "there".into()));
    let behind = s.call(sleeper::tick());
    entry(&here, "there").await?;
    // The one slot is free, for other residents too.
    let c = here.spawn("c", counter::new(0)).await?;
    assert_eq!(within("the counter", c.call(counter::bump())).await??, 1);
    here.store().put("go", &1).await?;
    assert_eq!((within("it", waits).await??, within("behind it", behind).await??), (1, 2));
    assert!(here.store().remove("there").await? && here.store().remove("go").await?);
    let waits = s.call(sleeper::wait("never".into(), "there".into()));
    entry(&here, "there").await?;
    waits.cancel();
    let error = within("the cancelled one", waits).await?.expect_err("it was cancelled");
    assert_eq!(error.cause(), &Cause::Cancelled);
    assert_eq!(within("one that was begun again", s.call(sleeper::tick())).await??, 1);
    Ok(())
}

#[tokio::test]
async fn f13_a_killed_slave_loses_its_residents_and_says_so() -> Result<()> {
    let mut process = Process::start(SLAVE, "s1", 1).await?;
    let master = master(&[&process.address]).await?;
    let (tell, told) = oneshot::channel();
    let u = master
        .spawn("u", unruly::new())
        .restart(soon(9))
        .on_final_failure(move |failure| drop(tell.send(failure)))
        .await?;
    let spins = u.call(unruly::spin());
    until("it to run", async || Ok(u.info().await?.served == 0)).await?;
    process.kill()?;
    let lost = |may_have_run| Cause::ResidentLost { key: "u".into(), may_have_run };
    let error = within("the loss", spins).await?.expect_err("it is lost");
    assert_eq!(error.cause(), &lost(true));
    let error = within("the next", u.call(unruly::calls())).await?.expect_err("it is lost");
    assert_eq!(error.cause(), &lost(false));
    assert!(matches!(within("the event", told).await??.cause(), Cause::ResidentLost { .. }));
    assert!(u.info().await.is_err() && u.wait().await.is_err());
    Ok(())
}

#[tokio::test]
async fn f13_over_a_reset_link_the_same_resident_is_called_again() -> Result<()> {
    let pair = Pair::simple().await?;
    let proxy = dpfw_tests::proxy::Proxy::before(&pair.address)?;
    let master = master(&[proxy.address()]).await?;
    let c = master.spawn("k", counter::new(0)).await?;
    assert_eq!(c.call(counter::bump()).await?, 1);
    proxy.reset();
    until("the resident to be called again", async || {
        match within("a call", c.call(counter::bump())).await? {
            Ok(n) => Ok(n >= 2),
            Err(error) => {
                assert!(matches!(error.cause(), Cause::ResidentLost { .. }), "{error}");
                Ok(false)
            }
        }
    })
    .await?;
    assert_eq!(linked(&master, "s1")?, c.slave());
    let found = master.resident::<Counter>("k").await?;
    assert_eq!(found, c);
    Ok(())
}
