//! Guests that make many calls at one go, and what they may say of it.

use anyhow::Result;
use dpfw::{Cause, Module, Task, TaskError};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::Pair;
use dpfw_tests::wait::within;
use dpfw_tests::wasm::{returns, task_module};
use futures_util::{StreamExt, TryStreamExt};

/// A task whose replies to a batch stand in its memory, at 256, when its function is called.
fn batch(words: [u32; 2], replies: &[&[u8]], body: &str) -> Result<Module> {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    let words = hex(&words.map(u32::to_le_bytes).concat());
    let replies = hex(&replies.concat());
    let single = returns(8, 1);
    task_module(&format!(
        r#"{single}
           (func (export "dpfw_batch") (result i32) (i32.const 16))
           (func (export "dpfw-batch:task") (param i32 i32) {body})
           (data (i32.const 16) "{words}") (data (i32.const 256) "{replies}")"#
    ))
}

/// A reply of one number.
const fn one(n: u8) -> [u8; 6] {
    [0, 1, 0, 0, 0, n]
}

/// What becomes of four calls in one chunk.
async fn four(pair: &Pair, module: Module) -> Result<Vec<Result<u8, TaskError>>> {
    let task = Task::<u8>::new(module, "task");
    let calls: Vec<_> = (0..4).map(|_| task.call(&())).collect::<Result<_, _>>()?;
    let results = pair.master.map(calls, |call| call).chunk(4).collect();
    within("four results", results).await
}

fn abi<T>(result: &Result<T, TaskError>) -> bool {
    matches!(result.as_ref().map_err(TaskError::cause), Err(Cause::GuestAbi { .. }))
}

#[tokio::test]
async fn many_calls_have_their_replies_in_order_and_no_more_than_there_are_calls() -> Result<()> {
    let pair = Pair::simple().await?;
    let replies = [&one(1)[..], &one(2), &one(3), &one(4), &one(5)];
    let module = batch([256, 30], &replies, "")?;
    assert_eq!(four(&pair, module).await?, [1, 2, 3, 4].map(Ok));
    Ok(())
}

#[tokio::test]
async fn f21_a_trap_fails_one_call_and_the_rest_is_made_in_a_new_sandbox() -> Result<()> {
    let pair = Pair::simple().await?;
    let failed = [1, 3, 0, 0, 0, b'b', b'a', b'd'];
    let module = batch([256, 14], &[&one(1), &failed], "unreachable")?;
    let [first, second, third, fourth] = &four(&pair, module).await?[..] else { panic!("four") };
    assert_eq!((first, fourth), (&Ok(1), &Ok(1)), "the fourth is the first of another batch");
    let cause = second.as_ref().map_err(TaskError::cause);
    assert_eq!(cause, Err(&Cause::Failed { message: "bad".into() }));
    let cause = third.as_ref().map_err(TaskError::cause);
    assert!(matches!(cause, Err(Cause::Trap { .. })), "{cause:?}");
    Ok(())
}

#[tokio::test]
async fn f21_replies_that_are_none_fail_their_calls_and_no_others() -> Result<()> {
    let pair = Pair::simple().await?;
    for words in [[u32::MAX, 30], [65_530, 30], [256, u32::MAX], [0, 0]] {
        let results = four(&pair, batch(words, &[&one(1)], "")?).await?;
        assert!(results.iter().all(abi), "{words:?}: {results:?}");
    }
    // One reply and a record that is cut short; then the same for the two that are left.
    let cut = [0, 9, 0, 0, 0, 1];
    let results = four(&pair, batch([256, 12], &[&one(1), &cut], "")?).await?;
    assert_eq!((&results[0], &results[2]), (&Ok(1), &Ok(1)));
    assert!(abi(&results[1]) && abi(&results[3]), "{results:?}");
    let unknown = [9, 1, 0, 0, 0, 1];
    let results =
        four(&pair, batch([256, 24], &[&one(1), &unknown, &one(3), &one(4)], "")?).await?;
    assert!(abi(&results[1]), "{results:?}");
    assert_eq!((&results[0], &results[2], &results[3]), (&Ok(1), &Ok(3), &Ok(4)));
    super::stage::unharmed(&pair.master).await
}

#[tokio::test]
async fn a_module_whose_batches_have_another_type_is_refused() -> Result<()> {
    let pair = Pair::simple().await?;
    let single = returns(8, 1);
    for (wrong, name) in [
        (r#"(func (export "dpfw_batch") (result i64) (i64.const 0))"#, "dpfw_batch"),
        (
            r#"(func (export "dpfw_batch") (result i32) (i32.const 0))
               (func (export "dpfw-batch:task") (param i32))"#,
            "dpfw-batch:task",
        ),
    ] {
        let results = four(&pair, task_module(&format!("{single} {wrong}"))?).await?;
        for result in results {
            let cause = result.expect_err("it cannot be called").cause().clone();
            let is_named = matches!(&cause, Cause::Rejected { reason } if reason.contains(name));
            assert!(is_named, "{cause}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_maps_receipts_say_how_many_calls_went_together() -> Result<()> {
    let pair = Pair::simple().await?;
    let mut map = pair.master.map(0..2000, |n| add::call(n, 1));
    assert!(map.receipt().is_none(), "nothing has run");
    let mut chunks = vec![];
    let mut left = 0;
    while let Some(sum) = within("a result", map.try_next()).await?? {
        let receipt = map.receipt().expect("it has run");
        if left == 0 {
            chunks.push(receipt.calls);
            left = receipt.calls;
        }
        left -= 1;
        assert!(sum >= 1);
    }
    assert_eq!((left, chunks.iter().sum()), (0, 2000));
    assert_eq!(chunks[0], 1, "nothing is known of the first");
    assert!(chunks.iter().any(|calls| *calls >= 8), "{chunks:?}");
    Ok(())
}
