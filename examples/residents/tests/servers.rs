//! The residents of the example, on a slave within the process: every operation, and every
//! refusal.

use anyhow::Result;
use dpfw::{Master, Slave};
use dpfw_tests::lines::Lines;
use futures_util::future::try_join_all;
use residents_tasks::{
    Bank, Changed, Generator, Opened, TupleServer, Value, bank, generator, tuple_server,
};
use std::process::Command;

async fn master() -> Result<(Master, tempfile::TempDir)> {
    let cache = tempfile::tempdir()?;
    let slave = Slave::builder().slots(2).cache(cache.path());
    Ok((Master::builder().embed(slave).build().await?, cache))
}

#[tokio::test]
async fn d12_a_generator_in_a_slaves_table_gives_one_and_then_two() -> Result<()> {
    let (master, _cache) = master().await?;
    let slave = master.reserve().await?;
    let numbers = slave.spawn("uniqID", generator::new()).await?;
    assert_eq!(numbers.call(generator::invoke()).await?, 1);
    assert_eq!(numbers.call(generator::invoke()).await?, 2);
    // It is in the table, under its key, for whoever comes.
    let found = master.resident::<Generator>("uniqID").await?;
    assert_eq!((&found, found.call(generator::invoke()).await?), (&numbers, 3));
    Ok(())
}

#[tokio::test]
async fn r9_the_tuple_server_sets_gets_and_says_hello() -> Result<()> {
    let (lines, (master, _cache)) = (Lines::capture(), master().await?);
    master.spawn("tuples", tuple_server::new()).await?;
    let tuples = master.resident::<TupleServer>("tuples").await?;
    tuples.cast(tuple_server::hello()).await?;
    lines.wait_for(&["tuple_server.hello", "hello from the tuple server"]).await?;
    let user = |n: i64| Value::List(vec!["user".into(), n.into()]);
    for n in 0..3 {
        let kept = tuples.call(tuple_server::set(user(n), (100 * n).into())).await?;
        assert_eq!(kept, Value::Number(100 * n));
    }
    tuples.call(tuple_server::set(user(1), "another".into())).await?;
    let get = |key| tuples.call(tuple_server::get(key));
    assert_eq!(get(user(0)).await?, Some(Value::Number(0)));
    assert_eq!(get(user(1)).await?, Some(Value::Text("another".into())));
    assert_eq!(get(user(9)).await?, None);
    assert_eq!(tuples.failed_casts(), 0);
    Ok(())
}

#[tokio::test]
async fn r9_the_bank_opens_pays_in_takes_out_and_refuses() -> Result<()> {
    let (master, _cache) = master().await?;
    let accounts = master.spawn("bank", bank::new()).await?;
    let user = || "user0".to_owned();
    let opened = accounts.call(bank::new_account(user())).await?;
    assert_eq!(opened, Opened::Created { who: user() });
    // `already-exists`
    assert_eq!(accounts.call(bank::new_account(user())).await?, Opened::AlreadyExists);
    assert_eq!(accounts.call(bank::add(user(), 10)).await?, Changed::Ok { balance: 10 });
    assert_eq!(accounts.call(bank::remove(user(), 5)).await?, Changed::Ok { balance: 5 });
    // `insufficient-funds`
    let refused = accounts.call(bank::remove(user(), 6)).await?;
    assert_eq!(refused, Changed::InsufficientFunds { balance: 5 });
    // `invalid-account`
    let who = || "nobody".to_owned();
    let (add, remove) = (bank::add(who(), 1), bank::remove(who(), 1));
    assert_eq!(accounts.call(add).await?, Changed::InvalidAccount { who: who() });
    assert_eq!(accounts.call(remove).await?, Changed::InvalidAccount { who: who() });
    let refused = accounts.call(bank::add(user(), u64::MAX)).await?;
    assert_eq!(refused, Changed::TooMuch { balance: 5 });
    assert_eq!(accounts.call(bank::remove(user(), 5)).await?, Changed::Ok { balance: 0 });
    Ok(())
}

#[tokio::test]
async fn the_bank_counts_right_whoever_pays_in_at_once() -> Result<()> {
    let (master, _cache) = master().await?;
    let accounts = master.spawn("bank", bank::new()).await?;
    accounts.call(bank::new_account("all".into())).await?;
    let teller = master.resident::<Bank>("bank").await?;
    let calls = (0..100).map(|n| [&accounts, &teller][n % 2].call(bank::add("all".into(), 3)));
    try_join_all(calls.collect::<Vec<_>>()).await?;
    assert_eq!(accounts.call(bank::add("all".into(), 0)).await?, Changed::Ok { balance: 300 });
    Ok(())
}

#[test]
fn the_example_runs_as_it_stands() {
    let cache = tempfile::tempdir().expect("a directory");
    let mut example = Command::new(env!("CARGO_BIN_EXE_residents"));
    let output = example.env("XDG_CACHE_HOME", cache.path()).output().expect("it starts");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let expected = [
        "the generator gives 1, then 2",
        "the colour is Some(Text(\"blue\"))",
        "the shape is None",
        "Created { who: \"user0\" }",
        "AlreadyExists",
        "Ok { balance: 10 }",
        "Ok { balance: 5 }",
        "InsufficientFunds { balance: 5 }",
        "InvalidAccount { who: \"nobody\" }",
        "bank (bank) has served 6",
        "tuples (tuple_server) has served 5",
        "there is no resident under `bank`",
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected, "{stderr}");
}
