//! D4, D6, D8, D10, D11: tasks are dispatched, run and joined.

use anyhow::Result;
use dpfw::{CallExt, Master};
use dpfw_test_tasks::{Everything, Form, add, checked, clocks, count, everything, many, nothing};
use dpfw_tests::fleet::{self, Pair, arrival, listening, slave};
use dpfw_tests::wait::{is_pending, within};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[tokio::test]
async fn d10_two_and_three_are_five() -> Result<()> {
    let pair = Pair::simple().await?;
    assert_eq!(within("the sum", pair.master.dispatch(add::call(2, 3))).await??, 5);
    Ok(())
}

#[tokio::test]
async fn d11_sums_in_parallel_come_in_order() -> Result<()> {
    let pair = Pair::simple().await?;
    let sums = pair.master.parallel([add::call(2, 1), add::call(5, 5)]);
    assert_eq!(within("the sums", sums).await??, [3, 10]);
    Ok(())
}

#[tokio::test]
async fn d8_parallel_takes_any_number_and_keeps_the_order() -> Result<()> {
    let (_one, first) = listening(slave("s1", 2)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[first, second]).await?;
    let calls: Vec<_> = (0..500).map(|i| add::call(i, i)).collect();
    let sums = within("the sums", master.parallel(calls)).await??;
    assert_eq!(sums, (0..500).map(|i| 2 * i).collect::<Vec<_>>());
    let none = within("nothing", master.parallel(Vec::<dpfw::Call<i64>>::new())).await??;
    assert!(none.is_empty());
    Ok(())
}

#[tokio::test]
async fn parallel_gives_the_first_failure_and_cancels_the_rest() -> Result<()> {
    let pair = Pair::simple().await?;
    let calls = vec![checked::call("yes".into()), checked::call("no".into())];
    let forever = vec![dpfw_test_tasks::forever::call(), dpfw_test_tasks::forever::call()];
    let error = within("the failure", pair.master.parallel(calls)).await?.expect_err("no");
    assert_eq!(error.to_string(), "`checked` on s1: the task failed: refused: no");
    assert!(is_pending(Box::pin(pair.master.parallel(forever))).await);
    // Dropped there: the slot is free again.
    super::stage::unharmed(&pair.master).await
}

#[test]
fn d4_a_handle_is_joined_in_blocking_code() -> Result<()> {
    let master = Master::builder().embed(slave("s1", 1)?).build_blocking()?;
    let handles: Vec<_> = (0..20).map(|i| master.dispatch(add::call(i, 1))).collect();
    for (i, handle) in (0..20).zip(handles) {
        assert_eq!(handle.join()?, i + 1);
    }
    let error = master.dispatch(checked::call("no".into())).join().expect_err("no");
    assert_eq!(error.task(), "checked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_handle_is_joined_beside_asynchronous_code() -> Result<()> {
    let pair = Pair::simple().await?;
    let handle = pair.master.dispatch(add::call(20, 22));
    let joined = tokio::task::spawn_blocking(move || handle.join());
    assert_eq!(within("the join", joined).await???, 42);
    Ok(())
}

fn all_of_it() -> Everything {
    Everything {
        unsigned: (u8::MAX, u16::MAX, u32::MAX, u64::MAX),
        signed: (i8::MIN, i16::MIN, i32::MIN, i64::MIN),
        floats: (f32::MIN_POSITIVE, -0.1),
        truth: true,
        character: '\u{1f980}',
        text: "ganz schön \0 \u{1b}[31m".into(),
        perhaps: (Some(-1), None),
        lists: vec![vec![], vec![1, -2], vec![i32::MAX]],
        map: BTreeMap::from([(String::new(), 0), ("x".into(), u64::MAX)]),
        numbered: BTreeMap::from([(i64::MIN, Form::Unit), (7, Form::One(-7))]),
        forms: vec![
            Form::Two(9, "nine".into()),
            Form::Named { x: f32::INFINITY, inner: Some(Box::new(Form::Unit)) },
        ],
        bytes: (0..=255).collect(),
        unit: (),
    }
}

#[tokio::test]
async fn every_kind_of_value_arrives_as_it_was_sent() -> Result<()> {
    let pair = Pair::simple().await?;
    let sent = all_of_it();
    let back = within("the values", pair.master.dispatch(everything::call(sent.clone()))).await??;
    assert_eq!(back, sent);
    Ok(())
}

#[tokio::test]
async fn arguments_arrive_each_in_its_place() -> Result<()> {
    let pair = Pair::simple().await?;
    let call = many::call(
        u64::MAX,
        i64::MIN,
        0.1,
        true,
        "t\"ext".into(),
        Some(3),
        vec![(1, "a".into())],
        HashMap::from([("k".into(), -1)]),
        Form::Two(1, "b".into()),
        vec![0u8; 100_000].into(),
    );
    let said = within("the answer", pair.master.dispatch(call)).await??;
    let native = "18446744073709551615 -9223372036854775808 0.1 true \"t\\\"ext\" Some(3) \
                  [(1, \"a\")] {\"k\": -1} Two(1, \"b\") 100000";
    assert_eq!(said, native);
    within("nothing", pair.master.dispatch(nothing::call())).await??;
    Ok(())
}

#[tokio::test]
async fn a_fallible_task_gives_its_value() -> Result<()> {
    let pair = Pair::simple().await?;
    assert_eq!(within("a length", pair.master.dispatch(checked::call("yes".into()))).await??, 3);
    let (seconds, goes_on) = within("clocks", pair.master.dispatch(clocks::call())).await??;
    assert!(seconds > 1_700_000_000 && goes_on, "{seconds} {goes_on}");
    Ok(())
}

#[tokio::test]
async fn d6_a_task_runs_on_the_slave_of_ones_choice() -> Result<()> {
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[first, second]).await?;
    for name in ["s2", "s1", "s2", "s2", "s1"] {
        let chosen = arrival(&master, name).await?;
        let mut handle = master.dispatch(count::call().on(&chosen));
        assert_eq!(within("the count", &mut handle).await??, 1);
        let receipt = handle.receipt().expect("it has ended with a result");
        assert_eq!(receipt.slave.as_str(), name);
    }
    Ok(())
}

#[tokio::test]
async fn tasks_are_spread_over_all_slaves() -> Result<()> {
    let (_one, first) = listening(slave("s1", 1)?).await?;
    let (_two, second) = listening(slave("s2", 1)?).await?;
    let master = fleet::master(&[first, second]).await?;
    // Each waits for the other's slave to be entered: both have to run at once.
    let gates = [1, 2]
        .map(|i| master.dispatch(dpfw_test_tasks::gate::call("arrived".into(), "go".into(), i)));
    let mut names = BTreeSet::new();
    for linked in master.slaves() {
        fleet::entry(&linked, "arrived").await?;
        linked.store().put("go", &1).await?;
    }
    for mut gate in gates {
        within("a gate", &mut gate).await??;
        names.extend(gate.receipt().map(|receipt| receipt.slave.to_string()));
    }
    assert_eq!(names, BTreeSet::from(["s1".into(), "s2".into()]));
    Ok(())
}

#[tokio::test]
async fn f62_a_hundred_thousand_tasks_wait_in_the_master() -> Result<()> {
    let pair = Pair::simple().await?;
    let handles: Vec<_> = (0..100_000).map(|i| pair.master.dispatch(add::call(i, 1))).collect();
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(within("a sum", handle).await??, i + 1);
    }
    let stats = pair.master.stats().await;
    assert_eq!((stats.accepted, stats.failed, stats.stale), (100_000, 0, 0), "{stats:?}");
    Ok(())
}
