//! R9, F13: residents whose state outlives the process of their slave.

use anyhow::{Result, ensure};
use dpfw::store::Disk;
use dpfw::{Cause, End, LinkedSlave, Master, Resident, Saving, Stage, Storage};
use dpfw_protocol::store::EntryKind;
use dpfw_test_tasks::{Counter, Fragile, counter, fragile};
use dpfw_tests::fleet::{self, Pair, linked};
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use rustix::process::Signal;
use std::path::Path;

const SLAVE: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// A slave in a process of its own that keeps its store there.
struct Scene {
    process: Process,
    master: Master,
    there: LinkedSlave,
}

impl Scene {
    async fn at(store: &Path) -> Result<Self> {
        Self::of("s1", store).await
    }

    async fn of(slave: &str, store: &Path) -> Result<Self> {
        let process = Process::keeping(SLAVE, slave, store, None).await?;
        let master = fleet::master(&[&process.address]).await?;
        let there = linked(&master, slave)?;
        Ok(Self { process, master, there })
    }

    /// Whether anything is in a slot.
    async fn runs(&self) -> Result<bool> {
        Ok(self.there.describe().await?.running > 0)
    }

    /// One that was there before, or a new one that begins with 100.
    async fn counter(&self) -> Result<Resident<Counter>> {
        let spawning = self.there.get_or_spawn("c", counter::new(100)).durable();
        Ok(within("the counter", spawning.into_future()).await??)
    }
}

#[tokio::test]
async fn f13_what_was_answered_is_there_after_a_kill() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let mut answered = 100;
    for round in 0..3 {
        let mut scene = Scene::at(&store).await?;
        if round > 0 {
            // It is not taken for one that never was.
            let error = scene.there.resident::<Counter>("c").await.expect_err("it is not begun");
            ensure!(error.to_string().contains("get_or_spawn"), "{error}");
            let error = scene.there.spawn("c", counter::new(0)).await.expect_err("it is there");
            let taken = Cause::KeyTaken { key: "c".into(), kind: EntryKind::Resident };
            assert_eq!(error.cause(), &taken);
            let [there] = &scene.there.residents("").await?[..] else {
                anyhow::bail!("it is not listed")
            };
            assert_eq!((&*there.key, &*there.class, there.stage), ("c", "counter", Stage::Asleep));
            assert_eq!(
                (there.module, there.saves),
                (counter::new(0).into_call().task().module().hash(), true)
            );
            assert_eq!(scene.there.residents("d").await?, []);
        }
        let c = scene.counter().await?;
        assert_eq!(scene.there.residents("").await?[0].stage, Stage::Alive);
        assert_eq!(c.call(counter::peek()).await?, answered, "round {round}");
        let calls: Vec<_> = (0..20).map(|_| c.call(counter::bump())).collect();
        for call in calls {
            answered = within("the answer", call).await??;
        }
        assert_eq!(answered, 100 + 20 * (round + 1));
        scene.process.kill()?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_answered_outlives_a_final_failure_and_whoever_begins_it_again_has_it()
-> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let mut scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::bump()).await?, 101);
    // Without a policy one panic ends it.
    within("the panic", c.call(counter::bump_and_panic())).await?.expect_err("it panics");
    ensure!(matches!(within("the end", c.wait()).await??, End::Failed(Cause::Panic { .. })));
    let error = scene.there.resident::<Counter>("c").await.expect_err("it is not begun");
    let told =
        matches!(error.cause(), Cause::ResidentEnded { why, .. } if why.contains("it failed"));
    ensure!(told && error.to_string().contains("get_or_spawn"), "{error}");
    assert_eq!(scene.there.residents("").await?[0].stage, Stage::Asleep);
    let error = scene.there.spawn("c", counter::new(0)).await.expect_err("its state is there");
    ensure!(matches!(error.cause(), Cause::KeyTaken { .. }), "{error}");
    let c = scene.counter().await?;
    assert_eq!(within("the next", c.call(counter::bump())).await??, 102);
    // And so does a call that is interrupted.
    let endless = c.call(counter::bump_and_loop());
    until("it runs", async || scene.runs().await).await?;
    endless.cancel();
    within("the interrupted call", endless).await?.expect_err("it was cancelled");
    ensure!(matches!(within("the end", c.wait()).await??, End::Failed(Cause::Cancelled)));
    scene.process.kill()?;
    let scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(within("the next", c.call(counter::bump())).await??, 103);
    // What is stopped is forgotten.
    c.stop().await?;
    assert_eq!(scene.counter().await?.call(counter::peek()).await?, 100);
    Ok(())
}

#[tokio::test]
async fn what_changed_is_saved_when_the_slave_drains() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let scene = Scene::at(&store).await?;
    let hour = Saving::After(3_600_000);
    let c = scene.there.spawn("c", counter::new(1)).saving(hour).await?;
    assert_eq!(c.call(counter::bump()).await?, 2);
    scene.process.signal(Signal::TERM)?;
    ensure!(scene.process.ended().await?.success(), "it did not drain");

    let scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::peek()).await?, 2);
    // One that is stopped is not there again.
    c.stop().await?;
    assert_eq!(c.wait().await?, End::Stopped);
    drop(scene);
    let scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::peek()).await?, 100);
    Ok(())
}

#[tokio::test]
async fn a_state_of_another_class_is_not_taken() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let mut scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    c.call(counter::bump()).await?;
    scene.process.kill()?;
    let scene = Scene::at(&store).await?;
    let spawning = scene.there.get_or_spawn::<Fragile>("c", fragile::new("x".into(), true));
    let error = within("the refusal", spawning.into_future()).await?.expect_err("it is a counter");
    let taken = Cause::KeyTaken { key: "c".into(), kind: EntryKind::Resident };
    assert_eq!(error.cause(), &taken);
    Ok(())
}

#[tokio::test]
async fn a_master_finds_the_slave_that_has_the_state_and_a_removal_frees_the_key() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let mut scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::bump()).await?, 101);
    scene.process.kill()?;

    let mut scene = Scene::at(&store).await?;
    let error = scene.there.store().put("c", &1).await.expect_err("a resident's");
    let wrong = Cause::WrongKind { key: "c".into(), kind: EntryKind::Resident };
    assert_eq!(error.cause(), &wrong);
    let c = scene.master.get_or_spawn("c", counter::new(0)).durable();
    let c = within("the counter", c.into_future()).await??;
    assert_eq!(c.call(counter::bump()).await?, 102);
    scene.process.kill()?;

    let mut scene = Scene::at(&store).await?;
    ensure!(scene.there.store().remove_durable("c").await?, "it was there");
    scene.process.kill()?;
    let scene = Scene::at(&store).await?;
    assert_eq!(scene.counter().await?.call(counter::peek()).await?, 100);
    Ok(())
}

#[tokio::test]
async fn a_slave_that_is_interrupted_leaves_the_state_of_one_that_was_called() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::bump()).await?, 101);
    let endless = c.call(counter::bump_and_loop());
    until("it runs", async || scene.runs().await).await?;
    // The second signal interrupts what runs; of two at once a process hears one.
    scene.process.signal(Signal::TERM)?;
    until("it drains", async || Ok(scene.there.describe().await?.draining)).await?;
    scene.process.signal(Signal::TERM)?;
    drop(endless);
    scene.process.ended().await?;
    let scene = Scene::at(&store).await?;
    assert_eq!(scene.counter().await?.call(counter::peek()).await?, 101);
    Ok(())
}

#[tokio::test]
async fn f13_one_that_has_moved_is_there_after_a_kill_and_nowhere_else() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let mut one = Process::keeping(SLAVE, "s1", &from, None).await?;
    let mut two = Process::keeping(SLAVE, "s2", &to, None).await?;
    let master = fleet::master(&[&one.address, &two.address]).await?;
    let c = linked(&master, "s1")?.spawn("c", counter::new(100)).durable();
    let c = within("the counter", c.into_future()).await??;
    assert_eq!(c.call(counter::bump()).await?, 101);
    within("the move", c.move_to(&linked(&master, "s2")?)).await??;
    // It was not called there: what is on disk came with it.
    two.kill()?;
    one.kill()?;
    for (slave, store, expected) in [("s1", &from, 100), ("s2", &to, 101)] {
        let scene = Scene::of(slave, store).await?;
        let c = scene.counter().await?;
        assert_eq!(c.call(counter::peek()).await?, expected, "{slave}");
    }
    Ok(())
}

#[tokio::test]
async fn f13_one_that_is_asleep_beside_one_that_is_alive_is_there_twice() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let mut scene = Scene::of("s1", &first).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::bump()).await?, 101);
    scene.process.kill()?;
    // While it is not linked nobody knows of it.
    let two = Process::keeping(SLAVE, "s2", &second, None).await?;
    let master = fleet::master(&[&two.address]).await?;
    let spawning = master.get_or_spawn("c", counter::new(0)).durable();
    let c = within("another", spawning.into_future()).await??;
    assert_eq!(c.call(counter::bump()).await?, 1);
    // Whoever sees both chooses neither.
    let one = Process::keeping(SLAVE, "s1", &first, None).await?;
    let master = fleet::master(&[&one.address, &two.address]).await?;
    let twice = Cause::ResidentTwice { key: "c".into(), slaves: vec!["s1".into(), "s2".into()] };
    let spawning = master.get_or_spawn("c", counter::new(0)).durable();
    let error = within("the refusal", spawning.into_future()).await?.expect_err("it is on two");
    assert_eq!(error.cause(), &twice);
    let error = master.resident::<Counter>("c").await.expect_err("it is on two");
    assert_eq!(error.cause(), &twice);
    ensure!(linked(&master, "s2")?.store().remove("c").await?, "it was there");
    let again = async || {
        let spawning = master.get_or_spawn("c", counter::new(0)).durable();
        let c = within("the first", spawning.into_future()).await?;
        Ok(matches!(c, Ok(c) if c.call(counter::peek()).await? == 101))
    };
    until("the other to be gone", again).await
}

#[tokio::test]
async fn f51_one_that_is_to_move_to_a_full_disk_stays_where_it_is() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let one = Process::keeping(SLAVE, "s1", &from, None).await?;
    let two = Process::keeping(SLAVE, "s2", &to, Some(16 << 20)).await?;
    let master = fleet::master(&[&one.address, &two.address]).await?;
    let (here, there) = (linked(&master, "s1")?, linked(&master, "s2")?);
    let c = here.spawn("c", counter::new(100)).durable();
    let c = within("the counter", c.into_future()).await??;
    assert_eq!(c.call(counter::bump()).await?, 101);
    // It is written with what comes next, which finds the disk full.
    there.store().put("large", &"x".repeat(32 << 20)).await?;
    let error = within("the move", c.move_to(&there)).await?.expect_err("there is no room");
    assert_eq!(error.cause(), &Cause::Storage { what: Storage::Full });
    assert_eq!(within("a call", c.call(counter::bump())).await??, 102);
    assert_eq!((c.slave(), there.residents("").await?.len()), (here, 0));
    // The key is free there, once there is room.
    ensure!(there.store().remove("large").await?, "it was there");
    let is_well = async || Ok(there.describe().await?.disk == Disk::Durable);
    until("the disk to be used again", is_well).await?;
    within("the move", c.move_to(&there)).await??;
    assert_eq!(within("a call", c.call(counter::bump())).await??, 103);
    Ok(())
}

#[tokio::test]
async fn whoever_stops_one_that_is_gone_hears_of_it_when_that_is_on_disk() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let mut scene = Scene::at(&store).await?;
    let c = scene.counter().await?;
    assert_eq!(c.call(counter::bump()).await?, 101);
    // This is not awaited by anybody on disk.
    ensure!(scene.there.store().remove("c").await?, "it was there");
    let ended = async || Ok(scene.there.residents("").await?.is_empty());
    until("it is gone", ended).await?;
    within("the stop", c.stop()).await??;
    scene.process.kill()?;
    let scene = Scene::at(&store).await?;
    assert_eq!(scene.counter().await?.call(counter::peek()).await?, 100);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_durable_is_refused_before_it_is_there() -> Result<()> {
    let pair = Pair::simple().await?;
    let spawning = pair.linked()?.spawn("c", counter::new(0)).durable();
    let error = within("the refusal", spawning.into_future()).await?.expect_err("it has no disk");
    assert_eq!(error.cause(), &Cause::Storage { what: Storage::Absent });
    assert_eq!(pair.linked()?.residents("").await?.len(), 0);
    Ok(())
}
