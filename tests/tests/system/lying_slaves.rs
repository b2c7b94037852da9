//! F6, F9, F42, F50: what a master is told that no honest slave says.

use super::lies::Lies;
use anyhow::{Context, Result};
use dpfw::store::Event;
use dpfw::{CallExt, Cause, ReserveError};
use dpfw_protocol::changes::{Changed, Unwatch, Watch};
use dpfw_protocol::error::Failure;
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::limits::WINDOW;
use dpfw_protocol::message::{
    Abandon, Cancel, Credit, Done, Failed, ModuleBytes, NeedModule, Progress, Release, Reserve,
    Reserved, Returned, Started, StoreReply, StoreRequest, Timing, kind,
};
use dpfw_protocol::store::{EntryInfo, EntryKind, Key, Principal};
use dpfw_test_tasks::{add, checked};
use dpfw_tests::peer::hello;
use dpfw_tests::wait::{is_pending, until, within};
use futures_util::StreamExt;
use std::time::Duration;

#[tokio::test]
async fn f09_a_result_that_comes_twice_is_dropped_and_counted() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    scene.done(attempt, 5).await?;
    scene.done(attempt, 6).await?;
    scene.done(attempt + 1000, 7).await?;
    let failed = Failed { timing: Timing::default(), failure: Failure::default() };
    scene.liar.send(attempt, &failed, &[]).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    until("the late answers", async || Ok(scene.master.stats().await.stale == 3)).await?;
    let stats = scene.master.stats().await;
    assert_eq!((stats.accepted, stats.failed, stats.unresolved), (1, 0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test]
async fn f09_a_result_after_the_cancel_is_dropped_and_counted() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    drop(handle);
    assert_eq!(scene.liar.expect::<Cancel>().await?.0, attempt);
    scene.done(attempt, 5).await?;
    until("the late answer", async || Ok(scene.master.stats().await.stale == 1)).await?;
    // The slot is free only now: the next task comes.
    let (handle, attempt) = scene.sum().await?;
    scene.done(attempt, 6).await?;
    assert_eq!(within("the next sum", handle).await??, 6);
    Ok(())
}

#[tokio::test]
async fn f06_f42_bytes_that_are_no_frames_end_the_link() -> Result<()> {
    let frame = |kind: u8, body: &[u8]| {
        let mut bytes = vec![body.len() as u8, 0, 0, 0, kind, 1, 0, 0];
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(body);
        bytes
    };
    for (bytes, words) in [
        (vec![0xff; 16], "reserved bits"),
        (vec![0xff, 0xff, 0xff, 0xff, 34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], "is announced"),
        (frame(kind::DONE, &[]), "is truncated"),
        (frame(kind::DONE, &[1, 0, 0xc1]), "is malformed"),
        (frame(kind::DONE, &[9, 0, 0x92]), "is truncated"),
        (frame(kind::FAILED, &[1, 0, 0x91]), "is malformed"),
        (frame(kind::STATUS, &[2, 0, 0xc0, 0xc0]), "is malformed"),
    ] {
        let mut scene = Lies::start().await?;
        let (handle, _) = scene.sum().await?;
        let next = scene.successor();
        scene.liar.raw(&bytes).await?;
        scene.cut_off(handle, next, words).await?;
    }
    Ok(())
}

#[tokio::test]
async fn f50_messages_of_the_other_role_end_the_link() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    let next = scene.successor();
    scene.liar.send(attempt, &Cancel {}, &[]).await?;
    scene.cut_off(handle, next, "a frame of kind 18 is out of turn").await?;
    let mut scene = Lies::start().await?;
    let (handle, _) = scene.sum().await?;
    let next = scene.successor();
    scene.liar.raw(&hello(Role::Slave, "again")?.to_bytes()?[8..]).await?;
    scene.cut_off(handle, next, "a frame of kind 1 is out of turn").await?;
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    let next = scene.successor();
    scene
        .liar
        .send(attempt, &Done { timing: Timing::default(), payload: 9, kept: None }, &[5])
        .await?;
    scene.cut_off(handle, next, "another length than announced").await
}

#[tokio::test]
async fn what_a_slave_says_of_nothing_changes_nothing() -> Result<()> {
    let mut scene = Lies::start().await?;
    let (handle, attempt) = scene.sum().await?;
    let nobody = AttemptId(u64::MAX);
    let liar = &mut scene.liar;
    liar.send(0, &Started { attempts: vec![nobody, AttemptId(attempt), AttemptId(attempt)] }, &[])
        .await?;
    liar.send(0, &Returned { attempts: vec![nobody] }, &[]).await?;
    liar.send(9, &Progress { done: 1, total: 2 }, &[]).await?;
    liar.send(1 << 62, &Reserved { granted: true }, &[]).await?;
    let reply = StoreReply {
        failure: None,
        hit: true,
        version: 1,
        entries: Vec::new(),
        more: false,
        payload: 1,
    };
    liar.send(1 << 62, &reply, &[5]).await?;
    let changed = Changed { failure: None, missed: u64::MAX, changes: Vec::new() };
    liar.send(1 << 62, &changed, &[]).await?;
    liar.frame(kind::CHUNK, 77, b"a stray", true).await?;
    liar.send(7, &Abandon { failure: Failure::default() }, &[]).await?;
    scene.done(attempt, 5).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    assert_eq!(scene.master.slaves().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_wish_is_answered_in_its_own_conversation_and_in_no_other() -> Result<()> {
    let mut scene = Lies::start().await?;
    let mut first = Box::pin(scene.master.reserve());
    assert!(is_pending(&mut first).await);
    let (given_up, ..) = scene.liar.expect::<Reserve>().await?;
    drop(first);
    scene.liar.expect::<Release>().await?;
    let mut second = Box::pin(scene.master.try_reserve());
    assert!(is_pending(&mut second).await);
    let (wish, ..) = scene.liar.expect::<Reserve>().await?;
    for (conversation, granted) in [(77, true), (wish, false), (given_up, true), (wish, true)] {
        scene.liar.send(conversation, &Reserved { granted }, &[]).await?;
    }
    let error = within("the answer", second).await?.expect_err("it was refused");
    assert_eq!(error, ReserveError::NoneIdle);
    // Nobody holds the slave.
    let (handle, attempt) = scene.sum().await?;
    scene.done(attempt, 5).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    Ok(())
}

#[tokio::test]
async fn a_module_that_the_master_does_not_have_is_not_invented() -> Result<()> {
    let mut scene = Lies::start().await?;
    let other = dpfw::ModuleHash::of(b"another");
    let (handle, attempt) = scene.sum().await?;
    scene.liar.send(0, &NeedModule { module: other }, &[]).await?;
    let (_, offer, bytes) = scene.liar.expect::<ModuleBytes>().await?;
    assert_eq!((offer.module, offer.payload, bytes.len()), (other, 0, 0));
    scene.done(attempt, 5).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    Ok(())
}

#[tokio::test]
async fn arguments_that_were_answered_before_they_were_taken_are_not_sent_any_more() -> Result<()> {
    let mut scene = Lies::start().await?;
    let handle = scene.master.dispatch(checked::call("x".repeat(3 * WINDOW as usize)));
    let attempt = scene.dispatched().await?;
    let mut arrived = 0;
    while arrived < WINDOW as usize {
        let said = scene.liar.next().await?.context("the master is gone")?;
        arrived += if said.header.kind == kind::CHUNK { said.body.len() } else { 0 };
    }
    scene.done(attempt, 5).await?;
    assert_eq!(within("the length", handle).await??, 5);
    scene.liar.send(attempt, &Credit { bytes: WINDOW }, &[]).await?;
    scene.done(attempt, 5).await?;
    until("the late answer", async || Ok(scene.master.stats().await.stale == 1)).await?;
    // The next thing that comes is the next task.
    let (handle, attempt) = scene.sum().await?;
    scene.done(attempt, 5).await?;
    assert_eq!(within("the sum", handle).await??, 5);
    Ok(())
}

#[tokio::test]
async fn a_watch_that_is_taken_back_or_counts_too_much_ends_or_goes_on() -> Result<()> {
    let mut scene = Lies::start().await?;
    let store = scene.linked.store();
    let watching = tokio::spawn(async move { store.watch("a").await });
    let (id, watch, _) = scene.liar.expect::<Watch>().await?;
    assert_eq!(watch, Watch { prefix: "a".into(), present: false });
    let changed = |failure, missed| Changed { failure, missed, changes: Vec::new() };
    scene.liar.send(id, &changed(None, u64::MAX), &[]).await?;
    let mut changes = within("the watch", watching).await???;
    scene.liar.send(id, &changed(None, u64::MAX), &[]).await?;
    let taken_back = changed(Some(Failure::default()), 7);
    scene.liar.send(id, &taken_back, &[]).await?;
    scene.liar.send(id, &changed(None, 1), &[]).await?;
    let mut events = Vec::new();
    while let Some(event) = within("the end", changes.next()).await? {
        events.push(event);
    }
    assert_eq!(events.last(), Some(&Event::Lost));
    assert!(events[..events.len() - 1].iter().all(|event| *event == Event::Missed(u64::MAX)));
    drop(changes);
    assert_eq!(scene.liar.expect::<Unwatch>().await?.0, id);
    let store = scene.linked.store();
    let watching = tokio::spawn(async move { store.watch("").with_present().await });
    let (id, watch, _) = scene.liar.expect::<Watch>().await?;
    assert!(watch.present);
    let refused = changed(Some(Cause::Busy { what: "enough".into() }.into()), 0);
    scene.liar.send(id, &refused, &[]).await?;
    let error = within("the refusal", watching).await??.expect_err("refused");
    assert_eq!(error.cause(), &Cause::Busy { what: "enough".into() });
    Ok(())
}

#[tokio::test]
async fn a_listing_without_end_ends() -> Result<()> {
    let mut scene = Lies::start().await?;
    let store = scene.linked.store();
    let listing = tokio::spawn(async move { store.list("").await });
    let entry = EntryInfo {
        key: Key::new("same")?,
        kind: EntryKind::Value,
        bytes: 1,
        version: 1,
        idle_s: 0,
        owner: Principal(dpfw::PeerId::new("liar")?),
        pinned: false,
        evictable: false,
        ttl_ms: None,
        image: None,
    };
    for _ in 0..2 {
        let (id, ..) = scene.liar.expect::<StoreRequest>().await?;
        let reply = StoreReply {
            failure: None,
            hit: true,
            version: 0,
            entries: vec![entry.clone()],
            more: true,
            payload: 0,
        };
        scene.liar.send(id, &reply, &[]).await?;
    }
    let error = within("the listing", listing).await??.expect_err("it goes in circles");
    assert!(matches!(error.cause(), Cause::BadResult { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_handle_resolves_by_its_deadline_whatever_the_slave_does() -> Result<()> {
    let mut scene = Lies::start().await?;
    let handle = scene.master.dispatch(add::call(2, 3).timeout(Duration::from_millis(50)));
    let attempt = scene.dispatched().await?;
    let error = within("the deadline", handle).await?.expect_err("nobody answers");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded);
    assert_eq!(scene.liar.expect::<Cancel>().await?.0, attempt);
    Ok(())
}
