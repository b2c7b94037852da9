//! Of many who spawn under one key at once: whose turn it is, and what the others get, in the very
//! moments in which a resident comes or goes.

use super::resident_caller::{Caller, under};
use super::stage::unharmed;
use anyhow::{Context, Result, ensure};
use dpfw_protocol::ids::ResidentId;
use dpfw_protocol::message::{ResidentOp, SpawnAs, There};
use dpfw_test_tasks::add;
use dpfw_tests::fleet::{Pair, slave};

/// Attempts of each of two callers, one behind the other: while one slot makes the resident the
/// other looks for it all the time.
const EACH: usize = 12;

/// A slave of two slots, and two who talk to it.
async fn two_slots() -> Result<(Pair, [Caller; 2])> {
    let pair = Pair::start(slave("s1", 2)?).await?;
    unharmed(&pair.master).await?;
    let module = add::task().module().clone();
    let one = Caller::dial(&pair.address, "one", &module).await?;
    let other = Caller::dial(&pair.address, "other", &module).await?;
    Ok((pair, [one, other]))
}

/// All want what is under a key, or to be the first there; what each of them got.
async fn all_take(callers: &mut [Caller; 2], key: &str) -> Result<Vec<ResidentId>> {
    let take = SpawnAs { there: There::Take, ..under(key)? };
    let mut attempts = [Vec::new(), Vec::new()];
    for _ in 0..EACH {
        for (caller, attempts) in callers.iter_mut().zip(&mut attempts) {
            attempts.push(caller.begin_spawn("counter.new", (0u64,), take.clone()).await?);
        }
    }
    let mut got = Vec::new();
    for (caller, attempts) in callers.iter_mut().zip(attempts) {
        for attempt in attempts {
            let spawned = caller.spawned(attempt).await?;
            got.push(spawned.with_context(|| format!("an attempt at {key}"))?.resident.resident);
        }
    }
    Ok(got)
}

#[tokio::test]
async fn whoever_comes_while_a_resident_is_put_under_its_key_gets_it() -> Result<()> {
    let (_pair, mut callers) = two_slots().await?;
    for round in 0..400 {
        let got = all_take(&mut callers, &format!("k{round}")).await?;
        ensure!(got.iter().all(|id| *id == got[0]), "there are several: {got:?}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_comes_while_a_resident_ends_gets_it_or_the_next_one() -> Result<()> {
    let (_pair, mut callers) = two_slots().await?;
    let mut last = all_take(&mut callers, "k").await?[0];
    for _ in 0..400 {
        let stop = callers[0].ask(ResidentOp::Stop { resident: last }).await?;
        let got = all_take(&mut callers, "k").await?;
        callers[0].answer(stop).await?;
        last = got.into_iter().max().context("they got something")?;
    }
    Ok(())
}
