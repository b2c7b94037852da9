//! The master of sums: dispatches tasks and prints what comes of them.
//!
//! Its arguments are the addresses of slaves; without any it runs a slave within the process.

use dpfw::Master;
use sums_tasks::{add, count_words};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let slaves = std::env::args().skip(1);
    let master = slaves.fold(Master::builder(), |builder, address| builder.slave(address));
    let master = master.build().await?;

    // A handle at once; the result when it is awaited.
    let task = master.dispatch(add::call(2, 3));
    println!("2 + 3 = {}", task.await?);

    // One task over many inputs, their results in order.
    let texts = ["to be", "or not to be"].map(String::from);
    for counts in master.map(texts, count_words::call).all().await? {
        println!("{counts:?}");
    }
    Ok(())
}
