//! What a master knows itself of where keys are: nobody is asked for what it has put or watched.
//!
//! The slave of most of these is spoken by hand, so a question that came would be one too many.

use super::lies::Lies;
use anyhow::{Context, Result};
use dpfw::store::{Event, What};
use dpfw::{CallExt, Cause, LinkedSlave, StoreError};
use dpfw_protocol::changes::{Change, Changed, Watch};
use dpfw_protocol::message::{Locate, Located, StoreReply, StoreRequest};
use dpfw_protocol::store::{EntryKind, Key, StoreOp, Version};
use dpfw_test_tasks::{Bytes, add, gate, measure};
use dpfw_tests::fleet::{self, entry, linked, slave};
use dpfw_tests::wait::{is_pending, within};
use futures_util::StreamExt;

/// Answers a store's next request.
async fn answer(scene: &mut Lies, hit: bool, version: Version) -> Result<StoreOp> {
    let (asked, StoreRequest { op, .. }, _) = scene.liar.expect().await?;
    let entries = Vec::new();
    let reply = StoreReply { failure: None, hit, version, entries, more: false, payload: 0 };
    scene.liar.send(asked, &reply, &[]).await?;
    Ok(op)
}

/// An operation on the store, which is answered so.
async fn operate<T>(
    scene: &mut Lies,
    operation: impl Future<Output = Result<T, StoreError>>,
    (hit, version): (bool, Version),
) -> Result<T> {
    let (done, op) = tokio::join!(operation, answer(scene, hit, version));
    op?;
    Ok(done?)
}

/// A task near `k` is sent at once.
async fn is_sent(scene: &mut Lies) -> Result<()> {
    let near = scene.master.dispatch(add::call(1, 1).near("k"));
    let attempt = scene.dispatched().await?;
    scene.done(attempt, 2).await?;
    assert_eq!(within("the task", near).await??, 2);
    Ok(())
}

/// For a task near `k` the slave is asked first; it says that it has not got it.
async fn is_asked_for(scene: &mut Lies) -> Result<()> {
    let near = scene.master.dispatch(add::call(1, 1).near("k"));
    let (asked, Locate { keys }, _) = scene.liar.expect().await?;
    assert_eq!(keys, [Key::new("k")?]);
    scene.liar.send(asked, &Located { held: vec![false] }, &[]).await?;
    let error = within("the task", near).await?.expect_err("nobody has it");
    assert_eq!(error.cause(), &Cause::KeyGone { key: "k".into() });
    Ok(())
}

#[tokio::test]
async fn nobody_is_asked_for_what_the_master_has_put() -> Result<()> {
    let mut scene = Lies::start().await?;
    let store = scene.linked.store();
    is_asked_for(&mut scene).await?;
    operate(&mut scene, store.put("k", &1).into_future(), (true, 3)).await?;
    is_sent(&mut scene).await?;
    // Removed, it is looked for anew: somebody else may have put it since.
    assert!(operate(&mut scene, store.remove("k"), (true, 0)).await?);
    is_asked_for(&mut scene).await?;
    // One that is there already is there.
    assert!(!operate(&mut scene, store.put_if_absent("k", &1).into_future(), (false, 5)).await?);
    is_sent(&mut scene).await?;
    let swap = |expected| store.compare_and_swap("k", expected, &1).into_future();
    assert!(!operate(&mut scene, swap(5), (false, 0)).await?);
    is_asked_for(&mut scene).await?;
    assert!(!operate(&mut scene, swap(5), (false, 6)).await?);
    is_sent(&mut scene).await?;
    assert!(!operate(&mut scene, store.remove("k"), (false, 0)).await?);
    assert!(operate(&mut scene, swap(0), (true, 8)).await?);
    is_sent(&mut scene).await
}

#[tokio::test]
async fn what_was_put_last_counts_however_much_was_put_before() -> Result<()> {
    let mut scene = Lies::start().await?;
    let store = scene.linked.store();
    for n in 1..=3000 {
        operate(&mut scene, store.put(&format!("{n}"), &n).into_future(), (true, n)).await?;
    }
    operate(&mut scene, store.put("k", &1).into_future(), (true, 3001)).await?;
    operate(&mut scene, store.remove("k"), (true, 0)).await?;
    operate(&mut scene, store.put("k", &2).into_future(), (true, 3002)).await?;
    is_sent(&mut scene).await?;
    // Of the others none is asked for either.
    let near = scene.master.dispatch(add::call(1, 1).near(["1", "3000"]));
    let attempt = scene.dispatched().await?;
    scene.done(attempt, 2).await?;
    assert_eq!(within("the task", near).await??, 2);
    Ok(())
}

#[tokio::test]
async fn what_a_watch_tells_is_known() -> Result<()> {
    let mut scene = Lies::start().await?;
    let watch = scene.linked.store().watch("").into_future();
    let begin = async {
        let (conversation, Watch { .. }, _) = scene.liar.expect().await?;
        let begun = Changed { failure: None, missed: 0, changes: Vec::new() };
        scene.liar.send(conversation, &begun, &[]).await?;
        anyhow::Ok(conversation)
    };
    let (changes, conversation) = tokio::join!(watch, begin);
    let (mut changes, conversation) = (changes?, conversation?);
    let whats = [What::Present, What::Removed, What::Put, What::Evicted, What::Put, What::Expired];
    for (version, what) in (1..).zip(whats) {
        let change = Change { key: Key::new("k")?, kind: EntryKind::Value, version, what };
        let changed = Changed { failure: None, missed: 0, changes: vec![change] };
        scene.liar.send(conversation, &changed, &[]).await?;
        let event = within("the change", changes.next()).await?.context("it has ended")?;
        assert!(matches!(event, Event::Changed(change) if change.what == what));
        match what.is_there() {
            true => is_sent(&mut scene).await?,
            false => is_asked_for(&mut scene).await?,
        }
    }
    Ok(())
}

/// A slave whose only slot is held until `go` is there, and another; tasks near `k` wait.
async fn held(one: &LinkedSlave, master: &dpfw::Master) -> Result<dpfw::TaskHandle<u64>> {
    let holds = master.dispatch(gate::call("arrived".into(), "go".into(), 1).on(one));
    entry(one, "arrived").await?;
    Ok(holds)
}

#[tokio::test]
async fn a_task_that_waits_goes_where_its_key_is_put_meanwhile() -> Result<()> {
    let (_one, first) = fleet::listening(slave("s1", 1)?).await?;
    let (_two, second) = fleet::listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[&first, &second]).await?;
    let (one, two) = (linked(&master, "s1")?, linked(&master, "s2")?);
    let holds = held(&one, &master).await?;
    one.store().put("k", &Bytes::from(vec![7; 9])).await?;
    let mut waits = master.dispatch(measure::call("k".into()).near("k"));
    assert!(is_pending(&mut waits).await, "the slave that has its key is busy");
    two.store().put("k", &Bytes::from(vec![7; 8])).await?;
    assert_eq!(within("the task", &mut waits).await??, (8, 1));
    assert_eq!(waits.receipt().expect("it ran").slave.as_str(), "s2");
    one.store().put("go", &1u64).await?;
    assert_eq!(within("what held the slot", holds).await??, 1);
    Ok(())
}

#[tokio::test]
async fn a_task_that_waits_for_what_is_removed_ends_when_nobody_has_it() -> Result<()> {
    let (_one, first) = fleet::listening(slave("s1", 1)?).await?;
    let (_two, second) = fleet::listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[&first, &second]).await?;
    let one = linked(&master, "s1")?;
    let holds = held(&one, &master).await?;
    one.store().put("k", &1u64).await?;
    let mut waits = master.dispatch(measure::call("k".into()).near("k"));
    assert!(is_pending(&mut waits).await, "the slave that has its key is busy");
    assert!(one.store().remove("k").await?);
    // At once: the slave is busy still.
    let error = within("the task", waits).await?.expect_err("nobody has it");
    assert_eq!((error.cause(), error.attempts()), (&Cause::KeyGone { key: "k".into() }, 0));
    one.store().put("go", &1u64).await?;
    assert_eq!(within("what held the slot", holds).await??, 1);
    Ok(())
}
