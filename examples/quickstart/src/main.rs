//! The master of the quickstart: `cargo run -p quickstart`.
//!
//! It runs a slave within the process, so there is nothing to start by hand.

#![forbid(unsafe_code)]

use dpfw::{CallExt, Master};
use quickstart_tasks::{add, commonest, count_words, counter, divide, remember, word_at};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let master = Master::builder().build().await?;

    // A handle at once; the result when it is awaited.
    let task = master.dispatch(add::call(2, 3));
    println!("2 + 3 = {}", task.await?);

    // Several tasks at once, their results in order.
    let [x, y] = master.parallel([add::call(2, 1), add::call(5, 5)]).await?;
    println!("2 + 1 = {x}, 5 + 5 = {y}");

    // One task over many inputs, with bounded memory.
    let texts = ["to be", "or not to be"].map(String::from);
    for counts in master.map(texts, count_words::call).all().await? {
        println!("{counts:?}");
    }

    // A task that returns an error, and one that panics: nothing else is disturbed.
    if let Err(error) = master.dispatch(divide::call(7, 0)).await {
        println!("{}", error.cause());
    }
    if let Err(error) = master.dispatch(word_at::call("one two".into(), 7)).await {
        println!("{}", error.cause());
    }

    // A result that stays at its slave, and a task that runs where it is: it is not sent.
    let count = count_words::call("to be or not to be".into()).keep("counts");
    let counts = master.dispatch(count).await?;
    let word = master.dispatch(commonest::call("counts".into()).near(&counts)).await?;
    println!("{word:?} is the commonest of {} words", counts.get().await?.len());

    // A slave of our own for a while, and its keyed store: tasks and masters share it.
    let slave = master.reserve().await?;
    slave.store().put("remembered/colour", "blue").await?;
    let before = slave.dispatch(remember::call("colour".into(), "green".into())).await?;
    let now: Option<String> = slave.store().get("remembered/colour").await?;
    println!("{before:?}, then {now:?}");

    // A resident: it stays alive under its key and keeps its state from call to call.
    let c = slave.spawn("uniqID", counter::new(0)).await?;
    let first = c.call(counter::bump()).await?;
    let second = c.call(counter::bump()).await?;
    println!("{first}, then {second}");
    Ok(())
}
