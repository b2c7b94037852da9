//! F54 for residents: slaves that are killed in the middle of calls.

use anyhow::{Result, ensure};
use dpfw::{Cause, Resident};
use dpfw_test_tasks::{Counter, counter};
use dpfw_tests::fleet::{self, linked};
use dpfw_tests::process::Process;
use dpfw_tests::wait::within;

const SLAVE: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// How often a slave is killed. Each kill meets another moment.
const KILLS: u64 = 20;

/// Calls that are under way, of each resident.
const OUT: usize = 16;

/// One that is kept: what was acknowledged of it, and what may have happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    acknowledged: u64,
    perhaps: u64,
}

/// Has it called until its slave is killed; the last number that was given.
async fn call(c: &Resident<Counter>, counted: &mut Counted) -> Result<()> {
    let mut calls: std::collections::VecDeque<_> =
        (0..OUT).map(|_| c.call(counter::bump())).collect();
    let mut is_lost = false;
    while let Some(call) = calls.pop_front() {
        match within("an answer", call).await? {
            Ok(number) => {
                ensure!(!is_lost, "{number} was answered behind one that was lost");
                ensure!(number == counted.acknowledged + 1, "{number} behind {counted:?}");
                counted.acknowledged = number;
                calls.push_back(c.call(counter::bump()));
            }
            Err(error) => {
                let Cause::ResidentLost { may_have_run, .. } = error.cause() else {
                    return Err(error.into());
                };
                counted.perhaps += u64::from(*may_have_run);
                is_lost = true;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn f54_residents_of_a_slave_that_is_killed_in_mid_call_have_all_that_was_answered()
-> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = directory.path().join("store");
    let mut all = [Counted::default(); 3];
    for round in 0..KILLS {
        let mut process = Process::keeping(SLAVE, "s1", &store, None).await?;
        let master = fleet::master(&[&process.address]).await?;
        let there = linked(&master, "s1")?;
        let mut residents = Vec::new();
        for (n, counted) in all.iter_mut().enumerate() {
            let spawning = there.get_or_spawn(format!("c{n}"), counter::new(0)).durable();
            let c = within("the counter", spawning.into_future()).await??;
            let count = within("the count", c.call(counter::peek())).await??;
            let possible = counted.acknowledged..=counted.acknowledged + counted.perhaps;
            ensure!(possible.contains(&count), "{count} and not {possible:?} in round {round}");
            *counted = Counted { acknowledged: count, perhaps: 0 };
            residents.push(c);
        }
        let [a, b, c] = &mut all;
        let enough = a.acknowledged + 3 + round * 7 % 29;
        let first = residents[0].clone();
        let kill = async {
            // As soon as so many were answered, whatever is under way then.
            while within("a count", first.call(counter::peek())).await?? < enough {}
            process.kill()
        };
        let called = async {
            tokio::join!(
                call(&residents[0], a),
                call(&residents[1], b),
                call(&residents[2], c),
                kill
            )
        };
        let (one, two, three, killed) = within("the kill", called).await?;
        one.and(two).and(three)?;
        killed?;
        master.shutdown().await;
    }
    Ok(())
}
