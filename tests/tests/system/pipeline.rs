//! Results that stay at their slaves, and tasks that go where they are.

use super::lies::Lies;
use anyhow::Result;
use dpfw::{CallExt, Cause, Kept, Limit, Limits};
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::BindId;
use dpfw_protocol::message::{
    Dispatch, Done, Extras, Failed, KeptAs, Locate, Located, TaskFlags, Timing,
};
use dpfw_protocol::store::Key;
use dpfw_test_tasks::{Bytes, add, big, gate, gate_once, get, measure, put, spin};
use dpfw_test_waiting::{bytes, need_number};
use dpfw_tests::fleet::{self, Pair, arrival, entry, linked, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::process::Process;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{is_pending, until, within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// Of the result that stays.
const LARGE: u64 = 64 << 20;

/// What may cross the link for two tasks, however large the result of the first.
const LITTLE: u64 = 64 << 10;

fn gone(key: &str) -> Cause {
    Cause::KeyGone { key: key.into() }
}

#[tokio::test]
async fn a_pipeline_of_two_tasks_does_not_cross_the_link() -> Result<()> {
    let (_slave, address) = fleet::listening(slave("s1", 1)?).await?;
    let proxy = Proxy::before(&address)?;
    let master = fleet::master(&[proxy.address()]).await?;
    // The module does, once.
    within("a sum", master.dispatch(add::call(2, 3))).await??;
    let passed = || proxy.there().passed() + proxy.back().passed();
    let before = passed();
    let kept: Kept<Bytes> =
        within("the first", master.dispatch(big::call(LARGE).keep("part"))).await??;
    assert!(kept.bytes >= LARGE, "{kept:?}");
    let (len, runs) =
        within("the second", master.dispatch(measure::call("part".into()).near(&kept))).await??;
    assert_eq!((len, runs), (LARGE, 1));
    let crossed = passed() - before;
    assert!(crossed < LITTLE, "{crossed} bytes crossed the link");
    // Fetched, it does.
    assert_eq!(within("the result", kept.get()).await??.len() as u64, LARGE);
    assert!(passed() - before > LARGE);
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_gone_is_told_and_nothing_runs() -> Result<()> {
    let (_one, first) = fleet::listening(slave("s1", 1)?).await?;
    let (_two, second) = fleet::listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[&first, &second]).await?;
    let stores = [linked(&master, "s1")?.store(), linked(&master, "s2")?.store()];
    let runs = async || -> Result<u64> {
        let mut runs = 0;
        for store in &stores {
            runs += store.get::<u64>("runs").await?.unwrap_or(0);
        }
        Ok(runs)
    };
    let near = || master.dispatch(measure::call("part".into()).near("part"));
    let error = within("nobody has it", near()).await?.expect_err("it never was");
    assert_eq!((error.cause(), error.attempts()), (&gone("part"), 0));
    assert_eq!(error.to_string(), "`measure`: the entry `part` is gone, and the task needs it");

    stores[1].put("part", &Bytes::from(vec![7; 9])).await?;
    let mut task = near();
    assert_eq!(within("it is found", &mut task).await??, (9, 1));
    assert_eq!(task.receipt().expect("it ran").slave.as_str(), "s2");

    // Removed by somebody else: the master believes that it is there.
    let other = fleet::master(&[&second]).await?;
    assert!(linked(&other, "s2")?.store().remove("part").await?);
    let error = within("it was removed", near()).await?.expect_err("it is gone");
    assert_eq!((error.cause(), error.attempts()), (&gone("part"), 0));
    assert_eq!(runs().await?, 1, "only the one ran whose entry was there");

    // Moved by somebody else: it is found where it is.
    stores[0].put("part", &Bytes::from(vec![7; 8])).await?;
    assert_eq!(within("it is elsewhere", near()).await??, (8, 1));
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_placed_anyway_needs_its_entry_there() -> Result<()> {
    let (_one, first) = fleet::listening(slave("s1", 1)?).await?;
    let (_two, second) = fleet::listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[&first, &second]).await?;
    let (one, two) = (linked(&master, "s1")?, linked(&master, "s2")?);
    one.store().put("part", &Bytes::from(vec![7; 9])).await?;
    let call = || measure::call("part".into()).near("part");
    assert_eq!(within("where it is", master.dispatch(call().on(&one))).await??, (9, 1));
    let error = within("where it is not", master.dispatch(call().on(&two))).await?;
    assert_eq!(error.expect_err("it is not there").cause(), &gone("part"));
    let held = within("an idle slave", master.reserve()).await??;
    let there = within("on the reserved one", held.dispatch(call())).await?;
    match held.name().as_str() {
        "s1" => assert_eq!(there?, (9, 2)),
        _ => assert_eq!(there.expect_err("it is not there").cause(), &gone("part")),
    }
    Ok(())
}

#[tokio::test]
async fn a_slave_that_is_killed_between_the_two_takes_the_first_ones_result_with_it() -> Result<()>
{
    let mut first = Process::start(PROGRAM, "s1", 1).await?;
    let second = Process::start(PROGRAM, "s2", 1).await?;
    let master = fleet::master(&[&first.address, &second.address]).await?;
    let one = linked(&master, "s1")?;
    let kept = within("the first", master.dispatch(big::call(9).on(&one).keep("part"))).await??;
    assert_eq!(kept.slave, one);
    // One waits while the slave is busy, and ends with it.
    let runs = master.dispatch(gate_once::call("runs".into(), "never".into(), 1).on(&one));
    entry(&one, "runs").await?;
    let mut waits = master.dispatch(measure::call("part".into()).near("part"));
    assert!(is_pending(&mut waits).await);
    first.kill()?;
    let error = within("the one that waits", waits).await?.expect_err("its slave is gone");
    assert_eq!(error.cause(), &gone("part"));
    assert!(within("the one that runs", runs).await?.is_err());
    // Later ones end at once.
    let error =
        within("near it", master.dispatch(measure::call("part".into()).near(&kept))).await?;
    assert_eq!(error.expect_err("its slave is gone").cause(), &gone("part"));
    let error = within("near its key", master.dispatch(measure::call("x".into()).near("part")));
    assert_eq!(error.await?.expect_err("nobody has it").cause(), &gone("part"));
    assert!(within("the result", kept.get()).await?.is_err());
    assert_eq!(within("others", master.dispatch(add::call(2, 3))).await??, 5);
    Ok(())
}

#[tokio::test]
async fn a_task_whose_slave_dies_is_tried_again_where_else_its_key_is() -> Result<()> {
    let mut slaves = Vec::new();
    for name in ["s1", "s2", "s3"] {
        slaves.push(Process::start(PROGRAM, name, 1).await?);
    }
    let addresses: Vec<_> = slaves.iter().map(|slave| slave.address.as_str()).collect();
    let master = fleet::master(&addresses).await?;
    let both = [linked(&master, "s1")?, linked(&master, "s2")?];
    for slave in &both {
        slave.store().put("part", &1u64).await?;
    }
    let task = gate::call("arrived".into(), "go".into(), 7).near("part");
    let task = master.dispatch(task);
    let mut died = None;
    until("it to run", async || {
        for (n, slave) in both.iter().enumerate() {
            if !slave.store().list("arrived").await?.is_empty() {
                died = Some(n);
            }
        }
        Ok(died.is_some())
    })
    .await?;
    let died = died.expect("it runs on one of them");
    slaves[died].kill()?;
    let other = &both[1 - died];
    entry(other, "arrived").await?;
    other.store().put("go", &1u64).await?;
    assert_eq!(within("the second try", task).await??, 7);
    Ok(())
}

#[tokio::test]
async fn of_two_slaves_that_have_a_key_both_are_used() -> Result<()> {
    let mut slaves = Vec::new();
    for name in ["s1", "s2", "s3"] {
        slaves.push(fleet::listening(slave(name, 1)?).await?);
    }
    let addresses: Vec<_> = slaves.iter().map(|(_, address)| address.as_str()).collect();
    let master = fleet::master(&addresses).await?;
    let stores = [linked(&master, "s1")?.store(), linked(&master, "s2")?.store()];
    for store in &stores {
        store.put("part", &1u64).await?;
    }
    let run =
        |value| master.dispatch(gate::call("arrived".into(), "go".into(), value).near("part"));
    let two = [run(1), run(2)];
    for name in ["s1", "s2"] {
        entry(&linked(&master, name)?, "arrived").await?;
    }
    for store in &stores {
        store.put("go", &1u64).await?;
    }
    for (value, task) in (1..).zip(two) {
        assert_eq!(within("a task", task).await??, value);
    }
    let third = linked(&master, "s3")?.store();
    assert_eq!(third.get::<u64>("arrived").await?, None, "it went where the key is not");
    Ok(())
}

#[tokio::test]
async fn what_one_master_keeps_another_is_near() -> Result<()> {
    let (_one, first) = fleet::listening(slave("s1", 1)?).await?;
    let (_two, second) = fleet::listening(slave("s2", 1)?).await?;
    let keeper = fleet::master(&[&first, &second]).await?;
    let other = fleet::master(&[&first, &second]).await?;
    let kept = within("the first", keeper.dispatch(big::call(9).keep("part"))).await??;
    let mut task = other.dispatch(measure::call("part".into()).near(["part"]));
    assert_eq!(within("the second", &mut task).await??, (9, 1));
    assert_eq!(&task.receipt().expect("it ran").slave, kept.slave.name());
    // Both at once, over and over.
    let mut all = Vec::new();
    for i in 0..20 {
        for master in [&keeper, &other] {
            let key = format!("part/{i}");
            let kept = within("a first", master.dispatch(big::call(i).keep(&*key))).await??;
            let next = measure::call(key.clone()).near(&kept);
            all.push((i, master.dispatch(next)));
        }
    }
    for (len, task) in all {
        assert_eq!(within("a second", task).await??.0, len);
    }
    Ok(())
}

#[tokio::test]
async fn keeping_replaces_what_was_there() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    let put = store.put("sum", "none yet").await?;
    let first = within("the first", pair.master.dispatch(add::call(2, 3).keep("sum"))).await??;
    assert!(first.version > put, "{first:?}");
    assert_eq!(store.get::<i64>("sum").await?, Some(5), "as if it had been put");
    let second = within("again", pair.master.dispatch(add::call(4, 4).keep("sum"))).await??;
    assert!(second.version > first.version);
    assert_eq!(second.get().await?, 8);
    let error = first.get().await.expect_err("it was replaced");
    assert_eq!(error.cause(), &gone("sum"));
    assert!(second.remove().await? && !second.remove().await?);
    assert_eq!(second.get().await.expect_err("it was removed").cause(), &gone("sum"));
    // Guests read it as what they put themselves.
    let text = put::call("k".into(), "v".into()).keep("version");
    within("a put", pair.master.dispatch(text)).await??;
    let kept = within("a get", pair.master.dispatch(get::call("k".into()).keep("k"))).await??;
    assert_eq!(kept.get().await?.as_deref(), Some("v"));
    assert_eq!(
        pair.master.dispatch(get::call("k".into()).near(&kept)).await?.as_deref(),
        Some("v")
    );
    Ok(())
}

#[tokio::test]
async fn a_result_beyond_the_quota_is_not_kept_and_the_old_one_stays() -> Result<()> {
    let mut limits = Limits::default();
    limits.store_bytes = 1 << 20;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let kept = within("a small one", pair.master.dispatch(big::call(9).keep("part"))).await??;
    for len in [1 << 20, 2 << 20] {
        let error =
            within("a large one", pair.master.dispatch(big::call(len).keep("part"))).await?;
        let full = Cause::Limit { limit: Limit::Quota, allowed: 1 << 20 };
        assert_eq!(error.expect_err("there is no room").cause(), &full);
    }
    assert_eq!(kept.get().await?.len(), 9);
    Ok(())
}

#[tokio::test]
async fn a_task_that_is_cancelled_keeps_nothing() -> Result<()> {
    let pair = Pair::simple().await?;
    let slave = pair.linked()?;
    let task = pair.master.dispatch(spin::call("arrived".into()).keep("part"));
    entry(&slave, "arrived").await?;
    task.cancel();
    let error = within("its end", task).await?.expect_err("it was cancelled");
    assert_eq!(error.cause(), &Cause::Cancelled);
    assert_eq!(within("others", pair.master.dispatch(add::call(2, 3))).await??, 5);
    assert!(slave.store().list("part").await?.is_empty());
    // One that waits for its key is cancelled where it waits.
    let runs = pair.master.dispatch(gate::call("runs".into(), "go".into(), 1));
    entry(&slave, "runs").await?;
    slave.store().put("k", &1u64).await?;
    drop(pair.master.dispatch(measure::call("k".into()).near("k")));
    slave.store().put("go", &1u64).await?;
    assert_eq!(within("what runs", runs).await??, 1);
    fleet::quiet(&pair.master).await?;
    assert_eq!(slave.store().get::<u64>("measured").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_map_goes_where_its_key_is() -> Result<()> {
    let (_one, first) = fleet::listening(slave("s1", 2)?).await?;
    let (_two, second) = fleet::listening(slave("s2", 2)?).await?;
    let master = fleet::master(&[&first, &second]).await?;
    linked(&master, "s2")?.store().put("k", "v").await?;
    let map = master.map(0..200, |_| get::call("k".into())).chunk(3).near("k");
    let values = within("the map", map.all()).await??;
    assert!(values.len() == 200 && values.iter().all(|value| value.as_deref() == Some("v")));
    let map = master.map(0..2, |_| get::call("k".into())).near("gone");
    let error = within("the map", map.all()).await?.expect_err("nobody has it");
    assert_eq!(error.cause(), &gone("gone"));
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_by_the_master() -> Result<()> {
    let pair = Pair::simple().await?;
    let error = pair.master.dispatch(add::call(2, 3).keep("")).await.expect_err("no key");
    assert!(matches!(error.cause(), Cause::Limit { limit: Limit::Key, .. }), "{error}");
    let many: Vec<_> = (0..17).map(|n| n.to_string()).collect();
    let error = pair.master.dispatch(add::call(2, 3).near(many)).await.expect_err("too many");
    assert_eq!(
        error.to_string(),
        "`add`: the arguments do not fit the task: a task is near 16 keys at most, not 17"
    );
    assert_eq!(pair.master.stats().await.submitted, 0);
    let none: [&str; 0] = [];
    assert_eq!(within("no key", pair.master.dispatch(add::call(2, 3).near(none))).await??, 5);
    Ok(())
}

#[tokio::test]
async fn a_slave_that_comes_while_a_key_is_sought_is_asked_too() -> Result<()> {
    let running = dpfw::Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let (master, address) = (running.master, running.listening[0].to_string());
    let late = slave("late", 1)?.build()?;
    let alone = dpfw::Master::builder().attach({
        let (ours, theirs) = dpfw::ByteStream::pair(1 << 16);
        late.attach(theirs);
        ours
    });
    let alone = within("a master of its own", alone.build()).await??;
    linked(&alone, "late")?.store().put("part", &Bytes::from(vec![7; 9])).await?;
    let mut task = master.dispatch(measure::call("part".into()).near("part"));
    assert!(is_pending(&mut task).await, "there is nobody to ask");
    late.dial(fleet::dial(&address));
    arrival(&master, "late").await?;
    assert_eq!(within("the task", task).await??, (9, 1));
    Ok(())
}

#[tokio::test]
async fn a_slave_that_lies_of_what_it_keeps_is_not_believed() -> Result<()> {
    let mut scene = Lies::start().await?;
    let timing = Timing::default();
    // It was to keep it, and sends it.
    let task = scene.master.dispatch(add::call(2, 3).keep("sum"));
    let attempt = scene.dispatched().await?;
    scene.done(attempt, 5).await?;
    let error = within("the end", task).await?.expect_err("it is not kept");
    assert!(matches!(error.cause(), Cause::BadResult { .. }), "{error}");
    // It was to send it, and keeps it.
    let (task, attempt) = scene.sum().await?;
    let kept = Some(KeptAs { version: 1, bytes: 1 });
    scene.liar.send(attempt, &Done { timing, payload: 0, kept }, &[]).await?;
    let error = within("the end", task).await?.expect_err("it is not sent");
    assert!(matches!(error.cause(), Cause::BadResult { .. }), "{error}");
    // It says that an entry is gone of which nobody spoke.
    let (task, attempt) = scene.sum().await?;
    let failed = Failed { timing, failure: gone("part").into() };
    scene.liar.send(attempt, &failed, &[]).await?;
    let error = within("the end", task).await?.expect_err("it did not run");
    assert_eq!(error.cause(), &gone("part"));
    Ok(())
}

#[tokio::test]
async fn the_results_of_a_batch_cannot_be_kept() -> Result<()> {
    let pair = Pair::simple().await?;
    within("a sum", pair.master.dispatch(add::call(2, 3))).await??;
    let mut wire = Wire::dial(&pair.address).await?;
    wire.greet(&hello(Role::Master, "odd")?).await?;
    wire.bind(0, add::call(2, 3).task().module(), "add").await?;
    let extras = Extras { keep: Some(Key::new("part")?), ..Extras::default() };
    let dispatch = Dispatch {
        bind: BindId(0),
        flags: TaskFlags::BATCH,
        budget_us: None,
        payload: 0,
        extras: Some(Box::new(extras)),
    };
    wire.send(1, &dispatch, &[]).await?;
    let (attempt, failed, _) = wire.expect::<Failed>().await?;
    let reason = "the results of a batch cannot stay at the slave".to_owned();
    assert_eq!((attempt, Cause::from(failed.failure)), (1, Cause::Rejected { reason }));
    Ok(())
}

#[tokio::test]
async fn what_a_slave_has_said_that_it_keeps_is_not_asked_for() -> Result<()> {
    let mut scene = Lies::start().await?;
    let timing = Timing::default();
    let task = scene.master.dispatch(add::call(2, 3).keep("sum"));
    let attempt = scene.dispatched().await?;
    let kept = Some(KeptAs { version: 1, bytes: 1 });
    scene.liar.send(attempt, &Done { timing, payload: 0, kept }, &[]).await?;
    let kept = within("the sum", task).await??;
    assert_eq!((kept.version, kept.bytes, kept.slave.name().as_str()), (1, 1, "liar"));
    // Any other message than a dispatch would be one too many.
    let next = scene.master.dispatch(add::call(1, 1).near("sum"));
    let attempt = scene.dispatched().await?;
    scene.done(attempt, 2).await?;
    assert_eq!(within("what is near it", next).await??, 2);
    Ok(())
}

#[tokio::test]
async fn a_slave_that_answers_for_fewer_keys_has_not_got_the_others() -> Result<()> {
    let mut scene = Lies::start().await?;
    for held in [vec![], vec![true], vec![false, true]] {
        let task = scene.master.dispatch(add::call(1, 1).near(["b", "a"]));
        let (asked, Locate { keys }, _) = scene.liar.expect::<Locate>().await?;
        let keys: Vec<_> = keys.iter().map(Key::as_str).collect();
        assert!(keys.len() == 2 && keys.contains(&"a") && keys.contains(&"b"), "{keys:?}");
        scene.liar.send(asked, &Located { held: held.clone() }, &[]).await?;
        // Said twice it says nothing.
        scene.liar.send(asked, &Located { held: vec![true; 2] }, &[]).await?;
        let error = within("the end", task).await?.expect_err("it has not got both");
        let missing = if held == [true] { keys[1] } else { keys[0] };
        assert_eq!(error.cause(), &gone(missing));
    }
    Ok(())
}

#[tokio::test]
async fn a_task_that_may_wait_keeps_and_needs_as_others_do() -> Result<()> {
    let mut limits = Limits::default();
    limits.store_bytes = 1 << 20;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let kept = within("the first", pair.master.dispatch(bytes::call(9).keep("part"))).await??;
    assert_eq!(kept.get().await?.len(), 9);
    let number = need_number::call("built".into()).near(&kept).keep("number");
    let number = within("the second", pair.master.dispatch(number)).await??;
    assert_eq!(number.get().await?, 5);
    let error =
        within("a large one", pair.master.dispatch(bytes::call(2 << 20).keep("part"))).await?;
    let full = Cause::Limit { limit: Limit::Quota, allowed: 1 << 20 };
    assert_eq!(error.expect_err("there is no room").cause(), &full);
    assert!(kept.remove().await?);
    let error = within("near nothing", pair.master.dispatch(bytes::call(9).near(&kept))).await?;
    assert_eq!(error.expect_err("it was removed").cause(), &gone("part"));
    Ok(())
}
