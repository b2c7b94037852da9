//! F13 and F29 for residents: what calls get when the link is lost, and where a resident is
//! looked for then; at a slave that is spoken by hand.

use super::by_hand::{ByHand, bump, info};
use anyhow::Result;
use dpfw::{Cause, End, MethodExt, Resident, TaskError};
use dpfw_protocol::hello::Role;
use dpfw_protocol::message::{ResidentOp, ResidentReply};
use dpfw_protocol::resident;
use dpfw_test_tasks::{Counter, counter};
use dpfw_tests::fleet::arrival;
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::{is_pending, until, within};
use futures_util::future::BoxFuture;

fn lost(may_have_run: bool) -> Cause {
    Cause::ResidentLost { key: "k".into(), may_have_run }
}

/// Waits until the link is lost.
async fn gone(scene: &ByHand) -> Result<()> {
    until("the link to be lost", async || Ok(!scene.linked.is_linked())).await
}

async fn fails(c: &Resident<Counter>) -> Result<Cause> {
    let outcome = within("the failure", c.call(bump())).await?;
    Ok(outcome.expect_err("it is lost").cause().clone())
}

#[tokio::test]
async fn f13_calls_that_are_under_way_may_have_run_and_later_ones_have_not() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let (out, waits) = (c.call(bump()), c.call(bump()));
    let cast = c.cast(bump());
    scene.called().await?;
    let mut wait = Box::pin(c.wait());
    assert!(is_pending(&mut wait).await);
    scene.wire = Wire::memory().1;
    let error = within("the one that was out", out).await?.expect_err("it is lost");
    assert_eq!(error.cause(), &lost(true));
    assert_eq!(
        error.to_string(),
        "`counter.bump` on s1: the resident `k` was lost, and the call may have run"
    );
    let error = within("the one that waited", waits).await?.expect_err("it is lost");
    assert_eq!(error.cause(), &lost(false));
    assert!(within("the cast", cast).await?.is_err());
    assert!(within("the end", wait).await?.is_err());
    gone(&scene).await?;
    assert_eq!(fails(&c).await?, lost(false));
    // Its slave comes back as another process, with nothing, and even under the same name.
    let again = hello(Role::Slave, "s1")?;
    scene.wire = scene.another(&again).await?;
    scene.linked = arrival(&scene.master, "s1").await?;
    assert_eq!(fails(&c).await?, lost(false));
    Ok(())
}

#[tokio::test]
async fn f13_over_a_new_link_to_the_same_process_the_resident_is_found_by_its_number() -> Result<()>
{
    let (mut scene, c) = ByHand::with_counter(4).await?;
    let same = scene.hello.clone();
    let old = c.call(bump());
    scene.called().await?;
    // The newer link wins, and the older one is closed.
    scene.wire = scene.another(&same).await?;
    assert_eq!(within("the old call", old).await?.expect_err("lost").cause(), &lost(true));
    scene.methods.clear();
    gone(&scene).await?;
    scene.linked = arrival(&scene.master, "s1").await?;
    let (first, second) = (c.call(bump()), c.call(counter::peek()));
    assert_eq!(scene.finds(vec![info(1, "k", 4)?]).await?.as_str(), "k");
    let calls = [scene.called().await?, scene.called().await?];
    assert_eq!(calls.each_ref().map(|it| &*it.method), ["counter.bump", "counter.peek"]);
    scene.done(&calls[0], 1).await?;
    scene.done(&calls[1], 1).await?;
    assert_eq!((within("one", first).await??, within("two", second).await??), (1, 1));
    Ok(())
}

#[tokio::test]
async fn f13_a_slave_that_is_lost_in_a_search_is_asked_again_before_another_is_spawned()
-> Result<()> {
    let mut scene = ByHand::start().await?;
    let mut other = scene.beside("s2").await?;
    let mut found = scene.master.get_or_spawn("k", counter::new(0)).into_future();
    assert!(is_pending(&mut found).await);
    other.finds(Vec::new()).await?;
    let (_, op) = scene.asked().await?;
    assert!(matches!(op, ResidentOp::Find { .. }), "{op:?}");
    scene.wire = Wire::memory().1;
    gone(&scene).await?;
    is_found_when_it_is_back(scene, other, found).await
}

#[tokio::test]
async fn f13_a_slave_that_was_lost_just_before_a_search_is_waited_for() -> Result<()> {
    let mut scene = ByHand::start().await?;
    let other = scene.beside("s2").await?;
    scene.wire = Wire::memory().1;
    gone(&scene).await?;
    let mut found = scene.master.get_or_spawn("k", counter::new(0)).into_future();
    assert!(is_pending(&mut found).await);
    is_found_when_it_is_back(scene, other, found).await
}

/// The first slave comes back with the resident, and the other has none all the time.
async fn is_found_when_it_is_back(
    mut scene: ByHand,
    mut other: ByHand,
    found: BoxFuture<'static, Result<Resident<Counter>, TaskError>>,
) -> Result<()> {
    let same = scene.hello.clone();
    let answers = async {
        scene.wire = scene.another(&same).await?;
        scene.finds(vec![info(1, "k", 4)?]).await
    };
    // As often as it is asked, and nothing is spawned there.
    let others = async {
        loop {
            other.finds(Vec::new()).await?;
        }
    };
    let found = async {
        tokio::select! {
            found = found => anyhow::Ok(found?),
            error = others => error,
        }
    };
    let (found, answered) = within("it", async { tokio::join!(found, answers) }).await?;
    answered?;
    let found: Resident<Counter> = found?;
    assert_eq!((found.key(), found.slave().name().as_str()), ("k", "s1"));
    Ok(())
}

#[tokio::test]
async fn f13_where_a_slave_is_lost_that_may_have_it_nothing_is_spawned_elsewhere() -> Result<()> {
    let mut scene = ByHand::start().await?;
    let mut other = scene.beside("s2").await?;
    let master = scene.master.clone();
    let mut found = master.get_or_spawn("k", counter::new(0)).into_future();
    assert!(is_pending(&mut found).await);
    scene.asked().await?;
    scene.wire = Wire::memory().1;
    let others = async {
        loop {
            other.finds(Vec::new()).await?;
        }
    };
    let outcome: Result<_> = tokio::select! {
        found = within("the refusal", found) => Ok(found?),
        error = others => error,
    };
    let error = outcome?.expect_err("it may be at s1");
    assert_eq!(error.cause(), &Cause::SlaveLost { may_have_run: false });
    Ok(())
}

#[tokio::test]
async fn f13_another_resident_under_the_key_is_not_taken_for_the_lost_one() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(4).await?;
    let same = scene.hello.clone();
    scene.wire = scene.another(&same).await?;
    gone(&scene).await?;
    scene.linked = arrival(&scene.master, "s1").await?;
    let call = c.call(bump());
    scene.finds(vec![info(2, "k", 4)?]).await?;
    assert_eq!(within("the call", call).await?.expect_err("lost").cause(), &lost(false));
    let found = scene.found(info(2, "k", 4)?).await?;
    assert_ne!(found, c);
    Ok(())
}

#[tokio::test]
async fn calls_follow_a_resident_that_has_moved_in_their_order() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(3).await?;
    let mut other = scene.beside("s2").await?;
    let handles: Vec<_> = (0..5u64).map(|n| c.call(counter::skip(n))).collect();
    let calls = [scene.called().await?, scene.called().await?, scene.called().await?];
    let moved = || Cause::ResidentMoved { key: "k".into(), to: "s2".into() };
    scene.done(&calls[0], 0).await?;
    // Four waits here, and takes the first's place: it comes back like the others.
    let fourth = scene.called().await?;
    scene.fail(&calls[1], moved()).await?;
    scene.fail(&calls[2], moved()).await?;
    let later = c.call(counter::skip(9));
    scene.fail(&fourth, moved()).await?;
    other.finds(vec![info(7, "k", 8)?]).await?;
    for (expected, number) in [(1, 1), (2, 2), (3, 3), (4, 4), (9, 5)] {
        let call = other.called().await?;
        assert_eq!((&call.args[..], call.call.resident.0), (&[0x91, expected][..], 7));
        other.done(&call, number).await?;
    }
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(within("a result", handle).await??, n as u64);
    }
    assert_eq!(within("the last", later).await??, 5);
    assert_eq!(c.slave(), other.linked);
    Ok(())
}

#[tokio::test]
async fn without_a_link_to_where_it_has_moved_the_caller_is_told_where() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(3).await?;
    let moved = Cause::ResidentMoved { key: "k".into(), to: "s2".into() };
    let first = c.call(bump());
    let call = scene.called().await?;
    scene.fail(&call, moved.clone()).await?;
    assert_eq!(within("the first", first).await?.expect_err("it moved").cause(), &moved);
    assert_eq!(fails(&c).await?, moved);
    // With a link there, it goes on.
    let mut other = scene.beside("s2").await?;
    let next = c.call(bump());
    other.finds(vec![info(7, "k", 8)?]).await?;
    let call = other.called().await?;
    other.done(&call, 1).await?;
    assert_eq!(within("the next", next).await??, 1);
    Ok(())
}

#[tokio::test]
async fn a_resident_is_moved_by_telling_both_in_order() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(3).await?;
    let mut other = scene.beside("s2").await?;
    let to = other.linked.clone();
    let mover = c.clone();
    let mut moving = Box::pin(async move { mover.move_to(&to).await });
    assert!(is_pending(&mut moving).await);
    let (conversation, op) = scene.asked().await?;
    assert!(matches!(op, ResidentOp::HandOver { resident } if resident.0 == 1), "{op:?}");
    // A call that comes meanwhile is in the old mailbox, and comes back.
    let call = c.call(bump());
    let called = scene.called().await?;
    scene.reply_with(conversation, left()?, &[0x91, 0, 5]).await?;
    let (attempt, spawn, constructor, payload) = other.spawned().await?;
    assert_eq!((spawn.held, spawn.state, &*constructor), (true, Some(1), "counter.new"));
    assert_eq!(payload, [0x91, 0, 5]);
    other.has_spawned(attempt, info(7, "k", 8)?).await?;
    let (conversation, op) = scene.asked().await?;
    let ResidentOp::Moved { to, .. } = &op else { panic!("{op:?}") };
    assert_eq!(to.as_str(), "s2");
    let moved = Cause::ResidentMoved { key: "k".into(), to: "s2".into() };
    scene.fail(&called, moved).await?;
    scene.reply(conversation, ResidentReply::default()).await?;
    loop {
        // It is let go, and found, in any order.
        let (conversation, op) = other.asked().await?;
        match op {
            ResidentOp::LetGo { resident } => {
                assert_eq!(resident.0, 7);
                other.reply(conversation, ResidentReply::default()).await?;
                break;
            }
            ResidentOp::Find { .. } => {
                let residents = vec![info(7, "k", 8)?];
                other
                    .reply(conversation, ResidentReply { residents, ..Default::default() })
                    .await?;
            }
            op => panic!("{op:?}"),
        }
    }
    within("the move", moving).await??;
    let called = other.called().await?;
    other.done(&called, 6).await?;
    assert_eq!(within("the call", call).await??, 6);
    Ok(())
}

/// What becomes of a slave that was told that its resident has moved, and does not say whether it
/// heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unheard {
    /// It is linked again, and has not heard.
    Stays,
    Heard,
    /// Another process comes in its name.
    Replaced,
}

/// The resident moves from the first slave to the second, and the first one's link is closed behind
/// the words that it has moved.
async fn moves_and_is_not_heard(then: Unheard) -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(3).await?;
    let mut other = scene.beside("s2").await?;
    let (same, to) = (scene.hello.clone(), other.linked.clone());
    let mut moving = Box::pin(async move { c.move_to(&to).await });
    assert!(is_pending(&mut moving).await);
    let (conversation, _) = scene.asked().await?;
    scene.reply_with(conversation, left()?, &[0x91, 0, 5]).await?;
    let (attempt, ..) = other.spawned().await?;
    other.has_spawned(attempt, info(7, "k", 8)?).await?;
    let (_, op) = scene.asked().await?;
    assert!(matches!(op, ResidentOp::Moved { .. }), "{op:?}");
    // The link ends as that of a process that has died does.
    let again = if then == Unheard::Replaced { hello(Role::Slave, "s1")? } else { same };
    scene.wire = Wire::memory().1;
    gone(&scene).await?;
    scene.wire = scene.another(&again).await?;
    if then != Unheard::Replaced {
        let (conversation, op) = scene.asked().await?;
        assert!(matches!(op, ResidentOp::Find { .. }), "{op:?}");
        let reply = match then {
            Unheard::Heard => {
                let failure = Cause::ResidentMoved { key: "k".into(), to: "s2".into() };
                ResidentReply { failure: Some(failure.into()), ..Default::default() }
            }
            _ => ResidentReply { residents: vec![info(1, "k", 3)?], ..Default::default() },
        };
        scene.reply(conversation, reply).await?;
    }
    if then == Unheard::Heard {
        let (conversation, op) = scene.asked().await?;
        assert!(matches!(op, ResidentOp::Await { resident } if resident.0 == 1), "{op:?}");
        let end = Some(resident::End::Moved(dpfw::PeerId::new("s2")?));
        scene.reply(conversation, ResidentReply { end, ..Default::default() }).await?;
    }
    let (conversation, op) = loop {
        // It is let go, and found, in any order.
        let (conversation, op) = other.asked().await?;
        match op {
            ResidentOp::Find { .. } => {
                let residents = vec![info(7, "k", 8)?];
                let found = ResidentReply { residents, ..Default::default() };
                other.reply(conversation, found).await?;
            }
            op => break (conversation, op),
        }
    };
    match then {
        Unheard::Stays => assert!(matches!(op, ResidentOp::Stop { .. }), "{op:?}"),
        _ => assert!(matches!(op, ResidentOp::LetGo { .. }), "{op:?}"),
    }
    other.reply(conversation, ResidentReply::default()).await?;
    let outcome = within("the move", moving).await?;
    match then {
        Unheard::Stays => assert_eq!(outcome.expect_err("it stays").cause(), &lost(true)),
        _ => outcome?,
    }
    Ok(())
}

#[tokio::test]
async fn a_link_that_ends_in_a_move_says_nothing_and_the_next_one_is_asked() -> Result<()> {
    for then in [Unheard::Stays, Unheard::Heard, Unheard::Replaced] {
        moves_and_is_not_heard(then).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_move_that_fails_at_the_other_slave_is_taken_back() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(3).await?;
    let mut other = scene.beside("s2").await?;
    let to = other.linked.clone();
    let mover = c.clone();
    let mut moving = Box::pin(async move { mover.move_to(&to).await });
    assert!(is_pending(&mut moving).await);
    let (conversation, _) = scene.asked().await?;
    scene.reply_with(conversation, left()?, &[0x91, 0, 5]).await?;
    let (attempt, ..) = other.spawned().await?;
    let taken = Cause::KeyTaken { key: "k".into(), kind: dpfw::store::EntryKind::Value };
    let failed = dpfw_protocol::message::Failed {
        timing: Default::default(),
        failure: taken.clone().into(),
    };
    other.wire.send(attempt, &failed, &[]).await?;
    let (conversation, op) = scene.asked().await?;
    assert!(matches!(op, ResidentOp::TakeBack { .. }), "{op:?}");
    scene.reply(conversation, ResidentReply::default()).await?;
    assert_eq!(within("the move", moving).await?.expect_err("it failed").cause(), &taken);
    let call = c.call(bump());
    let called = scene.called().await?;
    scene.done(&called, 1).await?;
    assert_eq!(within("it goes on", call).await??, 1);
    Ok(())
}

#[tokio::test]
async fn r3_whoever_waits_for_the_end_follows_a_move_and_hears_how_it_was() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(3).await?;
    let mut other = scene.beside("s2").await?;
    let mut waits = Box::pin(c.wait());
    let mut also = Box::pin(c.wait());
    assert!(is_pending(&mut waits).await && is_pending(&mut also).await);
    let (conversation, op) = scene.asked().await?;
    assert!(matches!(op, ResidentOp::Await { .. }), "{op:?}");
    let end = Some(resident::End::Moved(dpfw::PeerId::new("s2")?));
    scene.reply(conversation, ResidentReply { end, ..Default::default() }).await?;
    other.finds(vec![info(7, "k", 8)?]).await?;
    let (conversation, op) = other.asked().await?;
    assert!(matches!(op, ResidentOp::Await { resident } if resident.0 == 7), "{op:?}");
    let why = Cause::Failed { message: "why".into() };
    let (end, failure) = (Some(resident::End::Failed), Some(why.clone().into()));
    other.reply(conversation, ResidentReply { end, failure, ..Default::default() }).await?;
    assert_eq!(within("the end", waits).await??, End::Failed(why.clone()));
    assert_eq!(within("the end", also).await??, End::Failed(why));
    Ok(())
}

#[tokio::test]
async fn r3_who_spawned_one_that_moves_out_of_sight_hears_of_its_failure_there() -> Result<()> {
    let mut scene = ByHand::start().await?;
    let (tell, mut told) = tokio::sync::oneshot::channel();
    let spawning = scene.linked.spawn("k", counter::new(0));
    let spawning = spawning.on_final_failure(move |failure| drop(tell.send(failure)));
    let mut spawning = spawning.into_future();
    assert!(is_pending(&mut spawning).await);
    let (attempt, ..) = scene.spawned().await?;
    scene.has_spawned(attempt, info(1, "k", 4)?).await?;
    let c = within("the counter", spawning).await??;
    let mut waits = Box::pin(c.wait());
    assert!(is_pending(&mut waits).await);
    let (conversation, op) = scene.asked().await?;
    assert!(matches!(op, ResidentOp::Await { resident } if resident.0 == 1), "{op:?}");
    let end = Some(resident::End::Moved(dpfw::PeerId::new("s2")?));
    scene.reply(conversation, ResidentReply { end, ..Default::default() }).await?;
    let moved = Cause::ResidentMoved { key: "k".into(), to: "s2".into() };
    assert_eq!(within("the end", waits).await?.expect_err("it is out of sight").cause(), &moved);
    assert_eq!(fails(&c).await?, moved);
    assert!(told.try_recv().is_err(), "it lives on");
    let mut other = scene.beside("s2").await?;
    other.finds(vec![info(7, "k", 8)?]).await?;
    let (conversation, op) = other.asked().await?;
    assert!(matches!(op, ResidentOp::Await { resident } if resident.0 == 7), "{op:?}");
    let why = Cause::Failed { message: "why".into() };
    let (end, failure) = (Some(resident::End::Failed), Some(why.clone().into()));
    other.reply(conversation, ResidentReply { end, failure, ..Default::default() }).await?;
    assert_eq!(within("the final failure", told).await??.cause(), &why);
    Ok(())
}

#[tokio::test]
async fn a_master_that_has_ended_says_so_and_not_that_the_resident_is_lost() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let (out, waits) = (c.call(bump()), c.call(bump().or_busy()));
    scene.called().await?;
    assert!(within("the one that found it full", waits).await?.is_err());
    scene.master.shutdown().await;
    assert_eq!(within("the one out", out).await?.expect_err("ended").cause(), &Cause::Shutdown);
    Ok(())
}

#[tokio::test]
async fn a_search_that_ends_with_the_master_tells_those_who_wait_for_it() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let mut other = scene.beside("s2").await?;
    let (first, second) = (c.call(bump()), c.call(bump()));
    let call = scene.called().await?;
    scene.fail(&call, Cause::ResidentMoved { key: "k".into(), to: "s2".into() }).await?;
    // It is asked for there, and nobody answers.
    let (_, op) = other.asked().await?;
    assert!(matches!(op, ResidentOp::Find { .. }), "{op:?}");
    let info = c.info();
    scene.master.shutdown().await;
    for handle in [first, second] {
        let error = within("the end", handle).await?.expect_err("the master has ended");
        assert!(matches!(error.cause(), Cause::Shutdown | Cause::ResidentLost { .. }), "{error}");
    }
    assert!(within("how it is", info).await?.is_err());
    assert_eq!(fails(&c).await?, Cause::Shutdown);
    Ok(())
}

#[tokio::test]
async fn f13_over_a_new_link_it_is_looked_for_by_whoever_asks_for_it() -> Result<()> {
    let (mut scene, c) = ByHand::with_counter(1).await?;
    let same = scene.hello.clone();
    scene.wire = scene.another(&same).await?;
    gone(&scene).await?;
    scene.linked = arrival(&scene.master, "s1").await?;
    let answers = async {
        scene.finds(vec![info(1, "k", 1)?]).await?;
        let (conversation, op) = scene.asked().await?;
        assert!(matches!(op, ResidentOp::Stop { resident } if resident.0 == 1), "{op:?}");
        let end = Some(resident::End::Stopped);
        scene.reply(conversation, ResidentReply { end, ..Default::default() }).await
    };
    let (stopped, answered) = within("the stop", async { tokio::join!(c.stop(), answers) }).await?;
    answered?;
    stopped?;
    Ok(())
}

/// What a slave says of the counter that it hands over.
fn left() -> Result<ResidentReply> {
    Ok(ResidentReply {
        spawn: Some(Box::new(spawn_as("k", Some(1))?)),
        constructor: Some("counter.new".into()),
        ..Default::default()
    })
}

/// As what a counter is to be spawned.
pub(crate) fn spawn_as(key: &str, state: Option<u64>) -> Result<dpfw_protocol::message::SpawnAs> {
    Ok(dpfw_protocol::message::SpawnAs {
        key: dpfw_protocol::store::Key::new(key)?,
        there: Default::default(),
        restart: None,
        on_restart: Default::default(),
        mailbox: 0,
        saving: Default::default(),
        durable: false,
        state,
        held: false,
        lineage: None,
    })
}
