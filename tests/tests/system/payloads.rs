//! Large payloads arrive as they were sent, and hold up nobody.

use anyhow::Result;
use dpfw_test_tasks::{Bytes, add, big, echo, soil};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wait::within;

const LARGE: usize = 64 << 20;

/// Bytes that repeat nowhere near.
fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

#[tokio::test]
async fn sixty_four_mebibytes_go_in_and_out_intact() -> Result<()> {
    let pair = Pair::simple().await?;
    let sent = noise(LARGE);
    let hash = blake3::hash(&sent);
    for _ in 0..2 {
        let back = within("the echo", pair.master.dispatch(echo::call(sent.clone()))).await??;
        assert_eq!(back.len(), LARGE);
        assert_eq!(blake3::hash(&back), hash);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_task_has_of_large_memory_is_nobody_elses() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    // Odd lengths, so that pages are shared with nothing, and in no order.
    let lengths = (1..40u64).map(|n| (n * 7_919_993) % (24 << 20) + (1 << 20));
    for len in lengths {
        let sent = noise(len as usize);
        let back = pair.master.dispatch(echo::call(sent.clone()));
        let (soiled, given) =
            (pair.master.dispatch(soil::call(len)), pair.master.dispatch(big::call(len / 4)));
        assert_eq!(within("the zeros", soiled).await??, 0, "bytes of somebody else's");
        assert!(within("the echo", back).await?? == sent, "{len} bytes have changed");
        let given = within("the result", given).await??;
        assert!(given.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    }
    Ok(())
}

#[tokio::test]
async fn small_tasks_pass_by_large_payloads() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let sent = noise(LARGE);
    let mut large = pair.master.dispatch(echo::call(sent.clone()));
    let mut passed = 0;
    let back = loop {
        tokio::select! {
            biased;
            back = &mut large => break back?,
            sum = pair.master.dispatch(add::call(1, 1)) => { assert_eq!(sum?, 2); passed += 1; }
        }
    };
    assert_eq!(blake3::hash(&back), blake3::hash(&sent));
    assert!(passed > 3, "only {passed} small tasks passed");
    Ok(())
}

#[tokio::test]
async fn payloads_of_every_edge_arrive() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let (inline, chunk, window) = (16 << 10, 64 << 10, 4 << 20);
    for edge in [0, 1, inline, chunk, window, window + chunk] {
        for len in [edge.max(8) - 8, edge.max(1) - 1, edge, edge + 1] {
            let sent = noise(len);
            let back = pair.master.dispatch(echo::call(sent.clone()));
            assert!(within("the echo", back).await?? == sent, "{len} bytes have changed");
        }
    }
    Ok(())
}

#[tokio::test]
async fn many_large_results_at_once() -> Result<()> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    let calls: Vec<_> = (0..40).map(|_| big::call(1 << 20)).collect();
    let expected: Vec<u8> = (0..1u64 << 20).map(|i| (i % 251) as u8).collect();
    for result in within("the results", pair.master.parallel(calls)).await?? {
        assert!(result == expected, "a result has changed");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_is_cancelled_while_its_result_is_on_its_way() -> Result<()> {
    let pair = Pair::simple().await?;
    // Whenever the cancel comes, the slot is free afterwards and nothing stays.
    for turn in 0..20 {
        let handle = pair.master.dispatch(big::call(8 << 20));
        for _ in 0..turn * 5 {
            tokio::task::yield_now().await;
        }
        drop(handle);
        super::stage::unharmed(&pair.master).await?;
    }
    dpfw_tests::fleet::quiet(&pair.master).await
}

#[tokio::test]
async fn a_task_is_cancelled_while_its_arguments_are_on_their_way() -> Result<()> {
    let pair = Pair::simple().await?;
    let sent = noise(16 << 20);
    for turn in 0..20 {
        let handle = pair.master.dispatch(echo::call(sent.clone()));
        for _ in 0..turn * 5 {
            tokio::task::yield_now().await;
        }
        drop(handle);
        super::stage::unharmed(&pair.master).await?;
    }
    dpfw_tests::fleet::quiet(&pair.master).await
}
