//! Residents, which stay alive on a slave from call to call: `cargo run -p residents`.
//!
//! A generator, a table of tuples and a bank. Without `--slave` they live on a slave within the
//! process.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use dpfw::{Cause, Master, Restart};
use residents_tasks::{Bank, Value, bank, generator, tuple_server};
use std::time::Duration;

/// Spawns residents and calls them.
#[derive(Parser)]
struct Cli {
    /// A slave to dial, HOST:PORT; may be given several times.
    #[arg(long = "slave", value_name = "ADDR")]
    slaves: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let master =
        cli.slaves.iter().fold(Master::builder(), |builder, address| builder.slave(address));
    let master = master.build().await?;

    // A generator under a key of an idle slave's store, invoked twice.
    let slave = master.reserve().await?;
    let numbers = slave.spawn("uniqID", generator::new()).await?;
    let first = numbers.call(generator::invoke()).await?;
    let second = numbers.call(generator::invoke()).await?;
    println!("the generator gives {first}, then {second}");
    numbers.stop().await?;
    drop(slave);

    // A table, on the least loaded slave. A cast waits for no answer.
    let tuples = master.spawn("tuples", tuple_server::new()).await?;
    tuples.cast(tuple_server::hello()).await?;
    tuples.call(tuple_server::set("colour".into(), "blue".into())).await?;
    tuples
        .call(tuple_server::set(Value::List(vec![1i64.into(), 2i64.into()]), 3i64.into()))
        .await?;
    println!("the colour is {:?}", tuples.call(tuple_server::get("colour".into())).await?);
    println!("the shape is {:?}", tuples.call(tuple_server::get("shape".into())).await?);

    // A bank that everybody shares: whoever comes first spawns it. If it fails it is begun again
    // with what it saved, three times in a row at most.
    let policy = Restart::every(Duration::from_millis(100)).retries(3);
    master.get_or_spawn("bank", bank::new()).restart(policy).await?;
    let accounts = master.resident::<Bank>("bank").await?;
    let user = || "user0".to_owned();
    println!("{:?}", accounts.call(bank::new_account(user())).await?);
    println!("{:?}", accounts.call(bank::new_account(user())).await?);
    println!("{:?}", accounts.call(bank::add(user(), 10)).await?);
    println!("{:?}", accounts.call(bank::remove(user(), 5)).await?);
    println!("{:?}", accounts.call(bank::remove(user(), 50)).await?);
    println!("{:?}", accounts.call(bank::add("nobody".into(), 1)).await?);

    for resident in master.residents("").await? {
        println!("{} ({}) has served {}", resident.key, resident.class, resident.served);
    }
    accounts.stop().await?;
    if let Err(error) = master.resident::<Bank>("bank").await {
        assert!(matches!(error.cause(), Cause::NoResident { .. }));
        println!("{}", error.cause());
    }
    tuples.stop().await?;
    Ok(())
}
