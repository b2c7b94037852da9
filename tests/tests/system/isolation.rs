//! Several masters on one slave: none sees or touches what is another's, and none changes what
//! another gets.

use super::get_or_init::go;
use super::resident_caller::{Caller, under};
use super::scene::dispatch;
use super::stage::unharmed;
use super::store_watches::next;
use anyhow::{Context, Result};
use dpfw::{Limits, LinkedSlave, Master, Namespace, PeerId};
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::{Hello, Role};
use dpfw_protocol::ids::{AttemptId, BindId, ResidentId};
use dpfw_protocol::message::{
    Abandon, BindImage, Cancel, Close, Credit, Done, Failed, FetchImage, Locate, Located,
    NeedImage, Recall, Release, ResidentOp, Snapshot, kind,
};
use dpfw_protocol::store::Key;
use dpfw_test_tasks::{add, gate, large, word, words};
use dpfw_test_waiting::{End, need};
use dpfw_tests::fleet::{Pair, entry, linked, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::{until, within};

/// A master of this name, whose keys are in the namespace of the same name.
async fn apart(pair: &Pair, name: &str) -> Result<(Master, LinkedSlave)> {
    let builder = Master::builder().slave(&pair.address).name(PeerId::new(name)?);
    let builder = builder.namespace(Namespace::new(name)?);
    let master = within("the master to link", builder.build()).await??;
    let at = linked(&master, "s1")?;
    Ok((master, at))
}

/// The same by hand, after `add` was declared as its task 0.
async fn by_hand(pair: &Pair, name: &str) -> Result<Wire> {
    let mut wire = Wire::dial(&pair.address).await?;
    let namespace = Namespace::new(name)?;
    wire.greet(&Hello { namespace, ..hello(Role::Master, name)? }).await?;
    wire.bind(0, add::task().module(), "add").await?;
    Ok(wire)
}

/// The link has been used, and goes on: all that was said before has been read.
async fn still_there(wire: &mut Wire, attempt: u64) -> Result<()> {
    wire.send(attempt, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    let (id, _, result) = wire.expect::<Done>().await?;
    assert_eq!((id, &result[..]), (attempt, &[5][..]));
    Ok(())
}

#[tokio::test]
async fn f47_another_masters_attempts_are_nobody_elses_whatever_is_guessed() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    unharmed(&pair.master).await?;
    let (alice, at) = apart(&pair, "alice").await?;
    let runs = alice.dispatch(gate::call("runs".into(), "end".into(), 42));
    entry(&at, "runs").await?;
    let mut wire = by_hand(&pair, "bob").await?;
    for id in 1..50 {
        wire.send(id, &Cancel {}, &[]).await?;
        wire.send(id, &Credit { bytes: 1 << 20 }, &[]).await?;
        let failure = Cause::Cancelled.into();
        wire.send((1 << 63) + 2 * id, &Abandon { failure }, &[]).await?;
        wire.frame(kind::CHUNK, (1 << 63) + 2 * id, b"not its stdin", true).await?;
        wire.send((1 << 62) + id, &Cancel {}, &[]).await?;
    }
    wire.send(0, &Recall { attempts: (1..50).map(AttemptId).collect() }, &[]).await?;
    still_there(&mut wire, 1).await?;
    assert!(!runs.is_finished(), "somebody else's attempt was stopped");
    at.store().put("end", &1).await?;
    assert_eq!(within("the task", runs).await??, 42);
    Ok(())
}

#[tokio::test]
async fn entries_of_the_store_are_their_namespaces_and_so_is_whether_there_are_any() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let (_alice, hers) = apart(&pair, "alice").await?;
    let (_bob, his) = apart(&pair, "bob").await?;
    let mut watch = his.store().watch("").await?;
    let version = hers.store().put("k", &"hers").await?;
    assert!(his.store().list("").await?.is_empty());
    assert_eq!(his.store().get::<String>("k").await?, None);
    assert!(!his.store().remove("k").await?, "it was there");
    assert!(his.store().put_if_absent("k", &"his").await?, "it was there");
    assert_eq!(hers.store().get::<String>("k").await?.as_deref(), Some("hers"));
    // The first change that is told is his own.
    let first = next(&mut watch).await?;
    assert_eq!(first.key.as_str(), "k");
    assert_ne!(first.version, version, "another namespace's change was told");
    let mut wire = by_hand(&pair, "eve").await?;
    wire.send(1 << 62, &Locate { keys: vec![Key::new("k")?] }, &[]).await?;
    let (_, located, _) = wire.expect::<Located>().await?;
    assert_eq!(located.held, [false]);
    Ok(())
}

#[tokio::test]
async fn an_entry_that_one_builds_is_not_awaited_in_another_namespace() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let (alice, hers) = apart(&pair, "alice").await?;
    let (bob, his) = apart(&pair, "bob").await?;
    let builds = alice.dispatch(need::call("k".into(), "n".into(), End::Value));
    entry(&hers, "n").await?;
    go(&his, "n").await?;
    let own = bob.dispatch(need::call("k".into(), "n".into(), End::Value));
    assert_eq!(within("his own", own).await??, "n");
    assert!(!builds.is_finished());
    go(&hers, "n").await?;
    assert_eq!(within("hers", builds).await??, "n");
    Ok(())
}

#[tokio::test]
async fn residents_of_another_namespace_are_not_found_called_or_ended_by_a_guessed_number()
-> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    unharmed(&pair.master).await?;
    let module = add::task().module();
    let mut owner = Caller::dial(&pair.address, "owner", module).await?;
    let counter = owner.spawn("counter.new", (6u64,), under("c")?).await?;
    let mut other = Caller::elsewhere(&pair.address, "other", module).await?;
    assert!(other.found("c").await?.is_none());
    let list = ResidentOp::List { prefix: String::new(), after: None, limit: 100 };
    assert!(other.asked(list).await?.residents.is_empty());
    let gone = |resident: ResidentId| Cause::NoResident { key: format!("#{resident}") };
    // What is there and what never was are told in the same words.
    for resident in [counter, ResidentId(counter.0 + 1000)] {
        assert_eq!(other.failure(resident, "counter.bump", ()).await?, gone(resident));
        let to = PeerId::new("there")?;
        for op in [
            ResidentOp::Stop { resident },
            ResidentOp::Await { resident },
            ResidentOp::HandOver { resident },
            ResidentOp::TakeBack { resident },
            ResidentOp::LetGo { resident },
            ResidentOp::Moved { resident, to },
        ] {
            let asked = other.ask(op.clone()).await?;
            let (reply, _) = other.answer(asked).await?;
            assert_eq!(reply.failure.map(Cause::from), Some(gone(resident)), "{op:?}");
        }
    }
    // Its calls are not taken back by whoever guesses their numbers.
    let call = owner.call(counter, "counter.bump", ()).await?;
    for number in call.saturating_sub(5)..call + 5 {
        other.withdraw(number).await?;
        other.cancel(number).await?;
    }
    assert_eq!(owner.result::<u64>(call).await?, 7);
    // Under the same key it has its own.
    let own = other.spawn("counter.new", (0u64,), under("c")?).await?;
    assert_eq!(other.value::<u64>(own, "counter.bump", ()).await?, 1);
    assert_eq!(owner.value::<u64>(counter, "counter.bump", ()).await?, 8);
    Ok(())
}

#[tokio::test]
async fn an_image_of_another_namespace_is_neither_found_nor_fetched_nor_run_on() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let (alice, hers) = apart(&pair, "alice").await?;
    let making = alice.init(words::call("hers alone".into())).named("index");
    let image = within("the image", making.into_future()).await??;
    let first = image.dispatch(word::call(0));
    assert_eq!(within("a word", first).await??.as_deref(), Some("hers"));
    assert_eq!(hers.store().list("").await?.len(), 1);
    let mut wire = by_hand(&pair, "bob").await?;
    wire.send((1 << 62) + 1, &FetchImage { image: image.id() }, &[]).await?;
    let (_, snapshot, bytes) = wire.expect::<Snapshot>().await?;
    let cause = snapshot.failure.map(Cause::from);
    assert!(matches!(&cause, Some(Cause::Busy { what }) if what.contains("not here")), "{cause:?}");
    assert!(bytes.is_empty());
    // What is known of it does not run his task: he is asked for the image, as if there were none.
    let bind = BindImage {
        bind: BindId(1),
        module: word::task().module().hash(),
        task: "word".into(),
        expects: None,
        image: image.id(),
        key: Some(Key::new("index")?),
    };
    wire.send(0, &bind, &[]).await?;
    wire.send(1, &dispatch(1, 2), &[0x91, 0]).await?;
    let (_, need, _) = wire.expect::<NeedImage>().await?;
    assert_eq!(need.image, image.id());
    Ok(())
}

#[tokio::test]
async fn images_that_a_master_fetches_and_does_not_take_are_counted() -> Result<()> {
    let mut limits = Limits::default();
    (limits.module, limits.image_memory) = (6 << 20, 15 << 20);
    let pair = Pair::start(slave("s1", 2)?.limits(limits)).await?;
    let making = pair.master.init(large::call(12)).into_future();
    let image = within("the image", making).await??.id();
    let fetch = FetchImage { image };
    let mut first = Wire::master(&pair.address, "greedy").await?;
    first.send(1 << 62, &fetch, &[]).await?;
    assert_eq!(first.expect::<Snapshot>().await?.1.failure, None);
    // It takes no more than it gets unasked, on any of its links.
    let mut second = Wire::master(&pair.address, "greedy").await?;
    second.send(1 << 62, &fetch, &[]).await?;
    let cause = second.expect::<Snapshot>().await?.1.failure.map(Cause::from);
    assert!(matches!(&cause, Some(Cause::Busy { what }) if what.contains("fetched")), "{cause:?}");
    drop(first);
    let mut conversation = 1 << 62;
    until("the room to be given back", async || {
        conversation += 1;
        second.send(conversation, &fetch, &[]).await?;
        Ok(second.expect::<Snapshot>().await?.1.failure.is_none())
    })
    .await
}

#[tokio::test]
async fn nobody_gives_back_a_reservation_that_is_anothers() -> Result<()> {
    let pair = Pair::start(slave("s1", 1)?).await?;
    unharmed(&pair.master).await?;
    let held = within("the reservation", pair.master.reserve()).await??;
    let mut wire = by_hand(&pair, "bob").await?;
    wire.send(0, &Release {}, &[]).await?;
    wire.send(1, &dispatch(0, 3), &[0x92, 2, 3]).await?;
    let at = pair.linked()?;
    until("it to wait", async || Ok(at.describe().await?.queued == 1)).await?;
    for i in 0..20 {
        assert_eq!(within("a sum", held.dispatch(add::call(i, 1))).await??, i + 1);
    }
    assert_eq!(at.describe().await?.queued, 1, "another's task began");
    drop(held);
    assert_eq!(wire.expect::<Done>().await?.0, 1);
    Ok(())
}

#[tokio::test]
async fn f57_one_masters_links_leave_room_for_others() -> Result<()> {
    let mut limits = Limits::default();
    limits.links = 20;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let mut greedy = Vec::new();
    let refused = loop {
        let mut wire = Wire::dial(&pair.address).await?;
        wire.raw(&hello(Role::Master, "greedy")?.to_bytes()?).await?;
        wire.preface().await?;
        let mut said = wire.next().await?.context("the link ended in silence")?;
        // Whoever is refused behind the hello has had one.
        if said.header.kind == kind::HELLO {
            said = wire.next().await?.context("the link ended in silence")?;
        }
        if said.header.kind == kind::CLOSE {
            break said.read::<Close>()?.0.reason;
        }
        greedy.push(wire);
    };
    assert_eq!(greedy.len(), 17);
    assert!(refused.starts_with("busy: 17 of the 20 links"), "{refused}");
    assert!(refused.contains("are of greedy"), "{refused}");
    let mut modest = by_hand(&pair, "modest").await?;
    still_there(&mut modest, 1).await?;
    unharmed(&pair.master).await?;
    // The limit stays with who has many.
    drop(greedy.pop());
    let linked = pair.linked()?;
    until("one to be gone", async || Ok(linked.describe().await?.links == 18)).await
}

#[tokio::test]
async fn f59_one_masters_attempts_are_limited_in_all_of_its_links_and_anothers_are_not()
-> Result<()> {
    let mut limits = Limits::default();
    limits.attempts = 8;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    unharmed(&pair.master).await?;
    let (at, mut wires) = (pair.linked()?, Vec::new());
    for link in 0..3 {
        let mut wire = Wire::master(&pair.address, "greedy").await?;
        wire.bind(0, gate::task().module(), "gate").await?;
        let args = rmp_serde::to_vec(&(format!("{link}"), "end", 1u64))?;
        for attempt in 1..=4 {
            wire.send(attempt, &dispatch(0, args.len() as u64), &args).await?;
        }
        // The last link's are too many.
        if link == 2 {
            wire.expect::<Abandon>().await?;
            let (_, failed, _) = wire.expect::<Failed>().await?;
            let cause = Cause::from(failed.failure);
            assert!(
                matches!(&cause, Cause::Busy { what } if what.contains("8 attempts of this master")),
                "{cause}"
            );
        }
        // All that may be: one runs. Links are read in no order.
        let queued = (4 * (link + 1)).min(8) - 1;
        until("them to be there", async || Ok(at.describe().await?.queued >= queued)).await?;
        wires.push(wire);
    }
    let sum = pair.master.dispatch(add::call(1, 2));
    at.store().put("end", &1).await?;
    assert_eq!(within("another's sum", sum).await??, 3);
    Ok(())
}

#[tokio::test]
async fn one_masters_watches_and_sandboxes_leave_room_for_others() -> Result<()> {
    let mut limits = Limits::default();
    (limits.watches, limits.sandboxes) = (20, 20);
    let pair = Pair::start(slave("s1", 2)?.limits(limits)).await?;
    let (greedy, greedys) = apart(&pair, "greedy").await?;
    let mut watches = Vec::new();
    let refused = loop {
        match greedys.store().watch("").await {
            Ok(watch) => watches.push(watch),
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains("the slave has 20 watches"), "{refused}");
    assert!((16..20).contains(&watches.len()), "{}", watches.len());
    let (modest, modests) = apart(&pair, "modest").await?;
    let _watch = modests.store().watch("").await?;
    // All wait for an entry that one of them builds, which waits for a word.
    let call = || need::call("k".into(), "n".into(), End::Value);
    let all: Vec<_> = (0..100).map(|_| greedy.dispatch(call())).collect();
    until("sandboxes to wait", async || Ok(greedys.describe().await?.waiting >= 16)).await?;
    go(&modests, "n").await?;
    assert_eq!(within("the other's value", modest.dispatch(call())).await??, "n");
    assert!(all.iter().all(|handle| !handle.is_finished()));
    go(&greedys, "n").await?;
    for handle in all {
        assert_eq!(within("the value", handle).await??, "n");
    }
    Ok(())
}
